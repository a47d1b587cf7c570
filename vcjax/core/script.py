"""What surrounds every launch script: its flags, its config, and how it exits.

sys.argv -> flags and config file -> main() -> exit code
                  |                    |
            one line, 2        done 0 | one line, 2 (the user's mistake) | one line, 3 (a gate
                               was not met) | one line, 128 + signal | traceback, 1 (our error)
"""

import errno
import io
import logging
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from runpy import run_path

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from vcjax.core.config_help import config_lines
from vcjax.core.defaults import configs_folder
from vcjax.core.errors import GateNotMet, Preempted, UserError, suggest
from vcjax.core.files import cache_folder
from vcjax.core.flag_errors import (
    CONFIGS,
    in_config,
    one_line,
    similar_config,
    similar_value,
    unknown_field,
    without_variants,
)

flags.disclaim_key_flags()  # `--help` lists what is defined here as the calling script's own

DONE, FAILED, MISTAKE, UNMET = 0, 1, 2, 3
_PATHS = ("workdir", "dst", "folder")
"""Flags that name a folder: an empty one would be the current folder."""
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors of the machine, for which a traceback would only hide the message."""


_EXPLAINED: dict[str, tuple[str, Mapping[str, str]]] = {}
"""By config flag, what `--help` explains of it."""


def define_config(
    default: str | None,
    help: str,
    name: str = "config",
    *,
    classes: Mapping[str, str] | None = None,
    example: str = "",
) -> flags.FlagHolder:
    """Defines `--config`, a file whose `get_config` returns the settings; see `_packaged`.

    Args:
      name: of the flag, one of CONFIGS.
      classes: what the config becomes, as `module:Class`, by a field that only such configs have;
        '' is any other. `--help` explains its fields.
      example: the config whose fields `--help` explains, where there is no default.
    """
    if classes is not None:
        _EXPLAINED[name] = default or example, classes
    with _explained(sys.argv):  # a default is read here already, with what is given of its fields
        return config_flags.DEFINE_config_file(name, default and _packaged(default), help)


def run(main: Callable[..., None], *, operands: bool = False) -> None:
    """Parses the flags, runs `main`, and exits with the code that its end calls for.

    Args:
      operands: `main` takes a list of the arguments that are no flags, and flags may follow them.
    """
    flags.FLAGS.set_gnu_getopt(True)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # In a log that both streams go to, results would come after the last messages.
        sys.stdout.reconfigure(line_buffering=True)

    def start(rest: list[str]) -> None:
        sys.exit(_guarded(partial(main, rest[1:]) if operands else main))

    app.run(start, flags_parser=partial(parse, operands=operands))


def parse(arguments: list[str], operands: bool) -> list[str]:
    with _explained(arguments):
        shown = io.StringIO()
        try:
            with redirect_stdout(shown):
                rest = flags.FLAGS(_with_packaged_config(arguments))
        finally:  # a help text, which absl heads with the script's path
            print(shown.getvalue().replace(f"\n{arguments[0]}:\n", "\n"), end="")
        for name in CONFIGS:
            if name in flags.FLAGS and (value := flags.FLAGS[name].value) is not None:
                # ml_collections puts off the error of a missing file until a field is read.
                _ = value.to_dict
    for name in _PATHS:
        if name in flags.FLAGS and flags.FLAGS[name].value == "":
            _stop(f"--{name}: is empty; name a folder")
    if len(rest) > 1 and not operands:
        _stop(f"unexpected argument {rest[1]!r}; settings are given as --name=value")
    return rest


@contextmanager
def _explained(arguments: list[str]) -> Iterator[None]:
    """Ends the script with one line where flags or a config file can't be read."""
    try:
        yield
    except SystemExit:  # absl has printed the help that was asked for, and would exit with 1
        with _explained(arguments):
            _print_fields(arguments)
        sys.exit(DONE)
    except flags.UnrecognizedFlagError as error:
        _stop(f"unknown flag --{error.flagname}{suggest(error.flagname, flags.FLAGS)}")
    except (AttributeError, KeyError) as error:
        _stop(in_config(error) or unknown_field(error, arguments))
    except OSError as error:  # its last line names the config file that couldn't be opened
        line = str(error).strip().splitlines()[-1].strip()
        line += similar_config(line)
        given = (argument.lstrip("-").partition("=") for argument in arguments)
        named = (name for name, _, path in given if name in CONFIGS and path and path in line)
        _stop(f"--{next(named, 'config')}: {line}")
    except (flags.Error, TypeError, ValueError) as error:
        _stop(without_variants(error, arguments) or f"{one_line(error)}{similar_value(error)}")
    except UserError as error:
        _stop(str(error))
    except Exception as error:
        if (line := in_config(error)) is None:
            raise
        _stop(line)


