import copy
import errno
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tokenizers
from tokenizers import models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from vcjax.core.errors import UserError
from vcjax.text.tokenizer import MissingTokenizer, Tokenizer, load_tokenizer

TEXT = "Hello, 世界! 人人生而自由。\n\n  free 😀"


def test_text_round_trips(llama3):
    assert llama3.decode(llama3.encode(TEXT)) == TEXT


def test_encode_adds_no_bos_though_the_tokenizer_does(llama3):
    assert llama3.adds_bos
    assert llama3.encode("free")[0] != llama3.bos_id
    assert llama3.backend("free").input_ids == [llama3.bos_id, *llama3.encode("free")]


def test_a_tokenizer_without_bos_adds_none(chatml):
    assert chatml.bos_id is None
    assert not chatml.adds_bos


def test_special_tokens_in_text_are_parsed_only_when_asked(chatml):
    text = "a<|im_end|>b"
    end = chatml.special_tokens["<|im_end|>"]
    assert end == chatml.eos_id
    assert end in chatml.encode(text, special=True)
    assert not set(chatml.encode(text)) & set(chatml.special_tokens.values())
    assert chatml.decode(chatml.encode(text)) == text


def test_parsed_and_plain_encoding_do_not_disturb_each_other_in_threads(chatml):
    text = "a<|im_end|>b"
    expected = {special: chatml.encode(text, special=special) for special in (True, False)}
    with ThreadPoolExecutor(4) as pool:
        kinds = [True, False] * 200
        for special, ids in zip(
            kinds, pool.map(lambda s: chatml.encode(text, special=s), kinds), strict=True
        ):
            assert ids == expected[special]


def test_characters_used_inside_the_encoder_are_text_in_text(chatml):
    text = "a\ufdd0b" + "".join(map(chr, range(0xFDD0, 0xFDF0)))
    assert chatml.decode(chatml.encode(text)) == text


def test_any_unicode_is_encoded_with_one_copy_of_the_tokenizer(chatml, monkeypatch):
    tokenizer, copied = Tokenizer(chatml.backend), []
    plain = copy.deepcopy
    monkeypatch.setattr(copy, "deepcopy", lambda *args: copied.append(args) or plain(*args))
    for start in range(0xFDD0, 0xFDF0):
        text = "".join(map(chr, range(0xFDD0, start)))
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(copied) == 2  # one that parses special tokens, one that doesn't
    private = "".join(map(chr, [*range(0xFDD0, 0xFDF0), *range(0xF0000, 0x10FFFE)]))
    assert tokenizer.decode(tokenizer.encode(f"{private}<|im_end|>")) == f"{private}<|im_end|>"


def test_half_a_surrogate_pair_is_a_user_error(chatml):
    with pytest.raises(UserError, match="not Unicode"):
        chatml.encode("a\ud800")


def test_texts_encoded_together_are_as_each_alone(chatml, llama3):
    texts = [TEXT, "a<|im_end|>b", "", "\ufdd0" + TEXT, *(f"number {n}" for n in range(300))]
    for tokenizer in (chatml, llama3):
        together = tokenizer.encode_texts(texts)
        assert {ids.dtype.name for ids in together} == {"int32"}
        assert [ids.tolist() for ids in together] == [tokenizer.encode(text) for text in texts]
    with pytest.raises(UserError, match="not Unicode"):
        chatml.encode_texts(["a", "b\ud800"])


def test_a_special_token_that_plain_text_would_give_is_refused():
    core = tokenizers.Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
    core.add_special_tokens(["ab"])
    leaky = Tokenizer(PreTrainedTokenizerFast(tokenizer_object=core))
    assert leaky.encode("ba") == leaky.encode_texts(["ba"])[0].tolist() == [1, 0]
    for encode in (leaky.encode, lambda text: leaky.encode_texts(["a", text])):
        with pytest.raises(UserError, match="gives the special token 'ab' for plain text"):
            encode("ab")


