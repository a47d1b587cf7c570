"""What differs between the config that a folder has and the one that a run is started with."""

from collections.abc import Mapping
from typing import Any

_ADDED = {
    "columns": "",
    "filters": "refusal,off-language,echo,repetitive,lecture,truncated",
    "attacker": "",
    "attacker_family": "",
    "critic": "",
    "critic_family": "",
    "outside": "",
    "outside_facts": 0,
    "tool_turns": "leave_out",
    "require_domain": False,
    "topics": "",
    "validation.similarity": 0.8,
    "measures": "",
    "measured_per_domain_and_language": 0,
    "answers_from": "",
    "judge_samples": 1,
    "judge_language": "item",
    "judge_columns": "",
    "judge_labels": "",
    "axes": False,
    "half_life.steps": 0,
    "half_life.pairs": 64,
    "half_life.learning_rate": 0.0,
    "half_life.conversations": "",
    "judge_check": 0,
    "require_judge": False,
    "language": "en",
    "ahead": 0,
    "context": 0,
    "replicas": 0,
    "sample_by": "auto",
    "prepare.steps": "held_out,duplicates",
    "prepare.samples": 3,
    "prepare.longest": 0,
    "prepare.most_mb": 1000,
    "prepare.settings.duplicates.similarity": 1.0,
    "prepare.settings.duplicates.n": 5,
    "prepare.settings.duplicates.memory": 256,
}
"""Fields, in any section, that runs of earlier versions lacked, with the values that leave such
a run what it was."""

_CHANGED = {"slots": (16, 0)}
"""Defaults of earlier versions and of now, of fields where both make a run of the same results: 0
slots are 16 on CPUs, and a text is decoded alike beside any number of others."""


def config_difference(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """The fields that two configs differ in, sorted, with both values; None where there is none."""
    new = _flat(after)
    added = {
        field: value
        for field in new
        for name, value in _ADDED.items()
        if f".{field}".endswith(f".{name}")  # whole names: `measures`, but not `all_measures`
    }
    # What the recorded config has wins over the default of a field that was added later.
    old = {**added, **_flat(before)}
    for field, value in old.items():
        if _CHANGED.get(field.rpartition(".")[2]) == (value, new.get(field)):
            old[field] = new[field]
    fields = sorted(old.keys() | new.keys())
    pairs = {field: (old.get(field), new.get(field)) for field in fields}
    return {field: pair for field, pair in pairs.items() if pair[0] != pair[1]}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return flat
