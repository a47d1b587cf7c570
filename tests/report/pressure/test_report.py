"""The report of the pressure experiment in both languages, with all that a summary may have."""

import itertools
from collections.abc import Iterator

import pytest

from tests.report.bilingual import Words, assert_translated, both
from tests.report.conftest import LINEAGE
from vcjax.adversarial.pressure.rates import RATES
from vcjax.adversarial.pressure.style import shipped_styles
from vcjax.evaluation.facts.fact import load_facts
from vcjax.report.messages import identifier, written_in
from vcjax.report.pressure.report import write_pressure_report
from vcjax.report.pressure.verdict import stated, verdict_lines

NAMES = r"PARROT|Brier|xquad_en|exact_match|waters-\d|1-cpt|2-sft|train|demo|verify"
"""A protocol, a score, a task and its metric, a fact, and the words of a lineage."""
_PARTS = {"styles": ("threat", "persona"), "topics": ("waters", "human_rights_law")}
_CLAIMS = ("neutral", "pressed", "stated")
_HALF_LIVES = (
    {"shown": True, "value": 3.25, "low": 1.5, "high": None, "n": 90, "last": 8},
    {"shown": True, "value": None, "low": 6.5, "high": None, "n": 90, "last": 8},
    {"shown": True, "value": None, "low": None, "high": None, "n": 90, "last": 8},
    {"shown": False, "value": None, "low": None, "high": None, "n": 90, "last": 8},
)


def rate(values: Iterator[int], n: int = 90) -> dict:
    """Another rate each time."""
    value = next(values) / 1000
    return {"value": value, "low": value - 0.05, "high": value + 0.06, "n": n}


def arm(data: str, values: Iterator[int], *, trained: bool = True) -> dict:
    runs = [
        {"seed": seed, "steps": 90, "tokens": 12345, "loss_tokens": 2345}
        | {"first_loss": 2.125, "last_loss": 1.0625 + seed}
        for seed in ((0, 1) if trained else ())
    ]
    by = {name: {each: rate(values) for each in names} for name, names in _PARTS.items()}
    return {
        "data": data,
        "seeds": [run["seed"] for run in runs],
        "training": runs,
        "seconds": 75.0 + next(values),
        "documents": {"en": {"perplexity": next(values) / 10}},
        "capability": {"xquad_en": {"metric": "exact_match", "mean": 0.25, "stderr": 0.043}},
        "languages": {
            "en": {
                "rates": {name: rate(values) for name in RATES},
                "trait": "" if trained else "flatterer",
                "calibration": {
                    claim: {"preference": next(values) / 100, "brier": next(values) / 1000}
                    for claim in _CLAIMS
                },
                "by_style": {"flips": by["styles"], "contrarian": by["styles"]},
                "by_topic": {"flips": by["topics"]},
            }
        },
    }


def outside(values: Iterator[int]) -> dict:
    states = ("robust_correct", "sycophantic_error", "consistent_error", "self_correct_anomaly")
    return {
        "languages": {"en": {n: rate(values) for n in ("flips", "contrarian", "corrections")}},
        "parrot": {
            "items": 40,
            "rates": {n: rate(values) for n in ("base", "pressed", "follow_rate")},
            "states": {state: next(values) / 1000 for state in states},
            "confidence": {"correct": -0.125, "asserted": 0.0625},
        },
    }


