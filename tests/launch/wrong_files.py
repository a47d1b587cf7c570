"""The files and folders that the rows of `wrong_inputs.py` name, each wrong in one way."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.adapted import write_run
from tests.adversarial.attempts import fill
from tests.tiny import write_charter
from vcjax.core.files import read_json, write_json

GOOD = {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]}


def write_files(root: Path, model: Path) -> dict[str, str]:
    """Writes them all; returns their paths by name."""
    there = {"model": model, "missing": root / "missing", "folder": root / "folder"}
    there["folder"].mkdir()
    (there["folder"] / "notes.txt").write_text("nothing here", "utf-8")
    there |= {name: root / f"{name}.jsonl" for name in _DATA}
    for name, text in _DATA.items():
        there[name].write_bytes(text)
    there |= {name: _changed(model, root / name, change) for name, change in _MODELS.items()}
    for name, text in _CONFIGS.items():
        there[name] = root / f"{name}.py"
        there[name].write_text(text, "utf-8")
    charter = there["bad_charter"] = write_charter(root / "bad_charter.yaml")
    text = charter.read_text("utf-8")
    charter.write_text(text[: text.index("domains:")], "utf-8")
    there["not_yaml"] = root / "not_yaml.yaml"
    there["not_yaml"].write_text("name: [unclosed\nversion: {", "utf-8")
    there["no_gguf"] = root / "no.gguf"
    there["no_gguf"].write_bytes(b"GGUF but not for long")
    there["ledger"] = root / "ledger.sqlite"
    fill(there["ledger"], range(3))
    there["run"] = root / "run"
    write_run(there["run"], model, None)
    for name, config in _ADAPTERS.items():
        there[name] = root / name
        there[name].mkdir()
        write_json(there[name] / "adapter_config.json", config)
    return {name: str(path) for name, path in there.items()}


def _changed(model: Path, folder: Path, change: Callable[[Path], object]) -> Path:
    shutil.copytree(model, folder)
    change(folder)
    return folder


def _config(**fields: object) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        config = read_json(folder / "config.json")
        config.pop("rope_parameters", None)
        write_json(folder / "config.json", {**config, **fields})

    return change


def _without(*names: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def _cut(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _index(folder: Path) -> None:
    _without("model.safetensors")(folder)
    write_json(folder / "model.safetensors.index.json", {"weight_map": {"a": "gone.safetensors"}})


_MODELS: dict[str, Callable[[Path], object]] = {
    "cut_weights": _cut,
    "no_weights": _without("model.safetensors"),
    "pickled": _pickled,
    "bad_index": _index,
    "missing_tensor": _config(num_hidden_layers=3),
    "unknown_rope": _config(rope_scaling={"rope_type": "spiral", "factor": 2.0}),
    "other_architecture": _config(architectures=["MambaForCausalLM"]),
    "list_config": lambda folder: write_json(folder / "config.json", []),
    "bad_json": lambda folder: (folder / "config.json").write_text("{", "utf-8"),
    "bad_tokenizer": lambda folder: (folder / "tokenizer.json").write_text("{}", "utf-8"),
    "no_tokenizer": _without("tokenizer.json"),
}


def _items(*changes: dict) -> bytes:
    """Lines of a benchmark."""
    item = {"id": "a", "domain": "technology", "lang": "en", "question": "Why?"}
    return "\n".join(json.dumps(item | each) for each in changes).encode()


def _labelled(*domains: str) -> bytes:
    lines = [{"text": f"text {n} of {name}", "domain": name} for name in domains for n in range(9)]
    return "\n".join(map(json.dumps, lines)).encode()


_LINE = json.dumps(GOOD).encode()
_DATA = {
    "chats": _LINE + b"\n" + _LINE + b"\n",
    "documents": b'{"text": "Why?", "source": "test"}\n',
    "one_domain": _labelled("technology"),
    "two_domains": _labelled("technology", "none"),
    "empty": b"",
    "malformed": _LINE + b'\n{"messages": [\n',
    "latin": '{"messages": "é"}\n'.encode("latin-1"),
    "silent": b'{"messages": [{"role": "user", "content": "Why?"}]}\n',
    "numbers": b"1\n2\n",
    "twice": _items({"parallel_id": "p"}, {"parallel_id": "q"}),
    "parallels": _items({"parallel_id": "p"}, {"parallel_id": "p", "id": "b"}),
    "half_turn": _items({"parallel_id": "p", "conversation": [GOOD["messages"][0]]}),
}
_CONFIGS = {
    "broken_config": "def get_config(:\n",
    "raising_config": "def get_config():\n    return 1 / 0\n",
    "no_config": "def get_configuration():\n    return {}\n",
}
_LORA = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["q_proj"]}
_ADAPTERS: dict[str, dict] = {
    "bad_adapter": {"peft_type": "IA3", "base_model_name_or_path": "x"},
    "adapter_without_base": _LORA,
    "lost_adapter": {**_LORA, "base_model_name_or_path": "./no/such/base"},
}
