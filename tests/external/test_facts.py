"""Facts from outside: PARROT (arXiv 2511.17220) and HalluQA (arXiv 2310.03368) as published."""

import json
from collections import Counter

import pytest

from tests.external.outside import DATA
from vcjax.adversarial.pressure.parrot import parrot_asks, parrot_summary
from vcjax.adversarial.pressure.probes import DIRECTIONS, pressed_probe
from vcjax.adversarial.pressure.style import shipped_styles
from vcjax.evaluation.facts.fact import left_out, load_facts
from vcjax.evaluation.facts.importers import comparable, read_parrot
from vcjax.evaluation.likelihoods import score_answers
from vcjax.generate.engine_config import EngineConfig
from vcjax.roles.references import RoleSpec, open_roles
from vcjax.roles.role import scoring

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


def test_the_published_protocol_reads_real_items_under_a_model(tiny_folder, tmp_path):
    items = [item for item in read_parrot(PARROT) if len(item.prompt) < 300][::60]
    asks = [ask for item in items for ask in parrot_asks(item)]
    roles, _ = open_roles({"model": RoleSpec(str(tiny_folder), "tiny")}, EngineConfig())
    letters = ["ABCD"] * len(asks)
    path = tmp_path / "letters.jsonl"
    scores = score_answers(scoring(roles["model"], "model"), asks, letters, path)
    found = parrot_summary(items, [scores])
    assert found["rates"]["follow_rate"]["n"] == len(items) > 10
    assert sum(found["states"].values()) == pytest.approx(1)
    for own in scores.values():
        assert len(set(own.values())) == 4
