"""The first attempts of a run, before the rest is paid for: their prompts, and what all would cost.

The attempts are the run's own. The same command without the preview continues from there, so that
nothing is asked twice.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vcjax.adversarial.calls import Call
from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.ledger.spending import spent_cost
from vcjax.adversarial.run import ROLES, synthesize
from vcjax.core.errors import UserError
from vcjax.core.files import write_json
from vcjax.core.stores import on_disk
from vcjax.roles.endpoint_spec import EndpointSpec, is_endpoint, split_references

FILE = "preview.json"
_COUNTS = ("calls", "prompt_tokens", "tokens")


def preview(
    config: SynthesisConfig,
    workdir: str | Path,
    count: int,
    show: Callable[[str], None],
    executor: str = "local",
) -> dict[str, Any]:
    """Makes the first `count` attempts and estimates the whole run from them.

    Args:
      show: is given each prompt before it is sent, as text; of each stage `count` at most.
      executor: see `synthesize`.

    Returns:
      `attempts` made of those of the `whole` run; `rows` by role and model with what they took and
      an estimate of the whole; and `cost` of the endpoints together, `so_far` and `whole`. A cost
      is None where a price isn't known, and for models that aren't behind endpoints.

    Raises:
      UserError: as `synthesize`; or the run has no bound, or fewer attempts than the preview.
    """
    if not 1 <= count <= config.attempts:
        raise UserError(
            f"--preview={count}: the run has config.attempts={config.attempts}; preview from 1 to "
            "as many"
        )
    shown: Counter[str] = Counter()

    def on_ask(call: Call) -> None:
        # The calls of one kind, such as the votes on one answer, differ in their number alone.
        stage = call.stage.rstrip("0123456789")
        shown[stage] += 1
        if shown[stage] <= count:
            show(_prompt(call))

    part = replace(config, attempts=count)
    made = synthesize(part, workdir, on_ask=on_ask, executor=executor)["attempts"]
    folder = on_disk(workdir)
    with Ledger(folder / "ledger.sqlite") as ledger:
        spent = ledger.spending()
    rows = _rows(spent, _endpoints(config), made, config.attempts)
    bought = [row for row in rows if row["is_endpoint"]]
    found = {
        "attempts": made,
        "whole": config.attempts,
        "rows": rows,
        "cost": {name: _total(row["cost"][name] for row in bought) for name in ("so_far", "whole")},
    }
    write_json(folder / FILE, found)
    return found


def table(found: Mapping[str, Any]) -> list[str]:
    """The estimate as lines."""
    lines = [
        f"{found['attempts']} attempts of {found['whole']}; the whole run at their rate:",
        f"  {'role':10} {'calls':>9} {'prompt tokens':>14} {'tokens':>12} {'cost':>10}  model",
    ]
    for row in found["rows"]:
        whole = row["whole"]
        numbers = f"{whole['calls']:9,} {whole['prompt_tokens']:14,} {whole['tokens']:12,}"
        lines.append(f"  {row['role']:10} {numbers} {_money(row['cost']['whole'])}  {row['model']}")
    if any(row["is_endpoint"] for row in found["rows"]):  # the others send no bill
        so_far, whole = (_money(found["cost"][name]).strip() for name in ("so_far", "whole"))
        lines.append(f"  endpoints: {so_far} so far, {whole} in all")
    return lines


def _prompt(call: Call) -> str:
    lines = [f"--- {call.role}: {call.attempt} {call.stage}, at most {call.ask.max_tokens} tokens"]
    lines += [f"[{message['role']}] {message['content']}" for message in call.ask.messages]
    return "\n".join(lines)


def _endpoints(config: SynthesisConfig) -> dict[str, EndpointSpec]:
    references = [each for role in ROLES for each in split_references(getattr(config, role))]
    specs = [EndpointSpec.parse(each) for each in references if is_endpoint(each)]
    return {spec.reference: spec for spec in specs}


def _rows(
    spent: Sequence[Mapping[str, Any]],
    endpoints: Mapping[str, EndpointSpec],
    made: int,
    wanted: int,
) -> list[dict[str, Any]]:
    """What each role and model took, and would take: once what isn't for an attempt."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for part in spent:
        spec = endpoints.get(part["model"])
        # What is made once for a run, such as topics, doesn't grow with the attempts.
        times = wanted / made if part["of_attempt"] and made else 1.0
        cost = None if spec is None else spent_cost(spec, part)
        row = rows.setdefault(
            (part["role"], part["model"]),
            {
                "role": part["role"],
                "model": part["model"],
                "is_endpoint": spec is not None,
                "so_far": dict.fromkeys(_COUNTS, 0),
                "whole": dict.fromkeys(_COUNTS, 0),
                "cost": {"so_far": 0.0, "whole": 0.0},
            },
        )
        for name in _COUNTS:
            row["so_far"][name] += part[name]
            row["whole"][name] += round(part[name] * times)
        for name, factor in (("so_far", 1.0), ("whole", times)):
            before = row["cost"][name]
            if before is None or cost is None:
                row["cost"][name] = None
            else:
                row["cost"][name] = before + cost * factor
    return list(rows.values())


def _total(costs: Any) -> float | None:
    found = list(costs)
    return None if None in found or not found else sum(found)


def _money(cost: float | None) -> str:
    return f"{'unknown':>10}" if cost is None else f"{cost:10.4g}"
