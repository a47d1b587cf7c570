"""From the paths that a config names to weighted rows: prepared folders, or raw files."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from vcjax.charter.load import load_charter
from vcjax.core.errors import UserError
from vcjax.core.lineage import Parent
from vcjax.data.corpus.report import step_table
from vcjax.data.files import Names, data_parents, is_prepared, size_of, split_paths
from vcjax.data.held_out import HeldOut
from vcjax.data.importers import Records
from vcjax.data.preparation import omissions, prepare
from vcjax.data.prepared import NO_DOMAIN, PAIRED, TRAIN, Prepared, hash_tokenizer, open_prepared
from vcjax.parallel import barrier, is_main_process, on_main_process
from vcjax.text.rendering import Rendered, coloured, legend
from vcjax.text.tokenizer import Tokenizer
from vcjax.train.config import TrainConfig

DATA = "data"
REPLAY = "replay"
_USUAL = {"read", "held_out", "duplicates", "encode"}
"""Steps whose removals `omissions` has a line for."""

Part = tuple[Prepared, float]
"""Rows to train on, and their weight: how often they are drawn, relative to other parts."""


@dataclass(frozen=True)
class Source:
    """One field of data, checked.

    Attributes:
      field: `documents`, `conversations`, `preferences` or `replay`.
      weight: of all its rows together, relative to the other sources.
      prepared: folders that are ready, opened.
      raw: records that are still to be prepared, or None.
      parents: the folders and files that are read now, for the lineage; of the main process alone.
    """

    field: str
    weight: float
    prepared: tuple[Prepared, ...]
    raw: Records | None
    parents: tuple[Parent, ...]


def check_sources(config: TrainConfig, tokenizer: Tokenizer, workdir: Path) -> list[Source]:
    """Opens all prepared folders and finds all raw files; writes nothing.

    Raw files that an earlier start of the run has prepared into the workdir aren't read again.

    Raises:
      UserError: a file that is missing, or a prepared folder of another kind, row length or
        tokenizer, or with records without a domain where one is required.
    """
    fields = [(config.kind, 1.0)]
    if config.replay.strip():
        fields.append((REPLAY, config.replay_weight))
    return [_check(config, field, weight, tokenizer, workdir) for field, weight in fields]


def folders_and_files(paths: str) -> tuple[list[Path], list[str]]:
    """(Prepared folders, raw files) among comma-separated paths."""
    names = split_paths(paths)
    return (
        [Path(name) for name in names if is_prepared(name)],
        [name for name in names if not is_prepared(name)],
    )


def held_out_by(config: TrainConfig) -> HeldOut | None:
    """What the charter keeps for evaluation; None without a charter."""
    return HeldOut(load_charter(config.charter)) if config.charter else None


def check_prepared(
    folder: Path,
    field: str,
    kind: str | None,
    config: TrainConfig,
    tokenizer: Tokenizer,
    split: str = TRAIN,
) -> Prepared:
    """Opens a prepared folder that `config.<field>` names.

    Args:
      kind: of its records; None is any that can be in one batch with those of the run.

    Raises:
      UserError: it isn't prepared for this run.
    """
    found = open_prepared(folder, split)
    where = f"config.{field}: {folder}"
    paired = PAIRED in (config.kind, found.summary["kind"])
    wanted = config.kind if kind is None and paired else kind
    if wanted is not None and found.summary["kind"] != wanted:
        raise UserError(f"{where} has {found.summary['kind']}, not {wanted}")
    held_out = held_out_by(config)
    for domain in sorted(
        (held_out.domains if held_out else set()) & found.summary["domains"].keys()
    ):
        raise UserError(
            f"{where} has records of {domain!r}, a domain that charter {config.charter!r} "
            "holds out; prepare it again without them"
        )
    if config.require_domain and (without := found.summary["domains"].get(NO_DOMAIN, 0)):
        raise UserError(f"{where} has {without} records without a domain; give each one")
    if found.length != config.length:
        raise UserError(
            f"{where} has rows of {found.length} tokens, config.length is {config.length}; "
            "prepare it again or change the length"
        )
    if found.summary["tokenizer"] != hash_tokenizer(tokenizer):
        raise UserError(
            f"{where} was prepared with another tokenizer or chat template than those of "
            f"{config.model}; prepare it again"
        )
    return found


def raw_records(names: Names, config: TrainConfig) -> Records:
    """The records of a run's raw files; none is read yet."""
    return Records(
        names,
        config.kind,
        on_bad_record=config.on_bad_record,
        columns=config.columns,
        tool_turns=config.tool_turns,
        require_domain=config.require_domain,
        sample_by=config.prepare.sample_by,
    )


