"""Constrained generation: whatever the model prefers, the text matches the constraint."""

import json
import re

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models
from transformers import PreTrainedTokenizerFast

from tests.generate.writer import Writer, assert_holds, sentencepiece_tokenizer
from tests.tiny import EOS_IDS, tiny_tokenizer
from vcjax.core.errors import UserError
from vcjax.generate.constraints import Constraints
from vcjax.generate.requests import ConstraintError, SamplingParams
from vcjax.text.tokenizer import Tokenizer

SCHEMAS = {
    "en": {
        "type": "object",
        "properties": {
            "reason": {"type": "string", "maxLength": 12},
            "verdict": {"enum": ["accept", "reject", 'no "idea"', None]},
            "scores": {
                "type": "array",
                "items": {"type": "integer", "minimum": 0, "maximum": 5},
                "minItems": 1,
                "maxItems": 3,
            },
            "by": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "minLength": 1, "maxLength": 8},
                    "sure": {"type": "boolean"},
                },
                "required": ["name", "sure"],
                "additionalProperties": False,
            },
        },
        "required": ["reason", "verdict", "scores", "by"],
        "additionalProperties": False,
    },
    "zh": {
        "type": "object",
        "properties": {
            "理由": {"type": "string", "minLength": 2, "maxLength": 12},
            "结论": {"type": "string", "enum": ["接受", "拒绝", "“不知道”"]},
            "条目": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "方面": {"type": "string", "pattern": "^[一-龥]{1,4}$"},
                        "分数": {"type": "integer", "enum": [0, 1, 2, 3, 4, 5]},
                    },
                    "required": ["方面", "分数"],
                    "additionalProperties": False,
                },
                "minItems": 1,
                "maxItems": 2,
            },
        },
        "required": ["理由", "结论", "条目"],
        "additionalProperties": False,
    },
}


@pytest.fixture(scope="module", params=["byte level", "byte fallback"])
def writer(request) -> Writer:
    if request.param == "byte level":
        return Writer(tiny_tokenizer(), EOS_IDS)
    return Writer(sentencepiece_tokenizer(), (2,))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_random_tokens_are_compact_json_of_the_schema(writer, language):
    schema = SCHEMAS[language]
    texts = {writer.write(writer.constraints.json(schema), seed) for seed in range(200)}
    assert len(texts) > 190
    for text in texts:
        assert_holds(text, schema)
        assert list(json.loads(text)) == schema["required"]
    assert any(re.search("[一-龥]", json.loads(text)[schema["required"][0]]) for text in texts)


names = st.sampled_from(["a", "b c", "理由", 'q"', "\\", "é😀"])
scalars = st.one_of(
    st.builds(lambda low, more: {"type": "string", "minLength": low, "maxLength": low + more},
              st.integers(0, 3), st.integers(0, 6)),
    st.builds(lambda low, more: {"type": "integer", "minimum": low, "maximum": low + more},
              st.integers(-120, 120), st.integers(0, 50)),
    st.builds(lambda values: {"enum": values},
              st.lists(st.one_of(names, st.integers(-9, 99), st.none()), min_size=1, max_size=4)),
    st.sampled_from([{"type": "boolean"}, {"type": ["null", "boolean"]}]),
)  # fmt: skip


def arrays(items):
    return st.builds(
        lambda items, low, more: {
            "type": "array", "items": items, "minItems": low, "maxItems": low + more,
        },
        items, st.integers(0, 2), st.integers(0, 2),
    )  # fmt: skip


def objects(values):
    return st.builds(
        lambda properties, optional: {
            "type": "object",
            "properties": properties,
            "required": sorted(set(properties) - optional),
            "additionalProperties": False,
        },
        st.dictionaries(names, values, max_size=3),
        st.sets(names),
    )


