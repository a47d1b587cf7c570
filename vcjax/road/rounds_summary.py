"""The summary of rounds of attack and training: success on what is held out, round by round."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vcjax.adversarial.cells import HELD_OUT_GROUPS
from vcjax.adversarial.measurement import attack_results
from vcjax.adversarial.summary import CONFIDENCE
from vcjax.core.files import read_json
from vcjax.core.run import SUMMARY
from vcjax.core.seeds import derive_seed
from vcjax.stats.intervals import Interval, interval_record, paired_difference, rate_record

ALL = "all"
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

    `success` has the attack success rate in each group that is held out, with its exact interval,
    over the attempts that were judged; `difference` has its rise (less is better) since the round
    before and since the first, by attempt, with Tango's interval; `attack` has the counts of the
    attacks that the round was trained on.

    Args:
      measured, attacked: the folders of the measurements from round 0 on, of the attacks from 1 on.
    """
    found = [_by_group(folder) for folder in measured]
    rounds = []
    for number, groups in enumerate(found):
        differences = {
            since: {
                group: _difference(
                    found[earlier][group], groups[group], (seed, since, group, number)
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
        success = {
            group: rate_record(sum(judged.values()), len(judged), CONFIDENCE)
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
        "Attack success rate: how often the checkpoint's own answer fails. Nothing that is held "
        "out was trained on. In brackets, 95 % intervals: of the rates Clopper and Pearson's, of "
        "the paired differences Tango's.",
        "",
        "| round | held out | success | since the round before | since the first |",
        "|---|---|---|---|---|",
    ]
    for record in summary["rounds"]:
        for group, rate in record["success"].items():
            changes = [
                _change(record["difference"].get(since, {}).get(group))
                for since in ("previous", "first")
            ]
            cells = [str(record["round"]), _NAMES[group], _rate(rate), *changes]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _by_group(folder: Path) -> dict[str, dict[str, bool]]:
    """Successes by attempt in each group, and in all together."""
    groups = {
        group: attack_results(folder, group)
        for group in HELD_OUT_GROUPS
        if (folder / f"{group}.sqlite").is_file()
    }
    together = {
        f"{group}/{id}": success
        for group, judged in groups.items()
        for id, success in judged.items()
    }
    return {**groups, ALL: together}


def _difference(
    before: Mapping[str, bool], after: Mapping[str, bool], seed: tuple[Any, ...]
) -> dict[str, Any]:
    both = sorted(before.keys() & after.keys())
    first, then = ([judged[id] for id in both] for judged in (before, after))
    return interval_record(
        paired_difference(first, then, confidence=CONFIDENCE, seed=derive_seed(*seed))
    )


def _rate(rate: Mapping[str, Any]) -> str:
    interval = Interval.of(rate, "rate")
    return f"{interval:.0%}" if interval.value is None else f"{interval:.0%} of {interval.n}"


def _change(found: Mapping[str, Any] | None) -> str:
    interval = Interval.of(found)
    return f"{interval:+.0%}" if interval.bounds else "–"
