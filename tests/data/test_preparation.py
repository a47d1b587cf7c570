import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tokenizers
from tokenizers import models
from transformers import PreTrainedTokenizerFast

from tests.packed import pack
from vcjax.core.errors import UserError
from vcjax.data.encode import AT_ONCE, encode_all, encode_conversation, encode_documents
from vcjax.data.preparation import omissions, prepare
from vcjax.data.prepared import hash_tokenizer, open_prepared
from vcjax.data.records import Conversation, Document
from vcjax.text.tokenizer import Tokenizer


def documents(*texts):
    return [Document.from_dict({"text": text, "source": "test"}) for text in texts]


def conversation(*contents):
    roles = ("user", "assistant") * len(contents)
    messages = [{"role": r, "content": c} for r, c in zip(roles, contents, strict=False)]
    return Conversation.from_dict({"messages": messages})


def test_a_document_begins_with_bos_ends_with_eos_and_is_all_predicted(tokenizer):
    example = encode_documents(tokenizer, documents("Hi 你好"))[0]
    assert example.ids[0] == tokenizer.bos_id
    assert example.ids[-1] == tokenizer.eos_id
    assert tokenizer.decode(example.ids.tolist()) == "Hi 你好"
    assert example.loss_mask.all()
    assert example.ids.dtype == np.int32
    assert example.ids.max() < tokenizer.vocab_size


def test_special_tokens_spelt_in_a_document_are_text(tokenizer):
    example = encode_documents(tokenizer, documents("a</s>b"))[0]
    assert (example.ids == tokenizer.eos_id).sum() == 1


def test_only_the_assistant_is_predicted_in_a_conversation(tokenizer):
    (example,) = encode_conversation(tokenizer, conversation("Why?", "Because.", "And?", "So."))
    predicted = example.ids[example.loss_mask].tolist()
    assert tokenizer.decode(predicted, skip_special=False) == "Because.</s>So.</s>"


def test_records_are_encoded_alike_in_a_thread_and_without(tokenizer, monkeypatch):
    records = documents(*(f"Document number {i}" for i in range(AT_ONCE + 3)))
    records[1] = replace(records[1], text="\ud800")  # no tokenizer can encode it

    def encoded():
        for record, found in encode_all("documents", tokenizer, iter(records)):
            yield record, str(found) if isinstance(found, UserError) else found[0].ids.tolist()

    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    ahead = list(encoded())
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    assert list(encoded()) == ahead
    assert [record for record, _ in ahead] == records


def test_rows_come_back_as_they_were_packed(tmp_path, tokenizer):
    records = documents(*(f"Document number {i}: " + "words " * i for i in range(40)))
    summary = prepare(tmp_path / "out", records, "documents", tokenizer, 32)
    packed = pack(encode_documents(tokenizer, records), 32, split_long=True)
    prepared = open_prepared(tmp_path / "out")
    assert prepared.summary == summary
    assert len(prepared) == summary["rows"] == len(packed.rows["tokens"])
    for i in range(len(prepared)):
        for name, value in prepared[i].items():
            assert value.dtype == packed.rows[name].dtype
            np.testing.assert_array_equal(value, packed.rows[name][i])
    assert {key: summary[key] for key in packed.summary} == packed.summary
    with pytest.raises(IndexError):
        prepared[len(prepared)]


