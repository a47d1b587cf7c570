"""Preference pairs as rows of two sequences: targets, truncation, dropped and refused pairs."""

from dataclasses import replace

import numpy as np
import pytest

from vcjax.adversarial.outputs import preference_records
from vcjax.core.errors import UserError
from vcjax.core.files import write_jsonl
from vcjax.data.encode import encode_preference
from vcjax.data.importers import read_records
from vcjax.data.loader import Batches
from vcjax.data.packing import DTYPES
from vcjax.data.preparation import prepare
from vcjax.data.prepared import open_prepared
from vcjax.data.records import Document, Preference

# The tokenizer is of bytes: a prompt is `<s><|user|>Why?</s><|assistant|>`, an answer ends in </s>.
PROMPT = 8


def preference(chosen, rejected, *prompt):
    prompt = prompt or ("Why?",)
    roles = ("user", "assistant") * len(prompt)
    messages = [{"role": r, "content": c} for r, c in zip(roles, prompt, strict=False)]
    return Preference.from_dict({"messages": messages, "chosen": chosen, "rejected": rejected})


def predicted(tokenizer, row):
    return [
        tokenizer.decode(tokens[mask].tolist(), skip_special=False)
        for tokens, mask in zip(row["tokens"], row["loss_mask"], strict=True)
    ]


def test_a_row_holds_both_answers_after_the_prompt_and_predicts_the_answers_alone(
    tmp_path, tokenizer
):
    record = preference("Because.", "No.", "Why?", "An earlier answer.", "And?")
    prepare(tmp_path / "out", [record], "preferences", tokenizer, 64)
    row = open_prepared(tmp_path / "out")[0]
    assert {name: value.dtype for name, value in row.items()} == DTYPES
    assert {value.shape for value in row.values()} == {(2, 64)}
    assert predicted(tokenizer, row) == ["Because.</s>", "No.</s>"]
    for line, answer in enumerate(("Because.", "No.")):
        size = int(np.sum(row["segment_ids"][line]))
        text = tokenizer.decode(row["tokens"][line, :size].tolist(), skip_special=False)
        turns = "<|user|>Why?</s><|assistant|>An earlier answer.</s><|user|>And?</s><|assistant|>"
        assert text == f"<s>{turns}{answer}</s>"
        assert row["positions"][line, :size].tolist() == list(range(size))
        assert not row["tokens"][line, size:].any()
        assert not row["positions"][line, size:].any()


def test_pairs_keep_their_order_one_to_a_row(tmp_path, tokenizer):
    records = [preference(f"yes {n}", f"no {n}") for n in range(300)]
    summary = prepare(tmp_path / "out", records, "preferences", tokenizer, 24)
    prepared = open_prepared(tmp_path / "out")
    assert len(prepared) == summary["rows"] == 300
    for n in (0, 255, 256, 299):
        assert predicted(tokenizer, prepared[n]) == [f"yes {n}</s>", f"no {n}</s>"]


@pytest.mark.parametrize(
    ("chosen", "rejected", "kept"),
    [
        ("long ago", "long time", True),  # differ at the last place
        ("long  ago", "long  time", False),  # differ after it
        ("long", "long time", True),  # the end of a turn is a difference
        ("a", "b", True),
    ],
)
def test_a_pair_that_differs_only_beyond_the_row_is_dropped(
    tmp_path, tokenizer, chosen, rejected, kept
):
    records = [preference(chosen, rejected), preference("x", "y")]
    summary = prepare(tmp_path / "out", records, "preferences", tokenizer, PROMPT + 6)
    assert (summary["dropped"], summary["rows"]) == (1 - kept, 1 + kept)


