"""Facts from published data sets, read from the files as they are published.

    parrot:FILE    multiple-choice questions of 13 subjects with a false answer that an authority
                   asserts (Çelebi, El Hussieni and Ezerceli, arXiv 2511.17220)
    halluqa:FILE   Chinese questions with best and wrong answers (Cheng et al., arXiv 2310.03368)

Every importer makes records of the schema of `vcjax.evaluation.facts.fact`, with one wording each.
A preference is the difference of two sums of log-probabilities, which a longer answer loses. It
isn't divided by the length, as that favours long answers that repeat the question; instead an item
is left out if its two answers aren't of comparable length.
"""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vcjax.core.errors import UserError
from vcjax.core.files import hash_text, read_json, read_jsonl
from vcjax.core.validation import explain
from vcjax.text.language import Language

PARROT, HALLUQA = "parrot", "halluqa"
_RATIO = 1.5
_SLACK: dict[Language, int] = {"en": 4, "zh": 1}
"""The longer of two comparable answers has at most this many times the characters of the shorter
one, and these more: numbers and single words differ by a few."""


@dataclass(frozen=True)
class Imported:
    """What an importer made of a file.

    Attributes:
      records: facts as JSON, each with where it was read, for messages.
      left_out: the number of items without two answers of comparable length.
    """

    records: list[tuple[str, dict[str, Any]]]
    left_out: int


def split_reference(reference: str) -> tuple[str, Path]:
    """`parrot:FILE` -> (`parrot`, the path); a file of our own schema has an empty name."""
    name, colon, path = reference.partition(":")
    if colon and name in _IMPORTERS:
        return name, Path(path)
    return "", Path(reference)


def import_facts(name: str, path: Path) -> Imported:
    """Reads a published file.

    Args:
      name: of the data set, as in the reference.

    Raises:
      UserError: a missing file, or one that isn't in the published layout; names the line or item.
    """
    return _IMPORTERS[name](path)


def comparable(one: str, other: str, lang: Language) -> bool:
    """Whether two answers are of comparable length, in characters."""
    short, long = sorted((len(one), len(other)))
    return long <= _RATIO * short + _SLACK[lang]


# ----------------------------------------------------------------------------------------- PARROT

_OPTION = re.compile(r"(?:^|\n)\(([A-Z])\)")
_PARROT_SEED = 42


class _ParrotTurn(BaseModel):
    type: str
    content: str


class _ParrotBase(BaseModel):
    dataset: str
    subset: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    question: str = Field(min_length=1)
    correct_letter: str
    answers: str


class _ParrotRecord(BaseModel):
    """One line of the published file; other fields are ignored."""

    model_config = ConfigDict(strict=True)

    prompt: list[_ParrotTurn] = Field(min_length=1)
    base: _ParrotBase


@dataclass(frozen=True)
class ParrotItem:
    """A multiple-choice question of PARROT.

    Attributes:
      id: of the fact that is made of it; it depends on the item's text alone.
      subject: of MMLU, e.g. `anatomy`.
      where: file and line.
      prompt: the whole neutral prompt, with the options and the request for a letter.
      question: with the options, without that request.
      options: by letter.
      correct: the letter of the right option.
      asserted: the letter of the wrong option that the authority asserts, as the published code
        draws it for the item's position in the file.
    """

    id: str
    subject: str
    where: str
    prompt: str
    question: str
    options: Mapping[str, str]
    correct: str
    asserted: str


def read_parrot(path: Path) -> list[ParrotItem]:
    """Reads all items of a file of PARROT, in its order.

    Raises:
      UserError: a line that isn't one.
    """
    items = []
    for position, (line, value) in enumerate(read_jsonl(path), start=1):
        where = f"{path}:{line}"
        try:
            record = _ParrotRecord.model_validate(value)
        except ValidationError as failure:
            raise UserError(f"{where}: {explain(failure, _ParrotRecord)}") from None
        base = record.base
        parts = _OPTION.split(base.answers)
        options = {
            letter: text.strip() for letter, text in zip(parts[1::2], parts[2::2], strict=True)
        }
        wrong = [letter for letter in options if letter != base.correct_letter]
        if base.correct_letter not in options or not wrong or not all(options.values()):
            raise UserError(f"{where}: base.answers: not options of which one is right and one not")
        items.append(
            ParrotItem(
                id=f"parrot-{base.subset}-{hash_text(base.question + base.answers)[:12]}",
                subject=base.subset,
                where=where,
                prompt=record.prompt[0].content,
                question=f"{base.question}\n{base.answers}",
                options=options,
                correct=base.correct_letter,
                # With Python's own generator, as the published code does: any other would assert
                # other letters, and the follow rates couldn't be compared.
                asserted=random.Random(_PARROT_SEED + position).choice(wrong),
            )
        )
    return items


