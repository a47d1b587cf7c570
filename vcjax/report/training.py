"""How the model was trained: losses and time, and the attempts that its pairs come from."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vcjax.adversarial.reasons import reject_reason
from vcjax.report.formats import (
    DASH,
    capitalised,
    count,
    duration,
    language_name,
    missing,
    number,
    percent,
)
from vcjax.report.messages import message, recorded, tr
from vcjax.report.page import Block, Figure, Figures, Section, Table, Text
from vcjax.report.plots import curve, stacks, yield_plot
from vcjax.roles.verdict import KINDS

_STAGES = {
    "cpt": message("Continued pre-training"),
    "sft": message("Instruction tuning"),
    "adversarial": message("Adversarial training"),
}


def stage_name(stage: str) -> str:
    """The name of a training stage, or of another part of a run, in full."""
    return tr(_STAGES[stage]) if stage in _STAGES else capitalised(stage)


def training_section(
    stages: Mapping[str, dict[str, Any]],
    metrics: Mapping[str, Sequence[dict[str, Any]]],
    seconds: Mapping[str, float],
) -> Section:
    """Loss curves, a table of the stages, and where the time went.

    Args:
      stages: by stage, `{steps, tokens, loss_tokens, first_loss, last_loss, seconds}` and, where
        the run measured itself, `validation` and `stopped_early`.
      metrics: by stage, rows with `step` and, where it was measured, `loss`.
      seconds: by part of the whole run.
    """
    blocks: list[Block] = []
    curves = [figure for stage, rows in metrics.items() for figure in _curve(stage, rows)]
    if curves:
        blocks.append(Figures(curves))
        blocks.append(
            Text(
                tr(
                    "A falling loss shows that the model fits its training text, and nothing about "
                    "how well it keeps to the charter. Stages train on other text, so that their "
                    "losses can't be compared with each other."
                )
            )
        )
    blocks.append(
        Table(
            tr("Training. Loss tokens are those that the loss counts, e.g. the assistant's."),
            (
                tr("Stage"),
                tr("First loss"),
                tr("Last loss"),
                tr("Steps"),
                tr("Tokens"),
                tr("Loss tokens"),
                tr("Time"),
                tr("Tokens a second"),
            ),
            [_loss_cells(stage, record) for stage, record in stages.items()],
        )
    )
    measured = [
        _validation_cells(stage, record)
        for stage, record in stages.items()
        if "validation" in record
    ]
    if measured:
        caption = tr(
            "Loss on data that wasn't trained on, measured while each stage ran, from before its "
            "first step on. A stage that stopped early had no lower loss for a while."
        )
        head = (
            tr("Stage"),
            tr("First loss"),
            tr("Last loss"),
            tr("Lowest loss"),
            tr("At step"),
            tr("Stopped early at"),
        )
        blocks.append(Table(caption, head, measured))
    if seconds:
        rows = [(stage_name(part), duration(value)) for part, value in seconds.items()]
        caption = tr("Where the time of the whole run went.")
        blocks.append(Table(caption, (tr("Part"), tr("Time")), rows))
    return Section("training", tr("Training"), blocks)


def _curve(stage: str, rows: Sequence[dict[str, Any]]) -> list[Figure]:
    measured = [row for row in rows if not missing(row.get("loss"))]
    if not measured:
        return []
    steps, losses = [row["step"] for row in measured], [row["loss"] for row in measured]
    svg = curve(f"loss-{stage}", stage_name(stage), steps, losses)
    first, last = number(losses[0], 3), number(losses[-1], 3)
    caption = tr(
        "{stage}: loss {first} at first, {last} at the end.",
        stage=stage_name(stage),
        first=first,
        last=last,
    )
    return [Figure(caption, svg)]


def _loss_cells(stage: str, record: dict[str, Any]) -> tuple[str, ...]:
    tokens, seconds = record.get("tokens"), record.get("seconds")
    # None where a run measured nothing: a speed of 0 would be a claim.
    speed = None if missing(tokens) or missing(seconds) or not seconds else tokens / seconds
    return (
        stage_name(stage),
        *(number(record.get(field), 3) for field in ("first_loss", "last_loss")),
        *(count(record.get(field)) for field in ("steps", "tokens", "loss_tokens")),
        duration(seconds),
        count(speed),
    )


def _validation_cells(stage: str, record: dict[str, Any]) -> tuple[str, ...]:
    losses = (record["validation"][f"{which}_loss"] for which in ("first", "last", "best"))
    steps = (record["validation"]["best_step"], record.get("stopped_early"))
    return (stage_name(stage), *(number(loss, 3) for loss in losses), *map(count, steps))


def attempts_section(synthesis: dict[str, Any]) -> Section:
    """The verdicts by language, subdomain and attack, their reasons, and where questions came from.

    Args:
      synthesis: what `vcjax.adversarial.run.synthesize` returned: `{attempts, accepted, rejected,
        unscored, blocked, sources, reasons, cells, accept_rate_bounds}` and, where they are there,
        `queries`, `attacker_faults` and `yield_curve`.
    """
    low, high = synthesis["accept_rate_bounds"] or (None, None)  # none without any attempt
    blocks: list[Block] = [
        Text(
            tr(
                "{accepted} of {attempts} attempts were accepted as training pairs. An unscored "
                "attempt is one whose verdict could not be read: it is never taken as accepted. "
                "Counting all of those as rejected or as accepted, the rate is {low} or {high}.",
                accepted=count(synthesis["accepted"]),
                attempts=count(synthesis["attempts"]),
                low=percent(low),
                high=percent(high),
            )
        ),
        Text(_origin(synthesis["sources"])),
    ]
    if queries := synthesis.get("queries"):
        head = (tr("Queries"), *_kinds_head())
        rows = [_kind_cells(tr(_QUERIES[name]), counts) for name, counts in queries.items()]
        caption = tr("Attempts by their query; only attacks count as such.")
        blocks.append(Table(caption, head, rows))
    curve = synthesis.get("yield_curve", [])  # summaries of earlier versions have none
    if len(curve) > 1:
        name = tr("Pairs by the number of attempts so far")
        points = [(point["attempts"], point["accepted"]) for point in curve]
        caption = tr("{title}.", title=name)
        blocks.append(Figure(caption, yield_plot("yield", name, points)))
    by_language = _totals(synthesis["cells"], "lang")
    if by_language:
        rows = [
            (language_name(code), [counts[kind] for kind in KINDS])
            for code, counts in by_language.items()
        ]
        name = tr("What became of the attempts")
        svg = stacks("funnel", name, KINDS, rows)
        blocks.append(Figure(tr("{title}, by language.", title=name), svg))
    languages = [_kind_cells(language_name(code), counts) for code, counts in by_language.items()]
    rows = [*languages, _kind_cells(tr("All"), synthesis)]
    caption = tr("Attempts by language.")
    blocks.append(Table(caption, (tr("Language"), *_kinds_head()), rows))
    reasons = [
        (
            capitalised(kind),
            reason,
            _meaning(reason) if kind == "rejected" else DASH,
            count(attempts),
        )
        for kind, counts in synthesis["reasons"].items()
        for reason, attempts in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    if reasons:
        head = (tr("Verdict"), tr("Reason"), tr("Meaning"), tr("Attempts"))
        blocks.append(Table(tr("Why attempts were not accepted."), head, reasons, labels=3))
    unused = [
        (reason, _meaning(f"attacker: {reason}"), count(questions))
        for reason, questions in synthesis.get("attacker_faults", {}).items()
    ]
    if unused:
        head = (tr("Reject reason"), tr("Meaning"), tr("Questions"))
        caption = tr("Why questions of the Attacker could not be used.")
        blocks.append(Table(caption, head, unused, labels=2))
    for field, name, caption in (
        ("subdomain", tr("Subdomain"), tr("Attempts by subdomain.")),
        ("attack", tr("Attack"), tr("Attempts by attack.")),
    ):
        totals = _totals(synthesis["cells"], field)
        if totals:
            rows = [_kind_cells(capitalised(key), counts) for key, counts in totals.items()]
            blocks.append(Table(caption, (name, *_kinds_head()), rows))
    return Section("pipeline", tr("Adversarial data"), blocks)


_QUERIES = {
    "attacks": message("Attacks, of their style and topic"),
    "off_style": message("Off their style or topic"),
    "seeds": message("Seed questions"),
    "unasked": message("None"),
}


def _kinds_head() -> tuple[str, ...]:
    return (
        tr("Attempts"),
        tr("Accepted"),
        tr("Rejected"),
        tr("Unscored"),
        tr("Blocked"),
        tr("Accepted of attempts"),
    )


def _origin(sources: dict[str, int]) -> str:
    total = sum(sources.values())
    if not total:
        return tr("No attempt has a recorded source for its question.")
    written, seeds = sources.get("attacker", 0), sources.get("seed", 0)
    return tr(
        "{written} questions ({share}) were written by the Attacker; {seeds} ({rest}) are seed "
        "questions from a given list, which stood in where the Attacker wrote none that could be "
        "used.",
        written=count(written),
        share=percent(written / total),
        seeds=count(seeds),
        rest=percent(seeds / total),
    )


def _meaning(reason: str) -> str:
    """What the table of reasons has on one; a dash for those of other tools' ledgers."""
    try:
        return recorded(reject_reason(reason).help)
    except ValueError:
        return DASH


def _totals(cells: Iterable[dict[str, Any]], field: str) -> dict[str, Counter]:
    """Sums of the counts by the value of `field`, sorted by it."""
    totals: dict[str, Counter] = defaultdict(Counter)
    for cell in cells:
        for name in ("attempts", *KINDS):
            totals[cell[field]][name] += cell[name]
    return dict(sorted(totals.items()))


def _kind_cells(label: str, counts: dict[str, Any]) -> tuple[str, ...]:
    attempts = counts["attempts"]
    share = counts["accepted"] / attempts if attempts else None
    numbers = (count(counts[name]) for name in ("attempts", *KINDS))
    return (label, *numbers, percent(share))
