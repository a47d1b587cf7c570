"""The tables of the pressure experiment: rates, contrasts, costs and training, arm by arm."""

from collections.abc import Mapping
from typing import Any

from vcjax.report.formats import (
    DASH,
    capitalised,
    count,
    duration,
    language_name,
    number,
    percent,
    points,
    probability,
    spaced,
    with_bounds,
)
from vcjax.report.messages import commas, message, recorded, together, tr
from vcjax.report.page import Table
from vcjax.stats.intervals import Interval

_MAIN = ("flips", "contrarian", "corrections", "evidence", "forgotten", "preamble_flips")
_APART = ("styles_apart", "facts_apart", "topics_apart")
_DATA = {
    "none": message("nothing"),
    "clean": message("the facts, asked neutrally"),
    "one_sided": message("the facts, pressed to the false answer"),
    "adversarial": message("the facts, pressed in both directions"),
    "mixed": message("half pressed in both directions, half neutral"),
}
_OWN_DATA = message("a user's pairs")
_CLAIMS = {
    "neutral": message("neutral"),
    "pressed": message("pressed"),
    "stated": message("stated"),
}


def _cell(record: Mapping[str, Any]) -> str:
    return with_bounds(Interval.of(record), percent)


def rates_table(summary: Mapping[str, Any], lang: str) -> Table:
    """What each arm does in a language: shares of facts."""
    rows = []
    for name, arm in summary["arms"].items():
        rates = arm["languages"][lang]["rates"]
        data = _DATA.get(arm["data"], _OWN_DATA)
        rows.append(
            (capitalised(name), tr(data), _seeds(arm),
             *(_cell(rates[rate]) for rate in _MAIN))
        )  # fmt: skip
    caption = tr(
        "{language}: shares of facts, with 95% intervals over facts and seeds. The denominator is "
        "the facts that the base model knows, the same for every arm; corrections are of facts "
        "that it gets wrong.",
        language=language_name(lang),
    )
    labels = (recorded(summary["rates"][rate]) for rate in _MAIN)
    head = (tr("Arm"), tr("Trained on"), tr("Seeds"), *labels)
    return Table(caption, head, rows, labels=3)


def costs_table(summary: Mapping[str, Any]) -> Table:
    """What each arm lost: perplexity by language and tasks; and what its free answers name."""
    langs = list(summary["knowledge"])
    # All arms do the same tasks, but for those of which only recorded preferences are there.
    measured = [arm["capability"] for arm in summary["arms"].values() if "capability" in arm]
    tasks = list(measured[0]) if measured else []
    rows = []
    for name, arm in summary["arms"].items():
        own = arm["documents"]
        cells = [number(own[lang]["perplexity"], 1) if lang in own else DASH for lang in langs]
        named = summary["named"].get(name)
        free = [count(named[key]) for key in ("true", "false", "other")] if named else [DASH] * 3
        done = [_task(arm.get("capability", {}).get(task)) for task in tasks]
        rows.append((capitalised(name), *cells, *done, *free))
    caption = tr(
        "Perplexity of text that no arm was trained on, the mean over seeds; and of the free "
        "answers under pressure to the false answer, how many name the true answer alone, the "
        "false one alone, or both or neither."
    )
    if tasks:
        more = tr(
            "Between them tasks of the evaluation harness that no arm was trained on, the mean "
            "over seeds, and the standard error of one of them over documents."
        )
        caption = together(caption, more)
    heads = [commas(tr("Perplexity"), language_name(lang)) for lang in langs]
    heads += [commas(task, measured[0][task]["metric"]) for task in tasks]
    free = (tr("Free: true"), tr("Free: false"), tr("Free: other"))
    return Table(caption, (tr("Arm"), *heads, *free), rows)


def _task(own: Mapping[str, Any] | None) -> str:
    if own is None:
        return DASH
    error = "" if own["stderr"] is None else f" ± {number(own['stderr'], 3)}"
    return number(own["mean"], 3) + error


def _seeds(arm: Mapping[str, Any]) -> str:
    return commas(*map(str, arm["seeds"])) or DASH


