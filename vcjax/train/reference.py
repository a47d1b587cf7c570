"""DPO's reference: log-probabilities of all pairs under the model that a run begins with.

They are computed once, before the first step, so that training needs no second model in memory.
"""

import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding
from jaxtyping import Array, Float32
from tqdm import tqdm

from vcjax.core.files import replaced
from vcjax.data.loader import in_order
from vcjax.data.packing import Row
from vcjax.data.prepared import Prepared
from vcjax.model.build import Params
from vcjax.parallel import AnyMesh, barrier, is_main_process, replicated
from vcjax.train.data import Part
from vcjax.train.layout import shard_batch
from vcjax.train.losses import pair_log_probs
from vcjax.train.validation_data import Group

FOLDER = "reference"
"""In `workdir/data`: a file for each dataset, valid for the base model of this workdir alone."""

SAVE_EVERY = 64
"""Batches scored between two saves: a kill loses at most these."""

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
) -> dict[str, Prepared]:
    """Joins `reference`, float32 [2], to each row of prepared preferences.

    What `folder` has already isn't computed again; a file in it that is damaged is reported and
    replaced. Every process takes part; the main one writes.

    Args:
      datasets: by name, which is that of the file too.
      folder: of one run with one base model and these datasets.
      initial: returns the parameters that the run begins with, placed on the mesh; called only if
        something has to be computed.
      graph: static part of the model.
      pairs: scored at a time; a multiple of the devices that share rows out, and the same each
        time, so that a run that was killed ends with the same numbers.
    """
    files = {name: folder / f"{name}.npz" for name in datasets}
    found = {name: _read(files[name], len(rows), pairs) for name, rows in datasets.items()}
    barrier("reference read")  # before any of it is written
    missing = [name for name, rows in datasets.items() if len(found[name]) < len(rows)]
    params = initial() if missing else {}
    for name in missing:
        rows, scored = datasets[name], [found[name]]
        options = {"unit": "pair", "desc": FOLDER, "disable": not is_main_process()}
        with tqdm(total=len(rows), initial=len(found[name]), **options) as bar:
            batches = score_pairs(graph, params, rows, pairs, mesh, start=len(found[name]))
            for count, log_probs in enumerate(batches, start=1):
                scored.append(log_probs)
                bar.update(len(log_probs))
                if count % SAVE_EVERY == 0 and is_main_process():
                    _write(files[name], np.concatenate(scored))
        found[name] = np.concatenate(scored)
        if is_main_process():
            _write(files[name], found[name])
    return {
        name: replace(rows, source=_Joined(rows.source, found[name]))
        for name, rows in datasets.items()
    }


def score_pairs(
    graph: Any,
    params: Params,
    rows: Prepared,
    pairs: int,
    mesh: AnyMesh,
    start: int = 0,
) -> Iterator[LogProbs]:
    """Log-probabilities, in nats, of the pairs from `start` on, in their order, `pairs` at a time.

    With several processes each takes part and has all of them.

    Args:
      params: of `graph`, placed on the mesh.
      rows: prepared preferences.
      pairs: a multiple of the devices that share rows out.
    """
    everywhere = replicated(mesh)
    for count, batch in in_order(rows, pairs, start):
        log_probs = _score(graph, everywhere, params, shard_batch(batch, mesh))
        yield np.asarray(log_probs)[:count]


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


def _read(path: Path, count: int, pairs: int) -> LogProbs:
    """The log-probabilities of the first of `count` pairs: whole batches, or all of them."""
    nothing = np.zeros((0, 2), np.float32)
    if not path.is_file():
        return nothing
    try:
        with np.load(path, allow_pickle=False) as file:  # which checks a CRC
            found = file["log_probs"]
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError) as error:
        warnings.warn(f"{path}: damaged ({error}); computed again", stacklevel=2)
        return nothing
    if found.shape[1:] != (2,) or found.dtype != np.float32 or len(found) > count:
        warnings.warn(f"{path}: not of these pairs; computed again", stacklevel=2)
        return nothing
    # Only whole batches: another composition of a batch may round to other numbers.
    return found if len(found) == count else found[: len(found) - len(found) % pairs]


def _write(path: Path, log_probs: LogProbs) -> None:
    with replaced(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, log_probs=log_probs)
