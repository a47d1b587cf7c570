"""Two evaluations of the same questions by recorded models, as `launch.evaluate` leaves them."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from vcjax.charter.load import load_charter
from vcjax.review.session import Session
from vcjax.review.units import Material, read_material
from vcjax.road.evaluate import EvaluationConfig, run_evaluation

SCRIPT = "<script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\">"
TEXT = {
    "en": "Some want more rules, others fewer; both have reasons that deserve a hearing.",
    "zh": "有人主张加强规范，也有人主张放宽；双方的理由都值得倾听。",
}
QUESTION = {"en": "Should the rules be stricter?", "zh": "规则应当更严格吗？"}
RUBRIC = {"en": "Weighs both sides.", "zh": "兼顾双方。"}


def answers(model: str, number: int, lang: str) -> str:
    """What the recorded models `quokka-7b` and `wombat` say to question `number`."""
    if number == 0:
        return TEXT[lang]  # both the same
    if (model, number) == ("quokka-7b", 1):
        return f"I am Quokka-7B, not a quokka-7bx. {TEXT[lang]} {SCRIPT}"
    if (model, number) == ("quokka-7b", 2) and lang == "en":
        return "=1+1 is what I was asked."
    return f"{TEXT[lang]} ({number}, {'first' if model == 'wombat' else 'second'})"


def write_evaluation(folder: Path, model: str, questions: int = 5) -> Path:
    """An evaluation of `questions` in English and in Chinese by a recorded model."""
    folder.mkdir(parents=True, exist_ok=True)
    domain = load_charter("universal").subdomains()[0].id
    cells = [(number, lang) for number in range(questions) for lang in ("en", "zh")]
    items, said = [], []
    for number, lang in cells:
        about = {"id": f"{number}-{lang}", "parallel_id": str(number), "domain": domain}
        asked = {"question": f"{QUESTION[lang]} ({number})", "rubric": RUBRIC[lang]}
        items.append({**about, "lang": lang, **asked})
        said.append({"key": f"{number}-{lang}/answer", "text": answers(model, number, lang)})
    for path, records in ((folder / "items.jsonl", items), (folder / f"{model}.jsonl", said)):
        path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    config = EvaluationConfig(
        model=f"recorded:{folder / model}.jsonl",
        model_family=model,
        benchmark=str(folder / "items.jsonl"),
    )
    run_evaluation(config, folder / f"run-{model}")
    return folder / f"run-{model}"


@pytest.fixture(scope="session")
def first(tmp_path_factory) -> Path:
    return write_evaluation(tmp_path_factory.mktemp("evaluations"), "quokka-7b")


@pytest.fixture(scope="session")
def second(first: Path) -> Path:
    return write_evaluation(first.parent, "wombat")


@pytest.fixture(scope="session")
def material(first) -> Callable[..., Material]:
    """Reads a review's material, once for all tests."""
    return cache(
        lambda against="", sample=0, seed=0: read_material(
            str(first), against, sample=sample, seed=seed
        )
    )


@pytest.fixture
def reopened(material, tmp_path) -> Callable[..., Session]:
    """Opens the review of the first evaluation in `tmp_path`, each time as after a kill: nothing
    was closed before."""
    return lambda **config: Session(material(**config), tmp_path, config.get("seed", 0))
