"""A judge scores the answers by the charter; the charter's own checks are run, too."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, cast, get_args

from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError, suggest
from vcjax.core.seeds import derive_seed
from vcjax.data.records import BenchmarkItem
from vcjax.roles.cache import SPENT, CallCache, Key, Record, Wanted, fingerprint
from vcjax.roles.grading import grading_messages
from vcjax.roles.role import Ask, Role
from vcjax.roles.verdict import NO_ANSWER, Grade, grade_schema, parse_grade
from vcjax.text.language import Language

SCORE_KEY = ("id", "fingerprint")

PromptLanguage = Literal["item", "other", "both"]
PROMPT_LANGUAGES = get_args(PromptLanguage)
_LANGUAGES = get_args(Language)

SAMPLING_TEMPERATURE = 1.0
"""The temperature at which several verdicts are sampled; a single one is greedy."""


@dataclass(frozen=True)
class Reading:
    """One of the times that a judge reads an answer.

    Attributes:
      sample: number of the verdict among those that are sampled.
      other_language: the prompt and the rubric are in the language that isn't the item's.
      rubric_first: the rubric comes before the question instead of after the answer.
    """

    sample: int = 0
    other_language: bool = False
    rubric_first: bool = False

    def language(self, lang: Language) -> Language:
        """The prompt's language for an item in `lang`."""
        if not self.other_language:
            return lang
        return next(other for other in _LANGUAGES if other != lang)


def readings(samples: int = 1, language: PromptLanguage = "item") -> tuple[Reading, ...]:
    """Every reading of an answer by one judge.

    Raises:
      UserError: no sample, or an unknown choice of the prompt's language.
    """
    if samples < 1:
        raise UserError(f"judge_samples: {samples} is below 1")
    if language not in PROMPT_LANGUAGES:
        known = f"{', '.join(PROMPT_LANGUAGES)}{suggest(language, PROMPT_LANGUAGES)}"
        raise UserError(f"judge_language: {language!r} is none of {known}")
    others = {"item": (False,), "other": (True,), "both": (False, True)}[language]
    return tuple(Reading(sample, other) for other in others for sample in range(samples))


def verdicts_wanted(
    items: Sequence[BenchmarkItem],
    answers: Sequence[Record],
    role: Role | None,
    charter: Charter,
    cache: CallCache,
    *,
    seed: int,
    max_tokens: int = 384,
    begun_with: Collection[str] = (),
    readings: Sequence[Reading] = (Reading(),),
    axes: bool = False,
) -> tuple[list[Wanted], list[Key]]:
    """What a judge is to be asked about the answers, and the keys of its score records in item
    order; records of what nobody is asked are written here.

    A score record is `{id, fingerprint, answer_hash, parallel_id, domain, lang, judge, family,
    score, unscored, reason, reply, checks, axes, sample, prompt_lang, spent}`: `reply` is the
    judge's text, `checks` maps '<principle>/<check>' to whether the answer passed it, and `axes`
    has the score on each of `verdict.AXES`, where they were asked for. `spent` is what the verdict
    has cost (see `roles.cache.SPENT`), by which a continued run keeps to an endpoint's budget; None
    where no endpoint was asked. Records of earlier versions may lack the last four. A question
    that got no answer (its model timed out, for example) isn't judged: `unscored` is
    `no answer: <why>`, and `checks` is None.

    The judge sees the whole conversation: the item's turns of user and assistant before its
    question, the question and the answer.

    Args:
      answers: answer records, one for each of `items`, in the same order.
      role: the judge; None runs the checks alone and leaves every answer unscored (`no_judge`).
      cache: keyed by `SCORE_KEY`.
      begun_with: see `vcjax.evaluation.answering.answer`.
      readings: with several, the records of the first come first. Verdicts are greedy where there
        is one sample, else drawn at `SAMPLING_TEMPERATURE`.
    """
    rubrics = {(item.parallel_id, item.lang): item for item in items}
    # Greedy samples would all be the same.
    temperature = SAMPLING_TEMPERATURE if any(reading.sample for reading in readings) else 0.0
    name, family = (None, None) if role is None else (role.model, role.family)

    def ask(item: BenchmarkItem, answered: Record, reading: Reading) -> Ask:
        lang = reading.language(language_of(item))
        # In the prompt's language where the benchmark has them.
        yardstick = rubrics.get((item.parallel_id, lang), item)
        marks = _marks(reading)
        return Ask(
            key=ask_key(item.id, reading),
            messages=grading_messages(
                charter,
                lang,
                question=item.question,
                answer=answered["answer"],
                rubric=yardstick.rubric or item.rubric,
                reference=yardstick.reference or item.reference,
                conversation=item.conversation,
                axes=axes,
                rubric_first=reading.rubric_first,
            ),
            max_tokens=max_tokens,
            temperature=temperature,
            seed=derive_seed(seed, item.id, "judge", *marks),
            json_schema=grade_schema(lang, axes),
        )

    wanted: list[Wanted] = []

    def of_reading(reading: Reading) -> list[Key]:
        asks = [ask(item, each, reading) for item, each in zip(items, answers, strict=True)]

        def keys_for(model: str | None) -> list[Key]:
            return [
                (
                    item.id,
                    fingerprint(model, asdict(ask), charter.content_hash, each["answer_hash"]),
                )
                for item, ask, each in zip(items, asks, answers, strict=True)
            ]

        keys = keys_for(None if role is None else role.identity)
        if role is not None and role.identity in begun_with:
            cache.adopt(keys, keys_for(name))

        def record(index: int, grade: Grade, reply: str | None = None) -> Record:
            lang = reading.language(language_of(items[index]))
            found = score_record(
                items[index],
                answers[index],
                charter,
                keys[index][1],
                judge=name,
                family=family,
                **vars(grade),
                reply=reply,
                sample=reading.sample,
                prompt_lang=None if role is None else lang,
            )
            return found | ({"rubric_first": True} if reading.rubric_first else {})

        # Not judged, as a judge scores an empty answer low: a timeout would count as a bad answer.
        for index, (key, answered) in enumerate(zip(keys, answers, strict=True)):
            if key not in cache.records and not is_answered(answered):
                cache.append(record(index, Grade(None, no_answer(answered))))
        if role is None:
            for index, key in enumerate(keys):
                if key not in cache.records:
                    cache.append(record(index, Grade(None, "no_judge")))
        else:
            wanted.append(
                Wanted(
                    role,
                    asks,
                    keys,
                    lambda index, reply: record(index, parse_grade(reply, axes), reply.text),
                    lambda record: (record["judge"], _reading_of(record)) == (name, reading),
                )
            )
        return keys

    found = [key for reading in readings for key in of_reading(reading)]
    return wanted, found


