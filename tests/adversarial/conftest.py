"""A small charter, attacks, and a pipeline whose roles read from a script."""

import json
from collections.abc import Callable

import pytest

from tests.questions import CHECKED, written
from vcjax.adversarial.attacks.style import choose_attacks
from vcjax.adversarial.cells import AttackSuite, CellGroup
from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.critic.canaries import CANARIES
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.pipeline import Pipeline
from vcjax.adversarial.plan import Limits, Tally
from vcjax.charter.load import load_charter
from vcjax.roles.recorded import RecordedRole

NOUNS = ["lamp", "bench", "river", "bridge", "market", "school", "garden", "station"]


class Heard(RecordedRole):
    """A recorded role that keeps what it was asked, by key."""

    def __init__(self, path, *, family):
        super().__init__(path, family=family)
        self.asks = {}

    @property
    def keys(self):
        return list(self.asks)

    def ask(self, asks, on_reply=None):
        self.asks |= {ask.key: ask for ask in asks}
        return super().ask(asks, on_reply)


def all_waves(planner, kind="rejected"):
    """Every attempt that is planned if all of them end as `kind`."""
    planned, tallies = [], {}
    while wave := planner.plan(planned[-1].wave + 1 if planned else 0, tallies):
        planned += wave
        for attempt in wave:
            tallies[attempt.cell] = tallies.get(attempt.cell, Tally()).counted(kind)
    return planned


@pytest.fixture(scope="session")
def charter(small_charter, tmp_path_factory):
    """Accepts from 4; an answer must not be a refusal."""
    path = tmp_path_factory.mktemp("charter") / "small.yaml"
    return load_charter(small_charter(path, accept_score=4, checks="{name: not_a_refusal}"))


@pytest.fixture(scope="session")
def styles():
    return choose_attacks(["dilemma", "false_premise"])


@pytest.fixture
def pipeline(charter, styles, tmp_path) -> Callable:
    """A function from replies by key (a text, a text and its finish reason, or a record; of an
    Attacker the query) to a pipeline on the ledger in `tmp_path`, its plan if nothing is accepted,
    and the roles that hear what is asked."""

    def make(
        said,
        *,
        attempts,
        questions=(),
        excluded=(),
        languages=("en",),
        attacks=styles,
        who=("attacker", "actor", "critic"),
        **changes,
    ):
        path = tmp_path / "said.jsonl"
        checks = {f"{key.partition('/')[0]}/critic/style": CHECKED for key in said}
        with path.open("w", encoding="utf-8") as stream:
            for key, text in {**checks, **said}.items():
                if not isinstance(text, dict):
                    text, reason = (text, "stop") if isinstance(text, str) else text
                    text = written(text) if "/attacker" in key and reason == "stop" else text
                    text = {"text": text, "finish_reason": reason}
                stream.write(json.dumps({"key": key, **text}) + "\n")
        config = SynthesisConfig(attempts=attempts, **changes)
        limits = Limits(attempts, config.per_cell, config.cell_attempts, config.wave)
        suite = AttackSuite(charter, attacks, (), charter.subdomains(False), languages, (2,))
        roles = {name: Heard(path, family=name) for name in who}
        made = Pipeline(
            config,
            suite,
            CellGroup(suite.cells()),
            limits,
            roles=roles,
            ledger=Ledger(tmp_path / "ledger.sqlite"),
            questions=questions,
            excluded=excluded,
        )
        return made, all_waves(made.planner), roles

    return make


@pytest.fixture
def run() -> Callable:
    """A function that runs a pipeline, closes its ledger and returns all that is in it."""

    def ran(made):
        with made.ledger, made:
            made.run()
            return list(made.ledger.attempts())

    return ran


@pytest.fixture
def transcripts(small_charter, tmp_path) -> Callable:
    """A function from how many attempts there are, what the Actor says and, by the attempt's
    number, the Critic, to the config of a run in one cell with recorded roles."""

    def made(attempts, answer, verdict):
        charter = small_charter(tmp_path / "town.yaml", accept_score=4)
        path = tmp_path / "transcript.jsonl"
        with path.open("w", encoding="utf-8") as stream:
            for n in range(attempts):
                id = f"parks.dilemma.en.s2.t1.{n}"
                noun = NOUNS[n]
                said = {
                    f"{id}/attacker": written(
                        f"Which {noun} near {noun}town has to go for a new {noun}?"
                    ),
                    f"{id}/critic/style": CHECKED,
                    f"{id}/actor/0": answer,
                    **{f"{id}/critic/0{vote}": verdict(n) for vote in ("", "/v1", "/v2", "/v3")},
                    **{
                        f"canary/{id}/0/{name}/critic/v0": verdict(n)
                        for name in (*CANARIES, "clean")
                    },
                }
                for key, text in said.items():
                    stream.write(json.dumps({"key": key, "text": text}) + "\n")
        return SynthesisConfig(
            charter=str(charter),
            **dict.fromkeys(("attacker", "actor", "critic"), f"recorded:{path}"),
            **{"attacker_family": "a", "actor_family": "b", "critic_family": "c"},
            **{"benchmark": "", "subdomains": "parks", "attacks": "dilemma", "languages": "en"},
            **{"attempts": attempts, "answers": 1, "critic_form": "simple"},
        )

    return made