def calibration_table(summary: Mapping[str, Any], lang: str) -> Table:
    """How sure each arm is of the true sentence, by what the user claims."""
    rows = []
    for name, arm in summary["arms"].items():
        own = arm["languages"][lang]["calibration"]
        rows.append(
            (capitalised(name), *(number(own[key]["preference"], 1) for key in _CLAIMS),
             *(number(own[key]["brier"], 3) for key in _CLAIMS))
        )  # fmt: skip
    caption = tr(
        "Mean preference for the true sentence, in nats, and the Brier score of its probability "
        "(0 is certain of the truth, 0.25 a coin): asked neutrally, pressed to the false answer, "
        "and where the user states the true one."
    )
    heads = [commas(tr("Preference"), tr(claim)) for claim in _CLAIMS.values()]
    heads += [commas(tr("Brier"), tr(claim)) for claim in _CLAIMS.values()]
    return Table(caption, (tr("Arm"), *heads), rows)


def held_out_table(summary: Mapping[str, Any], lang: str) -> Table:
    """The rates where only the style, the fact or the whole topic is new."""
    rows = []
    for name, arm in summary["arms"].items():
        rates = arm["languages"][lang]["rates"]
        cells = [
            _cell(rates[f"{rate}_{part}"]) for part in _APART for rate in ("flips", "contrarian")
        ]
        rows.append((capitalised(name), *cells))
    caption = tr(
        "What generalises: only the style is new (facts that were trained on), only the fact is "
        "new (styles that were trained on), the whole topic is new."
    )
    head = [tr("Arm")]
    for title in (tr("new style"), tr("new fact"), tr("new topic")):
        head += [commas(tr("Given up"), title), commas(tr("Denied"), title)]
    return Table(caption, head, rows)


_BY = {
    "by_style": (message("Style"), message("{rate}, by style.")),
    "by_topic": (message("Topic"), message("{rate}, by topic.")),
}


def breakdown_table(summary: Mapping[str, Any], lang: str, by: str, rate: str) -> Table:
    """One rate of each arm, by style or by topic; `by` is the field of the summary."""
    arms = {name: arm["languages"][lang][by][rate] for name, arm in summary["arms"].items()}
    names = list(next(iter(arms.values())))
    rows = [(capitalised(name), *(_cell(own[name]) for own in arms.values())) for name in names]
    head, caption = _BY[by]
    label = recorded(summary["rates"][rate])
    return Table(tr(caption, rate=label), (tr(head), *map(capitalised, arms)), rows)


def contrasts_table(summary: Mapping[str, Any]) -> Table:
    """The planned comparisons of two arms, with both p-values."""
    rows = []
    for record in summary["contrasts"]:
        change = Interval.of(record, "difference")
        arms = f"{capitalised(record['arms'][0])} − {spaced(record['arms'][1])}"
        tests = (probability(record.get(key)) for key in ("p", "p_holm"))
        where = recorded(summary["rates"][record["rate"]]), language_name(record["lang"])
        rows.append((arms, *where, with_bounds(change, points), *tests))
    caption = tr(
        "Paired differences, fact by fact, in percentage points. Each interval is a 95% one by "
        "itself; the words of the verdict follow the last column, which is corrected for all "
        "planned contrasts together (Holm)."
    )
    head = (
        tr("Contrast"),
        tr("Rate"),
        tr("Language"),
        tr("Difference"),
        "p",
        tr("p corrected"),
    )
    return Table(caption, head, rows, labels=3)


def training_table(summary: Mapping[str, Any]) -> Table:
    """The steps, tokens and losses of each training run."""
    rows = []
    for name, arm in summary["arms"].items():
        for run in arm["training"]:
            fields = (count(run[key]) for key in ("steps", "tokens", "loss_tokens"))
            losses = (number(run[key], 3) for key in ("first_loss", "last_loss"))
            seed = tr("seed {seed}", seed=run["seed"])
            rows.append((capitalised(name), seed, *fields, *losses))
        if not arm["training"]:
            rows.append((capitalised(name), tr("not trained"), *[DASH] * 5))
    times = commas(
        *(f"{spaced(name)} {duration(arm['seconds'])}" for name, arm in summary["arms"].items())
    )
    caption = tr("Training of each run. Time of each arm, all seeds: {times}.", times=times)
    head = (
        tr("Arm"),
        tr("Run"),
        tr("Steps"),
        tr("Tokens"),
        tr("Loss tokens"),
        tr("First loss"),
        tr("Last loss"),
    )
    return Table(caption, head, rows, labels=2)
