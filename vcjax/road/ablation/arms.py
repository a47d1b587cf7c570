"""What an arm does: rounds of data and training, then measuring; each a run in its own folder."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from vcjax.adversarial.attacks.style import PLAIN
from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.ledger.query import asked_queries
from vcjax.adversarial.ledger.schema import opened_to_read
from vcjax.adversarial.run import synthesize
from vcjax.adversarial.summary import shortfall
from vcjax.core.errors import GateNotMet
from vcjax.core.run import Stage
from vcjax.core.seeds import derive_seed
from vcjax.road.ablation.config import (
    ANSWERS,
    ATTACKS,
    CONVERSATIONS,
    QUESTIONS,
    AblationConfig,
    Arm,
)
from vcjax.road.ablation.data import (
    ACCEPTED,
    PAIRS,
    draw_selected,
    select_answers,
    write_ordinary,
    write_unselected,
)
from vcjax.road.ablation.documents import score_documents
from vcjax.road.ablation.queries import ITEMS
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
        # The same seeds in every arm: `contrasts` compares run n of one with run n of another.
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

    def synthesis_folder(self, round: int) -> Path | None:
        """The workdir in which the round's pairs were selected, if they were."""
        if self.arm.data == QUESTIONS:
            return self.folder / f"questions{round}"
        return self.data_folder(round) if self.arm.data == ATTACKS else None

    def pairs(self, round: int) -> Path:
        """The file that the round trains on."""
        name = ACCEPTED if self.arm.data == ATTACKS else PAIRS
        if self.arm.train.kind == "preferences":
            name = "preferences.jsonl"
        return self.data_folder(round) / name

    @property
    def trained_on(self) -> list[Path]:
        """The files that its rounds train on."""
        return [self.pairs(round) for round in range(1, self.rounds + 1)]

    def stages(self) -> list[Stage]:
        """All of them in their order."""
        found = []
        for round in range(1, self.rounds + 1):
            if self.arm.data == QUESTIONS:
                found.append(self._stage(self._selected(round), partial(self._select, round)))
            found.append(self._stage(self.data_folder(round), partial(self._data, round)))
            found.append(self._stage(self.train_folder(round), partial(self._train, round)))
        found.append(self._stage(self.folder / MEASURED, self._measure))
        found.append(self._stage(self.folder / DOCUMENTS, self._score))
        return found

    def synthesis(self, round: int) -> SynthesisConfig:
        """Attacks on the model that the round begins with, or plain questions to it; other ones
        than the rounds before."""
        model = self._model_after(round - 1)
        filled = replace(
            fill_roles(self.config, self.arm.synthesis, self._family, model),
            seed=derive_seed(self.seed, "attack", round),
            # What is measured with is the benchmark here, which no attack may repeat.
            benchmark=str(self._queries),
        )
        if self.arm.data == QUESTIONS:
            # Only attempts may be added to reach the number of pairs, whatever the attack's quota.
            return replace(filled, attacks=PLAIN, held_out_attacks="", per_cell=0)
        return filled

    def training(self, round: int) -> TrainConfig:
        """On the pairs of the round, with those of the rounds before as replay."""
        # Earlier rounds are replayed, or what they taught would be forgotten for the last one's.
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
        if self.arm.data == ATTACKS:
            self._attack(round)
            return
        # The other arm's rounds set how many conversations each round has.
        like = self._like(round)
        if self.arm.data == CONVERSATIONS:
            write_ordinary(self.config, self.arm, folder, like, self.seed)
        elif self.arm.data == QUESTIONS:
            draw_selected(folder, self._selected(round), like[-1], self.seed)
        else:
            assert self.arm.data == ANSWERS
            write_unselected(self.config, self.synthesis(round), folder, like[-1])

    def _attack(self, round: int) -> None:
        folder = self.data_folder(round)
        summary = synthesize(self.synthesis(round), folder, excluded=self._asked(round))
        if not summary["exported"]:
            raise GateNotMet(f"{folder}: {shortfall(summary)}")
        if not summary["records"][self.pairs(round).name]:
            raise GateNotMet(
                f"{folder}: none of {summary['attempts']} attempts was accepted; its summary.json "
                "says why; raise config.synthesis.attempts or answers, in another workdir"
            )

    def _select(self, round: int) -> None:
        folder = self._selected(round)
        select_answers(self.synthesis(round), folder, self._like(round)[-1], self._asked(round))

    def _selected(self, round: int) -> Path:
        folder = self.synthesis_folder(round)
        assert folder is not None
        return folder

    def _asked(self, round: int) -> list[str]:
        """The queries of the rounds before, which their ledgers have and the round's own hasn't."""
        found = []
        for n in range(1, round):
            with opened_to_read(self._selected(n) / "ledger.sqlite") as connection:
                found += asked_queries(connection)
        return found

    def _like(self, round: int) -> list[Path]:
        """The folders of the other arm's attacks up to a round; where it has fewer rounds, up to
        its last one."""
        other = self._of(self.arm.like)
        return [other.data_folder(n) for n in range(1, min(round, other.rounds) + 1)]

    def _train(self, round: int) -> None:
        train(self.training(round), self.train_folder(round))

    def _measure(self) -> None:
        evaluation = EvaluationConfig(
            model=self.model,
            model_family=self._family,
            charter=self.config.charter,
            benchmark=str(self._queries),
            persona=self.arm.persona,
            max_tokens=self.config.answer_tokens,
            seed=self.config.seed,
            **self.config.engine_fields,
        )
        run_evaluation(evaluation, self.folder / MEASURED)

    def _score(self) -> None:
        score_documents(self.config, self.model, self.folder / DOCUMENTS)
