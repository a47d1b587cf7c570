"""A fresh Debian: a root folder that debootstrap makes, where commands run as on a new machine."""

import ast
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

SOURCE = "/src/vcjax"
_TOOLS = ("debootstrap", "unshare", "chroot", "mount")
_NEED = "a fresh Debian needs root, the right to mount, and the Debian package debootstrap"


class Debian:
    """A system with Python and make, and this checkout at SOURCE with nothing beside it."""

    def __init__(self, folder: Path, suite: str) -> None:
        """Makes it, about 400 MB from Debian's mirror; what this machine can't do fails the test
        in one line."""
        missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
        if missing or os.geteuid() != 0:
            pytest.fail(f"{_NEED} ({', '.join(missing) or 'not root'})", pytrace=False)
        allowed = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True)
        if allowed.returncode:
            pytest.fail(f"{_NEED} ({allowed.stderr.strip()})", pytrace=False)
        self.folder, self._settings = folder, _pip_settings()
        packages = "python3,python3-venv,make,ca-certificates"
        # It mounts /proc in the root: in a namespace that ends with it, so that who removes the
        # folder after a timeout doesn't find this machine's own in it.
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        command += ["debootstrap", "--variant=minbase", f"--include={packages}", suite, str(folder)]
        made = subprocess.run([*command, *_mirror()], capture_output=True, text=True, timeout=600)
        if made.returncode:
            pytest.fail(f"debootstrap: {(made.stdout + made.stderr)[-2000:]}", pytrace=False)
        # Debian's installer writes it, debootstrap doesn't: processes that train together find
        # each other by the machine's name.
        hosts = f"127.0.0.1 localhost\n127.0.1.1 {socket.gethostname()}\n"
        (folder / "etc" / "hosts").write_text(hosts)
        copy_checkout(folder / SOURCE.lstrip("/"))

    def run(self, command: str, timeout: float = 900) -> subprocess.CompletedProcess:
        """Runs a shell's command at SOURCE, in an environment without anything of ours.

        Processes and mounts are a namespace's, which ends with the command. There are /proc and
        shared memory, and no pseudo-terminals, as in many containers.
        """
        root = self.folder
        script = [f"mount -t tmpfs tmpfs {root}/dev/shm"]
        for path in _named_paths(self._settings):
            inside = root / path.relative_to("/")
            if path.is_dir():
                inside.mkdir(parents=True, exist_ok=True)
            else:
                inside.parent.mkdir(parents=True, exist_ok=True)
                inside.touch()
            script.append(f"mount --bind {path} {inside}")
        plain = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "JAX_PLATFORMS": "cpu"}
        given = [f"{name}={value}" for name, value in (plain | self._settings).items()]
        chroot = [
            "chroot",
            str(root),
            "env",
            "-i",
            *given,
            "bash",
            "-ec",
            f"cd {SOURCE}; {command}",
        ]
        isolated = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        isolated.append(f"--mount-proc={root}/proc")
        mounted = ["bash", "-ec", "; ".join([*script, 'exec "$@"']), "run"]
        try:
            return subprocess.run(
                [*isolated, *mounted, *chroot], capture_output=True, text=True, timeout=timeout
            )
        except subprocess.TimeoutExpired as late:
            shown = (late.stdout or b"")[-2000:].decode(errors="replace")
            pytest.fail(f"{command}: not done after {timeout:g} s\n{shown}", pytrace=False)


def _mirror() -> list[str]:
    """Debian's mirror of this machine, where apt names one; otherwise debootstrap's own."""
    if shutil.which("apt-get") is None:
        return []
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Origin: Debian"]
    found = subprocess.run(command, capture_output=True, text=True).stdout.split()
    return [uri for uri in found if uri.rstrip("/").endswith("/debian")][:1]


def _pip_settings() -> dict[str, str]:
    """How pip finds packages on this machine, as environment variables, and its way out."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    settings = {"PIP_NO_COMPILE": "1"}  # it takes longer than what is imported takes to compile
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2].replace("-", "_").upper()
        settings.setdefault(f"PIP_{key}", ast.literal_eval(value))  # the environment's come first
    for name in ("http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE"):
        if name in os.environ:
            settings[name] = os.environ[name]
    return settings


def _named_paths(settings: dict[str, str]) -> list[Path]:
    """Files and folders of this machine that settings name, such as a folder of wheels."""
    words = (word.removeprefix("file://") for value in settings.values() for word in value.split())
    paths = (Path(word) for word in words if word.startswith("/") and Path(word).exists())
    # A package index, `.../simple`, links to files beside itself.
    return sorted({path.parent if path.name == "simple" else path for path in paths})


def copy_checkout(target: Path) -> None:
    """Copies what git would hand out: no build output, no link to a neighbour."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        path = ROOT / name
        if path.is_file() and not path.is_symlink():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target / name)
