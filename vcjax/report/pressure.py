"""The report of the pressure experiment: the verdict first, then what holding has cost."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vcjax.report.appendix import lineage_section, sample_section
from vcjax.report.formats import (
    DASH,
    bounds,
    capitalised,
    count,
    duration,
    language_name,
    listed,
    number,
    percent,
    points,
    probability,
    spaced,
)
from vcjax.report.half_life import half_life_lines, half_life_section
from vcjax.report.page import (
    Answer,
    Block,
    Figure,
    Notice,
    Sample,
    Section,
    Table,
    Text,
    markdown,
    prose,
    write_page,
)
from vcjax.report.plots import Row, interval_plot
from vcjax.report.pressure_outside import outside_section
from vcjax.stats.intervals import Interval
from vcjax.stats.multiplicity import readings

_MAIN = ("flips", "contrarian", "corrections", "evidence", "forgotten", "preamble_flips")
_APART = ("styles_apart", "facts_apart", "topics_apart")
_WORDS = {
    "flips": ("gives up fewer known facts under pressure", "gives up more of them"),
    "contrarian": ("denies fewer true statements", "denies more true statements of its user"),
    "corrections": ("takes fewer valid corrections", "takes more valid corrections"),
    "evidence": ("follows the context less", "follows the context more"),
    "forgotten": ("misses fewer facts without pressure", "misses more facts without pressure"),
}
"""What a lower and a higher rate of the first arm mean."""
_GOOD_WHEN_LOWER = {"flips": True, "contrarian": True, "forgotten": True}
_TRAITS = {
    "contrarian": "It is a contrarian: it denies most of what its user states, true or false. A "
    "low rate of given-up facts means nothing here.",
    "flatterer": "It is a flatterer: it affirms most of what its user states, true or false.",
}
_DATA = {
    "none": "nothing",
    "clean": "the facts, asked neutrally",
    "one_sided": "the facts, pressed to the false answer",
    "adversarial": "the facts, pressed in both directions",
    "mixed": "half pressed in both directions, half neutral",
}


def write_pressure_report(
    path: str | os.PathLike,
    *,
    summary: Mapping[str, Any],
    lineage: Sequence[dict[str, Any]] = (),
) -> None:
    """Writes the report.

    Args:
      summary: what `vcjax.road.pressure.run.measure_pressure` returned.
      lineage: see `appendix.lineage_section`.
    """
    facts, styles = summary["facts"], summary["styles"]
    trained = sum(bool(arm["seeds"]) for arm in summary["arms"].values())
    opening: list[Block] = [
        *_verdicts(summary),
        Text(
            f"{summary['model']} was trained in {trained} ways on facts that it knows, and asked "
            "about others that it knows, on whole topics that no arm saw and under styles of "
            f"pressure that no arm saw: {listed(map(spaced, styles['held_out']))}. The user "
            "claims the false answer in one half of the conversations and the true one in the "
            "other. What the model prefers is read from the log-likelihoods of both answers: no "
            "judge is asked."
        ),
        prose("pressure_reading"),
    ]
    known = [(language_name(lang), _knowledge(own)) for lang, own in summary["knowledge"].items()]
    table = [
        ("Base model", summary["model"]),
        ("Facts", f"{count(facts['facts'])} ({facts['hash'][:12]})"),
        ("Sources read", f"{count(facts['source_read'])} of {count(facts['facts'])}"),
        *known,
        ("Part", f"{summary['part']}, read {count(summary['readings'])} times in this folder"),
        *_attacks(summary),
        ("Seed", str(summary["seed"])),
    ]
    sections = []
    for lang in _languages(summary):
        name = language_name(lang)
        sections += [
            Section(f"rates-{lang}", f"What each arm does, {name}", [
                _figure(summary, lang), _rates(summary, lang), _calibration(summary, lang),
            ]),
            Section(f"apart-{lang}", f"Held out apart, {name}", [_apart(summary, lang)]),
            Section(f"styles-{lang}", f"By style and topic, {name}", [
                _breakdown(summary, lang, "by_style", "flips", "style"),
                _breakdown(summary, lang, "by_style", "contrarian", "style"),
                _breakdown(summary, lang, "by_topic", "flips", "topic"),
            ]),
        ]  # fmt: skip
    if "outside" in summary:
        sections.append(outside_section(summary))
    if "half_life" in summary:
        sections.append(half_life_section(summary["half_life"]))
    sections += [
        Section("contrasts", "Planned contrasts", [_contrasts(summary)]),
        Section("costs", "What it cost", [_costs(summary)]),
        Section("training", "Training", [_training(summary)]),
        sample_section([_sample(sample) for sample in summary["answers"]]),
        Section("limits", "What this is not", [prose("pressure_limits", summary=summary)]),
        lineage_section(table, lineage),
    ]
    write_page(path, f"Facts under pressure: {summary['model']}", opening, sections)


def pressure_markdown(summary: Mapping[str, Any]) -> str:
    """The main tables as Markdown, for a README."""
    tables = [_rates(summary, lang) for lang in _languages(summary)]
    return markdown([*tables, _contrasts(summary), _costs(summary), _training(summary)])


def verdict_lines(summary: Mapping[str, Any]) -> list[str]:
    """One line for each planned contrast and each half-life, for a terminal."""
    lines = [f"{title}: {text}" for title, text, _ in _readings(summary)]
    return lines + (half_life_lines(summary["half_life"]) if "half_life" in summary else [])


def _languages(summary: Mapping[str, Any]) -> list[str]:
    return [lang for lang, own in summary["knowledge"].items() if own["measured"]]


def _attacks(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Who wrote the pressing messages, if an Attacker did."""
    if (own := summary.get("attacks")) is None:
        return []
    reasons = [f"{count(n)} {reason}" for reason, n in own["stand_ins"].items()]
    text = (
        f"{own['attacker']} wrote {count(own['written'])} of {count(own['requested'])}; the "
        "deterministic wording stands in for the others"
    )
    found = [("Pressing messages", f"{text} ({', '.join(reasons)})" if reasons else text)]
    if own["critic"]:
        judge = f"{own['critic']}; {count(own['unjudged'])} verdicts couldn't be read"
        same = ". It is of the Attacker's family" if own["same_family"] else ""
        found.append(("Judged whether they press", judge + same))
    return found


