"""transformers' `generate` on PyTorch: greedy, with its own cache."""

# pyright: reportMissingImports=false
import os
from collections.abc import Callable
from itertools import count
from typing import Any

import torch
import transformers

from benchmarks.serve import Contender, serve
from benchmarks.workload import Work


def setup(asked: dict[str, Any]) -> Contender:
    """Args: see `generator`."""
    generate = generator(asked)

    def step() -> None:
        generate()

    facts = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
    }
    return Contender(step, facts)


def generator(asked: dict[str, Any]) -> Callable[[], list[list[int]]]:
    """What runs the requests of one step after the other, and returns their new tokens.

    Args:
      asked: `model`, a Hugging Face folder; `dtype` of weights and computation; `work`, fields of
        a `Work` whose requests make one batch; `cores`.
    """
    torch.set_num_threads(asked["cores"])
    work, dtype, steps = Work(**asked["work"]), getattr(torch, asked["dtype"]), count()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        asked["model"], dtype=dtype, local_files_only=True, use_safetensors=True
    ).eval()
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0

    def generate() -> list[list[int]]:
        tokens = torch.from_numpy(work.prompts(next(steps), model.config.vocab_size)).long()
        mask = torch.ones_like(tokens)
        made = model.generate(tokens, attention_mask=mask, max_new_tokens=work.new, do_sample=False)
        new = made[:, tokens.shape[1] :].tolist()
        assert [len(row) for row in new] == work.lengths()
        return new

    return generate


if __name__ == "__main__":
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    serve(setup)
