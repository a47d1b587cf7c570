"""Model folders as they are written: whole or not at all, with model card and lineage.

AnyModel -> write_model -> hf (safetensors) | checkpoint (Orbax)   + card + lineage: save_model
         -> write_gguf  -> gguf (one file)                         + card + lineage: save_model
a run's adapters        -> the format of peft                      + card + lineage: save_adapters
"""

from dataclasses import replace
from pathlib import Path

from vcjax.core.errors import UserError
from vcjax.core.files import check_writable, read_json, replaced_folder, write_json
from vcjax.core.lineage import Parent, write_lineage
from vcjax.core.progress import Progress
from vcjax.core.stores import PARTIAL, check_for_checkpoints, is_there
from vcjax.model.lora import LoraConfig
from vcjax.weights.card import charter_of, model_card
from vcjax.weights.checkpoint import write_params
from vcjax.weights.gguf.writer import write_gguf
from vcjax.weights.hf import write_weights
from vcjax.weights.model import (
    GENERATION,
    AnyModel,
    StoredModel,
    check_dtype,
    read_tokenizer,
    write_companions,
)
from vcjax.weights.peft import ADAPTER_WEIGHTS, BASE, AdapterSource, adapter_config, base_name
from vcjax.weights.resolve import ADAPTER_CONFIG, Located
from vcjax.weights.safetensors_file import write_file
from vcjax.weights.workdir import MODEL, read_sources, read_trained

CHECKPOINT, GGUF = "checkpoint", "gguf"


def save_model(
    model: AnyModel,
    path: Path,
    *,
    form: str,
    dtype: str | None = None,
    card: str | None = None,
) -> None:
    """Writes a model folder with its model card and lineage, whole or not at all.

    Args:
      form: as of `write_model`, or `gguf`.
      dtype: as of `write_model`; of a GGUF file a key of `TYPES`.
      card: the model card; None makes it from the lineage; see `model_card`.

    Raises:
      UserError: `path` is there already, or is no place for a checkpoint; see `write_model`.
    """
    if form == CHECKPOINT:
        check_for_checkpoints(path)  # uploaded it would be whole, and nothing could read it there
    _check_target(path)
    with replaced_folder(path) as folder:
        if form == GGUF:
            write_gguf(folder, model, dtype or model.stored_dtype)
        else:
            write_model(folder, model, form=form, dtype=dtype)
        (folder / "README.md").write_text(card or model_card(model), encoding="utf-8")
        config = {"form": form, "dtype": dtype or model.stored_dtype}
        parents = [model.origin, *_charters(model.origin)]
        # Last, as it has the hashes of all of these files.
        write_lineage(folder, kind="convert", parents=parents, config=config, target=path)


def write_model(folder: Path, model: AnyModel, *, form: str, dtype: str | None = None) -> None:
    """Writes weights, config, tokenizer, chat template and generation defaults into `folder`.

    A tensor at a time: a model that is stored is never in memory.

    Args:
      form: `hf` (safetensors) or `checkpoint` (Orbax).
      dtype: of the written weights; None is the model's `stored_dtype`.
    """
    dtype = check_dtype(dtype or model.stored_dtype)
    writers = {"hf": write_weights, CHECKPOINT: write_params}
    if form not in writers:
        raise UserError(f"form {form!r} is not known (known: hf, checkpoint)")
    writers[form](folder, model.source, model.config, dtype)
    write_companions(folder, model)


def save_adapters(located: Located, path: Path, dtype: str | None = None) -> str:
    """Writes the adapters of a training run, whole or not at all; returns their dtype.

    `peft.PeftModel.from_pretrained(base, path)` loads them, and so does vcjax, by a model
    reference. Tokenizer, model card and lineage are written beside them.

    Args:
      dtype: of the written adapters; None is float32, in which they were trained.

    Raises:
      UserError: no training run, one without adapters, or `path` is there already.
    """
    if located.kind != "workdir":
        raise UserError(
            f"{located.reference}: no training run; only a run with lora.rank above 0 has adapters "
            "to write for peft"
        )
    _check_target(path)
    trained, dtype = read_trained(located), check_dtype(dtype or "float32")
    if trained.lora is None:
        raise UserError(
            f"{located.reference}: was trained with lora.rank 0, so it has no adapters to write "
            "for peft; write the whole model (hf)"
        )
    base = next(one for one in read_sources(located.path) if one.role == "model")
    adapters = StoredModel(
        config=trained.config,
        source=AdapterSource(trained),
        tokenizer=located.chat.apply(read_tokenizer(located.path / MODEL)),
        generation_config=read_json(located.path / MODEL / GENERATION),
        stored_dtype=dtype,
        origin=trained.origin,
    )
    with replaced_folder(path) as folder:
        _write_tensors(folder / ADAPTER_WEIGHTS, adapters)
        write_json(folder / ADAPTER_CONFIG, adapter_config(trained.lora, base))
        write_companions(folder, adapters)
        card = _card(adapters, trained.lora, base)
        (folder / "README.md").write_text(card, encoding="utf-8")
        parents = [trained.origin, replace(base, role=BASE), *_charters(trained.origin)]
        config = {"form": "peft", "dtype": dtype}
        write_lineage(folder, kind="convert", parents=parents, config=config, target=path)
    return dtype


def _check_target(path: Path) -> None:
    if is_there(path) and not (path / PARTIAL).is_file():
        raise UserError(f"{path}: exists; choose another folder")
    check_writable(path)


def _charters(origin: Parent) -> list[Parent]:
    charter = charter_of(origin)
    return [charter] if charter else []


def _write_tensors(path: Path, adapters: StoredModel) -> None:
    source = adapters.source
    shapes = {name: source.shape(name) for name in source.names()}
    with Progress(desc="adapters", total=None, disable=True) as bar:
        write_file(path, shapes, adapters.stored_dtype, source.tensor, bar)


def _card(adapters: StoredModel, lora: LoraConfig, base: Parent) -> str:
    name, revision = base_name(base)
    notes = [
        f"These are adapters (LoRA, rank {lora.rank}, alpha {lora.alpha:g}) of the base model "
        f"`{base.reference}` (content hash `{base.hash[:16]}`); without it they are no model.",
    ]
    if revision is None:
        notes.append(
            "`peft` takes the base as a Hugging Face folder. Where it isn't one yet: `python -m "
            f"launch.convert --src={name} --dst=base --to=hf`."
        )
    if lora.base:
        notes.append(
            f"They were trained on top of the base's projections stored in {lora.base}, and fit "
            "those best; on top of the base as it is, answers differ a little."
        )
    return model_card(
        adapters,
        title=f"Adapters of {adapters.origin.reference}",
        notes=tuple(notes),
        front=("library_name: peft", *([f"base_model: {name}"] if revision else [])),
    )