def test_several_shards_keep_the_order(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr("vcjax.data.prepared.SHARD_BYTES", 13 * 16 * 3)
    records = documents(*(f"{i:015d}" for i in range(20)))
    prepare(tmp_path / "out", records, "documents", tokenizer, 17)
    assert len(list((tmp_path / "out").glob("*.array_record*"))) > 5
    prepared = open_prepared(tmp_path / "out")
    texts = [tokenizer.decode(prepared[i]["tokens"].tolist()) for i in range(len(prepared))]
    assert texts == [record.text for record in records]


def test_the_folder_holds_summary_card_and_quarantine(tmp_path, tokenizer):
    records = [
        conversation("Why?", "Because."),
        conversation("Why?", "Because. "),
        conversation("为什么？", "因为。"),
        conversation("x" * 300, "too late"),
    ]
    bad = [{"file": "a.jsonl", "line": 3, "reason": "not JSON", "raw": "{"}]
    out = tmp_path / "deep" / "out"
    summary = prepare(out, records, "conversations", tokenizer, 64, quarantined=bad)
    assert summary == json.loads((out / "summary.json").read_text())
    assert summary["examples"] == 3
    assert summary["duplicates"] == 1
    assert summary["dropped"] == 1
    assert summary["quarantined"] == 1
    assert summary["languages"] == {"en": 2, "zh": 1}
    assert summary["domains"] == {"none": 3}
    assert summary["tokenizer"] == hash_tokenizer(tokenizer)
    assert [json.loads(line) for line in (out / "quarantined.jsonl").open()] == bad
    assert "| duplicates left out before | 1 |" in (out / "README.md").read_text()
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_duplicates_are_found_through_unicode_form_and_white_space(tmp_path, tokenizer):
    records = documents("caf\u00e9 au  lait", " cafe\u0301 au\nlait ", "tea")
    summary = prepare(tmp_path / "out", records, "documents", tokenizer, 32)
    assert summary["duplicates"] == 1
    assert summary["examples"] == 2


def test_a_failure_leaves_nothing_behind(tmp_path, tokenizer):
    def broken():
        yield from documents(*(f"text {i}" for i in range(600)))
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        prepare(tmp_path / "out", broken(), "documents", tokenizer, 8)
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_the_template_refuses_is_named_or_set_aside(tmp_path, tokenizer):
    template = "{{ raise_exception('no') if 'bad' in messages[0].content }}" + (
        tokenizer.chat_template
    )
    strict = tokenizer.with_template(template)
    records = [conversation("good", "yes"), conversation("bad", "yes")]
    with pytest.raises(UserError, match=f"record '{records[1].id}': "):
        prepare(tmp_path / "out", records, "conversations", strict, 64)
    summary = prepare(
        tmp_path / "out", records, "conversations", strict, 64, on_bad_record="quarantine"
    )
    assert summary["examples"] == summary["quarantined"] == 1
    with pytest.raises(UserError, match="all 1 conversations were set aside; the first because: "):
        prepare(
            tmp_path / "b", records[1:], "conversations", strict, 64, on_bad_record="quarantine"
        )


def test_turns_that_a_template_rewrites_are_examples_of_their_own_and_counted(tmp_path, tokenizer):
    forgetful = tokenizer.with_template(
        "{% for m in messages %}{% if m.role == 'user' or loop.last %}"
        "{{ m.content + eos_token }}{% endif %}{% endfor %}"
    )
    records = [conversation("Why?", "Because.", "And?", "So."), conversation("Who?", "I.")]
    out = tmp_path / "out"
    summary = prepare(out, records, "conversations", forgetful, 64)
    assert (summary["examples"], summary["by_turn"]) == (3, 1)
    assert summary["languages"] == {"en": 2}
    rows = open_prepared(out)
    said = [tokenizer.decode(row["tokens"][row["loss_mask"]].tolist()) for row in rows]
    assert "".join(said) == "Because.So.I."
    assert "example for each turn: the chat template rewrites earlier turns | 1 |" in (
        (out / "README.md").read_text()
    )


def test_a_document_that_the_tokenizer_refuses_is_named_among_others(tmp_path):
    core = tokenizers.Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
    core.add_special_tokens(["ab"])
    leaky = Tokenizer(PreTrainedTokenizerFast(tokenizer_object=core))
    records = documents(*("b" + "a" * n for n in range(1, AT_ONCE)), "ab", "aa")
    bad = records[-2].id
    records = [*records[:9], records[-2], *records[9:-2], records[-1]]
    with pytest.raises(UserError, match=f"record '{bad}': .*special token 'ab'"):
        prepare(tmp_path / "out", records, "documents", leaky, 8)
    summary = prepare(tmp_path / "out", records, "documents", leaky, 8, on_bad_record="quarantine")
    assert (summary["quarantined"], summary["examples"]) == (1, AT_ONCE)
    kept = [record for record in records if record.id != bad]
    assert summary["tokens"] == sum(len(record.text) for record in kept)


def test_mistakes_are_named(tmp_path, tokenizer):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    records = documents("A text.")
    with pytest.raises(UserError, match="used: is not empty"):
        prepare(tmp_path / "used", records, "documents", tokenizer, 32)
    with pytest.raises(UserError, match="file: is a file"):
        prepare(tmp_path / "used" / "file", records, "documents", tokenizer, 32)
    with pytest.raises(UserError, match="did you mean 'documents'"):
        prepare(tmp_path / "out", records, "document", tokenizer, 32)
    late = [conversation("long question", "answer")]
    with pytest.raises(UserError, match="none has a token to predict within length 4"):
        prepare(tmp_path / "out", late, "conversations", tokenizer, 4)
    with pytest.raises(UserError, match="used: not a prepared dataset"):
        open_prepared(tmp_path / "used")
    with pytest.raises(UserError, match="none: no such folder"):
        open_prepared(tmp_path / "none")
    prepare(tmp_path / "out", records, "documents", tokenizer, 32)
    next((tmp_path / "out").glob("*.array_record*")).unlink()
    with pytest.raises(UserError, match="is missing; prepare it again"):
        open_prepared(tmp_path / "out")


def test_no_tensorflow_is_in_the_process(tmp_path, tokenizer):
    prepare(tmp_path / "out", documents("A text."), "documents", tokenizer, 32)
    code = (
        "import sys; from vcjax.data.prepared import open_prepared\n"
        "assert open_prepared(sys.argv[1])[0]['tokens'].shape == (32,)\n"
        "assert 'tensorflow' not in sys.modules and 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "out"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_records_of_held_out_domains_are_left_out_and_counted(tmp_path, tokenizer):
    records = [
        replace(document, domain=domain)
        for document, domain in zip(
            documents("about faith", "about borders", "about rights"),
            ("religion", "migration", None),
            strict=True,
        )
    ]
    summary = prepare(tmp_path / "out", records, "documents", tokenizer, 16, charter="universal")
    assert summary["domains"] == {"none": 1, "religion": 1}
    assert (summary["held_out"], summary["held_out_by_content"]) == (1, {})
    with pytest.raises(UserError, match="all 1 documents are of domains that the charter holds"):
        prepare(tmp_path / "none", records[1:2], "documents", tokenizer, 16, charter="universal")
    assert not (tmp_path / "none").exists()


def test_untagged_records_are_held_out_by_what_they_are_about_in_any_language(tmp_path, tokenizer):
    records = [
        conversation("Should a town take in more refugees?", "Some say so."),
        conversation("最低工资该不该再提高？", "有人赞成。"),
        conversation("How do I bake bread?", "Ask a refugee who bakes; or knead for long."),
    ]
    tagged = replace(records[0], domain="religion")
    given = [*records, tagged]
    summary = prepare(tmp_path / "out", given, "conversations", tokenizer, 256, charter="universal")
    assert summary["held_out_by_content"] == {"inequality": 1, "migration": 1}
    assert (summary["held_out"], summary["examples"]) == (2, 2)
    lines = omissions(summary, held_out=True)
    assert "1 of them have no domain and are about 'migration' by what they say" in lines
    assert "about migration by what they say | 1 |" in (tmp_path / "out" / "README.md").read_text()