bounded = st.recursive(
    scalars,
    lambda inner: st.one_of(
        arrays(inner),
        objects(inner),
        st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=150)
@given(schema=bounded, seed=st.integers(0, 2**31))
def test_random_tokens_are_json_of_any_bounded_schema(writer, schema, seed):
    assert_holds(writer.write(writer.constraints.json(schema), seed), schema)


@pytest.mark.parametrize(
    "pattern",
    [
        r"[ab]{2,5}c?",
        r"(accept|reject): [0-5](\.5)?",
        r"^\d{4}-\d{2}-\d{2}$",
        r"(接受|拒绝)[，。]?[一-龥]{0,6}",
        r"[a-z😀][^\n]{0,6}",
        r"(?i)yes|no",
    ],
)
def test_a_text_is_what_the_regex_matches_as_a_whole(writer, pattern):
    texts = {writer.write(writer.constraints.regex(pattern), seed) for seed in range(60)}
    assert len(texts) > 4
    for text in texts:
        assert re.fullmatch(pattern, text)


@pytest.mark.parametrize(
    "choices",
    [
        ["yes", "yesterday", "no"],  # one is a prefix of another
        ["接受", "拒绝", "不知道"],
        [".*", "a|b", "(", "\\d", 'say "no"', "a b", "line\nbreak", "tab\t", "-^$[]{}", "😀"],
        ["only"],
    ],
)
def test_a_text_is_one_of_the_choices_and_any_of_them_can_come(writer, choices):
    texts = {writer.write(writer.constraints.choices(choices), seed) for seed in range(300)}
    assert texts == set(choices)


def test_a_text_may_end_where_it_is_whole_by_any_eos(writer):
    constraint = writer.constraints.regex("a{2,3}")
    letter = writer.constraints.token_bytes
    ends = set(writer.eos_ids)
    for made in (0, 1, 2):
        allowed = writer.allowed(constraint)
        assert allowed & ends == (ends if made == 2 else set())
        assert {letter(token)[:1] for token in allowed - ends} == {b"a"}
        one = next(token for token in allowed - ends if letter(token) == b"a")
        assert constraint.accept(one) == (made == 2)


def test_what_one_text_has_taken_another_still_may(writer):
    first, second = (writer.constraints.choices(["ab", "cd"]) for _ in range(2))
    before = writer.allowed(second)
    first.accept(min(writer.allowed(first)))
    assert writer.allowed(second) == before != writer.allowed(first)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("json", {"type": "nonsense"}, "JSON schema can't be compiled: Invalid type: nonsense"),
        ("json", {"$ref": "#/nowhere"}, "JSON schema can't be compiled: .*nowhere"),
        ("json", {"$ref": "#"}, "JSON schema can't be compiled: no text can begin"),
        ("json", {"type": 5}, "JSON schema can't be compiled: type must be a string"),
        ("json", {"type": "string", "pattern": "(a"}, "JSON schema can't .*: unclosed group"),
        (
            "json",
            {"not": {"type": "string"}},
            'JSON schema can\'t .*: Unimplemented keys: \\["not"',
        ),
        ("json", {"type": "integer", "minimum": 5, "maximum": 2}, "JSON schema .* Unsatisfiable"),
        ("json", {"enum": ["\ud800"]}, "JSON schema can't be compiled"),
        ("json", {"enum": [{1, 2}]}, "JSON schema can't be compiled: .*not JSON serializable"),
        ("json", {"enum": [f"word {n}" for n in range(50_000)]}, "JSON schema .* too big"),
        ("json", True, "JSON schema can't be compiled"),
        ("regex", "(a", "regex can't be compiled: unclosed group"),
        ("regex", "a(?=b)", "regex can't be compiled: look-around"),
        ("regex", "(a)\\1", "regex can't be compiled: backreferences"),
        ("regex", "[a&&b]", "regex can't be compiled: no text can begin"),
        ("regex", "\ud800", "regex can't be compiled"),
        ("choices", [], "choices must be a list"),
        ("choices", ["a", ""], "choices must be a list of texts that aren't empty"),
        ("choices", "ab", "choices must be a list of texts"),
        ("choices", ["\ud800"], "choices can't be compiled"),
    ],
)
def test_what_cannot_be_compiled_is_the_user_s_mistake_in_one_line(writer, kind, given, message):
    with pytest.raises(UserError, match=message) as raised:
        getattr(writer.constraints, kind)(given)
    assert "\n" not in str(raised.value)


def test_an_expression_that_outgrows_its_bound_fails_and_harms_no_other(writer):
    endless = writer.constraints.regex("(a{1000}){1000}")
    other = writer.constraints.choices(["still", "here"])
    with pytest.raises(ConstraintError, match="too many"):
        writer.write(endless, 1)
    with pytest.raises(ConstraintError):
        endless.mask()
    assert writer.write(other, 1) in {"still", "here"}


def test_a_token_that_was_not_allowed_is_an_error(writer):
    constraint = writer.constraints.choices(["ab"])
    wrong = min(set(range(writer.vocab)) - writer.allowed(constraint))
    with pytest.raises(ConstraintError):
        constraint.accept(wrong)


def test_a_model_without_eos_is_refused_with_what_it_lacks():
    tokenizer = tiny_tokenizer()
    constraints = Constraints(tokenizer, tokenizer.vocab_size, ())
    with pytest.raises(UserError, match=r"no EOS token.*eos_token_id"):
        constraints.regex("a+")


def test_a_tokenizer_whose_bytes_are_unknown_is_refused():
    core = tokenizers.Tokenizer(models.WordLevel({"a": 0, "</s>": 1}, "</s>"))
    words = Tokenizer(PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>"))
    with pytest.raises(UserError, match="can't be constrained with this tokenizer"):
        Constraints(words, 2, (1,))


def test_a_random_model_writes_nothing_but_what_its_constraint_allows(text_engine):
    asked = [
        *({"json_schema": schema} for schema in SCHEMAS.values()),
        {"regex": r"(接受|reject): [0-5]"},
        {"choices": ("accept", "拒绝")},
    ]
    for wanted in asked:
        ends = []
        texts = text_engine.generate(
            ["Grade.", "请评分。"] * 5,
            SamplingParams(300, temperature=1.0, seed=1, **wanted),
            lambda index, text, result, ends=ends: ends.append(result.finish_reason),
        )
        assert ends == ["stop"] * 10
        for text in texts:
            if "json_schema" in wanted:
                assert_holds(text, wanted["json_schema"])
            elif "regex" in wanted:
                assert re.fullmatch(wanted["regex"], text)
            else:
                assert text in wanted["choices"]


def test_free_and_constrained_requests_decode_together(text_engine):
    schema = SCHEMAS["en"]
    free, bound = (
        SamplingParams(20, 1.0, seed=3),
        SamplingParams(300, 1.0, seed=3, json_schema=schema),
    )
    requests = [text_engine.request("Grade.", s) for s in (free, bound, free)]
    alone = text_engine.engine.generate([text_engine.request("Grade.", free)])
    together = text_engine.engine.generate(requests)
    assert [together[0], together[2]] == alone * 2
    assert_holds(text_engine.tokenizer.decode(together[1].tokens), schema)
