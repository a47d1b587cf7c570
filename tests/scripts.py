"""Launch scripts inside the test's own process, without the time of a new start.

Behaviour that only a process shows (signals, kills, pipes, environment read at the start) is tested
with `tests.processes`.
"""

import io
import os
import runpy
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import grain  # noqa: F401  (it defines flags when it is first imported, and needs them later)
import jax
from absl import app, flags

from tests.processes import ROOT
from vcjax.core.script import parse


def ran(
    script: str, arguments: Sequence[str], cache: Path, folder: Path = ROOT
) -> tuple[int, str, str]:
    """Runs `python -m launch.SCRIPT` to its end; returns exit code, standard output and error.

    The script begins as it does in a process of its own: module run as `__main__`, no flag defined
    or set by another, its own `sys.argv`, and `folder` as the working directory.
    Afterwards flags, environment and JAX's settings are what they were.
    """
    out, error = io.StringIO(), io.StringIO()
    home = Path.cwd()
    with (
        _own_flags(),
        _same_settings(),
        mock.patch.dict(os.environ, {"VCJAX_CACHE": str(cache)}),
        mock.patch.object(sys, "argv", [script, *arguments]),
        redirect_stdout(out),
        redirect_stderr(error),
    ):
        try:
            os.chdir(folder)
            runpy.run_module(f"launch.{script}", run_name="__main__", alter_sys=True)
            raise AssertionError(f"launch.{script} returned without an exit code")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        finally:
            os.chdir(home)
            for name in ("config_config", "gate_config"):
                sys.modules.pop(name, None)  # a config would find the last one's functions
    return code, out.getvalue(), error.getvalue()


_CONFIGS = ("absl.", "ml_collections.")
"""Modules that define the flags of a config's fields, on behalf of a script."""


@contextmanager
def _own_flags() -> Iterator[None]:
    """Takes the flags away that the script defines, so that the next one can define its own.

    Those of a library that it imports stay: the library is imported once, and reads them later.
    """
    app.define_help_flags()  # which happens once a process, so they have to stay
    values = flags.FLAGS
    before = set(values)
    try:
        yield
    finally:
        for name in set(values) - before:
            module = values.find_module_defining_flag(name) or ""
            if module.startswith(_CONFIGS) or module not in sys.modules:
                delattr(values, name)
        values.unparse_flags()
        for name in values:
            values[name].unparse()


@contextmanager
def _same_settings() -> Iterator[None]:
    before = dict(jax.config.values)
    try:
        yield
    finally:
        for name, value in before.items():
            if jax.config.values[name] != value:
                jax.config.update(name, value)


@contextmanager
def parsed(
    script: str, arguments: Sequence[str], folder: Path = ROOT
) -> Iterator[tuple[flags.FlagValues, list[str]]]:
    """The flags that `python -m launch.SCRIPT` would run with, its config among them.

    The script isn't started: only its own definitions are read, and its guard parses them.

    Args:
      folder: the working directory.

    Yields:
      all flags, and the arguments that are none.

    Raises:
      ValueError: what the script would have said, where it would have refused them.
    """
    error, home = io.StringIO(), Path.cwd()
    argv = [script, *arguments]
    with (
        _own_flags(),
        mock.patch.dict(os.environ),
        mock.patch.object(sys, "argv", argv),
        redirect_stderr(error),
    ):
        try:
            os.chdir(folder)
            runpy.run_module(f"launch.{script}", run_name=f"launch.{script}", alter_sys=True)
            flags.FLAGS.set_gnu_getopt(True)
            _, *operands = parse(argv, operands=True)
            yield flags.FLAGS, operands
        except SystemExit:
            raise ValueError(error.getvalue()) from None
        finally:
            os.chdir(home)
            for name in ("config_config", "gate_config"):
                sys.modules.pop(name, None)
