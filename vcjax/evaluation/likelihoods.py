"""Log-likelihoods of given answers, in a file that a kill leaves whole."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vcjax.core.progress import Progress
from vcjax.roles.cache import CallCache, fingerprint
from vcjax.roles.role import LikelihoodAsk, LogProbs, ScoringRole

_KEY = ("id", "fingerprint")
_CHUNK = 256
"""Asks that are scored together: about ten batches."""


def score_answers(
    role: ScoringRole,
    asks: Sequence[LikelihoodAsk],
    names: Sequence[Sequence[str]],
    path: Path,
) -> dict[str, dict[str, float]]:
    """Scores what the file lacks.

    Args:
      names: what the answers of each ask are called in the file.
      path: JSONL, `{id, fingerprint, <name>: <log-likelihood>, ...}`.

    Returns, by the asks' keys, the log-likelihood of each answer by its name, in nats.

    Raises:
      UserError: an ask that doesn't fit the model's context, or whose scores weren't recorded.
    """
    keys = [(ask.key, fingerprint(role.identity, ask.messages, ask.answers)) for ask in asks]
    with (
        CallCache(path, _KEY) as cache,
        Progress(total=len(asks), desc="probes") as bar,
    ):

        def moved(index: int, scores: LogProbs) -> None:
            bar.update()

        for start in range(0, len(asks), _CHUNK):
            chunk = range(start, min(start + _CHUNK, len(asks)))
            missing = [index for index in chunk if keys[index] not in cache.records]
            # A chunk is scored whole or not at all: what is scored together changes the last bits,
            # and a resumed run has the numbers of one that wasn't killed.
            scored = [asks[index] for index in chunk] if missing else []
            found = role.log_likelihoods(scored, moved)
            cache.extend(
                _record(keys[index], names[index], found[index - start]) for index in missing
            )
            bar.update(len(chunk) - len(scored))
        records = [cache.records[key] for key in keys]
    return {
        ask.key: {name: record[name] for name in own}
        for ask, own, record in zip(asks, names, records, strict=True)
    }


def _record(key: tuple[str, ...], names: Sequence[str], scores: LogProbs) -> dict[str, Any]:
    return dict(zip((*_KEY, *names), (*key, *scores), strict=True))
