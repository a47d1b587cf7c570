"""What is given to the arms: queries that all are asked, conversations, and documents.

queries        written once, by the base model as Attacker; benchmark items for every evaluation
conversations  what an arm that makes no pairs of its own is trained on: ordinary ones, or answers
               that nobody selected
documents      only measured on: how well does a checkpoint predict other text?
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from heapq import nsmallest
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vcjax.adversarial.calls import ACTOR, ATTACKER
from vcjax.adversarial.cells import CellGroup
from vcjax.adversarial.config import split_names
from vcjax.adversarial.inputs import read_suite
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.ledger.query import attempts
from vcjax.adversarial.ledger.schema import opened_to_read
from vcjax.adversarial.measurement import QueryWriter
from vcjax.adversarial.outputs import accepted_records
from vcjax.charter.load import charter_parents, load_charter
from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.files import read_json, read_jsonl, write_json, write_jsonl
from vcjax.core.lineage import Parent
from vcjax.core.run import Run
from vcjax.core.seeds import derive_seed
from vcjax.data.files import data_parents
from vcjax.data.held_out import HeldOut
from vcjax.data.importers import Records
from vcjax.data.records import BenchmarkItem, Conversation, Document
from vcjax.generate.scoring import Scored, score
from vcjax.generate.text import prefix_id
from vcjax.model.build import abstract
from vcjax.road.ablation_config import CONVERSATIONS, AblationConfig, Arm
from vcjax.roles.references import RoleSpec, models_of, open_roles, without_options
from vcjax.weights.load import load_model
from vcjax.weights.model import LoadedModel
from vcjax.weights.workdir import as_begun, write_sources

HELD_OUT, TRAINED = "held_out", "trained"
GROUPS = (HELD_OUT, TRAINED)
"""Attacks and subdomains that no arm is trained on, and those that arms are trained on."""
ITEMS, CELLS = "queries.jsonl", "places.json"
PAIRS, SCORES = "conversations.jsonl", "documents.json"
AT_ONCE = 4096
"""Documents whose texts are in memory together."""
_CALL = f"{ATTACKER}/measured"  # not the call of an arm's attempt, which has another seed then
_ATTEMPTS = 6
"""For each query that is wanted of a cell, before it is given up."""

# -------------------------------------------------------------------------------------------------
# Queries.
# -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class QueryCell:
    """The group of a query, and the part of its cell by which queries differ; and its topic."""

    group: str
    subdomain: str
    attack: str
    topic: str


def query_groups(config: AblationConfig) -> dict[str, CellGroup]:
    """The cells of each group.

    Raises:
      UserError: an attack that is unknown, in both groups or, where it is held out, of several
        turns; or nothing is held out, or nothing that is trained on can be measured with.
    """
    suite = read_suite(config.synthesis)
    for attack in suite.held_out_attacks:
        if attack.kind != "single":
            raise UserError(
                f"config.held_out_attacks: {attack.name!r} continues from the answers, and "
                "every arm is asked the same queries; name attacks of kind single"
            )
    held_out = suite.held_out().get("both")
    if held_out is None:
        raise UserError(
            f"charter {suite.charter.name!r} holds no topic in {config.language!r} out; mark a "
            "subdomain `held_out`"
        )
    singles = {attack.name for attack in suite.attacks if attack.kind == "single"}
    trained = tuple(cell for cell in suite.cells() if cell.attack in singles)
    if not trained:
        raise UserError("config.attacks: none is of kind single; measured queries have one turn")
    return {HELD_OUT: held_out, TRAINED: CellGroup(trained)}


def write_queries(config: AblationConfig, attacker: RoleSpec, folder: Path) -> None:
    """Has `queries.jsonl` (benchmark items) and `places.json` (their cells) written, unless they
    are there.

    Raises:
      GateNotMet: no query that is good for a held-out cell was written.
    """
    names = ("charter", "language", "attacks", "held_out_attacks", "seed")
    settings: dict[str, Any] = {name: getattr(config, name) for name in names}
    wanted = {HELD_OUT: config.held_out_queries, TRAINED: config.trained_queries}
    settings |= {f"{group}_queries": count for group, count in wanted.items()}
    settings["attacker"] = without_options(attacker.model)
    run = Run("queries", folder, settings, seed=config.seed)
    if run.is_finished():
        return
    roles, parents = open_roles({ATTACKER: attacker}, config, folder)
    sampling = replace(config.synthesis, seed=config.seed, wave=config.slots)
    suite = read_suite(config.synthesis)
    with run.opened():
        write_sources(folder, models_of(roles))
        with Ledger(folder / "ledger.sqlite") as ledger:
            writer = QueryWriter(sampling, suite, roles[ATTACKER], ledger, stage=_CALL)
            found = {
                name: writer.write(group, wanted[name], _ATTEMPTS)
                for name, group in query_groups(config).items()
            }
        if not found[HELD_OUT]:
            raise GateNotMet(f"{folder}: the Attacker wrote no good query on held-out topics")
        items, cells = [], {}
        for group, queries in found.items():
            for attempt, text in queries:
                cell = QueryCell(group, attempt.subdomain, attempt.attack, attempt.topic)
                cells[attempt.id] = asdict(cell)
                item = BenchmarkItem(
                    id=attempt.id,
                    parallel_id=attempt.id,
                    domain=attempt.subdomain,
                    lang=attempt.lang,
                    question=text,
                )
                items.append(item.to_dict())
        write_jsonl(folder / ITEMS, items)
        write_json(folder / CELLS, cells)
        parents += charter_parents(config.charter)
        run.finish(parents)


def read_query_cells(folder: Path) -> dict[str, QueryCell]:
    """The cell of each query, by its id."""
    return {id: QueryCell(**cell) for id, cell in read_json(folder / CELLS).items()}


def read_questions(folder: Path) -> dict[str, str]:
    """The text of each query, by its id."""
    return {item["id"]: item["question"] for _, item in read_jsonl(folder / ITEMS)}


# -------------------------------------------------------------------------------------------------
# Conversations.
# -------------------------------------------------------------------------------------------------


def ordinary_conversations(config: AblationConfig, arm: Arm) -> Iterator[Conversation]:
    """The ordinary conversations that an arm may be trained on, one after the other.

    Raises:
      UserError: a bad file, or none in the language and outside of what the charter holds out.
    """
    charter = load_charter(config.charter)
    held_out = HeldOut(charter)
    files = arm.conversations or config.conversations
    found = False
    for record in Records(files, "conversations", on_bad_record=config.on_bad_record):
        if (
            isinstance(record, Conversation)
            and record.lang == config.language
            and not held_out.holds(record)
        ):
            found = True
            yield record
    if not found:
        raise UserError(
            f"{files}: no conversation in {config.language!r} outside of what "
            f"charter {charter.name!r} holds out"
        )


def write_conversations(
    config: AblationConfig, arm: Arm, folder: Path, attacks: Sequence[Path], seed: int
) -> Path:
    """Writes the conversations of one round of an arm, unless they are there; returns their file.

    Their number is that of the pairs which the arm that it is compared with has made in the round,
    unless there are fewer conversations.

    Args:
      attacks: the synthesis folders of that other arm, up to this round.
      seed: of this run of the arm.
    """
    files: list[str] = []
    if arm.data == CONVERSATIONS:
        files = split_names(arm.conversations or config.conversations)
    settings = {"data": arm.data, "files": files, "seed": seed, "round": len(attacks)}
    run = Run("sample", folder, settings, seed=seed)
    if run.is_finished():
        return folder / PAIRS
    with run.opened():
        records: Iterable[dict[str, Any]]
        if arm.data == CONVERSATIONS:
            records = next_conversations(ordinary_conversations(config, arm), attacks, seed)
        else:
            records = _unselected(attacks[-1])
        write_jsonl(folder / PAIRS, records)
        parents = data_parents("conversations", files) if files else []
        run.finish([*parents, Parent.of("synthesis", attacks[-1])])
    return folder / PAIRS


def count_records(path: Path) -> int:
    """Lines of a JSONL file."""
    return sum(1 for _ in read_jsonl(path))


def next_conversations(
    records: Iterable[Conversation], attacks: Sequence[Path], seed: int
) -> list[dict[str, Any]]:
    """The next of a shuffled list after those of the rounds before; it begins again at its end.

    Of the list no more is in memory than all rounds up to this one take.

    Args:
      attacks: see `write_conversations`.
    """
    counts = [count_records(folder / "accepted.jsonl") for folder in attacks]
    start, end = sum(counts[:-1]), sum(counts)
    shuffled = nsmallest(end, records, key=lambda each: derive_seed(seed, "ordinary", each.id))
    count = min(counts[-1], len(shuffled))
    return [shuffled[(start + n) % len(shuffled)].to_dict() for n in range(count)]


def _unselected(synthesis: Path) -> Iterator[dict[str, Any]]:
    """The queries of accepted pairs, each with the first answer that the Actor gave."""
    with opened_to_read(synthesis / "ledger.sqlite") as connection:
        for attempt in attempts(connection):
            answers = (each["answer"] for each in attempt["candidates"] if each["by"] == ACTOR)
            first = next(filter(str.strip, answers), None)
            if first is not None:
                yield from accepted_records({**attempt, "answer": first})


# -------------------------------------------------------------------------------------------------
# Documents.
# -------------------------------------------------------------------------------------------------


def read_documents(config: AblationConfig) -> Iterator[Document]:
    """The documents of `config.documents` in the language, one after the other.

    Raises:
      UserError: a bad file, or none in the language.
    """
    found = False
    for record in Records(config.documents, "documents", on_bad_record=config.on_bad_record):
        if isinstance(record, Document) and record.lang == config.language:
            found = True
            yield record
    if not found:
        raise UserError(f"{config.documents}: no document in {config.language!r}")


def score_documents(config: AblationConfig, model: str, folder: Path) -> None:
    """Scores the first tokens of each document under a model, unless that is done.

    `documents.json` has `{id, nats, tokens}` of each.
    """
    settings = {
        "model": model,
        "documents": config.documents,
        "language": config.language,
        "document_tokens": config.document_tokens,
    }
    run = Run("documents", folder, settings)
    if run.is_finished():
        return
    loaded = load_model(as_begun(model, folder), "float32")
    with run.opened():
        write_sources(folder, [loaded.origin])
        scores = _scored(loaded, read_documents(config), config.document_tokens)
        write_json(folder / SCORES, scores)
        run.finish([*data_parents("documents", config.documents), loaded.origin])


def _scored(loaded: LoadedModel, documents: Iterable[Document], most: int) -> list[dict[str, Any]]:
    """`{id, nats, tokens}` of each document: all that remains in memory of it."""
    tokenizer = loaded.require_tokenizer()
    first = prefix_id(tokenizer)
    room = min(most, loaded.config.max_position)
    graph, _ = abstract(loaded.config)
    waiting = iter(documents)
    scores: list[dict[str, Any]] = []
    with tqdm(desc="documents", disable=None) as bar:

        def scored(index: int, found: Scored) -> None:
            bar.update()

        # All texts of a corpus at once might not fit into memory.
        while some := list(islice(waiting, AT_ONCE)):
            sequences = [([first, *tokenizer.encode(each.text)[:room]], 1) for each in some]
            found = score(graph, loaded.params, sequences, on_scored=scored)
            scores += [
                {"id": each.id, "nats": -sum(own.logprobs), "tokens": len(own.logprobs)}
                for each, own in zip(some, found, strict=True)
            ]
    return scores
