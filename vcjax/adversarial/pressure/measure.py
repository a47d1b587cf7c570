"""Log-likelihoods of both answers to every probe, in a file that a kill leaves whole."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vcjax.adversarial.pressure.probes import Probe
from vcjax.roles.cache import CallCache, fingerprint
from vcjax.roles.role import LikelihoodAsk, LogProbs, ScoringRole

SCORES = "scores.jsonl"
_KEY = ("id", "fingerprint")
_CHUNK = 256
"""Probes that are scored together: about ten batches."""


def score_probes(role: ScoringRole, probes: Sequence[Probe], folder: Path) -> dict[str, float]:
    """Scores what `scores.jsonl` lacks.

    Returns, by the probes' ids, the preference for the true answer: its log-likelihood minus that
    of the false one, in nats.

    Raises:
      UserError: a probe that doesn't fit the model's context, or whose scores weren't recorded.
    """
    keys = [(probe.id, fingerprint(role.model, probe.messages, probe.answers)) for probe in probes]
    with (
        CallCache(folder / SCORES, _KEY) as cache,
        tqdm(total=len(probes), desc="probes", disable=None) as bar,
    ):
        for start in range(0, len(probes), _CHUNK):
            chunk = range(start, min(start + _CHUNK, len(probes)))
            missing = [index for index in chunk if keys[index] not in cache.records]
            # A chunk is scored whole or not at all: what is scored together changes the last bits,
            # and a resumed run has the numbers of one that wasn't killed.
            asks = [_ask(probes[index]) for index in chunk] if missing else []
            found = role.log_likelihoods(asks)
            cache.extend(_record(keys[index], found[index - start]) for index in missing)
            bar.update(min(_CHUNK, len(probes) - start))
        records = [cache.records[key] for key in keys]
    return {record["id"]: record["true"] - record["false"] for record in records}


def _record(key: tuple[str, ...], scores: LogProbs) -> dict[str, Any]:
    true, false = scores
    return {**dict(zip(_KEY, key, strict=True)), "true": true, "false": false}


def _ask(probe: Probe) -> LikelihoodAsk:
    return LikelihoodAsk(probe.id, probe.messages, probe.answers)
