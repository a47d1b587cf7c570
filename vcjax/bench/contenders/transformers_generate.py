"""transformers' `generate` on PyTorch: greedy, with its own cache."""

# pyright: reportMissingImports=false
import os
from typing import Any

import torch
import transformers

from vcjax.bench.generate_work import Work
from vcjax.bench.serve import Contender, serve


def setup(asked: dict[str, Any]) -> Contender:
    """Args: `model`, a Hugging Face folder; `dtype` of weights and computation; `work`, fields of
    a `Work` whose requests make one batch; `cores`."""
    torch.set_num_threads(asked["cores"])
    work, dtype = Work(**asked["work"]), getattr(torch, asked["dtype"])
    model = transformers.AutoModelForCausalLM.from_pretrained(asked["model"], dtype=dtype).eval()
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    count = 0

    def step() -> None:
        nonlocal count
        tokens = torch.from_numpy(work.prompts(count, model.config.vocab_size)).long()
        count += 1
        mask = torch.ones_like(tokens)
        made = model.generate(tokens, attention_mask=mask, max_new_tokens=work.new, do_sample=False)
        assert made.shape[1] == tokens.shape[1] + work.new

    facts = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
    }
    return Contender(step, facts)


if __name__ == "__main__":
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    serve(setup)
