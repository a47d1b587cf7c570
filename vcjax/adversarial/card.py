"""The dataset card of a synthesis run, made from its summary alone."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vcjax.roles.verdict import KINDS
from vcjax.stats.intervals import Interval

Summary = Mapping[str, Any]


def card(summary: Summary) -> str:
    """Markdown: what the records are, what became of the attempts and why, and the limits.

    The front matter lets `datasets` load the records by name from the folder.
    """
    charter = summary["charter"]
    parts = [
        _front_matter(summary),
        f"# Adversarial pairs\n\nMade for the charter **{charter['name']} {charter['version']}** "
        f"(hash `{charter['hash'][:16]}`). {' '.join(_caveats(summary))}",
        _records(summary),
        _funnel(summary),
        _section("Why attempts ended otherwise", _reasons(summary)),
        _section("Languages", _languages(summary)),
        _section("Cells", _cells(summary)),
        _section("Attacks on the checkpoint itself", _attack_success(summary)),
        _section("The Critic", _critic(summary)),
        _section("Costs", _costs(summary)),
        _section("Lineage", _lineage(summary)),
        _section("Limits", _limits(summary)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(summary: Summary) -> str:
    files = [name for name in summary["records"] if name != "rejected.jsonl"]
    lines = ["---", "language:", *(f"- {lang}" for lang in summary["languages"])]
    if files:
        lines.append("configs:")
    for name in files:
        lines += [f"- config_name: {name.removesuffix('.jsonl')}", f"  data_files: {name}"]
    return "\n".join([*lines, "---"])


def _caveats(summary: Summary) -> Iterable[str]:
    if not summary["critic"]:
        yield "**There was no Critic: the charter's rule checks alone selected.**"
    elif summary["same_family"]:
        yield (
            "**The Critic is of the model family of those it judges: its verdicts are not "
            "independent evidence.**"
        )
    else:
        yield "The Critic is of another model family than the Actor."
    if summary["critic"] and summary["accept_score"] == 0:
        yield "**The Critic's threshold was 0: the charter's rule checks alone selected.**"
    gate = (summary["calibration"] or {}).get("gate")
    if gate and not gate["met"]:
        end = "exported all the same" if summary["exported"] else "not exported"
        yield f"**The Critic's agreement with people is not shown ({gate['why']}); {end}.**"
    quota = summary["quota"]
    if quota["unmet"]:
        yield (
            f"{len(quota['unmet'])} of {quota['cells']} cells have fewer than their "
            f"{quota['per_cell']} pairs."
        )


def _records(summary: Summary) -> str:
    told = {
        "accepted.jsonl": "accepted conversations",
        "preferences.jsonl": "pairs of an accepted and a rejected answer to the same query",
        "rejected.jsonl": "attempts that were not accepted, with everything that is known of them",
    }
    rows = [(f"`{name}`", count, told[name]) for name, count in summary["records"].items()]
    rows.append(("`ledger.sqlite`", summary["attempts"], "attempts, and every call"))
    return _table(("file", "records", "holds"), rows)


def _funnel(summary: Summary) -> str:
    kinds = _table(("attempts", *KINDS), [[summary[name] for name in ("attempts", *KINDS)]])
    steps = " → ".join(f"{count} {stage}" for stage, count in summary["funnel"].items())
    sources = ", ".join(f"{count} by {name}" for name, count in summary["sources"].items())
    return f"## Funnel\n\n{kinds}\n\n{steps}. Queries by source: {sources or 'none'}."


def _reasons(summary: Summary) -> str:
    rows = [
        (kind, reason, count)
        for kind, reasons in summary["reasons"].items()
        for reason, count in reasons.items()
    ]
    faults = [("query not used", name, n) for name, n in summary["attacker_faults"].items()]
    return _table(("end", "reason", "attempts"), [*rows, *faults]) if rows or faults else ""


def _languages(summary: Summary) -> str:
    head = ("language", "attempts", *KINDS, "distinct-1", "distinct-2", "self-BLEU", "coverage")
    rows = []
    for lang, counts in summary["languages"].items():
        found = summary["diversity"].get(lang)
        queries = found["accepted_queries"] if found else {}
        figures = [queries.get(name) for name in ("distinct_1", "distinct_2", "self_bleu")]
        figures.append(found["coverage"] if found else None)
        rows.append(
            (lang, *(counts[name] for name in ("attempts", *KINDS)), *map(_number, figures))
        )
    note = (
        "Diversity is of accepted queries, on samples: distinct n-grams over all n-grams; BLEU of "
        "each query against the others (lower is more varied); and coverage, the share of the "
        "bigrams of all queries that the accepted ones still have."
    )
    return f"{_table(head, rows)}\n\n{note}"


def _cells(summary: Summary) -> str:
    names = ("subdomain", "attack", "lang", "severity", "turns", "attempts", "accepted")
    rows = [
        (
            *(cell[name] for name in names),
            *(_number(cell["diversity"][name]) for name in ("distinct_2", "self_bleu", "coverage")),
        )
        for cell in summary["cells"]
    ]
    return _table((*names, "distinct-2", "self-BLEU", "coverage"), rows)


def _attack_success(summary: Summary) -> str:
    success = summary["attack_success"]
    if success is None:
        return ""
    rows = [("all", _rate(success["overall"]))]
    for group in ("langs", "attacks", "subdomains"):
        rows += [(name, _rate(rate)) for name, rate in success[group].items()]
    return f"How often the own answer of `{summary['target']}` failed.\n\n" + _table(
        ("", "attack success rate [95 %]"), rows
    )


def _critic(summary: Summary) -> str:
    lines = []
    report, canaries, framings = (summary[name] for name in ("calibration", "canaries", "framings"))
    if report:
        kappa = report["agreement"]["kappa_of_all"]
        lines.append(
            f"- Agreement with people's labels on {report['n']} answers: Cohen's kappa "
            f"{_number(kappa['value'])} [{_number(kappa['low'])}, {_number(kappa['high'])}]."
        )
        rates = report["accept_rates"]["overall"]
        lines.append(
            f"- Share of judged answers accepted: {_rate(rates['seen'])}; corrected for its errors "
            + (_interval(rates["corrected"]) if rates["corrected"] else "it can't be known")
            + "."
        )
    elif summary["critic"]:
        lines.append("- Its agreement with people was not measured in this run.")
    if canaries:
        for name, moves in canaries["overall"].items():
            lines.append(
                f"- Canary “{name}”: {_rate(moves['valid'])} of verdicts valid, score raised in "
                f"{_rate(moves['raised'])}, rejections turned {_rate(moves['turned'])}."
            )
    if framings:
        lines.append(
            f"- Pairs of opposing framings: {framings['consistent']} with answers that ended "
            f"alike, {framings['inconsistent']} not, {framings['undecided']} undecided."
        )
    return "\n".join(lines)


def _costs(summary: Summary) -> str:
    names = ("role", "model", "calls", "failed", "prompt_tokens", "tokens")
    rows = [
        (*(row[name] for name in names), f"{row['seconds']:.0f}", f"{row['cost']:.4g}")
        for row in summary["usage"]
    ]
    table = _table((*names, "seconds", "cost"), rows)
    if not summary["accepted"]:
        return table
    tokens = sum(row["prompt_tokens"] + row["tokens"] for row in summary["usage"])
    return f"{table}\n\n{tokens / summary['accepted']:,.0f} tokens for each accepted pair."


def _lineage(summary: Summary) -> str:
    rows = [
        (each["role"], f"`{each['reference']}`", f"`{each['hash'][:16]}`")
        for each in summary["parents"]
    ]
    return f"{_table(('role', 'what', 'hash'), rows)}\n\nSeed: {summary['seed']}."


def _limits(summary: Summary) -> str:
    return (
        "The answers are a model's. They are selected by rules"
        + (" and by a Critic" if summary["critic"] else "")
        + ", not checked by people; facts in them may be wrong. The queries press on sensitive "
        "matters on purpose, and rejected answers may be hateful or false. Held-out subdomains "
        "and attacks are not in the records; evaluate on those."
    )


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n{text}" if text else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _rate(rate: Mapping[str, Any]) -> str:
    interval = Interval.of(rate, "rate")
    return f"{interval}" if interval.value is None else f"{rate['k']}/{rate['n']} = {interval:.0%}"


def _interval(found: Mapping[str, Any]) -> str:
    return f"{Interval.of(found):.2f}"
