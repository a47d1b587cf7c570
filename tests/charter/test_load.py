"""Every mistake in a charter file is one line that names the file and the field or line."""

import copy
import random
from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vcjax.charter.load import as_shipped_now, charter_parents, load_charter
from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError
from vcjax.core.lineage import Parent


def charter_data() -> dict:
    return {
        "name": "small",
        "version": "1.0",
        "description": {"en": "A small charter.", "zh": "一份小章程。"},
        "domains": [
            {
                "id": "society",
                "name": {"en": "Society", "zh": "社会"},
                "subdomains": [
                    {
                        "id": "gender",
                        "name": {"en": "Gender", "zh": "性别"},
                        "topics": {"en": ["equal pay"], "zh": ["同工同酬"]},
                    },
                    {
                        "id": "religion",
                        "name": {"en": "Religion", "zh": "宗教"},
                        "topics": {"en": ["religious dress"], "zh": ["宗教服饰"]},
                        "held_out": True,
                    },
                ],
            }
        ],
        "principles": [
            {
                "id": "language",
                "text": {"en": "Answer in the question's language.", "zh": "用提问的语言回答。"},
                "checks": [{"name": "answered_in_language", "args": {"threshold": 0.5}}],
            }
        ],
        "persona": {"en": "You are an assistant.", "zh": "你是一位助手。"},
        "rubric": {"en": "Score from 0 to 5.", "zh": "打 0 至 5 分。"},
    }


def edited(path: str, value: object) -> dict:
    """The small charter with the value at a dotted path replaced."""
    data = charter_data()
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place = data
    for part in parents:
        place = place[part]
    place[last] = value
    return data


def save(tmp_path, data: object) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return str(path)


def mistake(reference: str) -> str:
    with pytest.raises(UserError) as caught:
        load_charter(reference)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_whole_charter_loads(tmp_path):
    charter = load_charter(save(tmp_path, charter_data()))
    assert charter.languages == ("en", "zh")
    assert charter.accept_score == 4
    assert [s.id for s in charter.subdomains()] == ["gender", "religion"]
    assert [s.id for s in charter.subdomains(include_held_out=False)] == ["gender"]
    assert charter.subdomain("gender").topics.get("zh") == ("同工同酬",)
    assert [p.id for p in charter.principles_of("gender")] == ["language"]
    assert charter.thresholds.principle == charter.thresholds.facts == 3


