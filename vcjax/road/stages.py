"""The first and the last stage of the road: the base model in, the aligned model out."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from vcjax.api import save_model
from vcjax.charter.load import load_charter
from vcjax.core.lineage import NAME
from vcjax.model.build import abstract, plain_logits
from vcjax.text import render_prompt
from vcjax.weights.bundle import Bundle, load_bundle, open_located
from vcjax.weights.card import model_card
from vcjax.weights.resolve import resolve


def convert(reference: str, folder: Path) -> None:
    """Writes any model reference as a vcjax checkpoint in float32, unless it is there."""
    if not (folder / NAME).is_file():
        model = open_located(resolve(reference))
        save_model(model, folder, form="checkpoint", dtype="float32")


def export(source: Path, folder: Path, base: str, reference: str) -> float:
    """Exports to a Hugging Face folder; returns the largest difference between the logits of the
    reloaded export and those of the model in memory, in float32.

    Args:
      source: the training workdir.
      base: what the user named as the base model, for the model card.
      reference: the charter's name or file.
    """
    bundle, charter = load_bundle(str(source), "float32"), load_charter(reference)
    if not (folder / NAME).is_file():
        notes = (
            f"Base model: `{base}`.",
            "Trained by vcjax: continued pre-training, instruction tuning, adversarial tuning.",
        )
        title = f"{base}, aligned to the charter {charter.name}"
        card = model_card(bundle, title=title, notes=notes)
        save_model(bundle, folder, form="hf", dtype="float32", card=card)
    reloaded = load_bundle(str(folder), "float32")
    return float(np.max(np.abs(_logits(bundle) - _logits(reloaded))))


def _logits(bundle: Bundle) -> np.ndarray:
    question = [{"role": "user", "content": "Why do people disagree about what is fair?"}]
    ids = render_prompt(bundle.require_tokenizer(), question)
    graph, _ = abstract(bundle.config)
    return np.asarray(plain_logits(graph, bundle.params, jnp.asarray([ids])))
