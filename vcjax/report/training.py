"""How the stages were trained: losses, tokens and time."""

from collections.abc import Mapping, Sequence
from typing import Any

from vcjax.report.blocks import Block, Figure, Figures, Section, Table, Text
from vcjax.report.names import words
from vcjax.report.numbers import count, duration, missing, number
from vcjax.report.plots import curve

_STAGES = {
    "cpt": "Continued pre-training",
    "sft": "Instruction tuning",
    "adversarial": "Adversarial training",
}

_HEAD = (
    *("Stage", "First loss", "Last loss", "Steps"),
    *("Tokens", "Loss tokens", "Time", "Tokens a second"),
)

_HELD = "validation"
_HELD_OUT_HEAD = ("Stage", "First loss", "Last loss", "Lowest loss", "At step", "Stopped early at")


def stage_name(stage: str) -> str:
    """The name of a training stage, or of another part of a run, in full."""
    return _STAGES.get(stage, words(stage))


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
                "A falling loss shows that the model fits its training text, and nothing about "
                "how well it keeps to the charter. Stages train on other text, so that their "
                "losses can't be compared with each other."
            )
        )
    blocks.append(
        Table(
            "Training. Loss tokens are those that the loss counts, e.g. the assistant's.",
            _HEAD,
            [_cells(stage, record) for stage, record in stages.items()],
        )
    )
    measured = [_held_out(stage, record) for stage, record in stages.items() if _HELD in record]
    if measured:
        caption = (
            "Loss on data that wasn't trained on, measured while each stage ran, from before its "
            "first step on. A stage that stopped early had no lower loss for a while."
        )
        blocks.append(Table(caption, _HELD_OUT_HEAD, measured))
    if seconds:
        rows = [(stage_name(part), duration(value)) for part, value in seconds.items()]
        blocks.append(Table("Where the time of the whole run went.", ("Part", "Time"), rows))
    return Section("training", "Training", blocks)


def _curve(stage: str, rows: Sequence[dict[str, Any]]) -> list[Figure]:
    measured = [row for row in rows if not missing(row.get("loss"))]
    if not measured:
        return []
    steps, losses = [row["step"] for row in measured], [row["loss"] for row in measured]
    svg = curve(f"loss-{stage}", stage_name(stage), steps, losses)
    first, last = number(losses[0], 3), number(losses[-1], 3)
    return [Figure(f"{stage_name(stage)}: loss {first} at first, {last} at the end.", svg)]


def _cells(stage: str, record: dict[str, Any]) -> tuple[str, ...]:
    tokens, seconds = record.get("tokens"), record.get("seconds")
    speed = None if missing(tokens) or missing(seconds) or not seconds else tokens / seconds
    return (
        stage_name(stage),
        *(number(record.get(field), 3) for field in ("first_loss", "last_loss")),
        *(count(record.get(field)) for field in ("steps", "tokens", "loss_tokens")),
        duration(seconds),
        count(speed),
    )


def _held_out(stage: str, record: dict[str, Any]) -> tuple[str, ...]:
    losses = (record[_HELD][f"{which}_loss"] for which in ("first", "last", "best"))
    steps = (record[_HELD]["best_step"], record.get("stopped_early"))
    return (stage_name(stage), *(number(loss, 3) for loss in losses), *map(count, steps))