def ask_key(item: str, reading: Reading) -> str:
    """The key by which a judge is asked about the answer to an item."""
    return "/".join([item, "judge", *_marks(reading)])


def score_record(
    item: BenchmarkItem,
    answered: Record,
    charter: Charter,
    fingerprint: str,
    *,
    judge: str | None,
    family: str | None,
    score: float | None,
    unscored: str | None,
    reason: str | None,
    axes: Mapping[str, int] | None = None,
    reply: str | None = None,
    sample: int = 0,
    prompt_lang: str | None = None,
) -> Record:
    """One verdict on one answer, as `judge` describes it."""
    return {
        **dict(zip(SCORE_KEY, (item.id, fingerprint), strict=True)),
        "answer_hash": answered["answer_hash"],
        "parallel_id": item.parallel_id,
        "domain": item.domain,
        "lang": item.lang,
        "judge": judge,
        "family": family,
        "score": score,
        "unscored": unscored,
        "reason": reason,
        "reply": reply,
        "checks": _checks(charter, item, answered),
        "axes": None if axes is None else dict(axes),
        "sample": sample,
        "prompt_lang": prompt_lang,
        SPENT: None,  # what an endpoint has spent is added as its reply comes
    }


def is_answered(answered: Record) -> bool:
    """Whether there is a text to judge; any other finish reason names a failure."""
    return answered["finish_reason"] in ("stop", "length")


def no_answer(answered: Record) -> str:
    """Why an answer that isn't there is unscored."""
    return f"{NO_ANSWER}{answered['finish_reason']}"


def language_of(item: BenchmarkItem) -> Language:
    """The item's language as the charter's type: `benchmark.misfit` has checked it."""
    return cast(Language, item.lang)


def _marks(reading: Reading) -> list[str]:
    """What tells a reading from the first one, which has the key of a single verdict."""
    return [
        *(["other"] if reading.other_language else []),
        *(["rubric first"] if reading.rubric_first else []),
        *([str(reading.sample)] if reading.sample else []),
    ]


def _reading_of(record: Record) -> Reading:
    """The reading that a score record is of; those of earlier versions are of the first one."""
    return Reading(
        record.get("sample", 0),
        record.get("prompt_lang") not in (None, record["lang"]),
        record.get("rubric_first", False),
    )


def _checks(charter: Charter, item: BenchmarkItem, answered: Record) -> dict[str, bool] | None:
    """Whether the answer passes each of the charter's checks; None where there is no answer."""
    if not is_answered(answered):
        return None
    results = charter.run_checks(
        question=item.question,
        answer=answered["answer"],
        lang=language_of(item),
        subdomain=item.domain,
    )
    return {key: result.passed for key, result in results.items()}
