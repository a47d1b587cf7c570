"""How reliable a Critic is beside people's labels, and its accept rates corrected by that."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from math import nan
from typing import Any

from vcjax.adversarial.critic.labels import ACCEPT, Label, Labelled
from vcjax.core.seeds import derive_seed
from vcjax.stats.agreement import Level, alpha_interval, kappa_interval
from vcjax.stats.intervals import Interval, interval_record, rate_record
from vcjax.stats.prevalence import Share, corrected_rate

LEAST_LABELS = 20
"""Of each kind, that a gate needs: a few answers on which all agree have an interval of no width,
which is no evidence."""

_UNSCORED = "unscored"
_Settings = Callable[[str], dict[str, Any]]  # of an interval, by its name


def calibrate(
    items: Sequence[Labelled],
    *,
    positive: Label = ACCEPT,
    level: Level = "nominal",
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Compares the Critic's decisions with people's labels.

    Returns (JSON-serialisable):
      n, judged, unscored, judged_by, labels: numbers of answers, of verdicts, of unscored answers
        by reason, of answers by the Critic that judged them, and of answers by people's label.
      agreement: of the Critic with the labels: `rate` (exact interval), Cohen's `kappa` and
        Krippendorff's `alpha` (bootstrap intervals) over the answers with a verdict, and
        `kappa_of_all`, where being unscored is one more label, which people never give.
      annotators: of the people with each other, where there are several: `pairs`, each with `rate`
        and `kappa`, and `alpha` of all; else None.
      sensitivity, specificity: of the verdicts: the share of `positive` among the answers that are
        labelled so, and of anything else among the others; `overall`, by `languages` and by
        `domains`, with exact intervals. Unscored answers count in neither.

    Args:
      positive: the label that sensitivity is about.
      level: of alpha; the labels must be numbers for any but `nominal`.

    Raises:
      ValueError: an item that wasn't judged, or no items.
    """
    if not items or not all(item.judged for item in items):
        raise ValueError("every item needs a verdict, or a reason why there is none")

    def settings(name: str) -> dict[str, Any]:
        return {"confidence": confidence, "seed": derive_seed(seed, "calibration", name)}

    def rates(labelled: bool) -> dict[str, Any]:
        right = [
            (item, (item.critic == positive) == labelled)
            for item in items
            if item.critic is not None and (item.truth == positive) == labelled
        ]
        return {
            "overall": _share(right, confidence),
            "languages": _grouped(right, lambda item: item.lang, confidence),
            "domains": _grouped(right, lambda item: item.domain, confidence),
        }

    truth = [item.truth for item in items]
    decisions = [item.critic for item in items]
    # A label that people never give: leaving the hard answers unscored lowers this agreement.
    with_unscored = [_UNSCORED if label is None else label for label in decisions]
    return {
        "n": len(items),
        "judged": sum(label is not None for label in decisions),
        "unscored": _counts(item.unscored for item in items if item.critic is None),
        "judged_by": _counts(item.judged_by for item in items),
        "labels": _counts(truth),
        "positive": positive,
        "agreement": {
            **_pair(truth, decisions, settings, "critic"),
            "alpha": _alpha([truth, decisions], level, settings("critic/alpha")),
            "kappa_of_all": interval_record(
                kappa_interval(truth, with_unscored, **settings("all"))
            ),
        },
        "annotators": _annotators(items, level, settings),
        "sensitivity": rates(True),
        "specificity": rates(False),
    }


def gate(report: Mapping[str, Any], minimum: float) -> dict[str, Any]:
    """Whether the Critic is known to agree well enough with people for its data to be exported.

    The lower bound of `kappa_of_all` decides, not the estimate: the agreement has to be shown, and
    a Critic gains nothing by leaving answers unscored. Both kinds of label must occur
    `LEAST_LABELS` times.

    Returns `{minimum, kappa, low, met, why}`; `why` is a line for people, empty where it is met.
    """
    kappa = report["agreement"]["kappa_of_all"]
    positive = report["labels"].get(str(report["positive"]), 0)
    fewest = min(positive, report["n"] - positive)
    if fewest < LEAST_LABELS:
        why = f"{fewest} labels of one kind, and {LEAST_LABELS} of each are needed"
    elif kappa["low"] is None:
        why = "the agreement can't be estimated"
    # The bound and not the estimate: with few labels a good estimate is often luck.
    elif kappa["low"] < minimum:
        why = (
            f"kappa is {kappa['value']:.2f}, and at least {kappa['low']:.2f} with confidence: "
            f"below {minimum:g}"
        )
    else:
        why = ""
    known = {"minimum": minimum, "kappa": kappa["value"], "low": kappa["low"]}
    return {**known, "met": not why, "why": why}


