"""How far a run's Critic can be trusted: beside people's labels, and against injected text."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from vcjax.adversarial.critic.calibration import calibrate, corrected_rates, critic_counts, gate
from vcjax.adversarial.critic.canaries import measure_canaries
from vcjax.adversarial.critic.judging import transcript
from vcjax.adversarial.critic.labels import Labelled, judged
from vcjax.adversarial.critic.panel import CriticPanel, Poll
from vcjax.adversarial.critic.votes import Exhibit
from vcjax.adversarial.outcome import ACTOR
from vcjax.charter.registry import Language


def measure_agreement(
    labelled: list[Labelled], panel: CriticPanel | None, poll: Poll, name: str, *, seed: int
) -> dict[str, Any]:
    """The calibration report of the run's Critics, who judge what has no recorded verdict."""
    items = labelled if panel is None else judged(labelled, panel, poll, name)
    return calibrate(items, seed=seed)


def reliability(
    report: dict[str, Any], minimum: float, counts: Counter[tuple[str, str, str]]
) -> dict[str, Any]:
    """The report with its gate, and the accept rates corrected for the Critic's errors.

    Args:
      counts: the Actor's answers with a verdict, by language, subdomain and kind.
    """
    corrected = corrected_rates(report, critic_counts(counts.elements()))
    return {**report, "gate": gate(report, minimum), "accept_rates": corrected}


def canary_report(
    attempts: Iterable[dict[str, Any]], panel: CriticPanel, poll: Poll, *, size: int, seed: int
) -> dict[str, Any] | None:
    """What canaries do to the verdicts on a run's own answers; None where none was judged."""
    chosen = sample_judged(attempts, panel.charter.languages, size)
    return measure_canaries(chosen, panel, poll, seed=seed) if chosen else None


def sample_judged(
    attempts: Iterable[dict[str, Any]], languages: Iterable[Language], size: int
) -> list[Exhibit]:
    """The Actor's first answers that the Critic judged, `size` at most of each language.

    Half of them, where there are as many, are answers that it rejects: those a canary could turn.
    """
    found: dict[tuple[str, str], list[Exhibit]] = {
        (lang, kind): [] for lang in languages for kind in ("rejected", "accepted")
    }
    for attempt in attempts:
        for exhibit, kind in _judged(attempt):
            members = found[exhibit.lang, kind]
            if len(members) < size:
                members.append(exhibit)
        if all(len(members) == size for members in found.values()):
            break
    chosen = []
    for lang in {lang: None for lang, _ in found}:
        rejected, accepted = found[lang, "rejected"], found[lang, "accepted"]
        share = rejected[: max(size // 2, size - len(accepted))]
        chosen += [*share, *accepted[: size - len(share)]]
    return chosen


def _judged(attempt: dict[str, Any]) -> Iterator[tuple[Exhibit, str]]:
    """The Actor's answers that the Critic gave a verdict on."""
    shown = transcript(attempt["conversation"] or [{"content": attempt["query"]}])
    for n, candidate in enumerate(attempt["candidates"]):
        if candidate["by"] == ACTOR and candidate["score"] is not None:
            place = (f"{attempt['id']}/{n}", attempt["lang"], shown)
            yield Exhibit(*place, candidate["answer"], attempt["subdomain"]), candidate["kind"]