def _print_fields(arguments: Sequence[str]) -> None:
    """The rest of a help text: the fields of the config that is named, or else of the usual one."""
    for name, (usual, classes) in _EXPLAINED.items():
        if name not in flags.FLAGS:
            continue
        given = (argument.lstrip("-").partition("=") for argument in arguments)
        named = next((path for flag, _, path in given if flag == name and path), usual)
        file, _, variant = _packaged(named).partition(":")
        values = run_path(file)["get_config"](*([variant] if variant else [])).to_dict()
        fitting = [each for field, each in classes.items() if field in values or not field]
        print(f"\nfields of {named}, with their values:\n")
        print("\n".join(config_lines(values, fitting[0], name)))


def _guarded(main: Callable[[], None]) -> int:
    absl_logging.set_verbosity(absl_logging.WARNING)
    logging.getLogger("jax").setLevel(logging.WARNING)
    _set_up_libraries()
    try:
        main()
        sys.stdout.flush()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return MISTAKE
    except GateNotMet as error:
        print(f"not met: {error}", file=sys.stderr)
        return UNMET
    except KeyboardInterrupt:
        print("stopped; the same command continues from what was saved", file=sys.stderr)
        return 128 + signal.SIGINT
    except Preempted as error:
        print(error, file=sys.stderr)
        return 128 + error.number
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno is None:
            raise
        if error.errno not in _DISK_ERRORS:
            traceback.print_exc()
        where = "" if error.filename is None else f"{error.filename}: "
        print(f"error: {where}{error.strerror}", file=sys.stderr)
        return FAILED
    return DONE


def _reader_is_gone() -> bool:
    """Whether nobody reads what is printed, as after `| head`; what is left is then dropped."""
    output = select.poll()
    output.register(sys.stdout, 0)
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in output.poll(0)):
        return False
    # Else Python would try again when it exits, and print that it failed.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _set_up_libraries() -> None:
    """Settings that libraries read when they are imported; a user's own are kept.

    Scripts import them in `main`, after the flags are parsed: nobody waits for JAX to read a help
    text or to learn of a misspelled flag. What JAX compiles is kept for the next run.
    """
    # What it notes about a model's files is for those who load the model with it.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_folder() / "compilation"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")


def _with_packaged_config(arguments: list[str]) -> list[str]:
    """The arguments, with the paths of config files, as in `--config=PATH`, as `_packaged` has
    them."""
    found = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        flag, equals, path = argument.rpartition("=") if argument.startswith("-") else ("", "", "")
        if flag.lstrip("-") in CONFIGS:
            argument = f"{flag}{equals}{_packaged(path)}"
        elif before.startswith("-") and before.lstrip("-") in CONFIGS:
            argument = _packaged(argument)
        found.append(argument)
    return found


def _packaged(path: str) -> str:
    """The path of a config, `configs/X.py` or `configs/X.py:VARIANT`.

    Where the current folder has no such file, it is ours: `vcjax/configs/X.py` in an installed
    package, `configs/X.py` beside the package in a checkout.
    """
    file, colon, variant = path.partition(":")
    installed = configs_folder().parent / file
    if file.startswith("configs/") and not Path(file).is_file() and installed.is_file():
        return f"{installed}{colon}{variant}"
    return path


def _stop(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(MISTAKE)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width: names at the left, figures at the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
