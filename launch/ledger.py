"""Queries the ledger of a synthesis run, during or after the run, and merges the ledgers of shards.

python -m launch.ledger --ledger=W/ledger.sqlite                     the first attempts
python -m launch.ledger query --ledger=W/ledger.sqlite --where kind=rejected --where "reason~score"
python -m launch.ledger query --ledger=W/ledger.sqlite --where lang=zh --by=attack,kind
python -m launch.ledger show ID --ledger=W/ledger.sqlite             one attempt, its prompts too
python -m launch.ledger export --ledger=W/ledger.sqlite --where outcome=timeout --out=F.jsonl
python -m launch.ledger merge --into=W/ledger.sqlite A.sqlite B.sqlite
python -m launch.ledger filters [LABELLED.jsonl]                     how often the filters are right
python -m launch.ledger rejudge --ledger=W/ledger.sqlite --critic=MODEL --critic_family=FAMILY
                                                    another Critic on the answers that are there

A condition is FIELD=VALUE, with =, !=, <, <=, >, >= or ~ (contains). An attempt matches if all
conditions are true of it. The fields are those of an attempt (`kind`, `reason`, `score`, `attack`,
`query`, ...) and of its calls (`stage`, `model`, `outcome`, `text`, ...; `call.tokens` where both
have one); all conditions on calls must be true of one and the same call.

`rejudge` asks no answer again: it has another Critic judge what the ledger's has judged, and leaves
both decisions and their agreement in a folder beside the ledger's (or in --workdir). The same
command continues a run that was stopped.

The exit code is 3 if the merged ledgers differ in an attempt.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from absl import flags

from vcjax.adversarial.ledger.merge import merge
from vcjax.adversarial.ledger.query import (
    OWN_FIELDS,
    Condition,
    attempt_with_calls,
    attempts,
    check_fields,
    counts,
)
from vcjax.adversarial.ledger.schema import opened_to_read
from vcjax.core.errors import GateNotMet, UserError, suggest
from vcjax.core.files import check_writable
from vcjax.core.script import aligned, run

LEDGER = flags.DEFINE_string("ledger", None, "The ledger.sqlite of a run.")
WHERE = flags.DEFINE_multi_string("where", [], "A condition, such as kind=accepted or score>=4.")
COUNT = flags.DEFINE_bool("count", False, "query: print the number of attempts.")
BY = flags.DEFINE_list("by", [], "query: count attempts by these fields.")
FIELDS = flags.DEFINE_list(
    "fields", ["id", "kind", "score", "reason", "query"], "query: columns to print."
)
LIMIT = flags.DEFINE_integer("limit", 20, "query: attempts to print.", lower_bound=0)
OUT = flags.DEFINE_string("out", None, "export: the JSONL file to write.")
CALLS = flags.DEFINE_bool("calls", False, "export: include the calls of each attempt.")
CRITIC = flags.DEFINE_string("critic", "", "rejudge: a model reference or an endpoint.")
CRITIC_FAMILY = flags.DEFINE_string("critic_family", "", "rejudge: the Critic's model family.")
CRITIC_FORM = flags.DEFINE_string("critic_form", "", "rejudge: full or simple; the run's if empty.")
CHARTER = flags.DEFINE_string("charter", "", "rejudge: the charter; that of the run if empty.")
SAME_FAMILY = flags.DEFINE_bool(
    "allow_same_family", False, "rejudge: accept a Critic of the family of a model that it judges."
)
LANGUAGE = flags.DEFINE_string("language", "en", "rejudge: of the report, en or zh.")
WORKDIR = flags.DEFINE_string("workdir", None, "rejudge: the folder to write.")
INTO = flags.DEFINE_string("into", None, "merge: the ledger to add to; created if absent.")

_ABOUT_CALL = (
    "outcome",
    "detail",
    "model",
    "revision",
    "family",
    "finish_reason",
    "prompt_tokens",
    "tokens",
    "seconds",
    "cost",
    "seed",
    "parameters",
    "prompt_hash",
    "alternatives",
    "created",
)


def main(operands: list[str]) -> None:
    verb, *operands = operands or ["query"]
    verbs: dict[str, Callable[[list[str]], None]] = {
        "query": _query,
        "show": _show,
        "export": _export,
        "merge": _merge,
        "filters": _filters,
        "rejudge": _rejudge,
    }
    if verb not in verbs:
        known = ", ".join(verbs)
        raise UserError(f"{verb!r}: no such verb{suggest(verb, verbs)} (known: {known})")
    verbs[verb](operands)


def _query(operands: list[str]) -> None:
    _takes("query", operands, 0)
    conditions = [Condition.parse(text) for text in WHERE.value]
    check_fields(FIELDS.value, OWN_FIELDS)
    with opened_to_read(_ledger()) as connection:
        if COUNT.value or BY.value:
            rows = counts(connection, BY.value, conditions)
            if not BY.value:
                print(rows[0]["attempts"])
                return
            _print_table([*BY.value, "attempts"], rows)
            return
        rows = list(attempts(connection, conditions, limit=LIMIT.value))
        (found,) = counts(connection, [], conditions)
    _print_table(FIELDS.value, rows)
    print(f"{len(rows):,} of {found['attempts']:,} attempts")


def _show(operands: list[str]) -> None:
    _takes("show", operands, 1, "the attempt's id")
    with opened_to_read(_ledger()) as connection:
        found = attempt_with_calls(connection, operands[0])
    if found is None:
        raise UserError(f"{LEDGER.value}: no attempt {operands[0]!r}")
    calls = found.pop("calls")
    conversation, candidates = found.pop("conversation", []), found.pop("candidates", [])
    if "kind" not in found:
        print("not decided yet")
    for name, value in found.items():
        print(f"{name:15} {_as_text(name, value)}")
    for turn in conversation:
        _print_block(f"turn of the {turn['role']}", turn["content"])
    for n, candidate in enumerate(candidates):
        _print_block(f"candidate {n}", json.dumps(candidate, ensure_ascii=False, indent=1))
    for call in calls:
        about = (f"{name} {_as_text(name, call[name])}" for name in _ABOUT_CALL if call[name])
        for message in call["prompt"] or ():
            title = f"prompt of {call['stage']}, {message['role']}"
            _print_block(title, message["content"])
        _print_block(f"call {call['stage']}: {', '.join(about)}", call["text"])


def _export(operands: list[str]) -> None:
    from vcjax.adversarial.export import export_attempts  # with it JAX, which --help needn't load

    _takes("export", operands, 0)
    if not OUT.value:
        raise UserError("--out: name the file to write")
    if Path(OUT.value).is_dir():
        raise UserError(f"--out: {OUT.value} is a folder; name a file in it")
    check_writable(Path(OUT.value).parent)
    with opened_to_read(_ledger()) as connection:
        found, card = export_attempts(connection, Path(OUT.value), WHERE.value, calls=CALLS.value)
    print(f"{OUT.value}: {found:,} attempts; {card} warns of what is in them")


def _merge(operands: list[str]) -> None:
    if not INTO.value:
        raise UserError("--into: name the ledger to add to")
    merged = merge(INTO.value, operands, lambda source: print(f"merging {source}", flush=True))
    print(
        f"{INTO.value}: {merged.attempts:,} attempts and {merged.calls:,} calls added, "
        f"{merged.known:,} attempts known, {len(merged.conflicts):,} in conflict"
    )
    if merged.conflicts:
        few = ", ".join(merged.conflicts[:5])
        raise GateNotMet(
            f"{INTO.value}: {len(merged.conflicts)} attempt(s) differ between the ledgers and "
            f"were not merged: {few}{', ...' if len(merged.conflicts) > 5 else ''}"
        )


def _filters(operands: list[str]) -> None:
    from vcjax.adversarial.critic.filters import filter_table, read_labelled_answers

    if len(operands) > 1:
        raise UserError(f"filters: takes one file of labelled answers, not {' '.join(operands)!r}")
    print("\n".join(aligned(filter_table(read_labelled_answers(*operands)))))


def _rejudge(operands: list[str]) -> None:
    from vcjax.report.rejudging import rejudging_lines, rejudging_rows
    from vcjax.road.rejudge import NewCritic, rejudge

    _takes("rejudge", operands, 0)
    new = NewCritic(
        critic=CRITIC.value,
        critic_family=CRITIC_FAMILY.value,
        critic_form=CRITIC_FORM.value,
        charter=CHARTER.value,
        allow_same_family=SAME_FAMILY.value,
        language=LANGUAGE.value,
    )
    folder, summary = rejudge(_ledger(), new, WORKDIR.value)
    print("\n".join([*rejudging_lines(summary), *aligned(rejudging_rows(summary))]))
    print(f"{folder}/verdicts.jsonl, {folder}/report.html")


def _ledger() -> str:
    if not LEDGER.value:
        raise UserError("--ledger: name the ledger, e.g. --ledger=W/ledger.sqlite")
    return LEDGER.value


def _takes(verb: str, operands: Sequence[str], wanted: int, what: str = "nothing") -> None:
    if len(operands) != wanted:
        given = f", not {' '.join(operands)!r}" if operands else ""
        raise UserError(f"{verb}: takes {what} beside its flags{given}")


def _print_table(names: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    room = max(60, shutil.get_terminal_size((160, 24)).columns) // max(2, len(names) - 1)
    table = [tuple(names)]
    for row in rows:
        cells = (_as_text(name, row[name]).replace("\n", " ") for name in names)
        table.append(tuple(cell if len(cell) <= room else f"{cell[: room - 1]}…" for cell in cells))
    print("\n".join(aligned(table)))


def _print_block(title: str, text: str) -> None:
    print(f"\n--- {title}")
    print("\n".join(f"    {line}" for line in text.splitlines()))


def _as_text(name: str, value: Any) -> str:
    if name == "created":
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    run(main, operands=True)