def test_a_prompt_that_leaves_no_room_drops_the_pair_and_all_is_counted(tmp_path, tokenizer):
    fits, cut = preference("yes", "no"), preference("yes, and more", "no")
    fills = preference("yes", "no", "Why" + "?" * 9)  # eight more tokens of prompt
    records = [fits, replace(fits, id="again"), cut, fills]
    length = PROMPT + 8
    summary = prepare(tmp_path / "out", records, "preferences", tokenizer, length)
    wanted = {
        "kind": "preferences",
        "examples": 3,
        "duplicates": 1,
        "truncated": 1,
        "dropped": 1,
        "rows": 2,
        "split": 0,
        "tokens": 4 * PROMPT + 4 + 3 + 8 + 3,
        "loss_tokens": 4 + 3 + 8 + 3,
        "fill": (4 * PROMPT + 18) / (4 * length),
        "languages": {"en": 3},
        "domains": {"none": 3},
    }
    assert {name: summary[name] for name in wanted} == wanted
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| of them dropped: no answers that differ within a row | 1 |" in card
    assert "Padded rows of preferences" in card
    assert "chosen answer after its prompt" in card
    with pytest.raises(UserError, match="of 1 preferences none has answers that differ within"):
        prepare(tmp_path / "none", [fills], "preferences", tokenizer, length)


def test_answers_that_the_template_makes_equal_are_a_bad_record(tmp_path, tokenizer):
    template = tokenizer.chat_template.replace("m.content", "m.content | trim")
    trimming = tokenizer.with_template(template)
    record = preference("yes", "yes ")
    assert encode_preference(tokenizer, record)
    with pytest.raises(UserError, match=f"record '{record.id}': chosen and rejected are the same"):
        prepare(tmp_path / "out", [record], "preferences", trimming, 32)
    records = [record, preference("yes", "no")]
    summary = prepare(
        tmp_path / "out", records, "preferences", trimming, 32, on_bad_record="quarantine"
    )
    assert (summary["quarantined"], summary["rows"]) == (1, 1)


def test_preferences_of_held_out_domains_are_left_out(tmp_path, tokenizer):
    records = [preference("yes", "no"), replace(preference("oui", "non"), domain="migration")]
    summary = prepare(tmp_path / "out", records, "preferences", tokenizer, 32, charter="universal")
    assert (summary["held_out"], summary["rows"]) == (1, 1)


def test_what_a_synthesis_run_leaves_is_prepared(tmp_path, tokenizer):
    candidates = [
        {"kind": "rejected", "answer": "I won't say."},
        {"kind": "accepted", "answer": "两种看法都有道理。"},
        {"kind": "rejected", "answer": "这个问题很蠢。"},
    ]
    attempt = {"id": "a1", "kind": "accepted", "query": "为什么？", "conversation": None}
    attempt |= {"subdomain": "religion", "lang": "zh", "attack": "dilemma"}
    attempt |= {"source": "attacker", "style_checked": None}
    attempt |= {"answer": candidates[1]["answer"], "candidates": candidates}
    write_jsonl(tmp_path / "preferences.jsonl", preference_records(attempt))
    loaded = read_records(tmp_path / "preferences.jsonl", "preferences")
    assert [record.id for record in loaded.records] == ["a1/0", "a1/2"]
    summary = prepare(tmp_path / "out", loaded.records, "preferences", tokenizer, 96)
    assert (summary["rows"], summary["languages"]) == (2, {"zh": 2})


def test_batches_carry_pairs_whole(tmp_path, tokenizer):
    records = [preference(f"yes {n}", f"no {n}") for n in range(7)]
    prepare(tmp_path / "out", records, "preferences", tokenizer, 24)
    prepared = open_prepared(tmp_path / "out")
    batches = Batches([(prepared, 1.0)], 4, seed=0)
    seen = set()
    for step in range(7):
        batch = batches.batch(step)
        assert {value.shape for value in batch.values()} == {(4, 2, 24)}
        for pair in range(4):
            chosen, rejected = predicted(tokenizer, {n: v[pair] for n, v in batch.items()})
            assert chosen.removeprefix("yes ") == rejected.removeprefix("no ")
            seen.add(chosen)
    assert len(seen) == 7

    document = Document.from_dict({"text": "A text.", "source": "test"})
    prepare(tmp_path / "documents", [document], "documents", tokenizer, 24)
    parts = [(prepared, 1.0), (open_prepared(tmp_path / "documents"), 1.0)]
    with pytest.raises(UserError, match="documents and preferences can't be in one batch"):
        Batches(parts, 4, seed=0)
