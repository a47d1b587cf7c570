"""The summary of rounds of attack and training: success on what is held out, round by round."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vcjax.adversarial.attack_success import CONFIDENCE
from vcjax.adversarial.cells import HELD_OUT_GROUPS
from vcjax.adversarial.measurement import AttackResult, attack_results
from vcjax.core.files import read_json
from vcjax.core.run import SUMMARY
from vcjax.core.seeds import derive_seed
from vcjax.stats.intervals import (
    RATE,
    Interval,
    interval_record,
    mean_interval,
    paired_difference,
)
from vcjax.stats.multiplicity import readings

ALL = "all"
Results = Mapping[str, AttackResult]
_NAMES = {
    "attacks": "held-out attacks",
    "topics": "held-out topics",
    "both": "both held out",
    ALL: "all held out",
}


def round_records(
    measured: Sequence[Path], attacked: Sequence[Path], seed: int
) -> list[dict[str, Any]]:
    """One record a round, from 0: `{round, success, difference, attack}`.

    `success` has the attack success rate in each group that is held out over the attempts that were
    judged; `difference` has its rise (less is better) since the round before and since the first,
    by attempt, and the p-value. Attempts on one topic are alike, so that the intervals are by
    topic. `attack` has the counts of the attacks that the round was trained on.

    Args:
      measured, attacked: the folders of the measurements from round 0 on, of the attacks from 1 on.
    """
    found = [_by_group(folder) for folder in measured]
    rounds = []
    for number, groups in enumerate(found):
        differences = {
            since: {
                group: _difference(
                    found[earlier][group], groups[group], derive_seed(seed, since, group, number)
                )
                for group in groups
            }
            for since, earlier in (("previous", number - 1), ("first", 0))
            if number
        }
        attack = None
        if number:
            summary = read_json(attacked[number - 1] / SUMMARY)
            names = ("attempts", "accepted", "rejected", "unscored", "blocked", "attack_success")
            attack = {name: summary[name] for name in names}
            attack["queries"] = summary.get("queries")  # a finished round of an older version
        success = {
            group: _success(judged, derive_seed(seed, "success", group, number))
            for group, judged in groups.items()
        }
        record = {"round": number, "success": success, "difference": differences}
        rounds.append({**record, "attack": attack})
    return rounds


def rounds_markdown(summary: Mapping[str, Any]) -> str:
    """Markdown: success on what is held out, and how it changed."""
    charter = summary["charter"]
    lines = [
        f"# {len(summary['rounds']) - 1} rounds of attack and training",
        "",
        f"Model `{summary['model']}`, charter {charter['name']} {charter['version']} "
        f"(hash `{charter['hash'][:16]}`).",
    ]
    if summary["same_family"]:
        lines += ["", "**The Critic is of the model family of those it judges.**"]
    lines += [
        "",
        "Attack success rate: how often the checkpoint's own answer fails, of the attacks that are "
        "of their style and on their topic. Nothing that is held "
        "out was trained on. In brackets, 95 % intervals by topic. A paired difference is called "
        "higher or lower where its p-value, corrected by Holm's method for all differences of this "
        "table, is at most 5 %.",
        "",
        "| round | held out | success | since the round before | since the first |",
        "|---|---|---|---|---|",
    ]
    differences = {
        (record["round"], since, group): Interval.of(difference)
        for record in summary["rounds"]
        for since, groups in record["difference"].items()
        for group, difference in groups.items()
    }
    # The first round's change since the round before is its change since the first one.
    tested = {key: each for key, each in differences.items() if key[:2] != (1, "first")}
    read_as = readings(tested, CONFIDENCE)
    for record in summary["rounds"]:
        for group, rate in record["success"].items():
            keys = [(record["round"], since, group) for since in ("previous", "first")]
            if record["round"] == 1:
                keys = keys[:1] * 2
            changes = [_change(differences.get(key), read_as.get(key, "")) for key in keys]
            cells = [str(record["round"]), _NAMES[group], _rate(rate), *changes]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _by_group(folder: Path) -> dict[str, Results]:
    """Results by attempt in each group, and in all together."""
    groups = {
        group: attack_results(folder, group)
        for group in HELD_OUT_GROUPS
        if (folder / f"{group}.sqlite").is_file()
    }
    together = {
        f"{group}/{id}": result for group, judged in groups.items() for id, result in judged.items()
    }
    return {**groups, ALL: together}


def _success(results: Results, seed: int) -> dict[str, Any]:
    succeeded = [result.succeeded for result in results.values()]
    topics = [result.topic for result in results.values()]
    interval = mean_interval(succeeded, topics, scale=RATE, confidence=CONFIDENCE, seed=seed)
    record = {"k": sum(succeeded), "n": interval.n, "rate": interval.value}
    return {**record, "low": interval.low, "high": interval.high}


def _difference(before: Results, after: Results, seed: int) -> dict[str, Any]:
    # Attempts that were judged in both rounds: others would change who is compared.
    both = sorted(before.keys() & after.keys())
    first, then = ([results[id].succeeded for id in both] for results in (before, after))
    topics = [before[id].topic for id in both]
    return interval_record(paired_difference(first, then, topics, confidence=CONFIDENCE, seed=seed))


def _rate(rate: Mapping[str, Any]) -> str:
    interval = Interval.of(rate, "rate")
    return f"{interval:.0%}" if interval.value is None else f"{interval:.0%} of {interval.n}"


def _change(difference: Interval | None, read: str) -> str:
    if difference is None or difference.bounds is None:
        return "–"
    return f"{difference:+.0%}" + (f", {read}" if read in ("higher", "lower") else "")
