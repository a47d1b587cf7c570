"""Probes: both directions differ in the claim alone, and controls press nothing."""

import pytest

from tests.adversarial.pressure.facts import numbered_fact
from vcjax.adversarial.attacks.style import shipped_attacks
from vcjax.adversarial.pressure.probes import (
    DIRECTIONS,
    Probe,
    evidence_probe,
    neutral_probes,
    preamble_probe,
    pressed_probe,
    with_system,
)
from vcjax.adversarial.pressure.style import choose_styles, controls, load_style, shipped_styles
from vcjax.core.errors import UserError

STYLES = shipped_styles()
LANGUAGES = ("en", "zh")


def text_of(probe: Probe) -> str:
    return "\n".join(turn["content"] for turn in probe.messages)


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("style", STYLES.values(), ids=list(STYLES))
def test_the_two_directions_differ_in_the_answers_alone(style, lang) -> None:
    for number in range(8):  # several wordings are drawn
        fact = numbered_fact(number)
        false, true = (pressed_probe(fact, lang, style, each, seed=0) for each in DIRECTIONS)
        right, wrong = fact.sentences(lang)
        swapped = text_of(true).replace(right, "#").replace(wrong, right).replace("#", wrong)
        assert text_of(false) == swapped != text_of(true)


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("style", STYLES.values(), ids=list(STYLES))
def test_the_user_claims_one_answer_and_asks_last(style, lang) -> None:
    fact = numbered_fact(1)
    for claimed in DIRECTIONS:
        probe = pressed_probe(fact, lang, style, claimed, seed=0)
        claim = fact.sentence(lang, claimed == "true")
        other = fact.sentence(lang, claimed != "true")
        users = [turn["content"] for turn in probe.messages if turn["role"] == "user"]
        assert [turn["role"] for turn in probe.messages[::2]] == ["user"] * len(users)
        assert claim in users[-1]
        assert fact.texts[lang].questions[0] in users[-1]
        assert other not in "".join(users)
        given = [turn["content"] for turn in probe.messages if turn["role"] == "assistant"]
        assert given == [other] * len(given)  # it has said the opposite before it is pressed


def test_every_style_has_four_wordings_in_both_languages_and_a_source() -> None:
    for style in STYLES.values():
        assert {lang: len(own) for lang, own in style.wordings.items()} == {"en": 4, "zh": 4}
        assert style.source
        assert style.attack is None or style.attack in shipped_attacks()


def test_the_neutral_probes_are_the_wordings_alone() -> None:
    fact = numbered_fact(3)
    probes = list(neutral_probes(fact, "en"))
    assert [text_of(probe) for probe in probes] == list(fact.texts["en"].questions)
    assert len({probe.id for probe in probes}) == 3


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_preamble_is_as_long_as_the_pressure_and_claims_nothing(lang) -> None:
    for style in STYLES.values():
        for number in range(5):
            fact = numbered_fact(number)
            probe = preamble_probe(fact, lang, style, seed=0)
            pressed = pressed_probe(fact, lang, style, "false", seed=0)
            assert not any(answer in text_of(probe) for answer in probe.answers)
            longest = max(map(len, controls().preambles[lang])) + 2
            users = [turn["content"] for turn in pressed.messages]
            length = sum(map(len, users))
            assert length <= len(text_of(probe)) + 1 <= length + longest + 2


@pytest.mark.parametrize("lang", LANGUAGES)
def test_evidence_says_that_its_context_is_made_up(lang) -> None:
    marks = {"en": ("made up", "fantasy", "board game"), "zh": ("虚构", "奇幻", "桌游")}
    for wording in controls().evidence[lang]:
        assert any(mark in wording for mark in marks[lang])
    probe = evidence_probe(numbered_fact(0), lang, seed=0)
    assert probe.answers[1] in text_of(probe)
    assert probe.answers[0] not in text_of(probe)


def test_a_system_message_comes_first_and_an_empty_one_changes_nothing() -> None:
    probes = list(neutral_probes(numbered_fact(0), "en"))
    shown = with_system(probes, "Be fair.")
    assert [probe.messages[0] for probe in shown] == [{"role": "system", "content": "Be fair."}] * 3
    assert [probe.messages[1:] for probe in shown] == [probe.messages for probe in probes]
    assert with_system(probes, "") == probes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("description: D\nsource: S\nwordings: {en: [['{question}']]}", "has no {claim}"),
        ("description: D\nsource: S\nwordings: {en: [['{claim}']]}", "must have {question}"),
        ("description: D\nwordings: {en: [['{claim} {question}']]}", "source: this field"),
    ],
)
def test_a_bad_style_is_named_with_its_field(tmp_path, text, message) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load_style(path)
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_an_unknown_style_is_refused_with_the_closest_name() -> None:
    with pytest.raises(UserError, match="did you mean 'majority'"):
        choose_styles(["majorty"])
