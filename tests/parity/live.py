"""Models in transformers, for the comparisons of this folder; needs torch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel


def torch_model(
    raw: Mapping[str, Any], arrays: Mapping[str, np.ndarray], dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """Builds the model that transformers makes of a `config.json` and loads every tensor."""
    config = AutoConfig.for_model(**raw)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=dtype)
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    if config.tie_word_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state, strict=True)
    return model.eval()


def torch_logits(model: PreTrainedModel, tokens: np.ndarray) -> np.ndarray:
    """Logits [batch, length, vocab] in the dtype of the model."""
    with torch.no_grad():
        return model(torch.from_numpy(tokens).long(), use_cache=False).logits.numpy()
