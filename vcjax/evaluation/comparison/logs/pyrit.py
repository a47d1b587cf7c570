"""Conversations that PyRIT exports as JSON (`memory.export_conversations`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vcjax.core.errors import UserError
from vcjax.core.files import hash_text
from vcjax.evaluation.comparison.logs.samples import Log, Sample

TOOL = "PyRIT"


def is_export(content: Any) -> bool:
    """Whether JSON is an export of PyRIT."""
    return (
        isinstance(content, list)
        and bool(content)
        and isinstance(content[0], dict)
        and {"conversation_id", "role", "original_value"} <= content[0].keys()
    )


def read_export(pieces: Sequence[Mapping[str, Any]], path: Path) -> Log:
    """A conversation is a sample, known by its first message: PyRIT's ids are random.

    Raises:
      UserError: an export without scores.
    """
    conversations: dict[str, list[Mapping[str, Any]]] = {}
    for piece in pieces:
        conversations.setdefault(piece["conversation_id"], []).append(piece)
    if not any(piece.get("scores") for piece in pieces):
        raise UserError(
            f"{path}: its messages have no scores; export them with PyRIT 0.14 or earlier, whose "
            "export_conversations writes the scores of each message"
        )
    samples = [_sample(sorted(own, key=_order)) for own in conversations.values()]
    targets = {name for piece in pieces if (name := _target(piece))}
    return Log(TOOL, samples, {"model": ", ".join(sorted(targets))})


def _sample(pieces: Sequence[Mapping[str, Any]]) -> Sample:
    asked = next(piece for piece in pieces if piece["role"] != "system")
    answers = [piece for piece in pieces if piece["role"] == "assistant"]
    scores = {}
    for piece in pieces:
        for score in piece.get("scores") or ():
            scores[_scorer(score)] = score["score_value"]  # of a scorer the last one
    return Sample(
        id=hash_text(asked["original_value"])[:16],
        question=asked["original_value"],
        answer=answers[-1]["converted_value"] if answers else "",
        scores=scores,
        fields=asked.get("labels") or {},
        error=None if scores else "not scored",
    )


def _order(piece: Mapping[str, Any]) -> int:
    return piece["sequence"]


def _scorer(score: Mapping[str, Any]) -> str:
    name = (score.get("scorer_class_identifier") or {}).get("class_name", "score")
    return "/".join([name, *(score.get("score_category") or ())])


def _target(piece: Mapping[str, Any]) -> str:
    target = piece.get("prompt_target_identifier") or {}
    return target.get("model_name") or target.get("class_name") or ""
