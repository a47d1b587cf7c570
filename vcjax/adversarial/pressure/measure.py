"""Which answer of every probe a model prefers, in a file that a kill leaves whole."""

from collections.abc import Sequence
from pathlib import Path

from vcjax.adversarial.pressure.probes import Probe
from vcjax.evaluation.likelihoods import score_answers
from vcjax.roles.role import LikelihoodAsk, ScoringRole

SCORES = "scores.jsonl"


def score_probes(role: ScoringRole, probes: Sequence[Probe], folder: Path) -> dict[str, float]:
    """Scores what `scores.jsonl` lacks.

    Returns, by the probes' ids, the preference for the true answer: its log-likelihood minus that
    of the false one, in nats.

    Raises:
      UserError: a probe that doesn't fit the model's context, or whose scores weren't recorded.
    """
    asks = [LikelihoodAsk(probe.id, probe.messages, probe.answers) for probe in probes]
    found = score_answers(role, asks, [("true", "false")] * len(asks), folder / SCORES)
    return {id: own["true"] - own["false"] for id, own in found.items()}
