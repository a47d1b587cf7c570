"""Raw files that a training run prepares become the rows that `launch.prepare` makes of them, where
it does the same steps: what the charter holds out and exact duplicates are left out."""

import json

import numpy as np
import pytest

from vcjax.charter.load import load_charter
from vcjax.core.lineage import Parent
from vcjax.data.corpus.config import PrepareConfig
from vcjax.data.corpus.run import prepare_corpus
from vcjax.data.held_out import HeldOut
from vcjax.data.importers import Records
from vcjax.data.preparation import prepare
from vcjax.data.prepared import open_prepared
from vcjax.text.tokenizer import load_tokenizer

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


@pytest.mark.parametrize("kind", ROWS)
def test_the_same_rows_are_made_of_raw_files_either_way(kind, tmp_path, tiny_folder):
    path, tokenizer = tmp_path / "raw.jsonl", load_tokenizer(tiny_folder)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS[kind]))
    held_out = HeldOut(load_charter("universal"))
    raw = Records(path, kind)
    in_a_run = prepare(tmp_path / "in-a-run", raw, kind, tokenizer, 96, held_out=held_out)
    config = PrepareConfig.from_dict(
        {
            kind: str(path),
            "model": str(tiny_folder),
            "length": 96,
            "charter": "universal",
            "steps": "held_out,duplicates",
            "settings": {"duplicates": {"similarity": 1.0}},
            "validation": 0.0,
            "workers": 1,
        }
    )
    model = Parent.of("model", tiny_folder)
    before = prepare_corpus(config, tmp_path / "before", tokenizer, model)
    for count in ("rows", "examples", "tokens", "loss_tokens", "held_out", "duplicates", "domains"):
        assert before[count] == in_a_run[count], count
    assert before["held_out"]
    assert before["duplicates"]
    one, two = (open_prepared(tmp_path / name) for name in ("in-a-run", "before"))
    assert len(one) == len(two)
    for first, second in zip(one, two, strict=True):
        for name, values in first.items():
            np.testing.assert_array_equal(values, second[name], err_msg=name)
