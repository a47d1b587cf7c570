"""Models of the Hugging Face hub, through its own client and into its cache.

Of a repository only those files are fetched, and counted as the model, that are read: those beside
the weights, and one copy of the weights. Repositories have more: other programs' formats, second
copies in the maker's own layout (`consolidated.safetensors`), a README that changes.
"""

import re
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from vcjax.core.errors import UserError
from vcjax.core.files import read_json

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")
"""The form of a hub id; the hub's client checks the exact rules."""
COMPANIONS = ("*.json", "*.jinja", "tokenizer.model", "merges.txt")
"""Files beside the weights."""
_INDEX = "model.safetensors.index.json"
_WHOLE = ("model.safetensors", "adapter_model.safetensors")
_OTHERS = ("*/*", "consolidated*")
"""What is no part of a model in the hub's layout: folders, and Mistral's own copy."""


def fetch(reference: str, wanted: Sequence[str] | None = None) -> tuple[Path, str]:
    """Fetches a model, or finds it in the cache; returns its folder and `org/name@commit`.

    Without a network, with `HF_HUB_OFFLINE=1` or while the hub is down, a model that is whole in
    the cache is used: of a branch, the commit that it last was.

    Args:
      reference: `org/name` or `org/name@revision`.
      wanted: patterns of the files to fetch; None is all of the model.

    Raises:
      UserError: not a hub id, not on the hub, gated, or neither reachable nor in the cache.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils import httpx  # under the name that its releases share

    name, _, revision = reference.partition("@")

    def get(revision: str | None, patterns: Sequence[str]) -> Path:
        choice = {"allow_patterns": list(patterns), "ignore_patterns": list(_OTHERS)}
        return Path(snapshot_download(name, revision=revision, **choice))

    try:
        folder = get(revision or None, COMPANIONS if wanted is None else wanted)
        if wanted is None:
            # By commit, which the folder is named for: the branch may have moved since.
            get(folder.name, _shards(folder) or _WHOLE)
            if not _weights(folder):
                get(folder.name, ("*.safetensors",))
    except HFValidationError as error:
        reason = str(error).rstrip(".")
        raise UserError(f"{reference}: no such folder, and no hub id ({reason})") from None
    except GatedRepoError:
        raise UserError(
            f"{reference}: gated; ask for access on its page, and set HF_TOKEN to a token of yours "
            "that may read it"
        ) from None
    except RevisionNotFoundError:
        raise UserError(f"{reference}: {name} has no revision {revision!r} on the hub") from None
    except RepositoryNotFoundError:
        raise UserError(
            f"{reference}: no such folder, and none of this name on the hub; if it is private, set "
            "HF_TOKEN to a token that may read it"
        ) from None
    except LocalEntryNotFoundError as error:
        reason = _first_line(error.__cause__ or error)
        raise UserError(
            f"{reference}: no such folder, not whole in the hub's cache, and the hub can't be "
            f"reached ({reason})"
        ) from None
    except (httpx.HTTPError, OSError) as error:  # the hub's own errors are among these
        raise UserError(
            f"{reference}: no such folder, and not to be had from the hub ({_first_line(error)})"
        ) from None
    return folder, f"{name}@{folder.name}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def is_snapshot(folder: Path) -> bool:
    """Whether this is one of the hub's snapshots in its client's cache.

    Every program that uses the cache adds files to it, so not all of them are the model.
    """
    return folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--")


def snapshot_files(folder: Path) -> tuple[str, ...]:
    """Names of the files that are the model, of those that are in a snapshot."""
    there = (path.name for path in folder.iterdir() if path.is_file())
    beside = (name for name in there if any(fnmatch(name, each) for each in COMPANIONS))
    return tuple(sorted({*beside, *_weights(folder)}))


def _weights(folder: Path) -> list[str]:
    """The files with weights: one copy, if there are any."""
    named = [name for name in _WHOLE if (folder / name).is_file()]
    others = (path.name for path in folder.glob("*.safetensors") if path.is_file())
    return (
        [name for name in _shards(folder) if (folder / name).is_file()]
        or named
        or [name for name in others if not any(fnmatch(name, each) for each in _OTHERS)]
    )


def _shards(folder: Path) -> list[str]:
    """Files that the index names, if there is one and no whole file."""
    if not (folder / _INDEX).is_file():
        return []
    index = read_json(folder / _INDEX)
    names = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(names, dict):
        raise UserError(f"{folder / _INDEX}: no weight_map in it")
    return sorted({str(name) for name in names.values()})