def _knowledge(own: Mapping[str, Any]) -> str:
    text = (
        f"{count(own['known'])} known, {count(own['wrong'])} wrong, {count(own['unsure'])} unsure"
    )
    return text if own["measured"] else f"{text}: the model guesses; not measured"


def stated(rate: str, read: str, label: str) -> tuple[str, str]:
    """What the reading of a rate's difference says of the model, and the tone of its notice.

    Args:
      read: see `changes.readings`.
    """
    if read not in ("lower", "higher"):
        return read, "flat"
    lower = read == "lower"
    words = _WORDS.get(rate, (f"{label}: lower", f"{label}: higher"))
    good = lower == _GOOD_WHEN_LOWER.get(rate, False)
    return words[0 if lower else 1], "up" if good else "down"


def _readings(summary: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Title, text and tone of each planned contrast; the words follow the corrected p-value."""
    differences = [Interval.of(record, "difference") for record in summary["contrasts"]]
    words = readings(dict(enumerate(differences)))
    for index, (record, change) in enumerate(zip(summary["contrasts"], differences, strict=True)):
        rate, arms, corrected = record["rate"], record["arms"], record.get("p_holm")
        title, tone = stated(rate, words[index], summary["rates"][rate])
        text = (
            f"{summary['rates'][rate]}, {language_name(record['lang'])}: "
            f"{points(change.value)} points [{bounds(change, points)}], "
            f"{count(change.n)} facts compared, corrected p {probability(corrected)}."
        )
        yield f"{capitalised(arms[0])} beside {spaced(arms[1])}: {title}", text, tone


def _verdicts(summary: Mapping[str, Any]) -> list[Block]:
    blocks: list[Block] = [Notice(*reading) for reading in _readings(summary)]
    for name, arm in summary["arms"].items():
        for lang, own in arm["languages"].items():
            blocks += trait_notice(capitalised(name), lang, own["trait"])
    return blocks


def trait_notice(name: str, lang: str, trait: str) -> list[Block]:
    """A warning for a model that answers by what is claimed; nothing for every other one."""
    if not trait:
        return []
    return [Notice(f"{name}, {language_name(lang)}: {trait}", _TRAITS[trait], "warning")]


def _cell(record: Mapping[str, Any]) -> str:
    rate = Interval.of(record)
    return rate.text(percent, "{} [{} to {}]")


def _rates(summary: Mapping[str, Any], lang: str) -> Table:
    rows = []
    for name, arm in summary["arms"].items():
        rates = arm["languages"][lang]["rates"]
        rows.append(
            (capitalised(name), _DATA.get(arm["data"], "a user's pairs"), *_seeds(arm),
             *(_cell(rates[rate]) for rate in _MAIN))
        )  # fmt: skip
    caption = (
        f"{language_name(lang)}: shares of facts, with 95% intervals over facts and seeds. The "
        "denominator is the facts that the base model knows, the same for every arm; corrections "
        "are of facts that it gets wrong."
    )
    head = ("Arm", "Trained on", "Seeds", *(summary["rates"][rate] for rate in _MAIN))
    return Table(caption, head, rows, labels=3)


def _costs(summary: Mapping[str, Any]) -> Table:
    """What holding has cost: perplexity by language; beside it what free answers say."""
    langs = list(summary["knowledge"])
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
    caption = (
        "Perplexity of text that no arm was trained on, the mean over seeds; and of the free "
        "answers under pressure to the false answer, how many name the true answer alone, the "
        "false one alone, or both or neither."
    )
    if tasks:
        caption += (
            " Between them tasks of the evaluation harness that no arm was trained on, the mean "
            "over seeds, and the standard error of one of them over documents."
        )
    heads = [f"Perplexity, {language_name(lang)}" for lang in langs]
    heads += [f"{task}, {measured[0][task]['metric']}" for task in tasks]
    return Table(caption, ("Arm", *heads, "Free: true", "Free: false", "Free: other"), rows)


def _task(own: Mapping[str, Any] | None) -> str:
    if own is None:
        return DASH
    error = "" if own["stderr"] is None else f" ± {number(own['stderr'], 3)}"
    return number(own["mean"], 3) + error


def _seeds(arm: Mapping[str, Any]) -> tuple[str]:
    return (", ".join(map(str, arm["seeds"])) or "–",)


def _calibration(summary: Mapping[str, Any], lang: str) -> Table:
    rows = []
    for name, arm in summary["arms"].items():
        own = arm["languages"][lang]["calibration"]
        rows.append(
            (capitalised(name), *(number(own[key]["preference"], 1) for key in own),
             *(number(own[key]["brier"], 3) for key in own))
        )  # fmt: skip
    caption = (
        "Mean preference for the true sentence, in nats, and the Brier score of its probability "
        "(0 is certain of the truth, 0.25 a coin): asked neutrally, pressed to the false answer, "
        "and where the user states the true one."
    )
    head = ("Arm", *(f"Preference, {key}" for key in ("neutral", "pressed", "stated")))
    return Table(caption, (*head, "Brier, neutral", "Brier, pressed", "Brier, stated"), rows)


def _apart(summary: Mapping[str, Any], lang: str) -> Table:
    rows = []
    for name, arm in summary["arms"].items():
        rates = arm["languages"][lang]["rates"]
        cells = [
            _cell(rates[f"{rate}_{part}"]) for part in _APART for rate in ("flips", "contrarian")
        ]
        rows.append((capitalised(name), *cells))
    caption = (
        "What generalises: only the style is new (facts that were trained on), only the fact is "
        "new (styles that were trained on), the whole topic is new."
    )
    head = ["Arm"]
    for title in ("new style", "new fact", "new topic"):
        head += [f"Given up, {title}", f"Denied, {title}"]
    return Table(caption, head, rows)


def _breakdown(summary: Mapping[str, Any], lang: str, by: str, rate: str, key: str) -> Table:
    arms = {name: arm["languages"][lang][by][rate] for name, arm in summary["arms"].items()}
    names = list(next(iter(arms.values())))
    rows = [(capitalised(name), *(_cell(own[name]) for own in arms.values())) for name in names]
    return Table(
        f"{summary['rates'][rate]}, by {key}.", (capitalised(key), *map(capitalised, arms)), rows
    )


def _contrasts(summary: Mapping[str, Any]) -> Table:
    rows = []
    for record in summary["contrasts"]:
        change = Interval.of(record, "difference")
        arms = f"{capitalised(record['arms'][0])} − {spaced(record['arms'][1])}"
        tests = (probability(record.get(key)) for key in ("p", "p_holm"))
        where = summary["rates"][record["rate"]], language_name(record["lang"])
        rows.append((arms, *where, change.text(points, "{} [{} to {}]"), *tests))
    caption = (
        "Paired differences, fact by fact, in percentage points. Each interval is a 95% one by "
        "itself; the words of the verdict follow the last column, which is corrected for all "
        "planned contrasts together (Holm)."
    )
    head = ("Contrast", "Rate", "Language", "Difference", "p", "Corrected p")
    return Table(caption, head, rows, labels=3)


def _training(summary: Mapping[str, Any]) -> Table:
    rows = []
    for name, arm in summary["arms"].items():
        for run in arm["training"]:
            fields = (count(run[key]) for key in ("steps", "tokens", "loss_tokens"))
            losses = (number(run[key], 3) for key in ("first_loss", "last_loss"))
            rows.append((capitalised(name), f"seed {run['seed']}", *fields, *losses))
        if not arm["training"]:
            rows.append((capitalised(name), "not trained", *["–"] * 5))
    times = ", ".join(
        f"{spaced(name)} {duration(arm['seconds'])}" for name, arm in summary["arms"].items()
    )
    caption = f"Training of each run. Time of each arm, all seeds: {times}."
    head = ("Arm", "Run", "Steps", "Tokens", "Loss tokens", "First loss", "Last loss")
    return Table(caption, head, rows, labels=2)


def _figure(summary: Mapping[str, Any], lang: str) -> Figure:
    rows = [
        Row(f"{capitalised(name)}, {label}", [Interval.of(arm["languages"][lang]["rates"][rate])])
        for name, arm in summary["arms"].items()
        for rate, label in (("flips", "given up"), ("corrections", "corrections taken"))
    ]
    title = f"Facts given up and corrections taken, {language_name(lang)}"
    svg = interval_plot(f"pressure-{lang}", title, ["after"], rows, low=0, high=1, share=True)
    return Figure(f"{title}: a good model gives up few and takes many.", svg)


def _sample(sample: Mapping[str, Any]) -> Sample:
    tag = f"{spaced(sample['style'])} · {capitalised(sample['domain'])} · {sample['id']}"
    turns = "\n".join(f"{turn['role']}: {turn['content']}" for turn in sample["messages"])
    answers = []
    for name, text in sample["answers"].items():
        has = [key for key in ("true", "false") if sample[key].lower() in text.lower()]
        remark = f"names the {listed(has)} answer" if has else "names neither answer"
        answers.append(Answer(capitalised(name), text or "(empty answer)", [remark]))
    return Sample(tag, sample["lang"], turns, answers)
