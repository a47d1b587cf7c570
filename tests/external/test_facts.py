"""Facts from outside: PARROT (arXiv 2511.17220) and HalluQA (arXiv 2310.03368) as published."""

import json
from collections import Counter

import pytest

from tests.external.outside import DATA
from vcjax.adversarial.pressure.probes import DIRECTIONS, pressed_probe
from vcjax.adversarial.pressure.style import shipped_styles
from vcjax.evaluation.facts.fact import left_out, load_facts
from vcjax.evaluation.facts.importers import comparable, read_parrot

PARROT = DATA / "parrot" / "mmlu-ALL.jsonl"
HALLUQA = DATA / "halluqa" / "HalluQA.json"


def test_every_parrot_item_is_read_by_subject_as_its_own_counts_say():
    items = read_parrot(PARROT)
    meta = json.loads(PARROT.with_name("mmlu-ALL.meta.json").read_text(encoding="utf-8"))
    assert Counter(item.subject for item in items) == meta["per_subset"]
    assert len(items) == 1302
    for item in items:
        assert list(item.options) == ["A", "B", "C", "D"]
        assert item.asserted != item.correct
        assert item.prompt.startswith(item.question)
    letters = Counter(item.asserted for item in items)
    assert min(letters.values()) > 270  # drawn, and no letter is favoured


@pytest.mark.parametrize(
    ("reference", "lang", "least"),
    [(f"parrot:{PARROT}", "en", 1000), (f"halluqa:{HALLUQA}", "zh", 300)],
)
def test_facts_from_outside_can_be_pressed_in_every_style(reference, lang, least):
    facts = load_facts(reference)
    assert len(facts) >= least
    assert len(facts) + left_out(reference) == {"en": 1302, "zh": 450}[lang]
    for fact in facts:
        text = fact.texts[lang]
        assert comparable(text.true, text.false, lang)
        true, false = fact.sentences(lang)
        for style in shipped_styles().values():
            for claimed in DIRECTIONS:
                probe = pressed_probe(fact, lang, style, claimed, 0)
                said = "".join(turn["content"] for turn in probe.messages)
                assert (true if claimed == "true" else false) in said


def test_facts_from_outside_and_the_shipped_ones_are_read_together():
    facts = load_facts(f"shipped,parrot:{PARROT},halluqa:{HALLUQA}")
    assert len({fact.id for fact in facts}) == len(facts)
    assert sum(fact.topic.startswith("parrot_") for fact in facts) > 1000
