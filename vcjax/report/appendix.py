"""What is behind the numbers: sample answers and the lineage of every folder."""

from collections.abc import Iterable, Sequence
from typing import Any

from vcjax.report.formats import (
    DASH,
    capitalised,
    check_labels,
    k_of_n,
    language_name,
    listed,
    short_hash,
)
from vcjax.report.messages import tr
from vcjax.report.page import Answer, Block, Sample, Section, Table, Text
from vcjax.roles.verdict import HIGHEST


def sample_section(samples: Sequence[Sample]) -> Section:
    """Some questions with what the model answered."""
    title = tr("Sample answers")
    if not samples:
        return Section("samples", title, [Text(tr("No sample answers were kept."))])
    lead = tr("Touch a question to unfold its answers. They are shown exactly as they came.")
    return Section("samples", title, [Text(lead), *samples])


def paired_samples(samples: Iterable[dict[str, Any]]) -> list[Sample]:
    """Answers before and after side by side.

    A sample is `{id, lang, domain, question}` with `before`, `score_before`, `checks_before` and
    the same of `after`; checks map '<principle>/<check>' to whether it passed.
    """
    found = []
    for each in samples:
        answers = [
            _answer(capitalised(side), each[side], each[f"score_{side}"], each[f"checks_{side}"])
            for side in ("before", "after")
        ]
        found.append(_sample(each, answers))
    return found


def single_samples(samples: Iterable[dict[str, Any]]) -> list[Sample]:
    """Answers of one model: `{id, lang, domain, question, answer, score, checks}`."""
    return [
        _sample(each, [_answer(tr("Answer"), each["answer"], each["score"], each["checks"])])
        for each in samples
    ]


def lineage_section(facts: Sequence[tuple[str, str]], lineage: Sequence[dict[str, Any]]) -> Section:
    """The facts of the run and the chain of its folders.

    Args:
      facts: names and values, e.g. the seed.
      lineage: a record for each folder, in the order in which they were made: what
        `vcjax.core.lineage.write_lineage` returned, with the `folder` itself. `folder`, `kind`,
        `hash` and `parents` are shown, and `seed` and `code` where they are there. Without any
        the reader is sent to the folder's own file.
    """
    title = tr("Lineage")
    blocks: list[Block] = [Table(tr("The run."), (tr("What"), tr("Value")), facts, labels=2)]
    if not lineage:
        blocks.append(
            Text(
                tr(
                    "What all of this was made from, each by the hash of its content, is in "
                    "lineage.json beside this report; launch.verify rehashes it."
                )
            )
        )
        return Section("lineage", title, blocks)
    blocks.append(
        Text(
            tr(
                "Each folder is known by the hash of its content, and names what it was made from. "
                "The verify command rehashes the chain. Hashes are cut to 12 digits here."
            )
        )
    )
    folders = [
        (
            entry["folder"],
            entry["kind"],
            short_hash(entry["hash"]),
            # Seed 0 is one, and no dash.
            DASH if entry.get("seed") is None else str(entry["seed"]),
            _code(entry.get("code")),
        )
        for entry in lineage
    ]
    head = (tr("Folder"), tr("Kind"), tr("Hash"), tr("Seed"), tr("Code"))
    blocks.append(Table(tr("Folders, in the order they were made."), head, folders, labels=5))
    parents = [
        (
            entry["folder"],
            capitalised(parent["role"]),
            parent["reference"],
            short_hash(parent["hash"]),
        )
        for entry in lineage
        for parent in entry["parents"]
    ]
    if parents:
        head = (tr("Folder"), tr("Made from"), tr("Reference"), tr("Hash"))
        blocks.append(Table(tr("What each folder was made from."), head, parents, labels=4))
    return Section("lineage", title, blocks)


def _sample(sample: dict[str, Any], answers: list[Answer]) -> Sample:
    tag = f"{language_name(sample['lang'])} · {capitalised(sample['domain'])} · {sample['id']}"
    return Sample(tag, sample["lang"], sample["question"], answers)


def _answer(name: str, text: str, score: int | None, checks: dict[str, bool] | None) -> Answer:
    judged = tr("unscored") if score is None else k_of_n(score, HIGHEST)
    remarks = [tr("Judge: {score}", score=judged)]
    if checks:
        labels = check_labels(checks)
        failed = [labels[key] for key, passed in checks.items() if not passed]
        remarks.append(
            tr(
                "Rule checks: {passed} passed; failed: {failed}"
                if failed
                else "Rule checks: {passed} passed",
                passed=k_of_n(len(checks) - len(failed), len(checks)),
                failed=listed(failed) if failed else "",
            )
        )
    # The text itself stays as the model wrote it: the page escapes it and keeps its white space.
    return Answer(name, text if text.strip() else tr("(empty answer)"), remarks)


def _code(code: dict[str, str | None] | None) -> str:
    if code is None:
        return DASH
    if not code["commit"]:
        return str(code["version"])
    return tr("{version} at {commit}", version=code["version"], commit=short_hash(code["commit"]))
