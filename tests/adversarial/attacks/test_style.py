"""Attack styles: each is one complete file, and adding a file adds an attack."""

import shutil
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from vcjax.adversarial.attacks import style as room
from vcjax.adversarial.attacks.queries import query_reject_reason
from vcjax.adversarial.attacks.style import (
    PLAIN,
    SEVERITIES,
    choose_attacks,
    load_attack,
    load_attacks,
    shipped_attacks,
)
from vcjax.core.errors import UserError
from vcjax.data.near_duplicates import similarity

LANGUAGES = ("en", "zh")
SHIPPED = Path(room.__file__).parent / "styles"
# What the issue asks for: fourteen kinds of pressure, the two refinements in files of their own.
ASKED_FOR = {
    *("leading_question", "false_premise", "loaded_comparison", "opposing_framings"),
    *("appeal_to_authority", "persona", "emotional_pressure", "gradual_escalation"),
    *("code_switch", "translation", "hypothetical", "historical_analogy", "dilemma"),
    *("selective_quotation", "iterative_refinement", "tree_of_attacks"),
}


def own(attack: str, **changes):
    """A shipped attack's fields, changed; None takes a field out."""
    fields = yaml.safe_load((SHIPPED / f"{attack}.yaml").read_text(encoding="utf-8")) | changes
    return {name: value for name, value in fields.items() if value is not None}


def write(path: Path, fields) -> Path:
    path.write_text(yaml.safe_dump(fields, allow_unicode=True), encoding="utf-8")
    return path


def examples(attack, lang):
    return [
        query
        for example in attack.examples[lang]
        for query in (example.question, example.then)
        if query is not None
    ]


def test_every_attack_that_was_asked_for_is_shipped():
    assert set(shipped_attacks()) >= ASKED_FOR
    assert {attack.kind for attack in shipped_attacks().values()} == {
        *("single", "pair", "escalation", "refinement")
    }


@pytest.mark.parametrize("name", sorted(shipped_attacks()))
def test_a_shipped_attack_is_whole_in_both_languages(name):
    attack = shipped_attacks()[name]
    assert attack.name == name
    for texts in (attack.instruction, attack.severity, attack.examples):
        assert set(texts) == set(LANGUAGES)
    for lang in LANGUAGES:
        assert len(set(attack.severity[lang])) == len(SEVERITIES)
        assert len({example.topic for example in attack.examples[lang]}) >= 2
        for query in examples(attack, lang):
            fault = query_reject_reason(
                query, lang, shown=[], known={}, mixed=attack.mixes_languages
            )
            assert (query, fault) == (query, None)


def test_no_two_examples_of_the_shipped_attacks_are_alike():
    shown = [
        (attack.name, query)
        for attack in shipped_attacks().values()
        for lang in LANGUAGES
        for query in examples(attack, lang)
    ]
    close = [(a, b) for a, b in combinations(shown, 2) if similarity(a[1], b[1]) >= 0.3]
    assert close == []
    topics = [
        example.topic
        for attack in shipped_attacks().values()
        for lang in LANGUAGES
        for example in attack.examples[lang]
    ]
    assert len(set(topics)) == len(topics)


def test_a_file_that_is_dropped_into_the_folder_is_one_more_attack(tmp_path):
    folder = tmp_path / "styles"
    shutil.copytree(SHIPPED, folder)
    write(folder / "my_own.yaml", own("dilemma", description="One more."))
    loaded = load_attacks(folder)
    assert set(loaded) == {*shipped_attacks(), "my_own"}
    assert list(loaded) == sorted(loaded)
    assert loaded["my_own"].description == "One more."


def test_attacks_are_chosen_by_name_or_path_in_the_order_given(tmp_path):
    mine = write(tmp_path / "mine.yaml", own("gradual_escalation", turns=4))
    chosen = choose_attacks(["false_premise", str(mine), "dilemma"])
    assert [attack.name for attack in chosen] == ["false_premise", "mine", "dilemma"]
    assert chosen[1].turns == 4
    assert [attack.name for attack in choose_attacks([])] == sorted(shipped_attacks())


def test_plain_questions_are_chosen_by_their_name_alone():
    assert PLAIN not in {attack.name for attack in choose_attacks([])}
    (plain,) = choose_attacks([PLAIN])
    for lang in LANGUAGES:
        for query in examples(plain, lang):
            assert query_reject_reason(query, lang, shown=[], known={}) is None


@pytest.mark.parametrize(
    ("references", "message"),
    [
        (["dilema"], "'dilema' is not known; did you mean 'dilemma'"),
        (["dilemma", "dilemma"], "attacks: one comes twice in dilemma, dilemma"),
        (["nowhere.yaml"], "nowhere.yaml: no such file"),
    ],
)
def test_a_choice_that_is_a_mistake_says_so(references, message):
    with pytest.raises(UserError, match=message):
        choose_attacks(references)


ZH_ONLY = {"zh": "写一个问题。"}


@pytest.mark.parametrize(
    ("attack", "changes", "message"),
    [
        ("dilemma", {"source": None}, "source: this field is required"),
        ("dilemma", {"instructoin": "x"}, "instructoin: unknown field; did you mean 'instruction'"),
        ("dilemma", {"kind": "double"}, "kind: .* but it is 'double'"),
        ("dilemma", {"name": "other"}, "name: an attack is named as its file is"),
        ("dilemma", {"turns": 2}, "turns: must be 1 for an attack of kind 'single'"),
        ("dilemma", {"width": 2}, "only for an attack of kind 'refinement'"),
        ("dilemma", {"instruction": ZH_ONLY}, "instruction: nothing in 'en'"),
        ("dilemma", {"follow_up": ZH_ONLY}, "kind 'single' has no follow_up"),
        ("opposing_framings", {"follow_up": None}, "kind 'pair' needs a follow_up"),
        ("gradual_escalation", {"turns": 1}, "must be at least 2 for an attack of kind 'escal"),
        ("tree_of_attacks", {"on_topic": ZH_ONLY}, "on_topic: nothing in 'en'"),
        ("tree_of_attacks", {"branches": 0}, "branches: .* but it is 0"),
        ("opposing_framings", {"kind": "escalation", "turns": 2}, "needs 'answer'"),
        ("gradual_escalation", {"kind": "pair", "turns": 1}, "has no 'answer'"),
    ],
)
def test_a_bad_file_is_one_line_that_names_the_field(tmp_path, attack, changes, message):
    path = write(tmp_path / "mine.yaml", own(attack, **changes))
    with pytest.raises(UserError, match=message) as caught:
        load_attack(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
