"""The run: files -> rounds of steps over shards, in many processes -> a prepared dataset.

    find_files -> plan_units -> Worker.read       units    \\
    of each round:                                          }-> .work/<round>/
      passes decide, in this process; Worker.refine  shards /
    the last one: Worker.write                       shards -> rows -> the workdir

What a shard becomes is a function of it, of the config and of what the passes decided. So neither
the number of processes nor a kill changes a byte of the dataset; a killed run continues at the
shards that aren't finished.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vcjax.core.errors import UserError
from vcjax.core.files import read_json, replaced_folder, write_json, write_text
from vcjax.core.lineage import Parent
from vcjax.core.progress import Progress
from vcjax.core.run import Run
from vcjax.core.stores import is_remote
from vcjax.data.corpus.config import PrepareConfig
from vcjax.data.corpus.decisions import decide, read_did
from vcjax.data.corpus.held_out import held_out_by_content
from vcjax.data.corpus.pipeline import Round
from vcjax.data.corpus.processes import Executor, LocalProcesses
from vcjax.data.corpus.report import corpus_card, write_funnel
from vcjax.data.corpus.rows import ROWS
from vcjax.data.corpus.shards import ShardPath, Stored, concatenate, plan_units
from vcjax.data.corpus.tally import Tally
from vcjax.data.corpus.worker import MEGABYTE, PLAN, TOKENIZER
from vcjax.data.files import data_parents, find_files
from vcjax.data.overlap import DIGESTS, SAMPLES
from vcjax.data.packing import packer_of
from vcjax.data.prepared import (
    TRAIN,
    hash_tokenizer,
    shard_name,
    write_info,
)
from vcjax.text.tokenizer import Tokenizer

WORK = ".work"
"""The folder between the rounds; it is removed at the end."""
QUARANTINED = "quarantined.jsonl"


def prepare_corpus(
    config: PrepareConfig,
    workdir: str | os.PathLike,
    tokenizer: Tokenizer,
    model: Parent,
    executor: Callable[[PrepareConfig, Path], Executor] = LocalProcesses,
) -> dict[str, Any]:
    """Makes a prepared dataset in `workdir`; the same call continues a killed one.

    Args:
      tokenizer, model: of `config.model`; the latter for the lineage.
      executor: makes what does the work on shards, of the config and the folder between rounds.

    Returns:
      What is in `summary.json`.

    Raises:
      UserError: a name that nothing is found under, a workdir of another config, an input that
        changed since the run began, or no document left.
    """
    if is_remote(workdir):
        raise UserError(f"{workdir}: a corpus is prepared into a folder on this machine")
    workdir = Path(workdir)
    run = Run("prepare", workdir, config.to_dict())
    if (summary := run.finished(count="rows")) is not None:
        shutil.rmtree(workdir / WORK, ignore_errors=True)  # a kill after the end may have left it
        return summary
    files = find_files(config.names)
    with run.opened() as folder:
        work = folder / WORK
        work.mkdir(exist_ok=True)
        deciding = config.parents()
        parents = [*data_parents(config.kind, config.names), *deciding]
        if not (work / TOKENIZER).is_dir():
            with replaced_folder(work / TOKENIZER) as temporary:
                tokenizer.save(temporary)
        _plan(work, config, files, parents)
        summary = _Corpus(config, work, folder, executor(config, work), deciding).make(tokenizer)
        run.finish([*parents, model])
        shutil.rmtree(work)
    return summary


def _plan(work: Path, config: PrepareConfig, files: Sequence[Any], parents: list[Parent]) -> None:
    inputs = {parent.reference: parent.hash for parent in parents}
    if (work / PLAN).is_file():
        before = read_json(work / PLAN)["inputs"]
        changed = [name for name in inputs.keys() | before if inputs.get(name) != before.get(name)]
        if changed:
            raise UserError(
                f"{min(changed)}: has changed since {work.parent} was begun; choose another workdir"
            )
        return
    units = plan_units(files, config.shard_mb * MEGABYTE, config.kind, config.sample_by)
    plan = {"inputs": inputs, "units": [[asdict(file) for file in unit] for unit in units]}
    write_json(work / PLAN, plan)


class _Corpus:
    """One run in its folders."""

    def __init__(
        self,
        config: PrepareConfig,
        work: Path,
        folder: Path,
        executor: Executor,
        deciding: Sequence[Parent],
    ) -> None:
        """Args: `deciding` are the config's `parents`, as they were at the start."""
        self._config, self._work, self._folder = config, work, folder
        self._executor, self._deciding = executor, deciding
        self._pipeline = config.pipeline()
        self._rounds = self._pipeline.rounds

    def make(self, tokenizer: Tokenizer) -> dict[str, Any]:
        """Does the rounds that aren't done and writes the dataset; returns its summary."""
        last = len(self._rounds) - 1
        stored = self._read()
        for number in range(last):
            self._decide(number, stored)
            if number + 1 < last:
                stored = self._refine(number + 1, stored)
        names = self._write(last, stored)
        return self._finish(names, tokenizer)

    def _read(self) -> Stored:
        folder = self._work / "0"
        folder.mkdir(exist_ok=True)
        units = [f"{number:05}" for number in range(len(read_json(self._work / PLAN)["units"]))]
        todo = [
            (number,)
            for number, name in enumerate(units)
            if not ShardPath(folder, name).counts.is_file()
        ]
        self._run("read", todo, len(units), _title(0, self._rounds[0], reads=True))
        found = [read_json(ShardPath(folder, name).counts)["shards"] for name in units]
        return self._stored(folder, [name for names in found for name in names])

    def _refine(self, number: int, before: Stored) -> Stored:
        folder = self._work / str(number)
        folder.mkdir(exist_ok=True)
        names = [shard.name for shard in before.shards]
        todo = [
            (number, name, first)
            for name, first in zip(names, before.first, strict=False)
            if not ShardPath(folder, name).counts.is_file()
        ]
        self._run("refine", todo, len(names), _title(number, self._rounds[number]))
        return self._stored(folder, names)

    def _write(self, number: int, before: Stored) -> list[str]:
        folder = self._work / str(number)
        folder.mkdir(exist_ok=True)
        names = [shard.name for shard in before.shards]
        todo = [
            (number, name, first)
            for name, first in zip(names, before.first, strict=False)
            if not (folder / name).is_dir()
        ]
        self._run("write", todo, len(names), _title(number, self._rounds[number], writes=True))
        return names

    def _stored(self, folder: Path, names: Sequence[str]) -> Stored:
        shards = [ShardPath(folder, name) for name in names]
        return Stored(shards, [read_json(shard.counts)["documents"] for shard in shards])

    # --- passes ----------------------------------------------------------------------------------

    def _decide(self, number: int, stored: Stored) -> None:
        """Lets the passes of a round decide, one after the other; each once."""
        decide(self._work / str(number), self._pipeline.passes(number), stored)

    def _run(self, method: str, todo: Sequence[tuple], count: int, title: str) -> None:
        """Has the executor call a method of a Worker for each of `todo`, of `count` in all."""
        done = count - len(todo)
        with Progress(total=count, initial=done, desc=title, unit="shards") as progress:
            if todo:
                self._executor.run(method, todo, progress.update)

    # --- the dataset -----------------------------------------------------------------------------

    def _finish(self, names: Sequence[str], tokenizer: Tokenizer) -> dict[str, Any]:
        folder, last = self._folder, self._work / str(len(self._rounds) - 1)
        parts = [read_json(last / name / "counts.json") for name in names]
        splits = list(parts[0]["splits"]) if parts else [TRAIN]
        found = {split: [part["splits"][split] for part in parts] for split in splits}
        if units := sorted((self._work / "0").glob("[0-9]*.quarantined")):
            concatenate(units, folder / QUARANTINED)
        if not sum(rows for part in found[TRAIN] for rows in part["shard"][:1]):
            raise UserError(
                f"{folder}: none of the {self._config.kind} is left to train on{self._where_gone()}"
            )
        shards: dict[str, list[tuple[int, int]]] = {split: [] for split in splits}
        for split in splits:
            for name, part in zip(names, found[split], strict=True):
                rows, size = part["shard"]
                if rows:
                    source = last / name / split / ROWS
                    target = folder / shard_name(split, len(shards[split]))
                    if source.is_file():  # otherwise a killed run has moved it
                        source.replace(target)
                    shards[split].append((rows, size))
            home = folder if split == TRAIN else folder / split
            for file in (DIGESTS, SAMPLES):
                concatenate([last / name / split / file for name in names], home / file)
        shape = packer_of(self._config.kind, self._config.length).shape
        with_rows = {split: each for split, each in shards.items() if each}
        write_info(folder, shape, with_rows)
        summary = self._summary(found, tokenizer)
        write_json(folder / "summary.json", summary)
        write_funnel(folder / "funnel.svg", summary)
        write_text(folder / "README.md", corpus_card(folder.name, summary))
        return summary

    def _where_gone(self) -> str:
        """What became of the records where no row is left, from `: ` on."""
        counts = {name: step.removed.total() for name, step in self._tally().steps.items()}
        gone = [f"{name} removed {count}" for name, count in counts.items() if count]
        path = self._folder / QUARANTINED
        if path.is_file():
            with path.open(encoding="utf-8") as lines:
                first = json.loads(next(lines))["reason"]
            gone.append(f"{path} has what was set aside, the first because: {first}")
        return f": {'; '.join(gone)}" * bool(gone)

    def _tally(self) -> Tally:
        """What all shards of all rounds counted, in the order of the config."""
        total = Tally(self._config.samples)
        for name in self._pipeline.names:
            total.step(name)
        last = len(self._rounds) - 1
        for number in range(len(self._rounds)):
            # Not the hidden folders of tasks that were killed.
            pattern = "[0-9]*/counts.json" if number == last else "*-*.json"
            for path in sorted((self._work / str(number)).glob(pattern)):
                total.add(Tally.from_json(read_json(path)["tally"], self._config.samples))
            if number < last:
                for name, did in read_did(self._work / str(number)).items():
                    total.step(name).did.update(did)
        return total

    def _summary(self, found: dict[str, list[Any]], tokenizer: Tokenizer) -> dict[str, Any]:
        config, tally = self._config, self._tally()
        units = sorted((self._work / "0").glob("[0-9]" * 5 + ".json"))
        read = _sums([read_json(path)["read"] for path in units])
        steps = {name: step.summary() for name, step in tally.steps.items()}

        def removed(name: str) -> int:
            return tally.steps[name].removed.total() if name in tally.steps else 0

        by_split = {split: self._split_summary(parts) for split, parts in found.items()}
        trained = by_split.pop(TRAIN)
        return {
            "kind": config.kind,
            "length": config.length,
            "duplicates": removed("duplicates"),
            "held_out": removed("held_out"),
            "held_out_by_content": held_out_by_content(tally),
            **read,
            **trained,
            **by_split,
            "steps": steps,
            "charter": config.charter,
            "decided_by": [
                {"role": each.role, "reference": each.reference, "hash": each.hash}
                for each in self._deciding
            ],
            "tokenizer": hash_tokenizer(tokenizer),
        }

    def _split_summary(self, parts: Sequence[Any]) -> dict[str, Any]:
        counts = _sums([part["counts"] for part in parts])
        line = 2 if self._config.kind == "preferences" else 1
        room = counts["rows"] * self._config.length * line
        counts["fill"] = counts["tokens"] / room if room else 0.0
        tables: dict[str, Any] = {}
        for table in ("languages", "domains", "sources"):
            total: dict[str, list[int]] = {}
            for part in parts:
                for name, figures in part[table].items():
                    own = total.setdefault(name, [0, 0])
                    own[:] = [a + b for a, b in zip(own, figures, strict=True)]
            tables[table] = {name: total[name][0] for name in sorted(total)}
            tables[f"tokens_by_{table[:-1]}"] = {name: total[name][1] for name in sorted(total)}
        documents = sum(part["documents"] for part in parts)
        by_turn = sum(part["by_turn"] for part in parts)
        return {"documents": documents, "by_turn": by_turn, **counts, **tables}


def _sums(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Adds up numbers, and dicts of numbers, by their names."""
    total: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            if isinstance(value, dict):
                total[name] = _sums([total.get(name, {}), value])
            else:
                total[name] = total.get(name, 0) + value
    return {
        name: dict(sorted(value.items())) if isinstance(value, dict) else value
        for name, value in total.items()
    }


def _title(number: int, round: Round, *, reads: bool = False, writes: bool = False) -> str:
    names = ["read"] * reads + list(round.steps) + ["write"] * writes
    return f"{number + 1}. {', '.join(names)}"
