r"""How far a run's Critics are trusted: with the export of its pairs, and against the filters.

labelled answers --rules--> left to the Critics --calibration.calibrate--> report, its gate
                        \-> rejected by filters: the Critic's decisions beside the filters'
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from vcjax.adversarial.critic.calibration import calibrate, corrected_rates, critic_counts, gate
from vcjax.adversarial.critic.labels import ACCEPT, Labelled, judge_labelled, rules_on
from vcjax.adversarial.critic.panel import CriticPanel, Poll
from vcjax.adversarial.critic.rules import RuleVerdict
from vcjax.adversarial.reasons import AnswerReason
from vcjax.charter.schema import Charter


def measure_agreement(
    labelled: Sequence[Labelled],
    panel: CriticPanel | None,
    poll: Poll,
    name: str,
    *,
    charter: Charter,
    filters: Collection[AnswerReason],
    minimum: float,
    seed: int,
) -> dict[str, Any]:
    """The calibration report of a run's Critics, on the answers that selection leaves to them.

    The Critics judge what has no recorded verdict. Answers that a rule rejects before any Critic
    is asked don't count: refusals and loops are easy, and would make the Critic's agreement, and
    the rates corrected by it, too good.

    A Critic is trusted to overrule the filters if it passes the gate without the answers that they
    reject and with them, and agrees with people on these, of which there must be some, at least as
    often as the filters do. Then selection leaves those answers to it, and the report is on all of
    them.

    Args:
      name: of the Critics, for the report.
      filters: those of the run.
      minimum: see `gate`.

    Returns what `calibrate` returns, and `trusted`, and `filtered`: for the reason of each rule `n`
    labelled answers that it rejects, how many of these people `accept`, and how many the Critic
    decides as people do (`critic_right`).
    """
    items = labelled if panel is None else judge_labelled(labelled, panel, poll, name)
    found = [rules_on(item, charter, filters) for item in items]
    pairs = list(zip(items, found, strict=True))
    report = calibrate([item for item, rules in pairs if not rules], seed=seed)
    trusted = False
    if panel is not None and gate(report, minimum)["met"]:
        left = [(item, rules) for item, rules in pairs if all(each.overrulable for each in rules)]
        whole = calibrate([item for item, _ in left], seed=seed)
        by_filter = [item for item, rules in left if rules]
        # On the answers that filters reject, a filter is right where people don't accept. The
        # Critic must be right there as often: good agreement elsewhere says nothing about the cases
        # that it would overrule.
        of_critic = sum(item.critic == item.truth for item in by_filter)
        of_filters = sum(item.truth != ACCEPT for item in by_filter)
        # Nor does it say anything where no labelled answer is such a case.
        trusted = bool(by_filter) and gate(whole, minimum)["met"] and of_critic >= of_filters
        report = whole if trusted else report
    return {**report, "trusted": trusted, "filtered": _filtered(pairs)}


def reliability(
    report: dict[str, Any], minimum: float, counts: Counter[tuple[str, str, str]]
) -> dict[str, Any]:
    """The report with its gate, and the accept rates corrected for the Critic's errors.

    Args:
      counts: the Actor's answers with a verdict, by language, subdomain and kind.
    """
    corrected = corrected_rates(report, critic_counts(counts.elements()))
    return {**report, "gate": gate(report, minimum), "accept_rates": corrected}


def _filtered(
    pairs: Iterable[tuple[Labelled, Sequence[RuleVerdict]]],
) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for item, rules in pairs:
        if rules:
            right, accepted = item.critic == item.truth, item.truth == ACCEPT
            # A counter adds what it is given, and truth as 1.
            counts[rules[0].verdict.reason].update(n=1, accept=accepted, critic_right=right)
    return {reason: dict(found) for reason, found in sorted(counts.items())}
