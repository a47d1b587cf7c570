"""transformers' Llama on PyTorch: the step that its users would write, with the same settings.

Eager or compiled. In bfloat16 there are two: float32 weights under autocast, which is what ours
does, and with `low_weights` weights and moments in bfloat16, which is faster and another training.
"""

# pyright: reportMissingImports=false
import os
from typing import Any

import torch
import transformers

from benchmarks.serve import Contender, serve
from benchmarks.workload import token_batches


def setup(asked: dict[str, Any]) -> Contender:
    """Args: `config` of `TrainConfig`, whose model is a Hugging Face folder; `compiled`,
    `low_weights`: see above."""
    config = asked["config"]
    torch.set_num_threads(asked["cores"])
    low = config["dtype"] == "bfloat16"
    weights = torch.bfloat16 if asked["low_weights"] else torch.float32
    model = transformers.AutoModelForCausalLM.from_pretrained(
        config["model"],
        dtype=weights,
        attn_implementation="sdpa",
        local_files_only=True,
        use_safetensors=True,
    )
    model.train()
    parameters = list(model.parameters())
    matrices = {"params": [one for one in parameters if one.ndim > 1]}
    others = {"params": [one for one in parameters if one.ndim < 2], "weight_decay": 0.0}
    optimizer = torch.optim.AdamW(
        [{**matrices, "weight_decay": config["weight_decay"]}, others],
        lr=config["learning_rate"],
        betas=(config["b1"], config["b2"]),
        eps=1e-8,
        fused=True,
    )
    forward = torch.compile(model) if asked["compiled"] else model
    batches = token_batches(config, model.config.vocab_size)

    def step() -> float:
        rows = torch.from_numpy(next(batches)).long()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=low and not asked["low_weights"]):
            loss = forward(input_ids=rows, labels=rows, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, config["clip_norm"])
        optimizer.step()
        return loss.item()

    facts = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
        "weights": str(weights).removeprefix("torch."),
    }
    return Contender(step, facts)


if __name__ == "__main__":
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    serve(setup)