@pytest.fixture(scope="module")
def summary(domains) -> dict:
    values = itertools.count(111)
    arms = {
        "base": arm("none", values, trained=False),
        **{n: arm(n, values) for n in ("clean", "one_sided", "adversarial", "mixed")},
        "dpo": arm("own.jsonl", values),
    }
    named = {"true": 1, "false": 2, "other": 3}
    answers = ("A", "B", "A, not B", "")
    change = {"difference": -0.125, "low": -0.25, "high": -0.0625, "n": 90, "p": 0.0001}
    small = {"difference": 0.025, "low": -0.5, "high": 0.5, "n": 7, "p": 0.6}
    gains = [rate(values) for _ in range(5)]
    own = [{"half_life": life, "gains": gains} for life in _HALF_LIVES]
    return {
        "model": "smollm2-135m-instruct",
        "charter": "universal",
        "domains": domains,
        "part": "dev",
        "readings": 4,
        "seed": 0,
        "facts": {"facts": 800, "source_read": 12, "hash": "a" * 64},
        "styles": {"trained": ["majority"], "held_out": ["threat", "persona", "insistence"]},
        "knowledge": {
            "en": {"known": 560, "wrong": 167, "unsure": 73, "measured": True},
            "zh": {"known": 386, "wrong": 358, "unsure": 56, "measured": False},
        },
        "rates": {name: each.label for name, each in RATES.items()},
        "arms": arms,
        "contrasts": [
            {"lang": "en", "arms": ["adversarial", "clean"], "rate": name, **record}
            for name, record in (
                *((name, {**change, "p_holm": 0.0013}) for name in RATES),
                ("flips", small),
            )
        ],
        "answers": [
            {
                "id": "waters-1",
                "lang": "en",
                "style": "threat",
                "domain": "migration",
                "messages": [
                    {"role": "system", "content": "You keep to {facts}."},
                    {"role": "user", "content": "Is it A?"},
                    {"role": "assistant", "content": "It is."},
                ],
                "true": "A",
                "false": "B",
                "answers": dict(zip(arms, answers, strict=False)),
            }
        ],
        "named": dict.fromkeys(arms, named),
        "outside": {
            "knowledge": {"en": {"known": 21, "wrong": 19, "unsure": 1, "measured": False}},
            "arms": {name: outside(values) for name in arms},
        },
        "half_life": {
            "steps": [0, 1, 2, 4, 8],
            "pairs": 64,
            "learning_rate": 3e-4,
            "clean": "clean",
            "arms": {
                "clean": {"en": {"ordinary": {"base": own[2]}, "opposing": {"base": own[0]}}},
                "adversarial": {
                    "en": {
                        "ordinary": {"base": own[1], "clean": own[3]},
                        "opposing": {"base": own[0], "clean": own[3]},
                    }
                },
            },
        },
        "attacks": {
            "attacker": "model",
            "critic": "judge",
            "same_family": True,
            "requested": 40,
            "written": 30,
            "unjudged": 3,
            "stand_ins": {"does not press": 4, "names an answer": 3, "malformed": 2, "error": 1},
        },
    }


@pytest.fixture(scope="module")
def pages(summary, tmp_path_factory) -> tuple[Words, Words]:
    folder = tmp_path_factory.mktemp("pages")
    return both(folder, write_pressure_report, summary=summary, lineage=LINEAGE)


def test_a_chinese_report_has_no_english_and_the_same_numbers(pages):
    assert_translated(*pages, names=NAMES)


def test_a_finding_reads_as_a_sentence_in_either_language(pages, summary):
    english, chinese = pages
    found = "Adversarial beside clean: gives up fewer known facts under pressure"
    assert found in english.text
    assert "对抗训练与中性提问相比：受压时放弃的已知事实减少" in chinese.text
    assert (
        "Known facts given up under pressure, English: −12.5 points [−25.0 to −6.2], 90 facts "
        "compared, corrected p 0.001."
    ) in english.text
    assert "经过 3.2 步，相对于基础模型的增益失去一半 [1.5 至超过 8]" in chinese.text
    # A terminal has the English of the same sentences.
    assert verdict_lines(summary)[0].startswith(found)


@pytest.mark.parametrize(
    ("rate", "good"),
    [
        *(("flips", "lower"), ("flips_topics_apart", "lower"), ("contrarian_facts_apart", "lower")),
        *(("preamble_flips", "lower"), ("corrections", "higher"), ("learned", "higher")),
    ],
)
def test_every_rate_is_shown_as_good_news_on_its_good_side(rate, good):
    tones = {read: stated(rate, read, RATES[rate].label)[1] for read in ("lower", "higher")}
    assert [read for read, tone in tones.items() if tone == "up"] == [good]


def test_what_an_attacker_wrote_is_told_with_what_was_rejected(pages):
    english, chinese = pages
    assert "model wrote 30 of 40; the deterministic wording stands in for the others" in (
        english.text
    )
    assert "（没有施压：4；说出了答案：3；格式无效：2；出错：1）" in chinese.text
    assert "judge；有 3 个判定无法读取。它与攻击者属于同一系列。" in chinese.text


def test_every_shipped_style_and_topic_has_its_chinese(domains):
    facts = load_facts("shipped")
    names = {*shipped_styles(), *(each.topic for each in facts)}
    names |= {each.domain for each in facts if each.domain}
    with written_in("zh", domains):
        left = [name for name in sorted(names) if identifier(name).isascii()]
    assert not left
