"""Compares two Hugging Face folders tensor by tensor: names, dtypes, shapes and bytes.

    python -m tests.weights.same_tensors W/llama3-8b W/back

Read by the safetensors library; the exit code is 1 where anything differs.
"""

import hashlib
import sys
from pathlib import Path

import ml_dtypes  # noqa: F401 (gives NumPy the name "bfloat16")
from safetensors import safe_open


def digests(folder: Path) -> dict[str, tuple[str, tuple[int, ...], str]]:
    """By tensor name: dtype, shape, and SHA-256 of the bytes."""
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="np") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (not a dict)
                tensor = tensors.get_tensor(name)
                digest = hashlib.sha256(tensor.tobytes()).hexdigest()
                found[name] = (str(tensor.dtype), tensor.shape, digest)
    return found


def main() -> int:
    one, other = (digests(Path(folder)) for folder in sys.argv[1:])
    differ = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    print("\n".join(f"differs: {name}" for name in differ) or f"{len(one)} tensors, all the same")
    return 1 if differ or not one else 0


if __name__ == "__main__":
    sys.exit(main())
