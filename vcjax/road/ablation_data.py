"""The data of arms that make none: ordinary conversations, and answers that nobody selected."""

from collections.abc import Iterable, Iterator, Sequence
from heapq import nsmallest
from pathlib import Path
from typing import Any

from vcjax.adversarial.calls import ACTOR
from vcjax.adversarial.config import split_names
from vcjax.adversarial.ledger.query import attempts
from vcjax.adversarial.ledger.schema import opened_to_read
from vcjax.adversarial.outputs import accepted_records
from vcjax.charter.load import load_charter
from vcjax.core.errors import UserError
from vcjax.core.files import read_jsonl, write_jsonl
from vcjax.core.lineage import NAME, Parent, write_lineage
from vcjax.core.run import check_config, opened
from vcjax.core.seeds import derive_seed
from vcjax.data.files import data_parents
from vcjax.data.importers import Records
from vcjax.data.records import Conversation
from vcjax.road.ablation_config import CONVERSATIONS, AblationConfig, Arm

PAIRS = "conversations.jsonl"


def ordinary(config: AblationConfig, arm: Arm) -> Iterator[Conversation]:
    """The ordinary conversations that an arm may be trained on, one after the other.

    Raises:
      UserError: a bad file, or none in the language and outside of what the charter holds out.
    """
    charter = load_charter(config.charter)
    held_out = {each.id for each in charter.subdomains() if each.held_out}
    files = arm.conversations or config.conversations
    found = False
    for record in Records(files, "conversations", on_bad_record=config.on_bad_record):
        if (
            isinstance(record, Conversation)
            and record.lang == config.language
            and record.domain not in held_out
        ):
            found = True
            yield record
    if not found:
        raise UserError(
            f"{files}: no conversation in {config.language!r} outside of what "
            f"charter {charter.name!r} holds out"
        )


def write_data(
    config: AblationConfig, arm: Arm, folder: Path, like: Sequence[Path], seed: int
) -> Path:
    """Writes the conversations of one round of an arm, unless they are there; returns their file.

    There are as many as the arm that it is compared with has pairs of that round; fewer where so
    many can't be had.

    Args:
      like: that arm's synthesis folders, up to this round.
      seed: of this run of the arm.
    """
    files = (
        split_names(arm.conversations or config.conversations) if arm.data == CONVERSATIONS else []
    )
    settings = {"data": arm.data, "files": files, "seed": seed, "round": len(like)}
    check_config(folder, settings)
    if (folder / NAME).is_file():
        return folder / PAIRS
    with opened(folder, settings):
        if arm.data == CONVERSATIONS:
            records: Iterable[dict[str, Any]] = next_conversations(
                ordinary(config, arm), like, seed
            )
        else:
            records = _unselected(like[-1])
        write_jsonl(folder / PAIRS, records)
        parents = data_parents("conversations", files) if files else []
        parents.append(Parent.of("synthesis", like[-1]))
        write_lineage(folder, kind="sample", parents=parents, config=settings, seed=seed)
    return folder / PAIRS


def pairs_in(path: Path) -> int:
    return sum(1 for _ in read_jsonl(path))


def next_conversations(
    records: Iterable[Conversation], like: Sequence[Path], seed: int
) -> list[dict[str, Any]]:
    """Goes on in a shuffled list where the round before has ended, and begins again at its end.

    Of the list no more is in memory than all rounds up to this one take.
    """
    counts = [pairs_in(folder / "accepted.jsonl") for folder in like]
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
