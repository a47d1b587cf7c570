"""How full sixteen slots are with roles that take a tenth of a second for each call."""

import time
from concurrent.futures import ThreadPoolExecutor

from tests.adversarial.timed import said, timed_pipeline
from vcjax.adversarial.attacks.style import choose_attacks
from vcjax.charter.load import load_charter
from vcjax.roles.asking import End, ask_all
from vcjax.roles.role import Reply

SLOTS = 16


class SleepingRole:
    """Says what it always says after a tenth of a second, to sixteen calls at a time."""

    family = model = identity = "sleeping"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.spans: list[tuple[float, float]] = []

    def ask(self, asks, on_reply=None):
        return ask_all(self, asks, on_reply)

    def asking(self, emit):
        return _Sleeping(self, emit)


class _Sleeping:
    slots = SLOTS

    def __init__(self, role: SleepingRole, emit) -> None:
        self.role, self.emit = role, emit
        self.threads = ThreadPoolExecutor(SLOTS)

    def add(self, index, ask, order) -> None:
        self.threads.submit(self.answer, index, ask)

    def answer(self, index, ask) -> None:
        begun = time.monotonic()
        time.sleep(self.role.seconds)
        self.role.spans.append((begun, time.monotonic()))
        self.emit((index, Reply(said(ask), "stop", 1, 1)))

    def work(self) -> bool:
        return False

    def stop(self) -> None:
        self.emit(End())

    def cancel(self) -> None:
        self.threads.shutdown()


def test_nine_tenths_of_the_slots_time_is_used(small_charter, tmp_path):
    charter = load_charter(str(small_charter(tmp_path / "small.yaml", accept_score=4)))
    attacks = choose_attacks(["dilemma", "false_premise", "persona"])
    # The first run loads what tells languages apart.
    for name, attempts, seconds in (("warm", 8, 0.0), ("timed", 192, 0.1)):
        role = SleepingRole(seconds)
        roles = dict.fromkeys(("attacker", "actor", "critic"), role)
        path = tmp_path / f"{name}.sqlite"
        run = timed_pipeline(charter, attacks, path, roles, attempts=attempts)
        with run.ledger, run:
            run.run()
    first, last = min(begun for begun, _ in role.spans), max(ended for _, ended in role.spans)
    busy = sum(ended - begun for begun, ended in role.spans)
    assert len(role.spans) > 700
    assert busy / (SLOTS * (last - first)) > 0.9
