"""The pressure experiment on the tiny model: arms, kills, planted models, and the report."""

import copy
import json
from pathlib import Path

import pytest

from tests.adversarial.pressure.facts import numbered_fact
from tests.evaluation.facts.published import parrot_item, write_parrot
from tests.questions import write_lines
from tests.report.bilingual import Words, assert_translated, both
from vcjax.core.defaults import training_config
from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.files import read_jsonl
from vcjax.core.lineage import verify
from vcjax.evaluation.facts.fact import Fact, load_facts
from vcjax.report.formats import capitalised
from vcjax.report.pressure.report import write_pressure_report
from vcjax.report.pressure.verdict import verdict_lines
from vcjax.road.pressure.config import PressureConfig
from vcjax.road.pressure.experiment import Experiment
from vcjax.road.pressure.run import measure_pressure

TEXT = "A lamp was left in the hall, and nobody could say by whom."
ARMS = {
    "base": {"data": "none"},
    "persona": {"data": "none", "persona": True},
    "clean": {"data": "clean"},
    "adversarial": {"data": "adversarial"},
    "dpo": {"data": "adversarial", "train": {"objective": "dpo"}},
}
TINY_NAMES = r"/\S+|PARROT|Brier|kept_in|Floor\d"
"""Folders, a protocol, a score and what the tests' facts are called: names that stay."""
CONTRASTS = ("adversarial - clean: flips", "adversarial - base: corrections")


@pytest.fixture(scope="module")
def settings(tiny_folder, facts_file, small_charter, tmp_path_factory) -> dict:
    """A config as a plain dict."""
    folder = tmp_path_factory.mktemp("pressure")
    train = {
        **training_config("adversarial").to_dict(),
        "steps": 3,
        "batch_size": 2,
        "length": 256,
        "learning_rate": 1e-2,
        "warmup_steps": 1,
        "lora": {"rank": 2, "alpha": 4.0, "targets": ".*", "dropout": 0.0, "base": ""},
        "checkpoint_every": 2,
        "keep": 1,
    }
    filled = ("model", "charter", "seed", "on_bad_record", "replay")
    for field in (*filled, "documents", "conversations", "preferences"):
        del train[field]
    return {
        "model": str(tiny_folder),
        "charter": str(small_charter(folder / "charter.yaml")),
        "facts": facts_file,
        "most_facts": 0,
        "languages": "en",
        "held_out_topics": "",
        "styles": "stated_opinion,majority",
        "held_out_styles": "threat,insistence",
        "part": "test",
        "pairs": 8,
        "corrections": 0.25,
        "evidence": 0.25,
        "styles_per_fact": 1,
        "apart_facts": 4,
        "control_facts": 4,
        "contrasts": CONTRASTS,
        "documents": write_lines(folder / "documents.jsonl", [{"text": TEXT, "source": "t"}]),
        "document_tokens": 32,
        "answers": 2,
        "answer_tokens": 8,
        "seeds": 1,
        "seed": 0,
        "on_bad_record": "error",
        "train": train,
        "arms": ARMS,
    }


def config_of(settings: dict, **changes) -> PressureConfig:
    return PressureConfig.from_dict({**copy.deepcopy(settings), **changes})


@pytest.fixture(scope="module")
def whole(settings, tmp_path_factory) -> dict:
    """The config of an experiment with facts from outside."""
    items = [parrot_item(number) for number in range(12)]
    outside = write_parrot(tmp_path_factory.mktemp("outside") / "parrot.jsonl", items)
    return {**settings, "outside": outside, "outside_facts": 8}


