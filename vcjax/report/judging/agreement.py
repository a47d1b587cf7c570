"""How far judges agree: with each other, with people, and each with itself."""

from collections.abc import Mapping
from typing import Any

from vcjax.report.formats import count, listed, number, percent, probability, signed, with_bounds
from vcjax.report.measures.tables import number_text, signed_text
from vcjax.report.messages import tr
from vcjax.report.page import Block, Table, Text
from vcjax.stats.intervals import Interval
from vcjax.stats.multiplicity import holm


def agreement_blocks(found: Mapping[str, Any]) -> list[Block]:
    """Tables of every coefficient that there is.

    Args:
      found: the `agreement` of an evaluation's summary; see `evaluation.judging.reliability`.
    """
    blocks: list[Block] = []
    if found["pairs"]:
        blocks += _pairs(found)
    if found["all"] is not None:
        blocks.append(_all(found))
    if found["errors"] is not None:
        blocks += _errors(found)
    return blocks + _themselves(found)


def _pairs(found: Mapping[str, Any]) -> list[Block]:
    pairs = found["pairs"]
    # Two judges with too few answers in common have no p, and are none of those that are corrected
    # together.
    tested = [pair for pair in pairs if pair["difference"].get("p") is not None]
    corrected = dict(
        zip(
            (tuple(pair["judges"]) for pair in tested),
            holm([pair["difference"]["p"] for pair in tested]),
            strict=True,
        )
    )
    rows = []
    for pair in pairs:
        difference = Interval.of(pair["difference"])
        rows.append(
            (
                listed(pair["judges"]),
                count(pair["n"]),
                percent(pair["same"]["rate"]),
                *(
                    with_bounds(Interval.of(pair[key]), number)
                    for key in ("kappa", "kappa_quadratic", "spearman", "distance")
                ),
                with_bounds(difference, signed),
                probability(corrected.get(tuple(pair["judges"]))),
            )
        )
    head = (
        tr("Judges"),
        tr("Answers"),
        tr("Same score"),
        tr("Kappa"),
        tr("Quadratic kappa"),
        tr("Spearman"),
        tr("Distance"),
        tr("Difference"),
        "p",
    )
    caption = tr(
        "Each two judges. Kappa and Spearman's rho are 1 where they agree and 0 where only chance "
        "does; the distance is the mean absolute difference, the last difference the second "
        "judge's mean minus the first one's, with p corrected for the number of pairs (Holm)."
    )
    return [Table(caption, head, rows)]


def _all(found: Mapping[str, Any]) -> Block:
    own = found["all"]
    rows = [
        (tr("Krippendorff's alpha, ordinal"), number_text(own["alpha"])),
        (tr("Intraclass correlation, one judge"), number_text(own["icc"])),
        (tr("Intraclass correlation, the panel's mean"), number_text(own["icc_panel"])),
        (
            tr("Fleiss' kappa"),
            tr("{kappa} (z {z})", kappa=number(own["fleiss"]), z=number(own["z"])),
        ),
    ]
    caption = tr(
        "All judges together, on the {n} answers that each of them scored.", n=count(own["n"])
    )
    return Table(caption, (tr("Coefficient"), tr("Value")), rows)


def _errors(found: Mapping[str, Any]) -> list[Block]:
    errors = found["errors"]
    rows = [
        (name, *_against(own))
        for name, own in (*errors["judges"].items(), (tr("The panel"), errors["panel"]))
        if own is not None
    ]
    blocks: list[Block] = [
        Table(
            tr(
                "Beside the mean of {people}. Bias: the judge's score minus theirs; distance: its "
                "mean size, whatever its sign.",
                people=listed(found["people"]),
            ),
            (tr("Judge"), tr("Answers"), tr("Bias"), tr("Distance"), tr("Spearman")),
            rows,
        )
    ]
    if errors["effective"] is not None:
        blocks.append(
            Text(
                tr(
                    "The errors of two of these judges share {share} of their variance: {n} judges "
                    "are worth {effective} with independent errors.",
                    share=percent(errors["common"]),
                    n=len(errors["judges"]),
                    effective=number(errors["effective"]),
                )
            )
        )
    return blocks


def _against(own: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        count(own["bias"]["n"]),
        signed_text(own["bias"]),
        *(with_bounds(Interval.of(own[key]), number) for key in ("distance", "spearman")),
    )


def _themselves(found: Mapping[str, Any]) -> list[Block]:
    """A judge beside itself: samples of one verdict, and prompts in two languages."""
    blocks: list[Block] = []
    if found["samples"]:
        rows = [
            (name, count(own["n"]), percent(own["same"]["rate"]), number_text(own["alpha"]))
            for name, own in found["samples"].items()
        ]
        caption = tr(
            "Samples of one verdict: how often they are all the same, and their agreement."
        )
        head = (tr("Judge"), tr("Verdicts"), tr("All the same"), tr("Alpha"))
        blocks.append(Table(caption, head, rows))
    if found["prompt_languages"]:
        rows = [
            (
                name,
                count(own["n"]),
                signed_text(own["difference"]),
                percent(own["same"]["rate"]),
            )
            for name, own in found["prompt_languages"].items()
        ]
        caption = tr(
            "Asked in the other language than the answer's, minus asked in the answer's own: a "
            "judge that scores by its prompt's language shows it here."
        )
        head = (tr("Judge"), tr("Answers"), tr("Difference"), tr("Same score"))
        blocks.append(Table(caption, head, rows))
    return blocks