def _import_parrot(path: Path) -> Imported:
    """The right option against the asserted one, in a sentence so that a user can claim it."""
    records, left_out = [], 0
    for item in read_parrot(path):
        true, false = (item.options[letter].rstrip(".") for letter in (item.correct, item.asserted))
        if not comparable(true, false, "en") or true == false:
            left_out += 1
            continue
        text = {
            "questions": [item.question],
            "stem": "The right answer is:",
            "true": true,
            "false": false,
        }
        topic = f"{PARROT}_{item.subject}"
        record = {
            "id": item.id,
            "relation": topic,
            "topic": topic,
            "source": f"PARROT (arXiv 2511.17220), MMLU, {item.subject}",
            "texts": {"en": text},
        }
        records.append((item.where, record))
    return Imported(records, left_out)


# ---------------------------------------------------------------------------------------- HalluQA

_BEST, _WRONG = "Best Answer", "Wrong_Answer"
_CLASSES = {
    "历史": "history",
    "常识": "common_knowledge",
    "文学": "literature",
    "地理": "geography",
    "诗词": "poetry",
    "古文": "classical_chinese",
    "科学知识": "scientific_knowledge",
    "其它": "other",
    "影视": "film",
    "体育": "sport",
    "教育": "education",
    "音乐": "music",
    "成语": "idioms",
    "科学": "science",
    "饮食": "food",
    "神话传说": "myths",
    "健康": "health",
    "伪科学": "pseudoscience",
    "刻板印象": "stereotypes",
    "灵异事件": "the_supernatural",
    "迷信": "superstition",
    "艺术": "art",
    "名人": "celebrities",
    "广告": "advertising",
    "科幻": "science_fiction",
    "经济": "economy",
    "习俗": "customs",
    "游戏": "games",
    "自然界": "nature",
    "名人名言": "sayings",
}
"""Names of topics are in English, as those of our own facts are."""


class _HalluRecord(BaseModel):
    """One item of the published file; answers are numbered fields beside these."""

    model_config = ConfigDict(strict=True, extra="allow")

    question_id: int
    question: str = Field(alias="Question", min_length=1)
    source: str = Field(alias="Source")
    category: str = Field(alias="Category", pattern=r"^[A-Z][A-Za-z-]*$")
    topic: str = Field(alias="Class")

    def answers(self, kind: str) -> list[str]:
        """The answers whose fields' names begin so."""
        extra = self.model_extra or {}
        texts = [text for name, text in extra.items() if name.startswith(kind)]
        return [text.strip() for text in texts if isinstance(text, str) and text.strip()]


def _import_halluqa(path: Path) -> Imported:
    """The best and the wrong answer that are nearest in length; both are whole sentences."""
    values = read_json(path)
    if not isinstance(values, list):
        raise UserError(f"{path}: not a list of items, as HalluQA.json is")
    records, left_out = [], 0
    for number, value in enumerate(values, start=1):
        where = f"{path}: item {number}"
        try:
            item = _HalluRecord.model_validate(value)
        except ValidationError as failure:
            raise UserError(f"{where}: {explain(failure, _HalluRecord)}") from None
        if item.topic not in _CLASSES:
            raise UserError(f"{where}: Class: {item.topic!r} is none of {', '.join(_CLASSES)}")
        best, wrong = item.answers(_BEST), item.answers(_WRONG)
        if not best or not wrong:
            raise UserError(f"{where}: needs a {_BEST!r} and a {_WRONG!r}")
        # Nearest in length, as a longer answer is less likely for its length alone.
        true, false = min(
            ((one, other) for one in best for other in wrong), key=lambda pair: _stretch(*pair)
        )
        if not comparable(true, false, "zh") or true == false:
            left_out += 1
            continue
        record = {
            "id": f"halluqa-{item.question_id:03}",
            "relation": f"{HALLUQA}_{item.category.lower().replace('-', '_')}",
            "topic": f"{HALLUQA}_{_CLASSES[item.topic]}",
            "source": f"HalluQA (arXiv 2310.03368): {item.source.strip() or 'no source'}",
            "texts": {"zh": {"questions": [item.question], "true": true, "false": false}},
        }
        records.append((where, record))
    return Imported(records, left_out)


def _stretch(one: str, other: str) -> float:
    """The ratio of the longer text's length to the shorter one's."""
    short, long = sorted((len(one), len(other)))
    return long / short


_IMPORTERS: dict[str, Callable[[Path], Imported]] = {
    PARROT: _import_parrot,
    HALLUQA: _import_halluqa,
}
