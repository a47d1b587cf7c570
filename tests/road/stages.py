"""A small ablation by stage on the tiny model."""

import copy
from pathlib import Path

from tests.questions import write_lines
from vcjax.road.stages.config import StagesConfig

CHECKS = "{name: sane_length, args: {words: [1, 6], characters: [1, 12]}}"
ARMS = {
    "base": {},
    "cpt": {"stage": "cpt", "after": "base"},
    "sft": {"stage": "sft", "after": "cpt"},
    "adversarial": {"stage": "adversarial", "after": "sft", "data": "facts"},
}
_FILLED = ("stage", "model", "charter", "seed", "on_bad_record", "columns")
_NOUNS = ("lamp", "bench", "river", "bridge", "market", "school", "garden", "mill")


def stages_values(road: dict, charter: Path, folder: Path) -> dict:
    """A config as a plain dict, from that of `tests/road/conftest.py`.

    Args:
      folder: where the files are written that are trained on.
    """
    text = [
        {"text": f"A page about the {noun}, which is old and red.", "source": "t", "lang": "en"}
        for noun in _NOUNS
    ]
    names = ("cpt", "sft", "adversarial")
    training = {
        name: {field: value for field, value in road[name].items() if field not in _FILLED}
        for name in names
    }
    training["adversarial"]["length"] = 256  # pressed facts are long to a tokenizer of bytes
    critic = {"allow_same_family", "critic_form", "critic_tokens"}
    synthesis = {name: value for name, value in road["synthesis"].items() if name not in critic}
    return {
        **{name: road[name] for name in ("model", "family", "conversations", "questions", "seed")},
        **training,
        "charter": str(charter),
        "documents": write_lines(folder / "text.jsonl", text),
        "measured_documents": road["documents"],
        "held_out_share": 0.3,
        "document_tokens": 24,
        **dict.fromkeys(("columns", "capability", "capability_path"), ""),
        "capability_limit": 0,
        "on_bad_record": "error",
        "synthesis": {**synthesis, "critic": "", "languages": "en", "attempts": 4},
        "evaluation": {"benchmark": road["evaluation"]["benchmark"], "max_tokens": 12, "slots": 4},
        "pressure": road["pressure"],
        "arms": ARMS,
    }


def stages_config(values: dict, **changes) -> StagesConfig:
    return StagesConfig.from_dict({**copy.deepcopy(values), **changes})
