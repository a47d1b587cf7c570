"""DPO's reference: log-probabilities of all pairs under the model that a run begins with.

They are computed once, before the first step, so that training needs no second model in memory.
Pairs of similar length are scored together, in rows that are cut to a power of two: a batch has
about as many tokens as a training step, however long `config.length` is.
"""

import math
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from signal import Signals
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding
from jaxtyping import Array, Bool, Float32, Int

from vcjax.core.errors import Preempted
from vcjax.core.files import replaced
from vcjax.core.progress import Progress
from vcjax.data.packing import Row
from vcjax.data.prepared import Prepared
from vcjax.model.build import Params
from vcjax.parallel import AnyMesh, barrier, is_main_process, on_main_process, replicated
from vcjax.train.data import Part
from vcjax.train.layout import local_rows, shard_batch
from vcjax.train.losses import pair_log_probs
from vcjax.train.validation_data import Group

FOLDER = "reference"
"""Folder in `workdir/data` with a file for each dataset, of this workdir's base model alone."""

SAVE_SECONDS = 20.0
"""Between two saves: a kill loses this, and a batch."""

MIN_LENGTH = 64
"""Tokens that rows are cut to, at least: each length is another program."""

LogProbs = Float32[np.ndarray, "pairs 2"]


def add_references(
    parts: Sequence[Part], groups: Sequence[Group], folder: Path, **scoring: Any
) -> tuple[list[Part], list[Group]]:
    """The rows to train on and those to measure on, with their `reference`.

    Args:
      scoring: the other arguments of `with_reference`.
    """
    training = {f"training-{number:03}": rows for number, (rows, _) in enumerate(parts)}
    validation = {f"validation-{number:03}": group.rows for number, group in enumerate(groups)}
    found = with_reference({**training, **validation}, folder, **scoring)
    weights = [weight for _, weight in parts]
    return (
        [(found[name], weight) for name, weight in zip(training, weights, strict=True)],
        [replace(group, rows=found[name]) for name, group in zip(validation, groups, strict=True)],
    )


def with_reference(
    datasets: Mapping[str, Prepared],
    folder: Path,
    *,
    initial: Callable[[], Params],
    graph: Any,
    pairs: int,
    mesh: AnyMesh,
    requested: Callable[[], Signals | None] = lambda: None,
) -> dict[str, Prepared]:
    """Joins `reference`, float32 [2], to each row of prepared preferences.

    What `folder` has already isn't computed again; a file in it that is damaged is reported and
    replaced. Every process takes part; the main one writes.

    Args:
      datasets: by name, which is that of the file too.
      folder: of one run with one base model and these datasets.
      initial: returns the parameters that the run begins with, sharded on the mesh; called only if
        something has to be computed.
      graph: static part of the model.
      pairs: scored at a time if they are as long as rows can be, and more of shorter ones; a
        multiple of the devices that share rows out, and the same each time, so that a run that was
        killed ends with the same numbers.
      requested: see `stop_requests`; asked after each batch.

    Raises:
      Preempted: a signal; what was computed until then is saved.
    """
    files = {name: folder / f"{name}.npz" for name in datasets}
    found = {name: _read(files[name], len(rows)) for name, rows in datasets.items()}
    barrier("reference read")  # before any of it is written
    missing = [name for name in datasets if not found[name].scored.all()]
    params = initial() if missing else {}
    for name in missing:
        rows, scores = datasets[name], found[name]
        done, quiet = int(scores.scored.sum()), not is_main_process()
        with Progress(
            total=len(rows), initial=done, unit="pairs", desc=FOLDER, disable=quiet
        ) as bar:
            batches = score_pairs(graph, params, rows, pairs, mesh, scores.scored)
            saved = -math.inf
            for indices, log_probs in batches:
                bar.update(len(indices) - int(scores.scored[indices].sum()))
                scores.log_probs[indices], scores.scored[indices] = log_probs, True
                signal = requested()
                ends = signal is not None or scores.scored.all()
                if (ends or time.monotonic() > saved + SAVE_SECONDS) and is_main_process():
                    _write(files[name], scores)
                    saved = time.monotonic()
                if signal is not None:
                    raise Preempted(
                        f"{files[name]}: stopped by {signal.name} after {scores.scored.sum()} of "
                        f"{len(rows)} pairs; the same command continues",
                        signal,
                    )
    return {
        name: replace(rows, source=_Joined(rows.source, found[name].log_probs))
        for name, rows in datasets.items()
    }


