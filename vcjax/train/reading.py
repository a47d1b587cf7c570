"""All data read once before a run begins: bad records, and what is held out but trained on."""

import sys

from vcjax.core.errors import UserError
from vcjax.data.overlap import HeldOutRecords, left_uncompared
from vcjax.data.prepared import Prepared
from vcjax.text.tokenizer import Tokenizer
from vcjax.train.config import TrainConfig
from vcjax.train.sources import Source, held_out_domains
from vcjax.train.validation_data import FIELD, GroupSource, check_raw_groups


def read_through(
    sources: list[Source], measured: GroupSource, config: TrainConfig, tokenizer: Tokenizer
) -> None:
    """Reads all data of a run that is about to begin, record by record; writes nothing.

    Prepared folders are read where there is something to compare them with.

    Raises:
      UserError: a file that is unreadable, a bad record, or a record that is both trained and
        measured on.
    """
    held_out = HeldOutRecords(config.validation.similarity, tokenizer)
    try:
        check_raw_groups(measured, config, held_out.add)
        for group in measured.ready:
            held_out.add_prepared(group.rows)
            _report(FIELD, group.rows, config)
        for source in sources:
            _read_source(source, held_out, config)
    finally:
        held_out.close()


def _read_source(source: Source, held_out: HeldOutRecords, config: TrainConfig) -> None:
    found, first = 0, ""
    for part in source.prepared if held_out.count else ():
        _report(source.field, part, config)
        for what in held_out.find_prepared(part):
            found, first = found + 1, first or f" ({what})"
    untrained = held_out_domains(config)
    for record in source.raw or ():
        trained = getattr(record, "domain", None) not in untrained
        if held_out.count and trained and (what := held_out.find(record)) is not None:
            found, first = found + 1, first or f" ({what})"
    if found:
        raise UserError(
            f"config.{source.field}: {found} of its records are in config.{FIELD} too{first}, "
            f"word for word or with a similarity of {config.validation.similarity} or more; "
            "remove them from one of the two"
        )


def _report(field: str, part: Prepared, config: TrainConfig) -> None:
    """Prints what isn't compared, where a person watches a run begin."""
    if (what := left_uncompared(part, config.validation.similarity)) is not None:
        print(
            f"config.{field}: {part.folder} was prepared by an earlier version: {what} between "
            "training and validation; prepare it again",
            file=sys.stderr,
        )