SHARE = "principles.0.checks.0.args.threshold"
CHECK = "principles.0.checks.0"
TWICE = [
    {"id": "gender", "name": {"en": "G", "zh": "性"}, "topics": {"en": ["a"], "zh": ["甲"]}}
] * 2


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("personna", {"en": "x", "zh": "甲"}, "personna: unknown field; did you mean 'persona'?"),
        (
            "domains.0.subdomains.1.heldout",
            True,
            "domains[0].subdomains[1].heldout: unknown field; did you mean 'held_out'?",
        ),
        ("principles.0.cheks", [], "principles[0].cheks: unknown field; did you mean 'checks'?"),
        ("persona.fr", "x", "persona.fr: unknown field"),
        ("persona", None, "persona: this field is required"),
        ("domains", [], "charter has no domains"),
        ("domains", None, "charter has no domains"),
        ("domains.0.subdomains", [], "domain 'society' has no subdomains"),
        ("domains.0.subdomains.0.topics", None, "domains[0].subdomains[0].topics: no topics in"),
        ("domains.0.subdomains.0.topics.zh", [], "topics: no topics in 'zh'"),
        ("domains.0.subdomains.0.topics.zh", "同工同酬", "topics.zh: should be a valid tuple"),
        ("domains.0.subdomains", TWICE, "subdomains: 'gender' is there twice"),
        ("domains", [charter_data()["domains"][0]] * 2, "domains: 'society' is there twice"),
        ("principles", charter_data()["principles"] * 2, "principles: 'language' is there twice"),
        ("principles.0.checks", [{"name": "not_a_refusal"}] * 2, "'not_a_refusal' is there twice"),
        ("principles.0.id", "my/rule", "principles[0].id"),
        ("principles.0.domains", ["gendre"], "unknown subdomain 'gendre'; did you mean 'gender'"),
        ("principles.0.text", {"en": "Only."}, "principles[0].text: no text in 'zh'"),
        ("rubric.en", "  ", "rubric.en"),
        (f"{CHECK}.name", "answer_in_language", "did you mean 'answered_in_language'"),
        (
            f"{CHECK}.args",
            {"treshold": 0.5},
            "has no argument 'treshold'; did you mean 'threshold'",
        ),
        (SHARE, "high", "principles[0].checks[0]: argument 'threshold' of check"),
        (SHARE, "0.5", "should be a valid number, but it is '0.5'"),
        (SHARE, True, "should be a valid number, but it is True"),
        (SHARE, 1.5, "should be less than or equal to 1, but it is 1.5"),
        (CHECK, {"name": "contains_element"}, "'contains_element' needs the argument 'any_of'"),
        (
            CHECK,
            {"name": "contains_element", "args": {"any_of": {"en": ["rights"]}}},
            "principles[0].checks[0].args.any_of: no entry for 'zh'",
        ),
        (
            CHECK,
            {"name": "sane_length", "args": {"words": [50, 5]}},
            "the lower bound 50 is above the upper bound 5",
        ),
        ("languages", ["en", "fr"], "languages[1]: should be 'en' or 'zh'"),
        ("languages", [], "languages"),
        ("languages", ["en", "en"], "languages: 'en' is there twice"),
        ("accept_score", 6, "accept_score: should be less than or equal to 5, but it is 6"),
        ("accept_score", "4", "accept_score: should be a valid integer"),
        ("thresholds", {"fact": 3}, "thresholds.fact: unknown field; did you mean 'facts'?"),
        ("thresholds", {"facts": 6}, "thresholds.facts: should be less than or equal to 5"),
        ("version", 1.0, "version: should be a valid string, but it is 1.0; write it in quotes"),
        ("floor_rules", [], "floor rules bind every charter and can't be changed"),
        ("floor", False, "floor rules bind every charter and can't be changed"),
        ("no_floor", True, "floor rules bind every charter and can't be changed"),
        ("principles.0.Floor-Rules", [], "floor rules bind every charter and can't be changed"),
    ],
)
def test_a_mistake_is_one_line_with_the_file_and_the_field(tmp_path, path, value, said):
    message = mistake(save(tmp_path, edited(path, value)))
    assert str(tmp_path / "mine.yaml") in message
    assert said in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: small\npersona: {en: [\n", "mine.yaml:3: not YAML"),
        ("name: small\n\tversion: 1\n", "mine.yaml:2: not YAML"),
        ("name: small\nname: large\n", "mine.yaml:2: not YAML (the key 'name' is there twice)"),
        ("name: small\nrubric: \x00\n", "mine.yaml:2: not YAML"),
        ("version: 2026-13-01\n", "mine.yaml: not YAML"),
        ("? [a, b]\n: 1\n", "mine.yaml:1: not YAML"),
        ("", "mine.yaml: a charter is a mapping of fields, but this is an empty file"),
        ("- a\n- b\n", "mine.yaml: a charter is a mapping of fields, but this is a list"),
        ("!!python/object/apply:os.getcwd []\n", "mine.yaml:1: not YAML"),
    ],
)
def test_a_file_that_is_no_charter_names_the_line(tmp_path, text, said):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    assert said in mistake(str(path))


def test_files_that_cannot_be_read(tmp_path):
    assert "absent.yaml: no such file" in mistake(str(tmp_path / "absent.yaml"))
    assert "can't be read" in mistake(str(tmp_path))
    (tmp_path / "latin.yaml").write_bytes("name: café".encode("latin-1"))
    assert "latin.yaml: not UTF-8" in mistake(str(tmp_path / "latin.yaml"))
    assert "did you mean 'universal'" in mistake("univrsal")


def test_a_charter_of_one_language_needs_no_other(tmp_path):
    data = edited("languages", ["en"])
    for text in (data["persona"], data["rubric"], data["principles"][0]["text"]):
        del text["zh"]
    charter = load_charter(save(tmp_path, data))
    assert "You are an assistant." in charter.system_prompt("en")
    with pytest.raises(UserError, match="no text in language 'zh'"):
        charter.system_prompt("zh")


def test_a_charter_is_frozen():
    charter = Charter.model_validate(charter_data())
    with pytest.raises(ValidationError):
        charter.accept_score = 0


def shuffled(value: object, rng: random.Random) -> object:
    """The same data with the keys of every mapping in another order."""
    if isinstance(value, list):
        return [shuffled(item, rng) for item in value]
    if isinstance(value, dict):
        keys = list(value)
        rng.shuffle(keys)
        return {key: shuffled(value[key], rng) for key in keys}
    return copy.copy(value)


