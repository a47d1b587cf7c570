"""What of several runs can be compared: the same questions, one judge, one charter, one scale."""

from collections.abc import Sequence
from dataclasses import replace

from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError
from vcjax.evaluation.comparison.runs import Record, ScoredRun


def comparable(runs: Sequence[ScoredRun]) -> tuple[list[ScoredRun], list[str]]:
    """The runs, without the scores where these can't be compared, and notes of that.

    Raises:
      UserError: other judges, charters or scales.
    """
    first = runs[0]
    for run in runs[1:]:
        if run.scale != first.scale:
            raise UserError(
                f"{run.path}: scores on another scale ({run.scale}) than {first.path} "
                f"({first.scale}); name one for all with --scale=LOW,HIGH"
            )
        if _differ(first, run, "charter"):
            raise UserError(
                f"{run.path}: evaluated by another charter ({run.about['charter']}) than "
                f"{first.path} ({first.about['charter']}); evaluate by one, or name it with "
                "--charter to run its checks on all of them"
            )
    notes = []
    unjudged = [run.name for run in runs if not run.judged]
    if unjudged and len(unjudged) < len(runs):
        notes.append(f"Scores aren't compared, as there are none of {', '.join(unjudged)}.")
        runs = [without_scores(run) for run in runs]
    judges = {_judge(run): run for run in runs if run.judged}
    if len(judges) > 1:
        one, other = list(judges.items())[:2]
        raise UserError(
            f"{other[1].path}: has another judge ({other[0]}) than {one[1].path} ({one[0]}); judge "
            "both by one"
        )
    if judges and any(_differ(first, run, "judge") for run in runs[1:]):
        notes.append("The judge has the same name in all runs, but other weights: it was changed.")
    # All records get this name: where a judge of a panel failed on an answer, its record names the
    # others alone, and `differences.paired` refuses unequal names.
    judge = next(iter(judges), None)
    named = [tuple({**record, "judge": judge} for record in run.records) for run in runs]
    return [replace(run, records=own) for run, own in zip(runs, named, strict=True)], notes


def without_scores(run: ScoredRun) -> ScoredRun:
    """The run with its checks alone."""
    cleared = {"score": None, "judge": None, "unscored": "no_judge"}
    return replace(run, records=tuple({**record, **cleared} for record in run.records))


def _differ(first: ScoredRun, other: ScoredRun, what: str) -> bool:
    sides = first.identity.get(what), other.identity.get(what)
    # What isn't known of one of them can't be held against it: logs of other tools have no hashes.
    return None not in sides and sides[0] != sides[1]


def _judge(run: ScoredRun) -> str:
    return ", ".join(sorted({record["judge"] for record in run.records if record["judge"]}))


def on_the_same_questions(
    runs: Sequence[ScoredRun],
) -> tuple[list[ScoredRun], dict[str, int], list[str]]:
    """The runs restricted to the questions that all of them have, word for word; how many each one
    has beside them; and notes."""
    by_id = [{record["id"]: record for record in run.records} for run in runs]
    shared = set(by_id[0]).intersection(*by_id[1:])
    common = {
        id
        for id in shared
        if all(own[id]["question"] == by_id[0][id]["question"] for own in by_id[1:])
    }
    if not common:
        raise UserError(
            f"{runs[-1].path}: no question in common with {runs[0].path}; evaluate on one benchmark"
        )
    notes = []
    if len(common) < len(shared):
        notes.append(
            f"{len(shared - common)} questions have the same id, but other words, and are left out "
            f"(such as {min(shared - common)})."
        )
    left_out = {run.name: len(run.records) - len(common) for run in runs}
    if any(left_out.values()):
        most = max(len(run.records) for run in runs)
        notes.append(
            f"The runs have other questions: the {len(common)} that all of them have are compared "
            f"(of up to {most})."
        )
    elif any(_differ(runs[0], run, "benchmark") for run in runs[1:]):
        notes.append(
            "The runs' benchmarks have the same questions, but other rubrics, references or "
            "domains: the judge may have scored by other standards."
        )
    # The first run's, for all: a pair is in one group, whatever the logs of other tools call it.
    fields = ("parallel_id", "domain", "lang")
    kept = []
    for run, own in zip(runs, by_id, strict=True):
        records = ({**own[id], **{f: by_id[0][id][f] for f in fields}} for id in sorted(common))
        kept.append(replace(run, records=tuple(records)))
    return kept, left_out, notes


def with_checks(run: ScoredRun, charter: Charter) -> ScoredRun:
    """The run with the checks of a charter, run anew on its answers; their language is the item's.

    An answer in a language that the charter lacks has no checks, and an answer on no subdomain of
    its own has those of its general principles.
    """
    subdomains = {subdomain.id for subdomain in charter.subdomains()}

    def checked(record: Record) -> Record:
        if record["lang"] not in charter.languages:
            return {**record, "checks": None}
        results = charter.run_checks(
            question=record["question"],
            answer=record["answer"],
            lang=record["lang"],
            subdomain=record["domain"] if record["domain"] in subdomains else None,
        )
        return {**record, "checks": {key: result.passed for key, result in results.items()}}

    records = tuple(map(checked, run.records))
    about = {**run.about, "charter": charter.name}
    identity = {**run.identity, "charter": charter.content_hash}
    return replace(run, records=records, about=about, identity=identity)
