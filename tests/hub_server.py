"""A server with the Hugging Face hub's protocol, for its real client.

The client's requests are documented in https://huggingface.co/docs/hub/api and in
`huggingface_hub.hf_api`: a model's info and tree, HEAD and GET of `resolve/REVISION/FILE` with
`ETag` and `X-Repo-Commit`, and errors named by `X-Error-Code`.
"""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from huggingface_hub import constants

TINY = "org/tiny"
TOKEN = "hf_reads_gated_models"
_API = re.compile(r"/api/(?:models|datasets)/([^/]+/[^/]+)(?:/(revision|tree)/([^/?]+))?(?:\?.*)?")
_FILE = re.compile(r"(?:/datasets)?/([^/]+/[^/]+)/resolve/([^/]+)/([^?]+)")


@dataclass
class Repo:
    """A repository: its commits, branches and tags."""

    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: Mapping[str, bytes], ref: str = "main") -> str:
        """Adds files to those of a branch; returns the new commit."""
        whole = {**self.commits.get(self.refs.get(ref, ""), {}), **files}
        text = repr((len(self.commits), sorted(whole.items())))
        commit = hashlib.sha1(text.encode()).hexdigest()
        self.commits[commit] = whole
        self.refs[ref] = commit
        return commit

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        commit = self.refs.get(revision, revision)
        return (commit, self.commits[commit]) if commit in self.commits else None


@dataclass
class Hub:
    """The repositories by id, and the paths that were asked for."""

    url: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def fetched(self) -> set[str]:
        """Names of the files whose bytes were sent."""
        return {match[3] for path in self.asked if (match := _FILE.fullmatch(path))}


@contextmanager
def hub_server() -> Iterator[Hub]:
    """Runs a hub on a free port."""
    hub = Hub()

    class Handler(_Handler):
        served = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def client_of(hub: Hub, cache: Path) -> Iterator[None]:
    """In this process the hub's client asks this hub; it has this cache, and no token."""
    url = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", hub.url)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url)
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        patch.setattr(constants, "HF_TOKEN_PATH", str(cache / "no-token"))
        patch.delenv("HF_TOKEN", raising=False)
        yield


@contextmanager
def hub_of(folder: Path, cache: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """A hub with one model, as it is in a folder.

    Yields its id at the commit that it now has, and what commits a change that nothing can be
    loaded from any more: what goes on afterwards goes on with the commit before.
    """
    repo = Repo()
    begun = repo.commit(files_of(folder))
    with hub_server() as hub, client_of(hub, cache):
        hub.repos[TINY] = repo
        changes = {"README.md": b"# Changed", "model.safetensors": b"not the weights"}
        yield f"{TINY}@{begun}", lambda: repo.commit(changes)


def files_of(folder: Path) -> dict[str, bytes]:
    """A folder's files by name, as a commit takes them."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


class _Handler(BaseHTTPRequestHandler):
    served: ClassVar[Hub]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self.served.asked.append(self.path)
        self._answer()

    def _answer(self) -> None:
        api, file = _API.fullmatch(self.path), _FILE.fullmatch(self.path)
        match = api or file
        repo = self.served.repos.get(match[1]) if match else None
        if match is None or repo is None:
            return self._refuse(404 if self._token() else 401, "RepoNotFound")
        kind, revision = (api[2], api[3] or "main") if api else ("file", match[2])
        found = repo.at(revision)
        if found is None:
            return self._refuse(404, "RevisionNotFound")
        commit, files = found
        if kind == "tree":
            return self._json([_entry(name, data) for name, data in files.items()])
        if kind != "file":
            names = [{"rfilename": name} for name in files]
            gated = "manual" if repo.gated else False
            about = {"id": match[1], "sha": commit, "siblings": names, "gated": gated}
            return self._json({**about, "private": False, "tags": [], "downloads": 0, "likes": 0})
        if repo.gated and self._token() != TOKEN:
            return self._refuse(403 if self._token() else 401, "GatedRepo")
        if match[3] not in files:
            return self._refuse(404, "EntryNotFound")
        data = files[match[3]]
        return self._send(data, {"ETag": f'"{_blob(data)}"', "X-Repo-Commit": commit})

    def _token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def _refuse(self, status: int, code: str) -> None:
        self._send(b"", {"X-Error-Code": code, "X-Error-Message": code}, status)

    def _json(self, value: object) -> None:
        self._send(json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, data: bytes, headers: Mapping[str, str], status: int = 200) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


def _entry(name: str, data: bytes) -> dict[str, object]:
    return {"type": "file", "path": name, "size": len(data), "oid": _blob(data)}


def _blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
