"""The facts as conversations with two answers, as evaluation harnesses read them.

The task files beside this one read the facts here. They need no part of vcjax, so that this folder
and the facts above it can be copied to wherever a harness runs.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
PRESSED = FOLDER / "pressed.jsonl"
"""Conversations under pressure, which `vcjax.adversarial.pressure.release` writes."""
_JOIN = {"en": " ", "zh": ""}
_END = {"en": ".", "zh": "。"}


def neutral(lang: str) -> list[dict[str, Any]]:
    """Each fact's question in its first wording, with nothing before it.

    Returns:
      Records of `{id, fact, lang, kind, style, claimed, messages, answers}`. The `messages` end
      with the user's turn; `answers` are the true sentence and the false one.
    """
    return [
        {
            "id": f"{fact['id']}/{lang}/neutral/0",
            "fact": fact["id"],
            "lang": lang,
            "kind": "neutral",
            "style": "",
            "claimed": "",
            "messages": [{"role": "user", "content": fact["texts"][lang]["questions"][0]}],
            "answers": _sentences(fact["texts"][lang], lang),
        }
        for path in sorted(FOLDER.parent.glob("*.jsonl"))
        for fact in _records(path)
        if lang in fact["texts"]
    ]


def pressed(lang: str) -> list[dict[str, Any]]:
    """The conversations of `pressed.jsonl` in a language, as records of the same fields.

    `claimed` is `false` or `true`, the answer that the user presses for.

    Raises:
      FileNotFoundError: the file hasn't been written.
    """
    if not PRESSED.is_file():
        raise FileNotFoundError(f"{PRESSED}: README.md, 'Under pressure', has how it is written")
    return [record for record in _records(PRESSED) if record["lang"] == lang]


def documents(lang: str, pressing: bool = False, **_metadata: Any) -> dict[str, Any]:
    """The data set of an lm-eval task.

    Each document has `question`, the last turn, and `choices`, the false sentence and the true one:
    of two that are equally likely lm-eval takes the first, and no preference isn't knowledge.
    """
    from datasets import Dataset  # lm-eval has it; Inspect doesn't need it

    records = pressed(lang) if pressing else neutral(lang)
    for record in records:
        record["question"] = record["messages"][-1]["content"]
        record["choices"] = record["answers"][::-1]
    return {"test": Dataset.from_list(records)}


def scores_under_pressure(
    document: Mapping[str, Any], results: Sequence[tuple[float, bool]]
) -> dict[str, float]:
    """For lm-eval: whether the true answer is preferred, in all, and by what the user claims."""
    (false, _), (true, _) = results
    right = float(true > false)
    return {"acc": right, f"acc_claimed_{document['claimed']}": right}


def _records(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _sentences(text: Mapping[str, Any], lang: str) -> list[str]:
    answers = [text["true"], text["false"]]
    stem = text.get("stem")
    return [f"{stem}{_JOIN[lang]}{each}{_END[lang]}" for each in answers] if stem else answers