def score_pairs(
    graph: Any,
    params: Params,
    rows: Prepared,
    pairs: int,
    mesh: AnyMesh,
    scored: Bool[np.ndarray, " rows"] | None = None,
) -> Iterator[tuple[Int[np.ndarray, " pairs"], LogProbs]]:
    """Yields indices of pairs and their log-probabilities, in nats, the longest pairs first.

    Batches are the same whatever is `scored`; those of which everything is are left out. With
    several processes each takes part and yields all of them, and reads the pairs that its devices
    score; the main process reads all of them once, to see how long they are.

    Args:
      params: of `graph`, sharded on the mesh.
      rows: prepared preferences.
      pairs: a multiple of the devices that share rows out.
    """
    everywhere = replicated(mesh)
    for indices, count, length in _batches(rows, pairs, mesh.shape["sequence"]):
        if scored is not None and scored[indices].all():
            continue
        own = local_rows(mesh, count)
        found = [rows[indices[row]] for row in own if row < len(indices)]
        # A process may have padding alone, which has the shape of any pair.
        batch = _cut(found, len(own), length, like=found[0] if found else rows[0])
        log_probs = _score(graph, everywhere, params, shard_batch(batch, mesh, count))
        yield indices, np.asarray(log_probs)[: len(indices)]


def _batches(
    rows: Prepared, pairs: int, multiple: int
) -> Iterator[tuple[Int[np.ndarray, " pairs"], int, int]]:
    """Indices, the number of pairs with those of padding, and the length of each batch.

    Args:
      multiple: of which lengths are: the devices that share one row out.
    """
    used = on_main_process(
        lambda: [int(np.max(np.sum(row["segment_ids"] != 0, axis=-1))) for row in rows]
    )
    # From the rows alone, whatever is scored already: a start after a kill forms the same batches,
    # and so gets the same numbers to the last bit.
    lengths = np.asarray([_cut_length(each, rows.length, multiple) for each in used])
    for length in sorted(set(lengths.tolist()), reverse=True):
        left = np.flatnonzero(lengths == length)
        most = rows.length // length
        # Few sizes, since each is compiled; all multiples of `pairs`, which the devices divide.
        counts = [pairs * each for each in (1, 4, 16, 64) if each < most] + [pairs * most]
        while len(left):
            # More than half of a batch is pairs, unless there are fewer than fit in the smallest.
            count = max(each for each in counts if each < 2 * len(left) or each == counts[0])
            yield left[:count], count, length
            left = left[count:]


def _cut_length(used: int, length: int, multiple: int) -> int:
    """A power of two, or `length`: what rows of `used` tokens are cut to."""
    wanted = max(MIN_LENGTH, 1 << (used - 1).bit_length())
    wanted += -wanted % multiple
    return min(wanted, length)


def _cut(rows: Sequence[Row], count: int, length: int, like: Row) -> dict[str, np.ndarray]:
    """A batch of the first `length` tokens of pairs, with padding up to `count` pairs.

    Args:
      like: a pair as the padding is.
    """
    padding = {name: np.zeros_like(value) for name, value in like.items()}
    whole = [*rows, *[padding] * (count - len(rows))]
    return {name: np.stack([row[name][..., :length] for row in whole]) for name in padding}


@partial(jax.jit, static_argnames=("graph", "everywhere"))
def _score(graph: Any, everywhere: NamedSharding, params: Params, batch: dict[str, Array]) -> Array:
    log_probs, _ = pair_log_probs(nnx.merge(graph, params), batch)
    return jax.lax.with_sharding_constraint(log_probs, everywhere)


@dataclass(frozen=True)
class _Joined(Sequence[Row]):
    rows: Sequence[Row]
    reference: LogProbs

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return {**self.rows[index], "reference": self.reference[index]}


@dataclass(frozen=True)
class _Scores:
    """Log-probabilities of the pairs of one dataset; of those that aren't `scored` zeros."""

    log_probs: LogProbs
    scored: Bool[np.ndarray, " pairs"]


def _read(path: Path, count: int) -> _Scores:
    """What a file has of `count` pairs."""
    nothing = _Scores(np.zeros((count, 2), np.float32), np.zeros((count,), bool))
    if not path.is_file():
        return nothing
    try:
        with np.load(path, allow_pickle=False) as file:  # which checks a CRC
            log_probs = file["log_probs"]
            # An earlier version stored the first pairs, without saying which.
            scored = file["scored"] if "scored" in file else np.ones((len(log_probs),), bool)
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError) as error:
        warnings.warn(f"{path}: damaged ({error}); computed again", stacklevel=2)
        return nothing
    size = len(log_probs)
    if (
        (log_probs.shape, log_probs.dtype) != ((size, 2), np.float32)
        or (scored.shape, scored.dtype) != ((size,), bool)
        or size > count
    ):
        warnings.warn(f"{path}: not of these pairs; computed again", stacklevel=2)
        return nothing
    nothing.log_probs[:size], nothing.scored[:size] = log_probs, scored
    return nothing


def _write(path: Path, scores: _Scores) -> None:
    with replaced(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, log_probs=scores.log_probs, scored=scores.scored)
