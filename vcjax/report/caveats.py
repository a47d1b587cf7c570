"""What must be said before and after the numbers."""

from collections.abc import Sequence

from vcjax.report.blocks import Block, Notice, Points, Section
from vcjax.report.numbers import count
from vcjax.report.runs import Run

SAME_FAMILY = "The judge is of the judged model's family: its scores are not evidence of quality"


def judge_notices(same_family: bool | None) -> list[Block]:
    """The stamp of a judge that is no outsider, or of a run without any judge."""
    if same_family is None:
        return [
            Notice("No judge scored these answers", "Only the rule checks were run.", "warning")
        ]
    if same_family:
        text = (
            "A model tends to favour answers like its own. Read the judge's numbers as a test "
            "that the machinery runs, and look at the rule checks and the sample answers."
        )
        return [Notice(SAME_FAMILY, text, "warning")]
    return []


def critic_notices(same_family: bool | None, accept_score: int | None) -> list[Block]:
    """The stamp of a Critic that is no outsider, or that decided nothing; None is not known."""
    if accept_score == 0:
        text = (
            "Every score passed its threshold, which was 0: the charter's rule checks alone chose "
            "what the model was trained on. Its scores are recorded beside them."
        )
        return [Notice("The Critic's scores selected nothing", text, "warning")]
    if not same_family:
        return []
    text = (
        "The Critic chose what the model was trained on, so that the training data may carry the "
        "family's own blind spots."
    )
    return [Notice("The Critic is of the Actor's model family", text, "warning")]


def checks_notice(trained_on: bool) -> Notice:
    """What the rule checks can and can't show; `trained_on`: they selected the training data."""
    text = (
        "They are fixed rules over the text: its language, its length, refusals, repetitions, "
        "phrases that mark two views and the like. They can show that an answer has a form that "
        "the charter asks for. They can't show that it is true, fair or well argued: an answer can "
        "pass them all and be worthless."
    )
    if trained_on:
        text += (
            " Training data was chosen with checks of this kind, so that a rise shows first of "
            "all that training took hold."
        )
    return Notice("What the rule checks can and can't show", text)


def limits_section(
    runs: Sequence[Run], same_family: bool | None, seed: int | None, trained: bool
) -> Section:
    """What the run is not. `trained`: it trained the model, rather than only evaluate it."""
    asked = sum(record["n"] for record in runs[0].summary["languages"].values())
    items = [
        f"Not a measure of anything beyond its {count(asked)} questions: the intervals cover the "
        "choice of questions, not other wordings, other topics or longer conversations.",
        f"Not repeated: one seed ({seed}). The intervals don't cover what another seed would "
        "change in training, in sampling or in the judge.",
        "Not checked by people: no human scores stand beside the judge's in this report, so how "
        "far the judge agrees with people is not known from it.",
        "Not a statement that the charter is right. The report says how closely answers keep to "
        "it, as far as the judge and the rules can tell.",
        "Not a release test: it doesn't look for memorised private data, for harm in other fields, "
        "or for what a determined attacker would find.",
    ]
    if same_family:
        items.insert(0, f"{SAME_FAMILY}.")
    if trained:
        items.append(
            "Not a reproduction of the paper that the method comes from (arXiv 2601.13137): "
            "model, data, benchmark, judge and scale differ, so no number here can be compared "
            "with its numbers."
        )
    return Section("limits", "What this run is not", [Points(items)])
