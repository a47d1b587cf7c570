"""What an arm does: rounds of data and training, then measuring; each a run in its own folder."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.ledger.query import asked_queries
from vcjax.adversarial.ledger.schema import opened_to_read
from vcjax.adversarial.run import synthesize
from vcjax.adversarial.summary import shortfall
from vcjax.core.errors import GateNotMet
from vcjax.core.run import Stage
from vcjax.core.seeds import derive_seed
from vcjax.road.ablation_config import ATTACKS, AblationConfig, Arm
from vcjax.road.ablation_data import ITEMS, score_documents, write_conversations
from vcjax.road.evaluate import EvaluationConfig, run_evaluation
from vcjax.train.config import TrainConfig
from vcjax.train.loop import train

QUERIES, MEASURED, DOCUMENTS = "queries", "measured", "documents"
"""Folders: the queries that all arms are asked; an arm's answers; its scores of documents."""


def fill_roles(
    config: AblationConfig, synthesis: SynthesisConfig, family: str, model: str
) -> SynthesisConfig:
    """The settings with all roles but the Critic filled: `model` is attacked.

    Args:
      family: of the base model.
    """
    return replace(
        synthesis,
        attacker=config.attacker or config.model,
        attacker_family=config.attacker_family if config.attacker else family,
        actor=config.actor or model,
        actor_family=config.actor_family if config.actor else family,
        target=model,
        target_family=family,
    )


class ArmRun:
    """One arm, once: with one seed."""

    def __init__(
        self, config: AblationConfig, workdir: Path, family: str, arm: Arm, number: int
    ) -> None:
        """Reads and writes nothing.

        Args:
          family: of the base model.
          number: which of the arm's runs, from 0; an arm without training has only that.
        """
        self.config, self.arm, self.number, self.seed = config, arm, number, config.seed + number
        self._workdir, self._family = workdir, family
        self.folder = workdir / arm.name / (f"seed{number}" if arm.trains else "")
        self.rounds = config.rounds_of(arm)

    def train_folder(self, round: int) -> Path:
        """The training workdir of a round; rounds count from 1."""
        return self.folder / f"train{round}"

    def data_folder(self, round: int) -> Path:
        """The workdir of the round's attacks, or of the data that replaces them."""
        name = "attack" if self.arm.data == ATTACKS else "data"
        return self.folder / f"{name}{round}"

    @property
    def model(self) -> str:
        """Reference of the model at the end of the chain."""
        return self._model_after(self.rounds)

    def pairs(self, round: int) -> Path:
        """The file that the round trains on."""
        attacked = self.arm.data == ATTACKS
        name = f"{'accepted' if attacked else 'conversations'}.jsonl"
        if self.arm.train.kind == "preferences":
            name = "preferences.jsonl"
        return self.data_folder(round) / name

    def stages(self) -> list[Stage]:
        """All of them in their order."""
        found = []
        for round in range(1, self.rounds + 1):
            found.append(self._stage(self.data_folder(round), partial(self._data, round)))
            found.append(self._stage(self.train_folder(round), partial(self._train, round)))
        found.append(self._stage(self.folder / MEASURED, self._measure))
        found.append(self._stage(self.folder / DOCUMENTS, self._score))
        return found

    def synthesis(self, round: int) -> SynthesisConfig:
        """Attacks on the model that the round begins with; other ones than the rounds before."""
        model = self._model_after(round - 1)
        return replace(
            fill_roles(self.config, self.arm.synthesis, self._family, model),
            seed=derive_seed(self.seed, "attack", round),
            benchmark=str(self._queries),
        )

    def training(self, round: int) -> TrainConfig:
        """On the pairs of the round, with those of the rounds before as replay."""
        files = [str(self.pairs(n)) for n in range(1, round + 1)]
        return replace(
            self.arm.train,
            model=self._model_after(round - 1),
            seed=self.seed,
            replay=",".join(files[:-1]),
            **{self.arm.train.kind: files[-1]},
        )

    def _stage(self, folder: Path, do: Callable[[], None]) -> Stage:
        return Stage(folder.relative_to(self._workdir).as_posix(), do)

    @property
    def _queries(self) -> Path:
        return self._workdir / QUERIES / ITEMS

    def _model_after(self, round: int) -> str:
        if round:
            return str(self.train_folder(round))
        return self._of(self.arm.after).model if self.arm.after else self.config.model

    def _of(self, name: str) -> "ArmRun":
        """The run of another arm with the same seed."""
        arm = next(each for each in self.config.arms if each.name == name)
        return ArmRun(self.config, self._workdir, self._family, arm, self.number)

    def _data(self, round: int) -> None:
        folder = self.data_folder(round)
        if self.arm.data != ATTACKS:
            other = self._of(self.arm.like)
            # The other arm's rounds set how many conversations each round has; where it has fewer
            # rounds, its last one sets it.
            attacks = [other.data_folder(n) for n in range(1, min(round, other.rounds) + 1)]
            write_conversations(self.config, self.arm, folder, attacks, self.seed)
            return
        # A round must not repeat the queries of those before, which its own ledger doesn't have.
        asked = [query for n in range(1, round) for query in _asked(self.data_folder(n))]
        summary = synthesize(self.synthesis(round), folder, excluded=asked)
        if not summary["exported"]:
            raise GateNotMet(f"{folder}: {shortfall(summary)}")
        if not summary["records"][self.pairs(round).name]:
            raise GateNotMet(
                f"{folder}: none of {summary['attempts']} attempts was accepted; its summary.json "
                "says why; raise config.synthesis.attempts or answers, in another workdir"
            )

    def _train(self, round: int) -> None:
        train(self.training(round), self.train_folder(round))

    def _measure(self) -> None:
        evaluation = EvaluationConfig(
            model=self.model,
            model_family=self._family,
            charter=self.config.charter,
            benchmark=str(self._queries),
            max_tokens=self.config.answer_tokens,
            seed=self.config.seed,
            **self.config.engine_fields,
        )
        run_evaluation(evaluation, self.folder / MEASURED)

    def _score(self) -> None:
        score_documents(self.config, self.model, self.folder / DOCUMENTS)


def _asked(synthesis: Path) -> list[str]:
    with opened_to_read(synthesis / "ledger.sqlite") as connection:
        return list(asked_queries(connection))
