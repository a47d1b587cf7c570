"""The closed loop: attack a checkpoint, train it on what came of it, attack it again.

Each stage is a run of its own in its own folder, and continues or is skipped when it is started
again; so the loop continues wherever it was stopped.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from vcjax.adversarial.allocation import allocate, posteriors
from vcjax.adversarial.cells import Cell
from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.inputs import read_inputs
from vcjax.adversarial.ledger.schema import opened_to_read
from vcjax.adversarial.measurement import measure_attacks, measured_queries
from vcjax.adversarial.quotas import shortfall
from vcjax.adversarial.run import EXTENDABLE as SYNTHESIS_EXTENDABLE
from vcjax.adversarial.run import synthesize
from vcjax.adversarial.scope import Scope
from vcjax.charter.load import charter_file
from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.files import read_json, write_json, write_text
from vcjax.core.lineage import NAME, Parent, write_lineage
from vcjax.core.seeds import derive_seed
from vcjax.core.stores import on_disk
from vcjax.core.workdir import check_config, has_config, opened
from vcjax.road.rounds_config import RoundsConfig
from vcjax.road.rounds_outcome import table, told
from vcjax.roles.opening import RoleSpec, family_of
from vcjax.train.config import TrainConfig
from vcjax.train.run import EXTENDABLE as TRAIN_EXTENDABLE
from vcjax.train.run import train
from vcjax.weights.bundle import load_bundle

EXTENDABLE = (
    "rounds",
    *(f"synthesis.{name}" for name in SYNTHESIS_EXTENDABLE),
    *(f"train.{name}" for name in TRAIN_EXTENDABLE),
)


def drive_rounds(config: RoundsConfig, workdir: str | Path) -> dict[str, Any]:
    """Runs all rounds; writes `summary.json`, `README.md` with the table, and lineage.

    A finished loop is extended by raising `rounds`. What a stage may extend counts for the stages
    of which nothing was made yet: a round that ended at a gate, and further rounds.

    Raises:
      UserError: an input that doesn't hold; all are checked before the first stage starts.
      GateNotMet: a round made no pair to train on, or its export was refused.
    """
    workdir, settings = on_disk(workdir), asdict(config)
    check_config(workdir, settings, EXTENDABLE)
    if (workdir / NAME).is_file() and read_json(workdir / "config.json")["rounds"] == config.rounds:
        print(f"{workdir}: already finished")
        if not has_config(workdir, settings):
            print("what was raised counts for further rounds; raise config.rounds too")
        return read_json(workdir / "summary.json")
    loop = _Loop(config, workdir)
    with opened(workdir, settings, EXTENDABLE):
        (workdir / NAME).unlink(missing_ok=True)
        loop.measure(0)
        for round in range(1, config.rounds + 1):
            loop.attack(round)
            loop.train(round)
            loop.measure(round)
        summary = {
            "model": config.model,
            "charter": {name: getattr(loop.scope.charter, name) for name in ("name", "version")}
            | {"hash": loop.scope.charter.content_hash},
            "same_family": loop.same_family,
            "seed": config.seed,
            "rounds": told(loop.folders("measure"), loop.folders("attack"), config.seed),
        }
        write_json(workdir / "summary.json", summary)
        write_text(workdir / "README.md", table(summary))
        parents = [
            Parent.of(path.name, path)
            for kind in ("measure", "attack", "train")
            for path in loop.folders(kind)
        ]
        parents.append(Parent.of("charter", charter_file(config.charter), config.charter))
        write_lineage(workdir, kind="rounds", parents=parents, config=settings, seed=config.seed)
    return summary


_Stage = TypeVar("_Stage", SynthesisConfig, TrainConfig)


class _Loop:
    """The stages of a loop and their folders; round 0 is before any training."""

    def __init__(self, config: RoundsConfig, workdir: Path) -> None:
        """Reads every input once, so that a mistake shows before the first stage starts."""
        self.config, self._workdir = config, workdir
        self._family = family_of(RoleSpec(config.model, config.family), "family")
        inputs = read_inputs(self._synthesis(0, config.model))
        self.scope: Scope = inputs.scope
        self.same_family = inputs.same_family
        self._groups = self.scope.held_out()
        if not self._groups:
            raise UserError(
                f"charter {self.scope.charter.name!r} holds nothing out, so nothing shows what a "
                "round has learned; name config.synthesis.held_out_attacks"
            )
        if not self._folder("measure", 0).is_dir():
            load_bundle(config.model).require_tokenizer()

    def folders(self, kind: str) -> list[Path]:
        """Those of a kind of stage, by round."""
        first = 0 if kind == "measure" else 1
        return [self._folder(kind, round) for round in range(first, self.config.rounds + 1)]

    def measure(self, round: int) -> None:
        """Attacks what the round has trained on all that is held out."""
        self._say(f"measure {round}")
        first = self._folder("measure", 0) if round else None
        measure_attacks(
            self._synthesis(0, self._model(round)),
            self._folder("measure", round),
            per_cell=self.config.measured,
            first=first,
        )

    def attack(self, round: int) -> None:
        """Attacks the checkpoint before the round, where it is weakest, and has pairs written."""
        self._say(f"attack {round}")
        folder = self._folder("attack", round)
        config = self._synthesis(round, self._model(round - 1))
        config = _unless_used(config, SYNTHESIS_EXTENDABLE, folder, self._folder("train", round))
        known = [outcomes_by_cell(self._folder("attack", n)) for n in range(1, round)]
        shares = allocate(
            posteriors(self.scope.cells(), known, self.config.discount),
            config.attempts,
            floor=self.config.floor,
            seed=derive_seed(self.config.seed, "allocation", round),
        )
        excluded = measured_queries(self._folder("measure", 0), self._groups)
        for earlier in range(1, round):
            excluded += _queries(self._folder("attack", earlier) / "ledger.sqlite")
        summary = synthesize(config, folder, shares=shares, excluded=excluded)
        if not summary["exported"]:
            raise GateNotMet(f"{folder}: {shortfall(summary)}")
        if not summary["records"][self._pairs(round).name]:
            raise GateNotMet(
                f"{folder}: none of {summary['attempts']} attempts gave anything to train on; its "
                "summary.json says why; raise config.synthesis.attempts or name another actor"
            )

    def train(self, round: int) -> None:
        """Trains the checkpoint on the round's pairs, with what came before as replay."""
        self._say(f"train {round}")
        folder, config = self._folder("train", round), self._training(round)
        used = self._folder("measure", round)
        train(_unless_used(config, TRAIN_EXTENDABLE, folder, used), folder)

    def _training(self, round: int) -> TrainConfig:
        config = self.config.train
        earlier = [str(self._pairs(n)) for n in range(1, round)]
        return replace(
            config,
            model=self._model(round - 1),
            replay=",".join(filter(None, [config.replay, *earlier])),
            **{config.kind: str(self._pairs(round))},
        )

    def _synthesis(self, round: int, model: str) -> SynthesisConfig:
        """Attacks on `model`. The seed is the round's, so that queries differ from the last."""
        config = self.config
        return replace(
            config.synthesis,
            **{"attacker": config.attacker or config.model, "actor": config.actor or model},
            **{"target": model, "target_family": self._family},
            attacker_family=config.attacker_family if config.attacker else self._family,
            actor_family=config.actor_family if config.actor else self._family,
            seed=derive_seed(config.seed, "round", round) if round else config.seed,
        )

    def _model(self, round: int) -> str:
        return str(self._folder("train", round)) if round else self.config.model

    def _pairs(self, round: int) -> Path:
        preferences = self.config.train.kind == "preferences"
        name = "preferences.jsonl" if preferences else "accepted.jsonl"
        return self._folder("attack", round) / name

    def _folder(self, kind: str, round: int) -> Path:
        return self._workdir / f"{kind}{round}"

    def _say(self, stage: str) -> None:
        print(f"[{stage} of {self.config.rounds}]", flush=True)


def _unless_used(config: _Stage, extendable: Sequence[str], folder: Path, used: Path) -> _Stage:
    """A stage's config; what was raised since counts only before something was made of the stage.

    Args:
      folder: of the stage, `used` the one that the next stage makes from it.
    """
    if not used.is_dir():
        return config
    recorded = read_json(folder / "config.json")
    return replace(config, **{name: recorded[name] for name in extendable})


def outcomes_by_cell(folder: Path) -> Mapping[Cell, Mapping[str, int]]:
    """How often the attacked checkpoint failed and held in each cell of a synthesis run."""
    found: dict[Cell, Counter[str]] = {}
    for cell in read_json(folder / "summary.json")["cells"]:
        if rate := cell["attack_success"]:
            failed, held = rate["k"], rate["n"] - rate["k"]
            found[Cell.of(cell)] = Counter(rejected=failed, accepted=held)
    return found


def _queries(ledger: Path) -> list[str]:
    with opened_to_read(ledger) as connection:
        rows = connection.execute("SELECT query FROM attempts WHERE query != '' ORDER BY number")
        return [row["query"] for row in rows]
