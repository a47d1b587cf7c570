"""What one stage has changed: an arm less the one that it was trained from, in pairs.

rules kept, judge       question by question, by language and by domain
facts under pressure    fact by fact, by language
facts asked plainly     fact by fact, by language: what the stage has cost
tasks of the harness    document by document, by task, if it does any: likewise
text                    document by document, by language: likewise
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from vcjax.core.seeds import derive_seed
from vcjax.evaluation.comparison.differences import compare
from vcjax.road.pressure.change import changes
from vcjax.road.stages.arms import StageRun
from vcjax.stats.intervals import (
    RATE,
    Interval,
    interval_record,
    mean_interval,
    paired_difference,
)
from vcjax.stats.multiplicity import corrected
from vcjax.text.language import Language

CONFIDENCE = 0.95
LossByDocument = Mapping[str, float]


def step(
    after: StageRun,
    before: StageRun,
    *,
    rules: Collection[str],
    held_out: Collection[str],
    left_out: Collection[str],
    langs: Sequence[Language],
) -> dict[str, Any]:
    """The differences of two arms, JSON-serialisable.

    Returns `{arms, rules, domains, evaluation, pressure, facts, tasks, loss}`: the difference of
    the share of the rules that an answer keeps, by language, and by domain with versions of one
    question as clusters; what `vcjax.evaluation.comparison.differences.compare` and
    `vcjax.road.pressure.change.changes` return; by language that of the share of facts of untaught
    topics that are right, by task that of the share of right answers to tasks of the harness, and
    by language that of the loss of text that neither was trained on, in nats a token.

    Args:
      rules: the charter's checks that count.
      held_out: domains that are kept out of training.
      left_out: ids of measured documents that share a sentence with what an arm was trained on.
    """
    seed, names = after.config.seed, [before.arm.name, after.arm.name]
    old, new = before.scores(), after.scores()
    kept = [rules_kept(records, rules) for records in (old, new)]
    answers = after.task_answers()

    def differ(field: str) -> dict[str, dict[str, Any]]:
        groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for each in old:
            # A rule may apply to one model's answer alone; then there is no pair.
            if each["id"] in kept[0] and each["id"] in kept[1]:
                groups[each[field]].append(each)
        return {
            name: _kept_change(own, kept[0], kept[1], derive_seed(seed, field, name, *names))
            for name, own in sorted(groups.items())
        }

    return {
        "arms": names[::-1],
        "rules": differ("lang"),
        "domains": differ("domain"),
        "evaluation": compare(old, new, held_out=held_out, seed=seed, confidence=CONFIDENCE),
        "pressure": changes(after.experiment, before.preferences(), after.preferences()),
        "facts": {
            lang: _recalled(own, after.facts()[lang]) for lang, own in before.facts().items()
        },
        "tasks": {
            task: _recalled(own, answers[task])
            for task, own in before.task_answers().items()
            if task in answers
        },
        "loss": {
            lang: _loss(*(losses(run, lang, left_out) for run in (before, after))) for lang in langs
        },
    }


def rules_kept(scores: Sequence[Mapping[str, Any]], rules: Collection[str]) -> dict[str, float]:
    """By question, the share of the rules that apply to its answer which it keeps.

    Not whether it keeps them all: few answers of a small model do, and nothing would be seen.
    """
    found = {}
    for each in scores:
        own = [passed for name, passed in (each["checks"] or {}).items() if name in rules]
        if own:
            found[each["id"]] = sum(own) / len(own)
    return found


def losses(run: StageRun, lang: Language, left_out: Collection[str]) -> LossByDocument:
    """Nats a token of each measured document under an arm's model."""
    return {
        each["id"]: each["nats"] / each["tokens"]
        for each in run.document_scores(lang)
        if each["id"] not in left_out
    }


def differences(record: Mapping[str, Any]) -> dict[tuple[str, ...], Interval]:
    """The differences of a step that are tested together with those of all other steps.

    Those by domain aren't among them: they describe, and have few questions each.
    """
    found: dict[tuple[str, ...], Interval] = {}
    for lang, change in record["rules"].items():
        found["rules", lang] = Interval.of(change, "difference")
    for lang, own in record["evaluation"]["languages"].items():
        if own["judge"]["n"]:
            found["judge", lang] = Interval.of(own["judge"], "difference")
    for lang, own in record["pressure"]["languages"].items():
        for rate, change in own["differences"].items():
            found[rate, lang] = Interval.of(change, "difference")
    for lang, change in record.get("facts", {}).items():  # versions before had none
        found["facts", lang] = Interval.of(change, "difference")
    for task, change in record.get("tasks", {}).items():  # nor these
        found["tasks", task] = Interval.of(change, "difference")
    for lang, change in record["loss"].items():
        found["loss", lang] = Interval.of(change, "difference")
    return found


def corrected_together(steps: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """The p-values of each step by `what/language`, corrected for those of all steps."""
    tested = {
        (number, *key): change
        for number, record in enumerate(steps)
        for key, change in differences(record).items()
    }
    found: list[dict[str, float]] = [{} for _ in steps]
    for (number, *key), p in corrected(tested).items():
        found[number]["/".join(key)] = p
    return found


def _kept_change(
    questions: Sequence[Mapping[str, Any]],
    before: Mapping[str, float],
    after: Mapping[str, float],
    seed: int,
) -> dict[str, Any]:
    change = paired_difference(
        [before[each["id"]] for each in questions],
        [after[each["id"]] for each in questions],
        [each["parallel_id"] for each in questions],
        scale=RATE,
        confidence=CONFIDENCE,
        seed=seed,
    )
    return interval_record(change, "difference")


def _recalled(before: Mapping[str, bool], after: Mapping[str, bool]) -> dict[str, Any]:
    ids = sorted(before)
    change = paired_difference(
        [before[id] for id in ids], [after[id] for id in ids], confidence=CONFIDENCE
    )
    return interval_record(change, "difference")


def _loss(before: LossByDocument, after: LossByDocument) -> dict[str, Any]:
    change = mean_interval(
        [after[id] - loss for id, loss in before.items()], null=0.0, confidence=CONFIDENCE
    )
    return interval_record(change, "difference")
