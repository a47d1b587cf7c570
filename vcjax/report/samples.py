"""Some questions with what the model answered. Every text here is a model's: untrusted."""

from collections.abc import Iterable
from typing import Any

from vcjax.report.blocks import Answer, Block, Sample, Section, Text
from vcjax.report.names import check_labels, join, language, words
from vcjax.report.numbers import number
from vcjax.roles.verdict import HIGHEST

_EMPTY = "(empty answer)"


def paired_samples(samples: Iterable[dict[str, Any]]) -> list[Block]:
    """Answers before and after side by side.

    A sample is `{id, lang, domain, question}` with `before`, `score_before`, `checks_before` and
    the same of `after`; checks map '<principle>/<check>' to whether it passed.
    """
    return [
        _sample(
            sample,
            [
                _answer(
                    words(side), *(sample[f"{part}{side}"] for part in ("", "score_", "checks_"))
                )
                for side in ("before", "after")
            ],
        )
        for sample in samples
    ]


def single_samples(samples: Iterable[dict[str, Any]]) -> list[Block]:
    """Answers of one model: `{id, lang, domain, question, answer, score, checks}`."""
    return [
        _sample(
            sample, [_answer("Answer", *(sample[part] for part in ("answer", "score", "checks")))]
        )
        for sample in samples
    ]


def sample_section(samples: list[Block]) -> Section:
    """The section, with a line that says what it is."""
    if not samples:
        return Section("samples", "Sample answers", [Text("No sample answers were kept.")])
    lead = Text("Touch a question to unfold its answers. They are shown exactly as they came.")
    return Section("samples", "Sample answers", [lead, *samples])


def _sample(sample: dict[str, Any], answers: list[Answer]) -> Sample:
    tag = f"{language(sample['lang'])} · {words(sample['domain'])} · {sample['id']}"
    return Sample(tag, sample["lang"], sample["question"], answers)


def _answer(title: str, text: str, score: int | None, checks: dict[str, bool] | None) -> Answer:
    judged = "unscored" if score is None else f"{number(score, 0)} of {HIGHEST}"
    remarks = [f"Judge: {judged}"]
    if checks:
        labels = check_labels(checks)
        failed = [labels[key] for key, passed in checks.items() if not passed]
        passed = f"{len(checks) - len(failed)} of {len(checks)} passed"
        fails = f"; failed: {join(failed)}" if failed else ""
        remarks.append(f"Rule checks: {passed}{fails}")
    return Answer(title, text if text.strip() else _EMPTY, remarks)
