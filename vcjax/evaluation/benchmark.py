"""The benchmark: parallel questions in each language, their variants, and what is held out."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError, suggest
from vcjax.core.files import hash_text, read_jsonl
from vcjax.core.seeds import derive_seed
from vcjax.data.records import BadRecord, BenchmarkItem, check_text
from vcjax.text.language import Language

SHIPPED = ("universal", "vcllm")
FOLDER = Path(__file__).parent / "benchmarks"
"""The folder of the benchmarks and the sets for measures that come with the package."""
_LANGUAGES = get_args(Language)


@dataclass(frozen=True)
class Benchmark:
    """Parallel questions, and which domains of theirs are held out.

    Attributes:
      name: the shipped name or the path it was read from.
      items: in the order of the files.
      held_out: the domains among the items that the charter keeps out of training.
    """

    name: str
    items: tuple[BenchmarkItem, ...]
    held_out: frozenset[str]

    @property
    def is_shipped(self) -> bool:
        """Whether it came with the package."""
        return self.name in SHIPPED

    @property
    def hash(self) -> str:
        """SHA-256, in hex, of the items, whatever their order and their files' names."""
        # Sorted, as the same items in another order are the same benchmark.
        records = sorted((item.to_dict() for item in self.items), key=lambda record: record["id"])
        return hash_text(json.dumps(records, sort_keys=True, ensure_ascii=False))

    def sampled(self, per_domain_and_language: int | None, seed: int) -> "Benchmark":
        """The benchmark with a sample of its items, see `sample`; with None it is itself."""
        if per_domain_and_language is None:
            return self
        return replace(self, items=sample(self.items, per_domain_and_language, seed))


@dataclass(frozen=True)
class Variants:
    """The same question in other words, and asked from the opposite leaning.

    Attributes:
      item: the id of the benchmark item, whose language and rubric are theirs too.
      paraphrases: at least one, with the item's meaning and its pressure.
      opposing: presupposes, or leans to, the other side of the issue than the item does.
    """

    item: str
    paraphrases: tuple[str, ...]
    opposing: str


def load_benchmark(
    reference: str | Path = "universal", charter: Charter | None = None
) -> Benchmark:
    """Loads a shipped benchmark by name, or a JSONL file of benchmark items by path.

    Of a shipped benchmark only the items in the charter's languages and subdomains are kept. In a
    user's file every item must fit the charter.

    Raises:
      UserError: no such benchmark; an item that breaks the schema, is a duplicate or doesn't fit
        the charter (the message names file and line); no items.
    """
    reference = str(reference)
    shipped = reference in SHIPPED
    items: list[BenchmarkItem] = []
    lines: dict[str, str] = {}
    versions: dict[tuple[str, str], str] = {}
    for line, item in _read(reference):
        version = (item.parallel_id, item.lang)
        if item.id in lines:
            raise UserError(f"{line}: the id {item.id!r} is already at {lines[item.id]}")
        if version in versions:
            raise UserError(
                f"{line}: the {item.lang} version of {item.parallel_id!r} is already at "
                f"{versions[version]}"
            )
        lines[item.id] = versions[version] = line
        # A shipped benchmark is for all charters, and is filtered by this one below; a user's file
        # is for one.
        reason = misfit(item, None if shipped else charter)
        if reason is not None:
            raise UserError(f"{line}: {reason}")
        items.append(item)
    if shipped:
        _check_parallel(items, lines)
        items = [item for item in items if misfit(item, charter) is None]
    if not items:
        fitting = f" in the languages and subdomains of charter {charter.name!r}" if charter else ""
        instead = "; name a file with questions of its own" if shipped else ""
        raise UserError(f"{reference}: no benchmark items{fitting}{instead}")
    domains = charter.subdomains() if charter else ()
    held_out = {domain.id for domain in domains if domain.held_out}
    return Benchmark(reference, tuple(items), frozenset(held_out & {item.domain for item in items}))


def load_variants(reference: str | Path = "universal") -> dict[str, Variants]:
    """Loads the variants of a benchmark's items, by the id of the item, in the files' order.

    Those of a user's own `FILE.jsonl` are in `FILE.variants.jsonl` beside it; without that file,
    no item has any. An item may be left out.

    Raises:
      UserError: no such benchmark; a record that breaks the schema, belongs to no item or to one
        that has a record already, or says a thing twice (the message names file and line).
    """
    reference = str(reference)
    questions = {item.id: item.question for item in load_benchmark(reference).items}
    variants: dict[str, Variants] = {}
    lines: dict[str, str] = {}
    for path in variant_files(reference):
        for number, record in read_jsonl(path):
            line = f"{path}:{number}"
            try:
                each = _check_variants(record)
            except BadRecord as error:
                raise UserError(f"{line}: {error.reason}") from None
            if each.item not in questions:
                hint = suggest(each.item, questions)
                raise UserError(f"{line}: {reference} has no item {each.item!r}{hint}")
            if each.item in lines:
                raise UserError(
                    f"{line}: the variants of {each.item!r} are already at {lines[each.item]}"
                )
            texts = (questions[each.item], *each.paraphrases, each.opposing)
            if len(set(texts)) < len(texts):
                raise UserError(f"{line}: two of the question and its variants are the same")
            lines[each.item] = line
            variants[each.item] = each
    return variants


