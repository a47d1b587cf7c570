"""DPO's reference: log-probabilities of all pairs under the model that a run begins with.

They are computed once, before the first step, so that no second model is held in training.
"""

import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float32
from tqdm import tqdm

from vcjax.core.files import replaced
from vcjax.data.packing import Row
from vcjax.data.prepared import Prepared
from vcjax.model.build import Params
from vcjax.parallel import ShardingRules, leads, meet
from vcjax.train.scoring import score_pairs

FOLDER = "reference"
"""In `workdir/data`: a file for each dataset, valid for the base model of this workdir alone."""

SAVE_EVERY = 64
"""Batches scored between two saves: at most so many are lost to a kill."""

LogProbs = Float32[np.ndarray, "pairs 2"]


def with_reference(
    datasets: Mapping[str, Prepared],
    folder: Path,
    begin: Callable[[], Params],
    graph: Any,
    pairs: int,
    mesh: Mesh,
    rules: ShardingRules,
) -> dict[str, Prepared]:
    """Joins `reference`, float32 [2], to each row of prepared preferences.

    What `folder` holds already isn't computed again; a file in it that is damaged is reported and
    replaced. Every process takes part; the one that leads writes.

    Args:
      datasets: by name, which is that of the file too.
      folder: of one run with one base model and these datasets.
      begin: gives the parameters that the run begins with, placed on the mesh; called only if
        something has to be computed.
      graph: static part of the model.
      pairs: scored at a time; a multiple of the devices that share rows out, and the same each
        time, so that a run that was killed ends with the same numbers.
    """
    files = {name: folder / f"{name}.npz" for name in datasets}
    found = {name: _read(files[name], len(rows), pairs) for name, rows in datasets.items()}
    meet("reference read")  # before any of it is written
    missing = [name for name, rows in datasets.items() if len(found[name]) < len(rows)]
    params = begin() if missing else {}
    for name in missing:
        rows, parts = datasets[name], [found[name]]
        scored = score_pairs(graph, params, rows, pairs, mesh, rules, start=len(parts[0]))
        options = {"unit": "pair", "desc": FOLDER, "disable": not leads()}
        with tqdm(total=len(rows), initial=len(parts[0]), **options) as bar:
            for count, scores in enumerate(scored, start=1):
                parts.append(scores.log_probs)
                bar.update(len(scores.log_probs))
                if count % SAVE_EVERY == 0 and leads():
                    _write(files[name], np.concatenate(parts))
        found[name] = np.concatenate(parts)
        if leads():
            _write(files[name], found[name])
    return {
        name: replace(rows, source=_Joined(rows.source, found[name]))
        for name, rows in datasets.items()
    }


@dataclass(frozen=True)
class _Joined(Sequence[Row]):
    rows: Sequence[Row]
    reference: LogProbs

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return {**self.rows[index], "reference": self.reference[index]}


def _read(path: Path, count: int, pairs: int) -> LogProbs:
    """The log-probabilities of the first so many pairs, whole batches or all of them."""
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
    return found if len(found) == count else found[: len(found) - len(found) % pairs]


def _write(path: Path, log_probs: LogProbs) -> None:
    with replaced(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, log_probs=log_probs)
