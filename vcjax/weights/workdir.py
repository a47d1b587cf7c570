"""A training run's folder as a model: its last good checkpoint, or one that is named by its step.

Adapters are merged into their base, as the run held it: a base that was quantised (`lora.base`)
is quantised again, in the same way, and what its codes stand for is merged into. That is what
the adapters were trained on top of; the original weights would not fit them as well.

`config.json` is the run's configuration; `model/` holds the small files of the model that is being
trained; `sources.json` says what the run was made from; `checkpoints/` is Orbax's.
"""

import logging
from pathlib import Path

from vcjax.core.errors import UserError
from vcjax.core.files import read_json, write_json
from vcjax.core.lineage import Parent
from vcjax.core.stores import as_path
from vcjax.model.config import LlamaConfig
from vcjax.model.lora import LoraConfig
from vcjax.parallel import is_main_process
from vcjax.text.chat_settings import split_options
from vcjax.weights.bundle import GENERATION, open_located
from vcjax.weights.resolve import Located, resolve
from vcjax.weights.steps import META, PARAMS, flaw, newest_good, step_folder
from vcjax.weights.stored import StoredModel, origin_of, read_tokenizer
from vcjax.weights.trained import AdaptedSource, Trained, TrainedSource

MODEL = "model"
SOURCES = "sources.json"

_log = logging.getLogger(__name__)


def read_trained(located: Located) -> Trained:
    """Finds what a training run has trained, finished or not.

    Args:
      located: a workdir; without a step it is the last checkpoint that is good, and those after it
        are reported.

    Raises:
      UserError: no good checkpoint, or not a training run.
    """
    folder, step = located.path, located.step
    if not (folder / MODEL / "config.json").is_file():
        raise UserError(f"{folder}: no checkpoint of a training run in it yet")
    raw = read_json(folder / MODEL / "config.json")
    config = LlamaConfig.from_hf(raw)
    lora = read_json(folder / "config.json")["lora"]
    adapters = LoraConfig(**lora) if lora["rank"] else None
    place = _last_good(folder) if step is None else _good(step_folder(folder, step))
    origin = origin_of(located, folder if step is None else place)
    return Trained(config, adapters, place, raw["torch_dtype"], origin)


def open_workdir(located: Located) -> StoredModel:
    """Opens the model of a training run, its adapters merged as it is read; see `read_trained`.

    Raises:
      UserError: nothing to read, or adapters whose base has changed.
    """
    folder, trained = located.path, read_trained(located)
    source = TrainedSource(trained)
    if trained.lora is not None:
        source = AdaptedSource(open_base(folder).source, trained)
    return StoredModel(
        trained.config,
        source,
        read_tokenizer(folder / MODEL),
        read_json(folder / MODEL / GENERATION),
        trained.stored_dtype,
        trained.origin,
    )


def open_base(folder: Path) -> StoredModel:
    """Opens the model that the run in `folder` began with.

    Raises:
      UserError: it is gone, or isn't the one that the run began with.
    """
    source = next(parent for parent in read_sources(folder) if parent.role == "model")
    there = source.path if source.path and as_path(source.path).exists() else None
    base = open_located(resolve(there or split_options(source.reference)[0]))
    if is_main_process() and base.origin.hash != source.hash:
        raise UserError(
            f"{base.origin.reference}: changed since {folder} was trained on top of it; "
            "its adapters fit the earlier model only"
        )
    return base


def read_sources(folder: Path, home: Path | None = None) -> list[Parent]:
    """What a run was made from, as it was when the run began.

    Args:
      home: the workdir, where `folder` is only the spool of it.
    """
    return [Parent.from_record(each, home or folder) for each in read_json(folder / SOURCES)]


def as_begun(reference: str, folder: Path, role: str = "model") -> str:
    """A hub id at the commit with which the run in `folder` began; else the reference itself.

    So a run goes on with the model that it has, whatever its repository has become.

    Args:
      folder: a run of any script; one that hasn't begun has no sources yet.
      role: of the model in the run.
    """
    if (folder / SOURCES).is_file():
        model, options = split_options(reference)
        name = model.partition("@")[0]
        for parent in read_sources(folder):
            begun = split_options(parent.reference)[0]
            of_hub = parent.role == role and parent.files is not None
            if of_hub and begun.partition("@")[0] == name:
                return begun + options
    return reference


def write_sources(folder: Path, parents: list[Parent], home: Path | None = None) -> None:
    """Writes the parents that a run begins with, unless an earlier start of it has.

    Their paths are relative to the workdir, so that a tree of runs can be moved.

    Args:
      home: see `read_sources`.
    """
    if (folder / SOURCES).is_file():
        return
    write_json(folder / SOURCES, [parent.to_record(home or folder) for parent in parents])


def _good(place: Path) -> Path:
    if (reason := _model_flaw(place)) is not None:
        raise UserError(reason)
    return place


def _last_good(folder: Path) -> Path:
    step, flawed = newest_good(folder, _model_flaw)
    if step is None:
        raise UserError(
            f"{folder}: no checkpoint yet; the first comes after `checkpoint_every` steps"
        )
    for reason in flawed.values():
        _log.warning("%s; step %d is used instead", reason, step)
    return step_folder(folder, step)


def _model_flaw(place: Path) -> str | None:
    """What is wrong with a checkpoint, as far as the model goes: the optimiser isn't read."""
    return flaw(place, lambda name: name == META or name.startswith(f"{PARAMS}/"))