def critic_counts(judged: Iterable[tuple[str, str, str]]) -> dict[str, Any]:
    """The counts that `corrected_rates` takes, of the answers that the Critic judged.

    Args:
      judged: language, subdomain and verdict's kind of each; those without a verdict don't count.
    """
    counts: dict[str, Any] = {"overall": (0, 0), "languages": {}, "domains": {}}

    def more(pair: tuple[int, int], kind: str) -> tuple[int, int]:
        return pair[0] + (kind == "accepted"), pair[1] + 1

    for lang, domain, kind in judged:
        if kind in ("accepted", "rejected"):
            counts["overall"] = more(counts["overall"], kind)
            for group, name in (("languages", lang), ("domains", domain)):
                counts[group][name] = more(counts[group].get(name, (0, 0)), kind)
    return counts


def corrected_rates(
    report: Mapping[str, Any],
    counts: Mapping[str, Any],
    *,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """The accept rates of a run, corrected for the Critic's sensitivity and specificity.

    Each group is corrected by its own sensitivity and specificity, where both were measured in it;
    see `corrected_rate` for the method and its assumptions.

    Args:
      report: of `calibrate`.
      counts: `{"overall": (accepted, judged), "languages": {name: ...}, "domains": {name: ...}}`:
        answers that the Critic accepted, and answers that it gave a verdict on; `critic_counts`.
        What rules rejected before it doesn't count.

    Returns the same tree of `{seen, corrected}`: the observed rate and the corrected one, with
    their intervals; `corrected` is None where the true rate can't be known.
    """

    def one(pair: tuple[int, int], group_of: Callable[[Any], Any]) -> dict[str, Any]:
        accepted, judged = pair
        shares = [group_of(report[name]) for name in ("sensitivity", "specificity")]
        # A group without labels has no sensitivity, and its rate stays uncorrected.
        known = [Share(0, 0) if s is None else Share(s["k"], s["n"]) for s in shares]
        corrected = corrected_rate(Share(accepted, judged), known[0], known[1], confidence)
        return {
            "seen": rate_record(accepted, judged, confidence),
            "corrected": None if corrected.value is None else interval_record(corrected),
        }

    def group(name: str) -> dict[str, Any]:
        return {
            key: one(pair, lambda rates, key=key: rates[name].get(key))
            for key, pair in sorted(counts[name].items())
        }

    return {
        "overall": one(counts["overall"], lambda rates: rates["overall"]),
        "languages": group("languages"),
        "domains": group("domains"),
    }


def _annotators(
    items: Sequence[Labelled], level: Level, settings: _Settings
) -> dict[str, Any] | None:
    raters = max(len(item.annotators) for item in items)
    columns = [
        [item.annotators[n] if n < len(item.annotators) else None for item in items]
        for n in range(raters)
    ]
    if raters < 2:
        return None
    pairs = {
        f"{a + 1}-{b + 1}": _pair(columns[a], columns[b], settings, f"pair/{a}/{b}")
        for a, b in combinations(range(raters), 2)
    }
    return {"pairs": pairs, "alpha": _alpha(columns, level, settings("pair/alpha"))}


def _pair(
    a: Sequence[Label | None], b: Sequence[Label | None], settings: _Settings, name: str
) -> dict[str, Any]:
    """Rate and kappa of two columns, over the answers that both have labelled."""
    # Answers without a verdict are left out here, and count as a disagreement in `kappa_of_all`.
    both = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    same = sum(x == y for x, y in both)
    confidence = settings(name)["confidence"]
    kappa = Interval(None, None, None, 0)
    if both:
        kappa = kappa_interval([x for x, _ in both], [y for _, y in both], **settings(name))
    return {
        "rate": rate_record(same, len(both), confidence),
        "kappa": interval_record(kappa),
    }


def _alpha(
    columns: Sequence[Sequence[Label | None]], level: Level, settings: dict[str, Any]
) -> dict[str, Any]:
    labels = {label for column in columns for label in column if label is not None}
    if level == "nominal":
        # Any numbers do: nominal alpha asks only whether two labels are the same.
        codes = {label: float(n) for n, label in enumerate(sorted(labels, key=str))}
    else:
        codes = {label: float(label) for label in labels}
    ratings = [[nan if label is None else codes[label] for label in column] for column in columns]
    if not any(sum(label is not None for label in item) > 1 for item in zip(*columns, strict=True)):
        return interval_record(Interval(None, None, None, 0))
    return interval_record(alpha_interval(ratings, level, **settings))


def _grouped(
    right: Sequence[tuple[Labelled, bool]], group: Callable[[Labelled], str], confidence: float
) -> dict[str, Any]:
    groups: dict[str, list[tuple[Labelled, bool]]] = defaultdict(list)
    for item, passed in right:
        groups[group(item)].append((item, passed))
    return {name: _share(members, confidence) for name, members in sorted(groups.items())}


def _share(right: Sequence[tuple[Labelled, bool]], confidence: float) -> dict[str, Any]:
    return rate_record(sum(passed for _, passed in right), len(right), confidence)


def _counts(names: Iterable[Any]) -> dict[str, int]:
    # By text, as labels may be numbers and words at once, and JSON's keys are text.
    return {str(name): times for name, times in sorted(Counter(names).items(), key=str)}
