"""Records the logits of transformers for the random models; needs torch.

    python -m tests.parity.record

Writes `recorded.npz` (float32 [positions, vocab] for each case) and `recorded.json` (versions)
beside this file. `tests/model/test_recorded_logits.py` compares vcjax with them without torch.
"""

import json
import platform
from pathlib import Path

import numpy as np
import torch
import transformers

from tests.parity.live import torch_logits, torch_model
from tests.parity.random_models import CASES, LENGTH, POSITIONS, VOCAB, tensors, tokens

HERE = Path(__file__).parent


def main() -> None:
    torch.manual_seed(0)
    recorded = {}
    for name, raw in CASES.items():
        model = torch_model(raw, tensors(raw))
        recorded[name] = torch_logits(model, tokens())[0, list(POSITIONS)]
        deviation = recorded[name].std(axis=-1).mean()
        print(f"{name}: standard deviation of logits {deviation:.2f}")
    np.savez_compressed(HERE / "recorded.npz", **recorded)
    about = {
        "command": "python -m tests.parity.record",
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "attention": "eager",
        "dtype": "float32",
        "length": LENGTH,
        "vocab": VOCAB,
        "positions": list(POSITIONS),
    }
    text = json.dumps(about, indent=2)
    (HERE / "recorded.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
