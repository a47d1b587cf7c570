"""Raw files that a training run prepares become the rows that `launch.prepare` makes of them, by
the same steps: by default what the charter holds out and exact duplicates are left out."""

import json
from runpy import run_path
from typing import Any

import numpy as np
import pytest

from configs.prepare import get_config
from vcjax.core.defaults import configs_folder
from vcjax.core.errors import UserError
from vcjax.core.lineage import Parent
from vcjax.data.corpus.config import PrepareConfig, RawFiles
from vcjax.data.corpus.run import prepare_corpus
from vcjax.data.importers import Records
from vcjax.data.preparation import prepare
from vcjax.data.prepared import open_prepared
from vcjax.text.tokenizer import load_tokenizer
from vcjax.train.config import TrainConfig

BREAD = "Bread is kneaded twice and then baked in a very hot oven, on a stone."
REFUGEES = "Refugees crossed the border, and the asylum seekers among them waited for a year."


def turns(asked: str, *rest: str) -> list[dict[str, str]]:
    roles = ("user", "assistant") * 2
    texts = (asked, *rest)
    return [{"role": r, "content": t} for r, t in zip(roles, texts, strict=False)]


ROWS = {
    "documents": [
        {"text": f"{BREAD} {BREAD} First."},
        {"text": f"{BREAD}  {BREAD}\nFirst."},
        {"text": "人人生而自由，在尊严和权利上一律平等。"},
        {"text": REFUGEES},
        {"text": REFUGEES, "domain": "religion"},
        {"text": "Of trade across a river.", "domain": "migration"},
    ],
    "conversations": [
        {"messages": turns("How is bread baked?", BREAD)},
        {"messages": turns("How is bread baked?", BREAD)},
        {"messages": turns("Should a town take in more refugees?", "Some say so.")},
        {"messages": turns("Who bakes here?", "Ask a refugee who bakes.", "And then?", "Eat.")},
        {"messages": turns("Why?", "So."), "domain": "migration"},
    ],
    "preferences": [
        {"messages": turns("Who bakes?"), "chosen": "A refugee does.", "rejected": "No one."},
        {"messages": turns("Who bakes?"), "chosen": "A refugee does.", "rejected": "No one."},
        {"messages": turns("More refugees?"), "chosen": "Yes.", "rejected": "No."},
        {"messages": turns("Why?"), "chosen": "So.", "rejected": "No."},
    ],
}


MORE = [
    {"text": f"{BREAD} Second. The oven is at wei.zhang@corpus-mail.cn, and the stone is of lava."},
    {"text": f"{BREAD} Second. The oven is at li.wang@corpus-mail.cn, and the stone is of basalt."},
    {"text": "Stone ovens came here long ago, and the people who built them have no names today."},
    {"text": "Le pain est pétri deux fois avant d'être cuit dans un four très chaud et large."},
    {"text": "Too short."},
    {"text": "Which of these loaves was baked in the oldest oven of the whole town, and by whom?"},
]
"""For the steps that a training run doesn't do by default."""


@pytest.fixture
def both_ways(tmp_path, tiny_folder):
    """Prepares records as a run does, and as `launch.prepare`: the summaries, and the rows."""

    def prepared(kind, rows, steps, settings):
        path, tokenizer = tmp_path / "raw.jsonl", load_tokenizer(tiny_folder)
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        shared: dict[str, Any] = {"steps": steps, "settings": settings}
        own, raw = RawFiles(**shared), Records(path, kind)
        in_a_run = prepare(
            tmp_path / "in-a-run", raw, kind, tokenizer, 96, config=own, charter="universal"
        )
        values = {"model": str(tiny_folder), "length": 96, "charter": "universal", "workers": 1}
        config = PrepareConfig.from_dict({kind: str(path), "validation": 0.0, **values, **shared})
        model = Parent.of("model", tiny_folder)
        before = prepare_corpus(config, tmp_path / "before", tokenizer, model)
        one, two = (open_prepared(tmp_path / name) for name in ("in-a-run", "before"))
        assert not list((tmp_path / "in-a-run").glob(".*"))  # where documents waited
        assert len(one) == len(two)
        for first, second in zip(one, two, strict=True):
            for name, values in first.items():
                np.testing.assert_array_equal(values, second[name], err_msg=name)
        counts = ("rows", "examples", "tokens", "loss_tokens", "held_out", "held_out_by_content")
        for count in (*counts, "duplicates", "domains", "languages", "steps"):
            assert before[count] == in_a_run[count], count
        return in_a_run

    return prepared


@pytest.mark.parametrize("kind", ROWS)
def test_the_same_rows_are_made_of_raw_files_either_way(kind, both_ways):
    usual = RawFiles()
    summary = both_ways(kind, ROWS[kind], usual.steps, usual.settings)
    assert summary["held_out"]
    assert summary["duplicates"] == 1
    assert summary["held_out_by_content"]


def test_all_steps_can_be_switched_on_and_each_is_counted(both_ways, tmp_path):
    (tmp_path / "items.jsonl").write_text(json.dumps({"id": "loaf", "question": MORE[5]["text"]}))
    steps = "normalise,personal,language,lines,quality,sensitive,selection,held_out,contamination"
    settings = {
        "quality": {"en": {"least_units": 8, "least_sentences": 1}},
        "selection": {"keep_others": True},
        "contamination": {"benchmarks": str(tmp_path / "items.jsonl")},
        "quotas": {"characters": 150},
    }
    rows = [*ROWS["documents"], *MORE, MORE[2]]
    summary = both_ways("documents", rows, f"{steps},duplicates,quotas", settings)
    found = summary["steps"]
    assert list(found) == ["read", *steps.split(","), "duplicates", "quotas", "encode"]
    removed = {name: sum(step["removed"].values()) for name, step in found.items()}
    assert found["read"]["documents"] == len(rows)
    assert found["personal"]["did"]["email masked"] == 2
    assert removed["language"] == 1
    assert found["quality"]["removed"]["too short"] >= 1
    assert removed["contamination"] == 1
    assert found["duplicates"]["removed"] == {"exact duplicate": 1, "near-duplicate": 1}
    assert removed["quotas"] >= 1
    assert found["encode"]["documents"] == len(rows) - sum(removed.values()) == summary["examples"]
    card = (tmp_path / "in-a-run" / "README.md").read_text()
    assert "| contamination | " in card
    assert "quotes what is measured on (1)" in card


def test_a_charter_that_holds_domains_out_is_never_switched_off():
    with pytest.raises(
        UserError, match=r"config\.steps: lacks 'held_out', and charter 'universal'"
    ):
        RawFiles(steps="normalise").steps_for("universal")
    assert [step.name for step in RawFiles().steps_for("")] == ["duplicates"]


@pytest.mark.parametrize("stage", ["cpt", "sft", "adversarial"])
def test_training_has_the_flags_of_prepare(stage):
    own = run_path(str(configs_folder() / f"{stage}.py"))["get_config"]().to_dict()
    section, shared = own["prepare"], get_config().to_dict()
    assert section.keys() - shared.keys() == {"most_mb"}

    def names(values, prefix=""):
        for name, value in values.items():
            yield f"{prefix}{name}"
            if isinstance(value, dict):
                yield from names(value, f"{prefix}{name}.")

    assert set(names(section["settings"])) == set(names(shared["settings"]))
    # With all of them, the section is what it is without one.
    own["conversations"] = own["conversations"] or "a.jsonl" * (stage == "adversarial")
    assert TrainConfig.from_dict(own).prepare.to_dict("") == RawFiles().to_dict("")
