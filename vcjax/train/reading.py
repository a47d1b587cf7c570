"""All raw data read once before a run begins: bad records, and what is held out but trained on."""

from vcjax.core.errors import UserError
from vcjax.data.overlap import HeldOutRecords
from vcjax.train.config import TrainConfig
from vcjax.train.sources import Source, held_out_domains
from vcjax.train.validation_data import FIELD, GroupSource, check_raw_groups


def read_through(sources: list[Source], measured: GroupSource, config: TrainConfig) -> None:
    """Reads every raw file of a run, record by record; keeps nothing and writes nothing.

    Raises:
      UserError: a file that is unreadable, a bad record, or a record that is both trained and
        measured on.
    """
    held_out = HeldOutRecords(config.validation.similarity)
    try:
        check_raw_groups(measured, config, held_out.add)
        for group in measured.ready:
            if group.rows.digests is not None:
                held_out.add_digests(group.rows.digests)
        for source in sources:
            _read_source(source, held_out, config)
    finally:
        held_out.close()


def _read_source(source: Source, held_out: HeldOutRecords, config: TrainConfig) -> None:
    found, first = 0, ""
    for part in source.prepared:
        if part.digests is not None and held_out.count:
            found += held_out.count_in(part.digests)
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
