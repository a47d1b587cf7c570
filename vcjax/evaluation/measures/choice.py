"""Multiple choice: how often does the model find the right option the most probable?

Any file of questions with options is read by a mapping of its columns. Nothing is sampled and no
judge takes part.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError
from vcjax.core.files import read_json, write_jsonl
from vcjax.data.records import BenchmarkItem
from vcjax.evaluation.benchmark import Benchmark
from vcjax.evaluation.measures.measure import Measure, Sample
from vcjax.evaluation.options.letters import ITEMS, option_ask, option_probabilities
from vcjax.evaluation.options.rows import LETTERS, as_index, parse_mapping, read_rows
from vcjax.evaluation.subject import Subject
from vcjax.evaluation.summary import Record, Records
from vcjax.roles.cache import fingerprint
from vcjax.roles.role import scoring
from vcjax.stats.intervals import rate_record
from vcjax.text.language import Language

COLUMNS = ("id", "lang", "category", "question", "options", "answer")
OTHER = "other"
"""The category of rows that have none."""


@dataclass(frozen=True)
class ChoiceSettings:
    """What `launch.evaluate` takes as `--config.choice.<field>`.

    Attributes:
      items: files of rows (JSONL, JSON, CSV, TSV, Parquet), comma-separated.
      columns: `OURS:THEIRS,...` where a file's columns aren't called as COLUMNS are.
      answers: a JSON file with the answers by id, of sets that publish them apart.
      first: the number of the first option, where answers are numbers.
      lang: of rows that have none.
    """

    items: str = ""
    columns: str = ""
    answers: str = ""
    first: int = 0
    lang: str = "en"


@dataclass(frozen=True)
class ChoiceItem:
    """A question with one right option, `answer`, an index."""

    id: str
    lang: Language
    category: str
    question: str
    options: tuple[str, ...]
    answer: int


class Choice(Measure):
    """See the head of this file, and `measure.Measure`."""

    scores_texts = True
    input_role = "choice"

    def __init__(
        self, charter: Charter, benchmark: Benchmark, sample: Sample, settings: ChoiceSettings
    ) -> None:
        items = {item.id: item for item in load_choices(settings)}
        chosen = sample(
            [
                BenchmarkItem(
                    id=item.id,
                    parallel_id=item.id,
                    domain=item.category,
                    lang=item.lang,
                    question=item.question,
                )
                for item in items.values()
            ]
        )
        self._items = [items[each.id] for each in chosen]
        names = f"{settings.items},{settings.answers}".split(",")
        self.inputs = [Path(name.strip()) for name in names if name.strip()]

    def run(self, subject: Subject, workdir: Path, folder: Path) -> dict[str, Any]:
        """Writes `items.jsonl`: `{id, fingerprint, lang, category, options, answer, chosen,
        correct, probability}`, the last of the right option, `fingerprint` of the question with its
        options and answer. Returns what `summarise` does."""
        asks = [option_ask(item.id, item.lang, item.question, item.options) for item in self._items]
        found = option_probabilities(scoring(subject.model, "model"), asks, folder)
        records = []
        for item in self._items:
            # By likelihood: a model that can't keep to the form of an answer is measured on what it
            # knows all the same.
            chosen = int(np.argmax(found[item.id]))
            records.append(
                {
                    "id": item.id,
                    "fingerprint": fingerprint(item.question, item.options, item.answer),
                    "lang": item.lang,
                    "category": item.category,
                    "options": len(item.options),
                    "answer": item.answer,
                    "chosen": chosen,
                    # Published sets have options with the same text under two letters.
                    "correct": item.options[chosen] == item.options[item.answer],
                    "probability": float(found[item.id][item.answer]),
                }
            )
        write_jsonl(folder / ITEMS, records)
        return summarise(records, subject.settings.confidence)


def summarise(records: Records, confidence: float) -> dict[str, Any]:
    """The numbers of the measure, of the records that `Choice.run` writes.

    Returns:
      languages: by language, `accuracy`, `{k, n, rate, low, high}` with an exact interval;
        `guessing`, the accuracy that guessing has; and `letters`: by letter, how often it is
        `chosen` and how often `right`.
      categories: by category and language the accuracy.
    """

    def accuracy(own: Sequence[Record]) -> Record:
        return rate_record(sum(record["correct"] for record in own), len(own), confidence)

    def language(lang: str) -> Record:
        own = [record for record in records if record["lang"] == lang]
        chosen = Counter(LETTERS[record["chosen"]] for record in own)
        right = Counter(LETTERS[record["answer"]] for record in own)
        return {
            "accuracy": accuracy(own),
            # Item by item, as sets mix questions of four options and of three.
            "guessing": sum(1 / record["options"] for record in own) / len(own),
            "letters": {
                letter: {"chosen": chosen[letter], "right": right[letter]}
                for letter in LETTERS[: max(record["options"] for record in own)]
            },
        }

    cells: dict[str, dict[str, Records]] = {}
    for record in records:
        cells.setdefault(record["category"], {}).setdefault(record["lang"], []).append(record)
    return {
        "languages": {lang: language(lang) for lang in sorted({r["lang"] for r in records})},
        "categories": {
            category: {lang: accuracy(own) for lang, own in sorted(languages.items())}
            for category, languages in sorted(cells.items())
        },
    }


def load_choices(settings: ChoiceSettings) -> list[ChoiceItem]:
    """The questions of the files, in their order.

    Raises:
      UserError: no file is named, a row that isn't such a question, or an id that comes twice.
    """
    if not settings.items:
        raise UserError("config.choice.items: name a file of questions with options and answers")
    mapping = parse_mapping(settings.columns, COLUMNS, "config.choice.columns")
    answers = _answers(settings.answers)
    items: dict[str, ChoiceItem] = {}
    for row in read_rows(settings.items, mapping, COLUMNS):
        options = row.options()
        value = row.values["answer"]
        if answers is not None:
            value = answers.get(str(row.values["id"]))
        try:
            answer = as_index(value, options, settings.first)
        except ValueError as error:
            raise UserError(f"{row.where}: answer {value!r}: {error}") from None
        if row.id in items:
            raise UserError(f"{row.where}: the id {row.id!r} comes twice")
        category = row.values["category"]
        items[row.id] = ChoiceItem(
            id=row.id,
            lang=row.lang(settings.lang),
            category=OTHER if category is None else str(category),
            question=row.text("question"),
            options=options,
            answer=answer,
        )
    if not items:
        raise UserError(f"{settings.items}: no questions")
    return list(items.values())


def _answers(path: str) -> Mapping[str, Any] | None:
    """Answers by id; an object with other fields beside has it in `answer`."""
    if not path:
        return None
    found = read_json(path)
    if not isinstance(found, dict):
        raise UserError(f"{path}: not an object with an answer by id")
    return {
        id: value.get("answer") if isinstance(value, dict) else value for id, value in found.items()
    }