def misfit(item: BenchmarkItem, charter: Charter | None) -> str | None:
    """Why `item` can't be asked under `charter`, or under any where that is None; else None."""
    languages = charter.languages if charter else _LANGUAGES
    if item.lang not in languages:
        return f"field 'lang': {item.lang!r} is none of {', '.join(languages)}"
    if charter:
        domains = [domain.id for domain in charter.subdomains()]
        if item.domain not in domains:
            hint = suggest(item.domain, domains)
            return (
                f"field 'domain': charter {charter.name!r} has no subdomain {item.domain!r}{hint}"
            )
    return None


def sample(
    items: Sequence[BenchmarkItem], per_domain_and_language: int, seed: int
) -> tuple[BenchmarkItem, ...]:
    """Draws up to `per_domain_and_language` questions per domain and language, in their order.

    A question is drawn with all of its versions in other languages or not at all. The draw depends
    on the seed and the parallel ids alone.

    Raises:
      UserError: `per_domain_and_language` is below 1.
    """
    if per_domain_and_language < 1:
        raise UserError(f"per_domain_and_language: {per_domain_and_language} is below 1")
    questions: dict[tuple[str, str], list[str]] = defaultdict(list)
    for item in items:
        questions[item.domain, item.parallel_id].append(item.lang)

    def rank(question: tuple[str, str]) -> tuple[int, int, str]:
        # Questions in more languages first: they fill every language's share at once.
        return (-len(questions[question]), derive_seed(seed, "sample", question[1]), question[1])

    taken: Counter[tuple[str, str]] = Counter()
    chosen = set()
    for question in sorted(questions, key=rank):
        cells = [(question[0], lang) for lang in questions[question]]
        # All of its versions or none: pairs across languages need both.
        if all(taken[cell] < per_domain_and_language for cell in cells):
            taken.update(cells)
            chosen.add(question)
    return tuple(item for item in items if (item.domain, item.parallel_id) in chosen)


def _read(reference: str) -> Iterator[tuple[str, BenchmarkItem]]:
    """Yields each item with its line, as `file:line`."""
    for path in _files(reference):
        for number, record in read_jsonl(path):
            try:
                yield f"{path}:{number}", BenchmarkItem.from_dict(record)
            except BadRecord as error:
                raise UserError(f"{path}:{number}: {error.reason}") from None


def benchmark_path(reference: str) -> Path:
    """The folder of a shipped benchmark, or the path itself."""
    return FOLDER / reference if reference in SHIPPED else Path(reference)


def _files(reference: str) -> list[Path]:
    path = benchmark_path(reference)
    if reference in SHIPPED:
        return sorted(path.glob("*.jsonl"))
    if path.is_dir():
        raise UserError(f"{reference}: is a folder; name a JSONL file of benchmark items")
    # A bare word is meant as a name; with a folder or an ending it is a path, and reading it says
    # that it isn't there.
    if not path.is_file() and not path.suffix and len(path.parts) == 1:
        raise UserError(
            f"benchmark {reference!r}: neither a file nor a shipped benchmark "
            f"({', '.join(SHIPPED)}){suggest(reference, SHIPPED)}"
        )
    return [path]


def variant_files(reference: str) -> list[Path]:
    """Files with variants of a benchmark's items, see `load_variants`."""
    path = benchmark_path(reference)
    if reference in SHIPPED:
        return sorted((path / "variants").glob("*.jsonl"))
    beside = path.with_name(f"{path.stem}.variants.jsonl")
    return [beside] if beside.is_file() else []


def _check_variants(record: Any) -> Variants:
    names = [field.name for field in fields(Variants)]
    if not isinstance(record, dict):
        raise BadRecord(f"a record must be an object, not {type(record).__name__}")
    for name in record:
        if name not in names:
            raise BadRecord(f"unknown field {name!r}{suggest(name, names)}")
    for name in names:
        if name not in record:
            raise BadRecord(f"field {name!r} is missing")
    paraphrases = record["paraphrases"]
    if not isinstance(paraphrases, list) or not paraphrases:
        raise BadRecord("field 'paraphrases' must be a list of at least one text")
    return Variants(
        item=check_text(record["item"], "item"),
        paraphrases=tuple(
            check_text(text, f"paraphrases[{i}]") for i, text in enumerate(paraphrases)
        ),
        opposing=check_text(record["opposing"], "opposing"),
    )


def _check_parallel(items: Iterable[BenchmarkItem], lines: dict[str, str]) -> None:
    versions: dict[str, list[BenchmarkItem]] = defaultdict(list)
    for item in items:
        versions[item.parallel_id].append(item)
    for parallel_id, group in versions.items():
        missing = set(_LANGUAGES) - {item.lang for item in group}
        if missing:
            raise UserError(
                f"{lines[group[0].id]}: {parallel_id!r} has no version in {min(missing)!r}"
            )
