"""From the paths that a config names to weighted rows: prepared folders, or raw files."""

from dataclasses import dataclass
from pathlib import Path

from vcjax.charter.load import load_charter
from vcjax.data.importers import Loaded, read_records, split_paths
from vcjax.data.prepared import PAIRED, Prepared, hash_tokenizer, open_prepared, prepare
from vcjax.foundation.errors import UserError
from vcjax.foundation.lineage import Parent
from vcjax.parallel import leads, meet
from vcjax.text.tokenizer import Tokenizer
from vcjax.train.config import TrainConfig

DATA = "data"
REPLAY = "replay"


@dataclass(frozen=True)
class Source:
    """One field of data, checked.

    Attributes:
      field: `documents`, `conversations`, `preferences` or `replay`.
      weight: of all its rows together, relative to the other sources.
      prepared: folders that are ready, opened.
      raw: records that are still to be prepared, or None.
      parents: the folders and files that are read now, for the lineage.
    """

    field: str
    weight: float
    prepared: tuple[Prepared, ...]
    raw: Loaded | None
    parents: tuple[Parent, ...]


def check_sources(config: TrainConfig, tokenizer: Tokenizer, workdir: Path) -> list[Source]:
    """Opens all prepared folders and reads all raw files; writes nothing.

    Raw files that an earlier start of the run has prepared into the workdir aren't read again.

    Raises:
      UserError: a file that is missing or unreadable, a bad record, or a prepared folder of
        another kind, row length or tokenizer.
    """
    fields = [(config.kind, 1.0)]
    if config.replay.strip():
        fields.append((REPLAY, config.replay_weight))
    sources = [_check(config, field, weight, tokenizer, workdir) for field, weight in fields]
    return sources


def held_out_domains(config: TrainConfig) -> frozenset[str]:
    """The domains that the charter keeps for evaluation."""
    if not config.charter:
        return frozenset()
    subdomains = load_charter(config.charter).subdomains()
    return frozenset(subdomain.id for subdomain in subdomains if subdomain.held_out)


def check_prepared(
    folder: Path, field: str, kind: str | None, config: TrainConfig, tokenizer: Tokenizer
) -> Prepared:
    """Opens a prepared folder that `config.<field>` names.

    Args:
      kind: of its records; None is any that can be in one batch with those of the run.

    Raises:
      UserError: it isn't prepared for this run.
    """
    found = open_prepared(folder)
    where = f"config.{field}: {folder}"
    paired = PAIRED in (config.kind, found.summary["kind"])
    wanted = config.kind if kind is None and paired else kind
    if wanted is not None and found.summary["kind"] != wanted:
        raise UserError(f"{where} holds {found.summary['kind']}, not {wanted}")
    for domain in sorted(held_out_domains(config) & found.summary["domains"].keys()):
        raise UserError(
            f"{where} has records of {domain!r}, a domain that charter {config.charter!r} "
            "holds out; prepare it again without them"
        )
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


def _check(
    config: TrainConfig, field: str, weight: float, tokenizer: Tokenizer, workdir: Path
) -> Source:
    kind = config.kind
    paths = split_paths(getattr(config, field))
    folders = [path for path in paths if path.is_dir()]
    files = [path for path in paths if not path.is_dir()]
    wanted = None if field == REPLAY else kind
    prepared = [check_prepared(folder, field, wanted, config, tokenizer) for folder in folders]
    raw, done = None, workdir / DATA / field
    if files and done.is_dir():
        prepared.append(open_prepared(done))
        files = []
    elif files:
        raw = read_records(files, kind, on_bad_record=config.on_bad_record)
    parents = tuple(Parent.of(field, path) for path in (*folders, *files))
    return Source(field, weight, tuple(prepared), raw, parents)


def prepare_sources(
    sources: list[Source], config: TrainConfig, tokenizer: Tokenizer, workdir: Path
) -> list[tuple[Prepared, float]]:
    """Prepares what is raw into `workdir/data/<field>`; returns (rows, weight) for the loader.

    Within a field each row weighs the same, whichever folder it is in.
    """
    parts = []
    for source in sources:
        prepared = list(source.prepared)
        if source.raw is not None:
            folder = workdir / DATA / source.field
            if leads():
                prepare(
                    folder,
                    source.raw.records,
                    config.kind,
                    tokenizer,
                    config.length,
                    quarantined=source.raw.quarantined,
                    on_bad_record=config.on_bad_record,
                    held_out=held_out_domains(config),
                )
            meet(f"{source.field} prepared")
            prepared.append(open_prepared(folder))
        rows = sum(map(len, prepared))
        parts += [(part, source.weight * len(part) / rows) for part in prepared if len(part)]
    return parts