@pytest.fixture(scope="module")
def finished(whole, tmp_path_factory) -> tuple[Path, dict]:
    """A whole experiment, and its summary."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    return folder, measure_pressure(config_of(whole), folder)


def test_every_arm_is_read_by_the_same_probes(finished) -> None:
    folder, summary = finished
    assert list(summary["arms"]) == list(ARMS)
    ids = set()
    for arm in ARMS:
        path = folder / arm / ("seed0" if ARMS[arm]["data"] != "none" else "")
        records = read_jsonl(path / "measured" / "preferences.jsonl")
        ids.add(tuple(record["id"] for _, record in records))
    assert len(ids) == 1
    sizes = {
        name: own["n"]
        for arm in summary["arms"].values()
        for name, own in arm["languages"]["en"]["rates"].items()
    }
    for arm in summary["arms"].values():
        rates = arm["languages"]["en"]["rates"]
        assert {name: own["n"] for name, own in rates.items()} == sizes
    assert summary["knowledge"]["en"]["wrong"] >= 5


def test_arms_are_trained_on_as_many_pairs_and_steps(finished) -> None:
    folder, summary = finished
    for arm in ("clean", "adversarial", "dpo"):
        pairs = list(read_jsonl(folder / arm / "seed0" / "pairs" / "pairs.jsonl"))
        assert len(pairs) == 8
        assert [run["steps"] for run in summary["arms"][arm]["training"]] == [3]
    _, pair = next(read_jsonl(folder / "dpo" / "seed0" / "pairs" / "pairs.jsonl"))
    assert {"chosen", "rejected"} <= pair.keys()


def test_the_pressed_arm_is_taught_contexts_that_change_the_answer(finished) -> None:
    folder, _ = finished
    pairs = read_jsonl(folder / "adversarial" / "seed0" / "pairs" / "pairs.jsonl")
    kinds = [record["id"].split("/")[2] for _, record in pairs]
    assert kinds.count("evidence") == 2


def test_training_changes_what_is_measured_and_a_persona_too(finished) -> None:
    _, summary = finished
    preferences = {
        name: arm["languages"]["en"]["calibration"]["pressed"]["preference"]
        for name, arm in summary["arms"].items()
    }
    assert len(set(preferences.values())) == len(ARMS)


def test_contrasts_are_the_planned_ones_corrected_together(finished) -> None:
    _, summary = finished
    found = summary["contrasts"]
    assert [(each["arms"], each["rate"]) for each in found] == [
        (["adversarial", "clean"], "flips"),
        (["adversarial", "base"], "corrections"),
    ]
    for each in found:
        assert each["p"] <= each["p_holm"] <= 1
    assert len(verdict_lines(summary)) == 2


def test_the_report_has_the_verdict_first_and_every_arm(finished) -> None:
    folder, summary = finished
    html = (folder / "report.html").read_text()
    assert html.index("Adversarial beside clean") < html.index("What each arm does")
    assert_translated(*both(folder, write_pressure_report, summary=summary), TINY_NAMES)
    table = (folder / "table.md").read_text()
    for text in (html, table):
        assert all(capitalised(name) in text for name in ARMS)
    assert all(len(each["answers"]) == len(ARMS) for each in summary["answers"])
    assert len(summary["answers"]) == 2
    assert {each.status for each in verify(folder)} == {"ok"}


def test_facts_from_outside_are_measured_by_our_protocol_and_by_the_published_one(
    finished,
) -> None:
    folder, summary = finished
    found = summary["outside"]
    assert set(found["arms"]) == set(ARMS)
    known = found["knowledge"]["en"]
    assert sum(known[kind] for kind in ("known", "wrong", "unsure")) == 8
    for arm in found["arms"].values():
        assert arm["languages"]["en"]["flips"]["n"] == known["known"]
        assert arm["languages"]["en"]["corrections"]["n"] == known["wrong"]
        parrot = arm["parrot"]
        assert parrot["items"] == parrot["rates"]["follow_rate"]["n"] == 8
        assert sum(parrot["states"].values()) == pytest.approx(1)
    moved = {arm["parrot"]["confidence"]["asserted"] for arm in found["arms"].values()}
    assert len(moved) == len(ARMS)  # each model, and the persona, is read anew
    assert "Follow rate" in (folder / "report.html").read_text()


def test_what_is_taught_can_not_measure_from_outside(whole, tmp_path) -> None:
    config = config_of(whole, outside=whole["facts"])
    with pytest.raises(UserError, match=r"config.outside: 'kept_in-.*' is among config.facts too"):
        measure_pressure(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_finished_experiment_is_extended_by_a_seed_and_logs_each_reading(
    finished, whole, capsys
) -> None:
    folder, first = finished
    assert measure_pressure(config_of(whole), folder) == first
    assert "already finished" in capsys.readouterr().out
    arms = {**ARMS, "dpo": {**ARMS["dpo"], "seeds": 1}}
    more = measure_pressure(config_of(whole, seeds=2, arms=arms), folder)
    assert more["arms"]["clean"]["seeds"] == [0, 1]
    assert more["arms"]["dpo"]["seeds"] == [0]
    assert more["arms"]["base"]["seeds"] == []
    assert (first["readings"], more["readings"]) == (1, 2)
    assert [record["part"] for _, record in read_jsonl(folder / "readings.jsonl")] == ["test"] * 2
    # The report anew, in Chinese, of the same results: they are read no more often for that.
    again = measure_pressure(config_of(whole, seeds=2, arms=arms, language="zh"), folder)
    assert (again["readings"], again["contrasts"]) == (2, more["contrasts"])
    assert Words(folder / "report.html").language == "zh"
    assert {each.status for each in verify(folder)} == {"ok"}


def recorded_attacker(path: Path, facts: list[Fact]) -> str:
    """An Attacker who writes one thing about every fact, but nothing about every fifth."""
    parts = {"before": "My aunt, who ran the house, always said:", "between": "", "after": "Yes?"}
    lines = [
        {
            "key": f"{fact.id}/en/{style}",
            "text": json.dumps(parts if number % 5 else {**parts, "after": "A lamp!"}),
            "finish_reason": "stop",
        }
        for number, fact in enumerate(facts)
        for style in ("stated_opinion", "persona")
    ]
    return f"recorded:{write_lines(path, lines)}"


def test_an_attackers_messages_teach_and_measure_every_arm_alike(settings, tmp_path) -> None:
    folder = tmp_path / "run"
    own = {
        **settings,
        "attacker": recorded_attacker(tmp_path / "attacker.jsonl", load_facts(settings["facts"])),
        "attacker_family": "recorded",
        "held_out_styles": "persona,insistence",
        "arms": {"base": {"data": "none"}, "adversarial": {"data": "adversarial"}},
        "contrasts": ("adversarial - base: flips",),
        "answers": 30,
    }
    summary = measure_pressure(config_of(own), folder)
    counts = summary["attacks"]
    assert counts["written"] + counts["stand_ins"]["names an answer"] == counts["requested"]
    assert min(counts["written"], *counts["stand_ins"].values()) > 0
    asked = {each["id"]: each["messages"][-1]["content"] for each in summary["answers"]}
    pressed = [text for id, text in asked.items() if "/persona/" in id]
    written = [text for text in pressed if text.startswith("My aunt, who ran the house")]
    assert 0 < len(written) < len(pressed)
    pairs = (folder / "adversarial" / "seed0" / "pairs" / "pairs.jsonl").read_text()
    assert "My aunt, who ran the house" in pairs
    assert "the deterministic wording stands in" in (folder / "report.html").read_text()
    # Another seed needs messages about other pairs; what is finished stays as it is.
    more = measure_pressure(config_of(own, seeds=2), folder)
    assert more["attacks"]["requested"] > counts["requested"]
    base = [each["arms"]["base"]["languages"] for each in (summary, more)]
    assert base[0] == base[1]
    assert {each.status for each in verify(folder)} == {"ok"}


def planted(folder: Path, settings: dict, facts_file: str, kind: str) -> str:
    """Log-likelihoods of a model that knows all facts but those it gets wrong, and answers as its
    kind does where something is claimed."""
    experiment = Experiment(config_of(settings), folder)
    from vcjax.adversarial.pressure.probes import neutral_probes
    from vcjax.evaluation.facts.knowledge import classify

    lines = []
    wrong = {fact.id for number, fact in enumerate(experiment.facts) if number % 6 == 0}
    knowledge = {
        fact.id: classify([-1.0 if fact.id in wrong else 1.0]) for fact in experiment.facts
    }
    experiment.__dict__["knowledge"] = {"en": knowledge}
    probes = [p for fact in experiment.facts for p in neutral_probes(fact, "en")]
    probes += [probe for group in experiment.suite("en").values() for probe in group]
    for probe in probes:
        true = probe.fact not in wrong
        if probe.claimed:
            agrees = kind == "flatterer"
            true = (probe.claimed == "true") == agrees
        lines.append(
            {
                "key": probe.id,
                "answers": list(probe.answers),
                "logprobs": [-1.0, -5.0] if true else [-5.0, -1.0],
            }
        )
    unique = {line["key"]: line for line in lines}
    return write_lines(folder / f"{kind}.jsonl", list(unique.values()))


@pytest.mark.parametrize("kind", ["contrarian", "flatterer"])
def test_a_planted_model_is_named_for_what_it_is(settings, facts_file, tmp_path, kind) -> None:
    path = planted(tmp_path, settings, facts_file, kind)
    summary = measure_pressure(
        config_of(
            settings,
            model=f"recorded:{path}",
            arms={"base": {"data": "none"}},
            contrasts=(),
            answers=0,
        ),
        tmp_path / "run",
    )
    assert summary["arms"]["base"]["languages"]["en"]["trait"] == kind
    html = (tmp_path / "run" / "report.html").read_text()
    assert f"It is a {kind}" in html


def test_a_model_that_guesses_is_not_asked_under_pressure(settings, tmp_path) -> None:
    facts = [numbered_fact(number) for number in range(20)]
    lines = [
        {
            "key": f"{fact.id}/en/neutral/{wording}",
            "answers": list(fact.sentences("en")),
            "logprobs": [-1.0, -2.0] if number % 2 else [-2.0, -1.0],
        }
        for number, fact in enumerate(facts)
        for wording in (1, 2)
    ]
    scores = write_lines(tmp_path / "scores.jsonl", lines)
    own = write_lines(tmp_path / "facts.jsonl", [json.loads(f.model_dump_json()) for f in facts])
    config = config_of(
        settings,
        model=f"recorded:{scores}",
        facts=own,
        arms={"base": {"data": "none"}},
        contrasts=(),
    )
    with pytest.raises(GateNotMet, match="doesn't know enough of the facts"):
        measure_pressure(config, tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contrasts": ("adversarial - clean",)}, "not of the form"),
        ({"contrasts": ("adversarial - clean: flps",)}, "no rate 'flps'; did you mean 'flips'"),
        ({"contrasts": ("adversarial - clen: flips",)}, "no arm 'clen'; did you mean 'clean'"),
        ({"held_out_styles": "majority"}, "'majority' is trained on too"),
        ({"languages": "fr"}, "'fr' is none of en, zh"),
        ({"part": "train"}, "neither 'dev' nor 'test'"),
        ({"critic": "recorded:x"}, "there is no Attacker whose messages it could judge"),
        ({"arms": {"clean": {"data": "clean"}}}, "one must be the base model"),
        ({"arms": {"base": {"data": "nun"}}}, "'nun' is none of none, clean"),
        ({"arms": {"b": {"data": "clean", "model": "x"}}}, "every arm is trained from"),
    ],
)
def test_a_mistake_in_the_config_is_one_line(settings, changes, message) -> None:
    with pytest.raises(UserError) as error:
        config_of(settings, **changes)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_style_or_topic_ends_before_anything_is_written(settings, tmp_path) -> None:
    for changes in ({"styles": "majorty"}, {"held_out_topics": "flor1"}):
        with pytest.raises(UserError, match="did you mean"):
            measure_pressure(config_of(settings, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()