def test_decode_can_keep_special_tokens(chatml):
    ids = chatml.encode("a<|im_end|>", special=True)
    assert chatml.decode(ids) == "a"
    assert chatml.decode(ids, skip_special=False) == "a<|im_end|>"


def test_vocabulary_size_counts_added_tokens(chatml):
    before = chatml.vocab_size
    other = copy.deepcopy(chatml)
    other.backend.add_tokens(["<extra>"])
    assert other.vocab_size == before + 1


def test_saving_keeps_ids_and_template(llama3, tmp_path):
    templated = llama3.with_template("{{ messages[0]['content'] }}")
    templated.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.chat_template == templated.chat_template
    assert loaded.encode(TEXT) == llama3.encode(TEXT)
    assert loaded.special_tokens == llama3.special_tokens
    assert (loaded.bos_id, loaded.eos_id, loaded.pad_id, loaded.adds_bos) == (
        llama3.bos_id,
        llama3.eos_id,
        llama3.pad_id,
        True,
    )


def test_saving_keeps_how_chats_are_rendered(llama3, tmp_path):
    llama3.with_settings({"enable_thinking": False}, "first_user").save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert (loaded.template_options, loaded.system) == ({"enable_thinking": False}, "first_user")
    assert AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)("a").input_ids
    loaded.with_settings({}, "template").save(tmp_path)
    assert "vcjax" not in (tmp_path / "tokenizer_config.json").read_text()


def test_saving_without_a_template_removes_an_old_one(llama3, tmp_path):
    llama3.with_template("x").save(tmp_path)
    llama3.save(tmp_path)
    assert load_tokenizer(tmp_path).chat_template is None


def test_a_saved_folder_loads_in_transformers_and_names_no_machine(llama3, tmp_path):
    llama3.with_template("x").save(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert not {"is_local", "local_files_only"} & set(config)
    again = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert again(TEXT).input_ids == llama3.backend(TEXT).input_ids


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_an_error_of_the_disk_that_names_the_folder(llama3, tmp_path):
    (tmp_path / "tokenizer.json").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        llama3.save(tmp_path)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path))


def test_with_template_leaves_the_original_alone(llama3):
    assert llama3.with_template("x").chat_template == "x"
    assert llama3.chat_template is None
    assert llama3.backend.chat_template is None


def test_the_template_in_tokenizer_config_is_found(llama3, tmp_path):
    llama3.save(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config["chat_template"] = "from config"
    path.write_text(json.dumps(config))
    assert load_tokenizer(tmp_path).chat_template == "from config"
    both = [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]
    config["chat_template"] = both
    path.write_text(json.dumps(config))
    assert load_tokenizer(tmp_path).chat_template == "d"
    config["chat_template"] = [{"name": "rag", "template": "r"}]
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match="rag"):
        load_tokenizer(tmp_path)


def test_a_truncation_left_in_the_file_does_not_cut_text(llama3, tmp_path):
    llama3.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    content = json.loads(path.read_text())
    content["truncation"] = {
        "direction": "Right",
        "max_length": 3,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    path.write_text(json.dumps(content))
    assert load_tokenizer(tmp_path).encode(TEXT) == llama3.encode(TEXT)
    assert load_tokenizer(tmp_path).encode(TEXT, special=True) == llama3.encode(TEXT)


def test_a_folder_without_tokenizer_files_names_the_mend(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MissingTokenizer, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_broken_files_and_absent_folders_are_user_errors(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        load_tokenizer(tmp_path / "absent")
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match="can't be read"):
        load_tokenizer(tmp_path)


def test_code_in_a_folder_is_never_run(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(b"")
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"auto_map": {"AutoTokenizer": ["evil.Evil", None]}, "tokenizer_class": "Evil"})
    )
    (tmp_path / "evil.py").write_text("import pathlib; pathlib.Path(__file__).unlink()")
    with pytest.raises(UserError, match="can't be read"):
        load_tokenizer(tmp_path)
    assert (tmp_path / "evil.py").exists()
