"""The closed loop: attack a checkpoint, train it on the pairs, attack it again.

    measure0 -> attack1 -> train1 -> measure1 -> attack2 -> ...

`measure` attacks on all that is held out, with the same queries each time, and nothing of it is
trained on; `attack` makes the pairs of a round, where the round before gave most; `train` trains
the checkpoint on them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from vcjax.adversarial.attack_success import gave_pair
from vcjax.adversarial.calls import ACTOR, ATTACKER
from vcjax.adversarial.cells import Cell
from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.inputs import read_inputs
from vcjax.adversarial.ledger.query import asked_queries, attempts
from vcjax.adversarial.ledger.schema import opened_to_read
from vcjax.adversarial.measurement import measure_attacks, measured_queries
from vcjax.adversarial.plan import Tally, allocate, posteriors
from vcjax.adversarial.run import EXTENDABLE as SYNTHESIS_EXTENDABLE
from vcjax.adversarial.run import synthesize
from vcjax.adversarial.summary import shortfall
from vcjax.charter.load import charter_parents
from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.files import read_json, write_json, write_text
from vcjax.core.lineage import Parent
from vcjax.core.run import CONFIG, SUMMARY, Run, Stage
from vcjax.core.seeds import derive_seed
from vcjax.core.settings import build, check_at_least, fill_sections
from vcjax.core.stores import on_disk
from vcjax.road.commits import at_commits, critics_of, with_critics
from vcjax.road.rounds_summary import round_records, rounds_markdown
from vcjax.roles.references import RoleSpec, family_of
from vcjax.train.config import TrainConfig, with_pairs_to_come
from vcjax.train.loop import EXTENDABLE as TRAIN_EXTENDABLE
from vcjax.train.loop import train
from vcjax.weights.workdir import write_sources

DEFERRED = (
    *(f"synthesis.{name}" for name in SYNTHESIS_EXTENDABLE),
    *(f"train.{name}" for name in TRAIN_EXTENDABLE),
)
"""May be raised, and then count for the stages of which nothing was made yet: a round that ended at
a gate, and further rounds."""

_ATTACKS = "attacks the checkpoint and has answers written where it fails"
_TRAINS = "trains on these answers"
_MEASURES = "tries the held-out attacks and topics"
"""What stages do, for a person who waits."""

_SHARED = {name: name for name in ("charter", "seed", "on_bad_record")}
_FILLED: dict[str, dict[str, str]] = {
    "synthesis": {
        **_SHARED,
        **{name: name for name in ("attacker", "actor", "attacker_family", "actor_family")},
        "target": "model",
        "target_family": "family",
    },
    "train": {**_SHARED, "model": "model"},
}
"""See `fill_sections`."""


@dataclass(frozen=True)
class RoundsConfig:
    """What `launch.synthesize` takes as `--config.<field>` for rounds of attack and training.

    Attributes:
      model: the checkpoint that is attacked first, any model reference.
      family: of the model; a shipped model's is known.
      attacker: who writes queries, as for one run; empty is `model`, the same in every round.
      actor: who answers them to be learned from; empty is the checkpoint that is attacked.
      attacker_family, actor_family: of these, where they are named.
      charter: name or file.
      rounds: of attack, training and measuring.
      floor: attempts that every cell gets in each round, whatever is known of it.
      discount: what the outcomes of a round count for a round later, 0 to 1.
      measured: attempts on every held-out cell before the first round and after each.
      seed: of everything.
      on_bad_record: `error` or `quarantine`.
      synthesis: of each round; its `attempts` are shared out among the cells.
      train: of each round, on what the round has made; pairs of earlier rounds and
        `train.replay` are replayed.
    """

    model: str
    family: str
    attacker: str
    attacker_family: str
    actor: str
    actor_family: str
    charter: str
    rounds: int
    floor: int
    discount: float
    measured: int
    seed: int
    on_bad_record: str
    synthesis: SynthesisConfig
    train: TrainConfig

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RoundsConfig":
        """Checks and freezes a configuration; the shared fields are put into both sections.

        Raises:
          UserError: a field that is unknown, missing, of the wrong type or out of its range, or a
            shared one that is set in a section.
        """
        filled = fill_sections(values, _FILLED)
        if "train" in filled:
            filled["train"] = with_pairs_to_come(filled["train"])
        return build(cls, filled, "config")

    def __post_init__(self) -> None:
        check_at_least(self, {"rounds": 1, "floor": 0, "measured": 1})
        if not 0 <= self.discount <= 1:
            raise UserError(f"config.discount must be 0 to 1, not {self.discount}")
        if self.synthesis.per_cell:
            raise UserError(
                "config.synthesis.per_cell: the attempts of a round go where they give pairs, not "
                "where pairs are missing; set it to 0"
            )


def run_rounds(config: RoundsConfig, workdir: str | Path) -> dict[str, Any]:
    """Runs all rounds; writes `summary.json`, `README.md` with the table, and lineage.

    A finished loop is extended by raising `rounds`.

    Raises:
      UserError: an input that can't be used; all are checked before the first stage starts.
      GateNotMet: a round made no pair to train on, or its export was refused.
    """
    run = Run(
        "rounds",
        on_disk(workdir),
        asdict(config),
        seed=config.seed,
        extendable=["rounds"],
        deferred=DEFERRED,
    )
    if (summary := run.finished()) is not None:
        return summary
    loop = _Loop(config, run.workdir)
    with run.opened() as folder:
        write_sources(folder, loop.models)
        run.do(loop.stages())
        charter = loop.suite.charter
        summary = {
            "model": loop.config.model,
            "charter": {
                "name": charter.name,
                "version": charter.version,
                "hash": charter.content_hash,
            },
            "same_family": loop.same_family,
            "seed": config.seed,
            "rounds": round_records(loop.folders("measure"), loop.folders("attack"), config.seed),
        }
        write_json(folder / SUMMARY, summary)
        write_text(folder / "README.md", rounds_markdown(summary))
        folders = [path for kind in ("measure", "attack", "train") for path in loop.folders(kind)]
        parents = [Parent.of(path.name, path) for path in folders]
        run.finish([*parents, *charter_parents(config.charter)])
    return summary


class _Loop:
    """The stages of a loop and their folders; round 0 is before any training."""

    def __init__(self, config: RoundsConfig, workdir: Path) -> None:
        """Reads every input once, so that a mistake shows before the first stage starts."""
        self.config, self._workdir = config, workdir
        self._family = family_of(RoleSpec(config.model, config.family), "family")
        inputs = read_inputs(self._synthesis(0, config.model))
        self.suite = inputs.suite
        self.same_family = inputs.same_family
        self._groups = self.suite.held_out()
        if not self._groups:
            raise UserError(
                f"charter {self.suite.charter.name!r} holds nothing out, so nothing shows what a "
                "round has learned; name config.synthesis.held_out_attacks"
            )
        # Opening takes long and only shows whether the models are usable: once a start is enough.
        begins = not self._folder("measure", 0).is_dir()
        self.config, self.models = _at_commits(config, workdir, begins)

    def stages(self) -> list[Stage]:
        """All of them in their order."""
        # Measured before the first round: what training changed is the difference from this.
        found = [Stage("measure0", partial(self._measure, 0), about=_MEASURES)]
        for round in range(1, self.config.rounds + 1):
            found += [
                Stage(f"attack{round}", partial(self._attack, round), about=_ATTACKS),
                Stage(f"train{round}", partial(self._train, round), about=_TRAINS),
                Stage(f"measure{round}", partial(self._measure, round), about=_MEASURES),
            ]
        return found

    def folders(self, kind: str) -> list[Path]:
        """The folders of a kind of stage, in the order of the rounds."""
        first = 0 if kind == "measure" else 1
        return [self._folder(kind, round) for round in range(first, self.config.rounds + 1)]

    def _measure(self, round: int) -> None:
        """Attacks what the round has trained on all that is held out."""
        # The queries of the first measurement are asked each time, so that rounds can be compared
        # attempt by attempt, which takes far fewer attempts than comparing two rates.
        first = self._folder("measure", 0) if round else None
        measure_attacks(
            self._synthesis(0, self._model(round)),
            self._folder("measure", round),
            per_cell=self.config.measured,
            first=first,
        )

    def _attack(self, round: int) -> None:
        """Attacks the checkpoint before the round, where that gives pairs, and has them written."""
        folder = self._folder("attack", round)
        config = self._synthesis(round, self._model(round - 1))
        config = _unless_used(config, SYNTHESIS_EXTENDABLE, folder, self._folder("train", round))
        known = [pairs_by_cell(self._folder("attack", n)) for n in range(1, round)]
        shares = allocate(
            posteriors(self.suite.cells(), known, self.config.discount),
            config.attempts,
            floor=self.config.floor,
            seed=derive_seed(self.config.seed, "allocation", round),
        )
        # A query that is measured with must not be trained on, and one that was trained on before
        # teaches nothing new.
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

    def _train(self, round: int) -> None:
        """Trains the checkpoint on the round's pairs, with those of the rounds before as replay."""
        folder = self._folder("train", round)
        earlier = [str(self._pairs(n)) for n in range(1, round)]
        config = replace(
            self.config.train,
            model=self._model(round - 1),
            replay=",".join(filter(None, [self.config.train.replay, *earlier])),
            **{self.config.train.kind: str(self._pairs(round))},
        )
        train(
            _unless_used(config, TRAIN_EXTENDABLE, folder, self._folder("measure", round)), folder
        )

    def _synthesis(self, round: int, model: str) -> SynthesisConfig:
        """Attacks on `model`. The seed is the round's, so that queries differ from the last."""
        config = self.config
        return replace(
            config.synthesis,
            attacker=config.attacker or config.model,
            attacker_family=config.attacker_family if config.attacker else self._family,
            actor=config.actor or model,
            actor_family=config.actor_family if config.actor else self._family,
            target=model,
            target_family=self._family,
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


_Config = TypeVar("_Config", SynthesisConfig, TrainConfig)


def _at_commits(
    config: RoundsConfig, workdir: Path, begins: bool
) -> tuple[RoundsConfig, list[Parent]]:
    """The config with the models that all rounds are made with; see `at_commits`."""
    own = {name: getattr(config, name) for name in ("model", ATTACKER, ACTOR)}
    critics = critics_of(config.synthesis)
    found, parents = at_commits({**own, **critics}, workdir, begins=begins)
    synthesis = with_critics(config.synthesis, [found[role] for role in critics])
    return replace(config, synthesis=synthesis, **{name: found[name] for name in own}), parents


def _unless_used(config: _Config, extendable: Sequence[str], folder: Path, used: Path) -> _Config:
    """A stage's config; what was raised since counts only before something was made of the stage.

    Args:
      folder: of the stage, `used` the one that the next stage makes from it.
    """
    # With more steps or attempts now, the stage would end in something else than what the next one
    # was made from, and the lineage of that would no longer be true.
    if not used.is_dir():
        return config
    recorded = read_json(folder / CONFIG)
    return replace(config, **{name: recorded[name] for name in extendable})


def pairs_by_cell(folder: Path) -> dict[Cell, Tally]:
    """The attempts of a synthesis run by cell, and those of them that gave a pair to train on."""
    found: dict[Cell, Tally] = {}
    with opened_to_read(folder / "ledger.sqlite") as connection:
        for attempt in attempts(connection):
            # An accepted answer to an attack that failed is no pair of a round, and attempts are
            # allocated by pairs, not by verdicts.
            kind = "accepted" if gave_pair(attempt) else "rejected"
            cell = Cell.of(attempt)
            found[cell] = found.get(cell, Tally()).counted(kind)
    return found


def _queries(ledger: Path) -> list[str]:
    with opened_to_read(ledger) as connection:
        return list(asked_queries(connection))
