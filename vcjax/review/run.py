"""A review as a run: its inputs, its folder, and its server or its sheets."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from vcjax.core.errors import UserError
from vcjax.core.lineage import Parent
from vcjax.core.run import SUMMARY, Run
from vcjax.core.settings import check_at_least
from vcjax.core.stores import on_disk
from vcjax.review.agreement import Summary
from vcjax.review.annotator import check_name
from vcjax.review.app import build_app
from vcjax.review.session import Session
from vcjax.review.sheet import read_sheet, write_sheet
from vcjax.review.units import ANSWERS, read_material
from vcjax.serve.listening import SignalledServer, address_of, is_loopback, listening

_GRACE = 5
"""Seconds that open requests have at the end."""


@dataclass(frozen=True)
class ReviewConfig:
    """What is reviewed.

    Attributes:
      run, against: workdirs of evaluations; without the second, answers are shown singly.
      sample: number of questions that are drawn, the same for everybody; 0 is all.
      seed: of the sample and of every annotator's order.
    """

    run: str
    against: str = ""
    sample: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        check_at_least(self, {"sample": 0})
        if self.against and Path(self.against).resolve() == Path(self.run).resolve():
            raise UserError(f"--against={self.against}: is the evaluation of --run itself")


@dataclass(frozen=True)
class Address:
    """Where the page is served.

    Attributes:
      port: 0 is any free one.
      token: what a browser must show; an address that other machines can reach needs one.
    """

    host: str = "127.0.0.1"
    port: int = 8010
    token: str = ""


def serve_review(config: ReviewConfig, workdir: str, address: Address, annotator: str = "") -> None:
    """Serves the page until SIGTERM or SIGINT.

    Args:
      annotator: who scores; empty lets everybody name themselves.

    Raises:
      UserError: a bad input, or an address that can't or mustn't be listened at.
    """
    annotator = check_name(annotator) if annotator else ""
    with listening(address.host, address.port) as listener:
        # By the socket that listens, and not by the host's name, which may resolve to any address.
        if not address.token and not is_loopback(listener):
            raise UserError(
                f"--host={address.host}: other machines could read and score the answers; "
                "set --token_env too, or leave --host out and come through an SSH tunnel"
            )
        with opened(config, workdir) as (session, summary):
            app = build_app(session, summary, annotator=annotator, token=address.token)
            server = SignalledServer(app, _GRACE, lambda: None)
            ending = "/?token=..." if address.token else "/"
            with server.ending_on_signals():
                _log(f"review of {len(session.units)} questions at {address_of(listener)}{ending}")
                server.run(sockets=[listener])


def sheet_out(config: ReviewConfig, workdir: str, path: str, annotator: str = "") -> None:
    """Writes a labelling sheet, in the order of `annotator`.

    Raises:
      UserError: a bad input, or a file that is there: somebody may have filled it in.
    """
    annotator = check_name(annotator) if annotator else ""
    if Path(path).exists():
        raise UserError(f"--sheet_out={path}: is there already; name another file")
    with opened(config, workdir) as (session, _):
        rows = write_sheet(session, Path(path), annotator, config.seed)
    _log(f"{path}: {rows} answers to score")


def sheet_in(config: ReviewConfig, workdir: str, path: str, annotator: str) -> None:
    """Reads a labelling sheet back. Raises: UserError for a bad input, naming the row."""
    annotator = check_name(annotator)
    with opened(config, workdir) as (session, _):
        scored, left = read_sheet(session, Path(path), annotator)
    _log(f"{path}: {scored} questions scored by {annotator}, {left} left")


@contextmanager
def opened(config: ReviewConfig, workdir: str) -> Iterator[tuple[Session, Summary]]:
    """Yields the session in its folder, which is locked, and its summary; at the end the lineage
    is written.

    Raises:
      UserError: bad inputs, or a workdir of another review or in use by one.
    """
    run = Run("review", on_disk(workdir), asdict(config), seed=config.seed)
    run.check()
    evaluations = [path for path in (config.run, config.against) if path]
    for path in evaluations:
        if Path(path).resolve() == Path(workdir).resolve():
            raise UserError(f"--workdir={workdir}: is the evaluation itself; choose another")
        on_disk(path)
    material = read_material(config.run, config.against, sample=config.sample, seed=config.seed)
    with run.opened() as folder, Session(material, folder, config.seed) as session:
        for what, count in material.counts.items():
            if count:
                _log(_NOTES[what].format(count))
        if session.strays:
            _log(_NOTES["strays"].format(session.strays))
        summary = Summary(session, folder / SUMMARY)
        summary.current()
        try:
            yield session, summary
        finally:
            # The last action's own update may have been dropped with the server.
            summary.current()
        run.finish(
            [
                # By its answers alone: the evaluation may get more measures or another report and
                # is still the one that was reviewed.
                Parent.of(role, path, files=(ANSWERS,))
                for role, path in zip(("evaluation", "against"), evaluations, strict=False)
            ]
        )


_NOTES = {
    "unanswered": "{} answers are left out, as the model gave none",
    "unpaired": "{} questions are left out, as they are in one evaluation only",
    "identical": "{} pairs are shown as one answer, as both are the same",
    "masked": "{} answers contain a name of the model, which is masked",
    "without_rubric": "{} questions have no rubric in the benchmark as it is now",
    "strays": "{} earlier actions are about answers that the evaluation no longer has",
}


def token_from(variable: str) -> str:
    """The token in an environment variable. Raises: UserError where it is too short to be one."""
    token = os.environ.get(variable, "")
    if len(token) < 16 or not token.isascii():
        raise UserError(f"--token_env: {variable} must have at least 16 ASCII characters")
    return token


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