def _check(
    config: TrainConfig, field: str, weight: float, tokenizer: Tokenizer, workdir: Path
) -> Source:
    folders, files = folders_and_files(getattr(config, field))
    # Documents may be replayed among conversations: both are packed rows of tokens with a mask.
    wanted = None if field == REPLAY else config.kind
    prepared = [check_prepared(folder, field, wanted, config, tokenizer) for folder in folders]
    raw, done = None, workdir / DATA / field
    # A folder takes its name when it is whole, so that one of this name needs no check.
    if files and done.is_dir():
        prepared.append(open_prepared(done))
    elif files:
        raw = raw_records(files, config)
        _check_size(field, raw, config)
    return Source(field, weight, tuple(prepared), raw, run_parents(field, folders, files, raw))


def _check_size(field: str, raw: Records, config: TrainConfig) -> None:
    """Raises a UserError where raw files are too large to be prepared in this process."""
    sizes, most = {file.name: size_of(file.name) for file in raw.files}, config.prepare.most_mb
    for name in (name for name, size in sizes.items() if size is None and is_main_process()):
        print(
            f"config.{field}: {name}: its server doesn't say how large it is, so it isn't counted "
            f"towards config.prepare.most_mb={most}",
            file=sys.stderr,
        )
    size = sum(size or 0 for size in sizes.values()) / 1e6
    if size > most:
        variant = "" if config.kind == "documents" else f":{config.kind}"
        raise UserError(
            f"config.{field}: {size:,.0f} MB of raw files are more than one process should prepare "
            f"(config.prepare.most_mb={most}); run launch.prepare --config=configs/prepare.py"
            f"{variant} on them and name its workdir here"
        )


def run_parents(
    field: str, folders: list[Path], files: list[str], raw: Records | None
) -> tuple[Parent, ...]:
    """The inputs of one field, for the lineage; only the main process reads raw files."""
    if not is_main_process():
        return ()
    parents = [Parent.of(field, folder) for folder in folders]
    return (*parents, *(data_parents(field, files) if raw is not None else ()))


def prepare_sources(
    sources: list[Source],
    config: TrainConfig,
    tokenizer: Tokenizer,
    workdir: Path,
    shared: Callable[[str], None] = barrier,
) -> list[Part]:
    """Prepares what is raw into `workdir/data/<field>`; returns (rows, weight) for the loader.

    Within a field each row weighs the same, whichever folder it is in.

    Args:
      shared: called with a name for what the main process has written; waits until all see it.
    """
    parts = []
    for source in sources:
        prepared = list(source.prepared)
        if source.raw is not None:
            folder = workdir / DATA / source.field
            on_main_process(partial(_prepare, folder, source.raw, config, tokenizer))
            shared(f"{source.field} prepared")
            prepared.append(open_prepared(folder))
        if is_main_process():
            _report(source.field, prepared, bool(config.charter), workdir)
        # The loader draws from a part in proportion to its weight; a part with twice the rows needs
        # twice the weight for each of them to be drawn as often.
        rows = sum(map(len, prepared))
        parts += [(part, source.weight * len(part) / rows) for part in prepared if len(part)]
    return parts


def print_rows(parts: list[Part], tokenizer: Tokenizer, count: int) -> None:
    """Prints the first rows of each part in the terminal's colours, without their padding, so that
    anyone can see which tokens are trained on; a row of preferences is two lines.

    Args:
      count: rows of each part.
    """
    print(legend())
    for part, _ in parts:
        for number in range(min(count, len(part))):
            row = {name: np.atleast_2d(value) for name, value in part[number].items()}
            for line, segments in enumerate(row["segment_ids"]):
                ids, mask = (row[name][line][segments > 0] for name in ("tokens", "loss_mask"))
                print(coloured(tokenizer, Rendered(tuple(ids.tolist()), tuple(mask.tolist()))))


def _prepare(folder: Path, raw: Records, config: TrainConfig, tokenizer: Tokenizer) -> None:
    for left in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(left)  # of a killed start: the workdir belongs to this run alone
    prepare(
        folder,
        raw,
        config.kind,
        tokenizer,
        config.length,
        on_bad_record=config.on_bad_record,
        config=config.prepare,
        charter=config.charter,
    )


def _report(field: str, prepared: list[Prepared], held_out: bool, workdir: Path) -> None:
    """Prints what the rows are and what isn't in them, for the person who starts the run."""
    for part in prepared:
        summary = part.summary
        print(
            f"{field}: {summary['examples']} {summary['kind']} in {len(part)} rows, "
            f"{summary['loss_tokens']} tokens to predict",
            file=sys.stderr,
        )
        # Of what this run prepares by more than the usual steps; `launch.prepare` shows its own.
        own = part.folder == workdir / DATA / field and summary.get("steps", {}).keys() - _USUAL
        # What is replayed was learnt before, where it was said how much of it is cut off.
        lost = omissions(summary, held_out, cut=field != REPLAY)
        for line in [*(step_table(summary) if own else ()), *lost]:
            print(f"  {line}", file=sys.stderr)