@given(st.randoms(use_true_random=False))
def test_the_hash_does_not_depend_on_the_order_of_keys(rng):
    other = Charter.model_validate(shuffled(charter_data(), rng))
    assert other.content_hash == Charter.model_validate(charter_data()).content_hash


@given(st.text("abc甲乙", min_size=1, max_size=5))
def test_the_hash_changes_with_any_text(text):
    changed = Charter.model_validate(edited("persona.zh", text))
    assert changed.content_hash != Charter.model_validate(charter_data()).content_hash


def test_a_charter_survives_its_own_dump():
    charter = Charter.model_validate(charter_data())
    assert Charter.model_validate(charter.model_dump(mode="json")) == charter


def test_topics_are_for_training_or_kept_out_of_it():
    topics = {"en": ["equal pay", "quotas"], "zh": ["同工同酬", "配额"]}
    subdomain = "domains.0.subdomains.0"
    data = edited(f"{subdomain}.topics", topics)
    data["domains"][0]["subdomains"][0]["held_out_topics"] = {"en": ["quotas"], "zh": ["配额"]}
    charter = Charter.model_validate(data)
    gender, religion = charter.subdomains()
    assert gender.topics_for("en", held_out=False) == ("equal pay",)
    assert gender.topics_for("zh", held_out=True) == ("配额",)
    assert religion.topics_for("en", held_out=False) == ()
    assert religion.topics_for("en", held_out=True) == ("religious dress",)


@pytest.mark.parametrize(
    ("held_out", "said"),
    [
        ({"en": ["equal play"]}, "held_out_topics: 'equal play' is none of the topics in 'en'"),
        ({"zh": ["同工同酬"]}, "held_out_topics: no topic in 'zh' is left to train on"),
    ],
)
def test_held_out_topics_are_some_of_the_topics(tmp_path, held_out, said):
    data = edited("domains.0.subdomains.0.topics", {"en": ["equal pay"], "zh": ["同工同酬"]})
    data["domains"][0]["subdomains"][0]["held_out_topics"] = held_out
    assert said in mistake(save(tmp_path, data))


def test_a_charter_may_have_the_domains_of_a_shipped_one(tmp_path):
    reference = save(tmp_path, edited("domains", "vcllm"))
    assert load_charter(reference).domains == load_charter("universal").domains
    assert "domains: 'univrsal' is no shipped charter" in mistake(
        save(tmp_path, edited("domains", "univrsal"))
    )


def test_every_file_of_a_charter_is_in_the_lineage(tmp_path):
    own = save(tmp_path, charter_data())
    assert [(one.role, one.reference) for one in charter_parents(own)] == [("charter", own)]
    shared = [(one.role, one.reference) for one in charter_parents("vcllm")]
    assert shared == [("charter", "vcllm"), ("charter_domains", "universal")]


def test_a_run_that_began_with_the_charters_of_the_version_before_continues():
    """Their files had a copy of the domains each; the charters are the same."""
    earlier = "b62b87fabf8649439d5b382ea0ecb109f0be01b7876ccd35cd2a0709463bb988"
    recorded = [Parent("model", "m", "0" * 64), Parent("charter", "verifiable", earlier)]
    assert as_shipped_now(recorded) == [recorded[0], *charter_parents("verifiable")]


def test_a_run_that_began_before_the_shipped_charters_had_terms_continues():
    without_terms = "83005aa124cdeba242d14d874c3c5f278bdfb180e452907b3b61d1b09c15a8da"
    now = charter_parents("vcllm")
    recorded = [now[0], replace(now[1], hash=without_terms)]
    assert as_shipped_now(recorded) == now
    assert as_shipped_now([replace(now[1], role="charter", hash=without_terms)]) == (
        charter_parents("universal")
    )


def test_terms_change_no_score_and_so_not_the_hash_by_which_scores_are_stored():
    charter = load_charter("universal")
    data = charter.model_dump()
    for domain in data["domains"]:
        for subdomain in domain["subdomains"]:
            subdomain["terms"] = {}
    assert Charter.model_validate(data).content_hash == charter.content_hash
    earlier = "378b2565b09c016adf821dc7ebcb552291da64113a8091ae534e2bddc5849ee3"
    assert charter.content_hash == earlier  # of the version without terms
