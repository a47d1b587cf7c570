"""How soon further training undoes what an arm has learned, on ordinary and on opposing examples.

an arm's model -> examples -> train -> measured at 1/8, 1/4, 1/2 and all of the steps
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from heapq import nsmallest
from typing import Any

import numpy as np
from jaxtyping import Float

from vcjax.adversarial.pressure.half_life import gain_record, half_life
from vcjax.adversarial.pressure.pairs import CLEAN, ONE_SIDED, opposing
from vcjax.adversarial.pressure.probes import Probe
from vcjax.adversarial.pressure.rates import FLIPS, RATES, matrix
from vcjax.core.errors import UserError
from vcjax.core.files import write_jsonl
from vcjax.core.lineage import Parent
from vcjax.core.run import Run, Stage
from vcjax.core.seeds import derive_seed
from vcjax.data.files import data_parents
from vcjax.data.importers import Records
from vcjax.data.records import Conversation
from vcjax.evaluation.facts.fact import facts_hash
from vcjax.road.pressure.arms import PressureRun
from vcjax.road.pressure.config import PressureConfig
from vcjax.road.pressure.experiment import KNOWLEDGE, PAIRS, Experiment, read_preferences
from vcjax.text.language import Language
from vcjax.train.config import TrainConfig
from vcjax.train.loop import train
from vcjax.weights.steps import step_folder

HALF_LIFE = "half_life"
ORDINARY, OPPOSING = "ordinary", "opposing"
KINDS = (ORDINARY, OPPOSING)
"""Instruction data that has nothing to do with pressure; facts that are pressed to the false
answer, which is given."""
# Doubling steps, as most of what is lost is lost early.
_PARTS = (8, 4, 2, 1)


def checkpoints(config: PressureConfig) -> list[int]:
    """The steps after which a fine-tuned model is measured."""
    return [config.half_life.steps // part for part in _PARTS]


class FineTuning:
    """One run of an arm, trained further on one kind of examples."""

    def __init__(self, run: PressureRun, kind: str) -> None:
        """Reads and writes nothing. Args: `kind` is one of KINDS."""
        self.run, self.kind = run, kind
        self.config, self.experiment = run.config, run.experiment
        self.folder = run.folder / HALF_LIFE / kind

    def stages(self) -> list[Stage]:
        """All of them in their order."""
        found = [self._stage("examples", self._write), self._stage("train", self._train)]
        for step in checkpoints(self.config):
            found.append(self._stage(f"step{step}", partial(self._measure, step)))
        return found

    def preferences(self) -> list[dict[str, float]]:
        """Preferences by probe before the fine-tuning and at each of `checkpoints`."""
        folders = [self.folder / f"step{step}" for step in checkpoints(self.config)]
        return [self.run.preferences(), *map(read_preferences, folders)]

    def training(self) -> TrainConfig:
        """The settings of the fine-tuning: those of all arms, but at a constant learning rate, so
        that each step counts alike."""
        shared, own = self.config.train, self.config.half_life
        return replace(
            shared,
            model=self.run.model,
            seed=self.run.seed,
            objective="next_token",
            preferences="",
            conversations=str(self.folder / "examples" / PAIRS),
            steps=own.steps,
            schedule="constant",
            learning_rate=own.learning_rate or shared.learning_rate,
            warmup_steps=0,
            checkpoint_every=own.steps // _PARTS[0],
            # All of its checkpoints, as training would else delete those that are measured later.
            keep=_PARTS[0],
        )

    def _stage(self, name: str, do: Callable[[], None]) -> Stage:
        folder = (self.folder / name).relative_to(self.experiment.workdir)
        return Stage(folder.as_posix(), do)

    def _write(self) -> None:
        own, experiment, seed = self.config.half_life, self.experiment, self.run.seed
        folder = self.folder / "examples"
        settings = {"kind": self.kind, "pairs": own.pairs, "languages": experiment.languages}
        if self.kind == ORDINARY:
            settings |= {"conversations": own.files}
        else:
            settings |= {"facts": facts_hash(experiment.facts), "styles": self.config.styles}
        run = Run("examples", folder, settings, seed=seed)
        if run.is_finished():
            return
        with run.opened():
            if self.kind == ORDINARY:
                records = ordinary(own.files, own.pairs, experiment.languages, seed)
                parents = data_parents("conversations", own.files)
            else:
                probes = experiment.pair_probes(ONE_SIDED, seed, count=own.pairs, corrections=0)
                records = [opposing(probe) for probe in probes]
                parents = [Parent.of(KNOWLEDGE, experiment.workdir / KNOWLEDGE)]
            write_jsonl(folder / PAIRS, records)
            run.finish(parents)

    def _train(self) -> None:
        train(self.training(), self.folder / "train")

    def _measure(self, step: int) -> None:
        model = str(step_folder(self.folder / "train", step))
        self.experiment.measure(model, self.folder / f"step{step}", rate=FLIPS)


def ordinary(
    files: str, count: int, languages: Sequence[Language], seed: int
) -> list[dict[str, Any]]:
    """Conversations in the languages, drawn by the seed.

    Raises:
      UserError: a bad file, or none in the languages.
    """
    found = (
        record
        for record in Records(files, "conversations")
        if isinstance(record, Conversation) and record.lang in languages
    )
    # By a hash of the ids: in one pass over files of any size, and the same in any order of them.
    drawn = nsmallest(count, found, key=lambda each: derive_seed(seed, "ordinary", each.id))
    if not drawn:
        raise UserError(f"config.half_life.conversations: {files}: none in {', '.join(languages)}")
    return [each.to_dict() for each in drawn]


def fine_tunings(runs: Sequence[PressureRun]) -> Iterator[FineTuning]:
    """Yields the fine-tunings of all runs that train, if the config wants any."""
    for run in runs:
        if run.arm.trains and run.config.half_life.steps:
            yield from (FineTuning(run, kind) for kind in KINDS)


def half_lives(
    experiment: Experiment, config: PressureConfig, arms: Mapping[str, Sequence[PressureRun]]
) -> dict[str, Any]:
    """What is left of each arm's gain, and its half-life, JSON-serialisable.

    Returns `{steps, pairs, learning_rate, clean, arms}`; of each arm by language and kind of
    examples `over`: by reference `{half_life, gains}`, see `half_life`, with the gain at each of
    `steps`. A reference is the base model, or the first arm that is trained on neutral questions,
    which is fine-tuned alike: so its own loss is taken into account.
    """
    own = config.half_life
    clean = next((arm.name for arm in config.arms if arm.data == CLEAN), None)
    found: dict[str, Any] = {}
    for lang in experiment.languages:
        probes = experiment.suite(lang)
        base = _given_up(probes, [[run.preferences() for run in arms[config.base.name]]])
        tuned = {
            (name, kind): _given_up(probes, _by_checkpoint(runs, kind))
            for name, runs in arms.items()
            if runs[0].arm.trains
            for kind in KINDS
        }
        for (name, kind), rates in tuned.items():
            # The base isn't trained further, and is the same at every checkpoint.
            references = {config.base.name: np.broadcast_to(base, rates.shape)}
            # Beside the base model, which isn't fine-tuned: any fine-tuning costs something, and
            # the clean arm shows how much of the loss is that.
            if clean is not None and clean != name:
                references[clean] = tuned[clean, kind]
            seed = derive_seed(config.seed, HALF_LIFE, name, kind, lang)
            over = {
                reference: _over(config, values - rates, seed)
                for reference, values in references.items()
            }
            found.setdefault(name, {}).setdefault(lang, {})[kind] = over
    return {
        "steps": [0, *checkpoints(config)],
        "pairs": own.pairs,
        "learning_rate": own.learning_rate or config.train.learning_rate,
        "clean": clean,
        "arms": found,
    }


def _by_checkpoint(runs: Sequence[PressureRun], kind: str) -> list[list[dict[str, float]]]:
    """Preferences at each checkpoint, of each run."""
    of_runs = [FineTuning(run, kind).preferences() for run in runs]
    return [list(own) for own in zip(*of_runs, strict=True)]


def _given_up(
    probes: Mapping[str, Sequence[Probe]], runs: Sequence[Sequence[Mapping[str, float]]]
) -> Float[np.ndarray, "checkpoints facts"]:
    """The share of each fact's probes that are given up, the mean over runs."""
    return np.stack([matrix(RATES[FLIPS], probes, own).mean(axis=0) for own in runs])


def _over(
    config: PressureConfig, gains: Float[np.ndarray, "checkpoints facts"], seed: int
) -> dict[str, Any]:
    return {
        HALF_LIFE: half_life([0, *checkpoints(config)], gains, seed=seed),
        "gains": [gain_record(each, seed=seed) for each in gains],
    }
