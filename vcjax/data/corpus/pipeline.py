"""Steps in their order, in one process: what `launch.prepare` does with each shard, and what a
training run does with raw files that are small enough for it.

    documents --- steps of a round ---> stored, observed by the passes that follow --- they decide
        ^                                                                                   |
        +------------------- the next round, without what they took out --------------------+
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, cast

from vcjax.data.corpus.decisions import Decided, decide, read_decisions, read_did
from vcjax.data.corpus.document import RECORD, Document, Removal, parts, with_parts
from vcjax.data.corpus.shards import DocumentShard, ShardPath, Stored, read_documents
from vcjax.data.corpus.step import Pass, Step
from vcjax.data.corpus.tally import Tally

READ, ENCODE = "read", "encode"
"""What counts as a step in the summary, before the first one and after the last."""
_AT_ONCE = 1 << 14  # documents whose decisions are in memory


@dataclass(frozen=True)
class Round:
    """Steps that need no other document, and the passes that follow them."""

    steps: tuple[str, ...]
    passes: tuple[str, ...]


def rounds_of(steps: Iterable[Step | Pass]) -> list[Round]:
    """The rounds of a list of steps: at least two, of which the last has no passes."""
    rounds: list[Round] = []
    before: list[str] = []
    passes: list[str] = []
    for step in steps:
        if isinstance(step, Pass):
            passes.append(step.name)
            continue
        if passes:
            rounds.append(Round(tuple(before), tuple(passes)))
            before, passes = [], []
        before.append(step.name)
    rounds.append(Round(tuple(before), tuple(passes)))
    return [*rounds, Round((), ())] if passes or len(rounds) == 1 else rounds


class Pipeline:
    """The steps of a corpus, in rounds.

    Attributes:
      rounds: see `rounds_of`.
    """

    def __init__(self, steps: Sequence[Step | Pass], kind: str, longest: int) -> None:
        """Args:
        kind: of the records that documents are made of.
        longest: characters of a document; a longer one is removed. 0 is no limit.
        """
        self._steps = {step.name: step for step in steps}
        self.rounds = rounds_of(steps)
        self._kind, self._longest = kind, longest

    @property
    def names(self) -> list[str]:
        """Of the steps, and of what counts as one before and after them."""
        return [READ, *self._steps, ENCODE]

    def passes(self, round: int) -> list[Pass]:
        """The passes that end a round."""
        return [cast(Pass, self._steps[name]) for name in self.rounds[round].passes]

    def through(self, round: int, document: Document, tally: Tally) -> Document | None:
        """Takes a document through the steps of a round; None where one of them removed it."""
        if round == 0:
            tally.step(READ).got(document)
            if self._longest and len(document.text) > self._longest:
                reason = f"longer than {self._longest:,} characters"
                detail = f"{len(document.text):,} characters"
                tally.remove(Removal(READ, reason, document, detail))
                return None
        for name in self.rounds[round].steps:
            counts = tally.step(name)
            counts.got(document)
            outcome = self._applied(cast(Step, self._steps[name]), document, counts.did)
            if isinstance(outcome, Removal):
                tally.remove(outcome)
                return None
            document = outcome
        return document

    def observe(self, round: int, document: Document) -> dict[str, bytes]:
        """What the passes that end a round are to know about a document, by their names."""
        return {each.name: each.observe(document) for each in self.passes(round)}

    def left(
        self, round: int, documents: Iterable[Document], first: int, decided: Decided, tally: Tally
    ) -> Iterator[Document]:
        """Takes through a round what the passes of the one before it left.

        Args:
          documents: that those passes observed, numbered from `first` on.
          decided: about them.
        """
        passes = self.rounds[round - 1].passes
        for number, document in enumerate(documents, start=first):
            step, decision = decided.get(number, ("", None))
            # As if the passes had run one after the other: a document that one of them took out was
            # never seen by those after it, so that the funnel's figures add up.
            for each in passes:
                tally.step(each).got(document)
                if each == step:
                    break
            if decision is not None:
                tally.remove(Removal(step, decision.reason, document, decision.detail))
            elif (kept := self.through(round, document, tally)) is not None:
                yield kept

    def through_all(
        self, documents: Iterable[Document], folder: Path, tally: Tally
    ) -> Iterator[Document]:
        """Takes documents through all rounds, in this process; yields those that are left.

        Args:
          folder: on disk, where documents wait for the passes to decide.
        """
        for name in self.names:
            tally.step(name)
        kept = (each for one in documents if (each := self.through(0, one, tally)) is not None)
        for number, round in enumerate(self.rounds[1:], start=1):
            if passes := self.passes(number - 1):
                path = ShardPath(folder / str(number), "all")
                path.folder.mkdir(parents=True)
                with DocumentShard(path, self.rounds[number - 1].passes) as shard:
                    for document in kept:
                        shard.add(document, self.observe(number - 1, document))
                decide(path.folder, passes, Stored([path], [shard.count]))
                for name, did in read_did(path.folder).items():
                    tally.step(name).did.update(did)
                kept = self._left_of(number, path, tally)
            else:
                assert not round.steps  # only what has no passes at all has a round without any
        yield from kept

    def _left_of(self, round: int, path: ShardPath, tally: Tally) -> Iterator[Document]:
        waiting, first = read_documents(path), 0
        while some := list(islice(waiting, _AT_ONCE)):
            decided = read_decisions(path.folder, first, len(some))
            yield from self.left(round, some, first, decided, tally)
            first += len(some)

    def _applied(self, step: Step, document: Document, did: Counter[str]) -> Document | Removal:
        try:
            if not step.changes or self._kind == "documents":
                return step.apply(document, did)
            record = cast(dict[str, Any], document.meta[RECORD])
            changed = {}
            for part in dict.fromkeys(parts(record)):
                if not part.strip():
                    continue
                outcome = step.apply(replace(document, text=part), did)
                if isinstance(outcome, Removal):
                    return replace(outcome, document=document)
                changed[part] = outcome.text
        except Exception as error:
            where = f"{document.file}:{document.line}"
            raise RuntimeError(f"step {step.name} failed on {where}") from error
        record = with_parts(record, changed)
        meta = {**document.meta, RECORD: record}
        return replace(document, text="\n".join(parts(record)), meta=meta)
