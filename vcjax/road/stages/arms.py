"""One arm: a stage of training on top of another arm, and all that is measured of its model.

attacks, facts -> train -> evaluated (checks, judge) | pressed (facts) | documents, by language
                                                     | plain_facts (of topics that no arm is taught)
                                                     | capability (tasks of the harness)

What is made of an arm's model for the stages after it, such as the attacks on it, is in its folder.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vcjax.adversarial.pressure.pairs import ADVERSARIAL as PRESSED_BOTH_WAYS
from vcjax.adversarial.pressure.probes import neutral_probes, score_probes
from vcjax.adversarial.run import synthesize
from vcjax.core.errors import GateNotMet
from vcjax.core.files import read_json, write_json
from vcjax.core.lineage import Parent
from vcjax.core.run import SUMMARY, Run, Stage
from vcjax.evaluation.facts.fact import fact_paths, facts_hash, in_language
from vcjax.evaluation.run import read_scores
from vcjax.road.ablation.documents import SCORES, DocumentSettings, score_documents
from vcjax.road.evaluate import run_evaluation
from vcjax.road.pressure.capability import (
    CAPABILITY,
    RESULT,
    measure_tasks,
    right_answers,
)
from vcjax.road.pressure.experiment import MODEL, PAIRS, Experiment, read_preferences
from vcjax.road.stages.config import ADVERSARIAL, ATTACKS, CPT, FACTS, StageArm, StagesConfig
from vcjax.road.stages.text import HELD_OUT, TEXT, TRAINING
from vcjax.roles.references import RoleSpec, models_of, open_roles
from vcjax.roles.role import scoring
from vcjax.text.language import Language
from vcjax.train.config import TrainConfig
from vcjax.train.loop import train
from vcjax.weights.workdir import write_sources

EVALUATED, PRESSED, DOCUMENTS, TRAIN = "evaluated", "pressed", "documents", "train"
PLAIN, _RIGHT = "plain_facts", "right.json"


class StageRun:
    """One arm in an ablation's folder."""

    def __init__(
        self,
        config: StagesConfig,
        experiment: Experiment,
        arm: StageArm,
        family: str,
        langs: Sequence[Language],
        before: "StageRun | None" = None,
    ) -> None:
        """Reads and writes nothing.

        Args:
          family: of the base model.
          langs: of the measured documents.
          before: the run of the arm that this one is trained from.
        """
        self.config, self.experiment, self.arm = config, experiment, arm
        self.before, self.langs, self._family = before, langs, family
        self._workdir = experiment.workdir
        self.folder = self._workdir / arm.name

    @property
    def model(self) -> str:
        """Reference of the model that is measured."""
        return str(self.folder / TRAIN) if self.before else self.config.model

    def stages(self) -> list[Stage]:
        """All of them in their order; another arm after the same one has some of them too."""
        found = []
        if self.before is not None:
            if ATTACKS in self.arm.sources:
                found.append(self._stage(self.attack_folder, self._attack))
            if FACTS in self.arm.sources:
                found.append(self._stage(self._facts_folder, self._teach))
            found.append(self._stage(self.folder / TRAIN, self._train))
        found.append(self._stage(self.folder / EVALUATED, self._evaluate))
        found.append(self._stage(self.folder / PRESSED, self._press))
        found.append(self._stage(self.folder / PLAIN, self._recall))
        for lang in self.langs:
            folder = self.folder / f"{DOCUMENTS}_{lang}"
            found.append(self._stage(folder, partial(self._score, lang, folder)))
        if self.config.capability.strip():
            found.append(self._stage(self.folder / CAPABILITY, self._measure_capability))
        return found

    # ---------------------------------------------------------------------------------- what it is

    @property
    def attack_folder(self) -> Path:
        """The attacks on the model that this arm is trained from."""
        assert self.before is not None, "the base model has no stage before it"
        return self.before.folder / ATTACKS

    @property
    def pairs(self) -> list[Path]:
        """The files that an adversarial stage is trained on, as far as there is anything in them;
        after the stages that write them."""
        found = []
        for source in self.arm.sources:
            if source == ATTACKS:
                found.append(self.attack_folder / self._accepted)
            elif source == FACTS:
                # A model that only guesses facts has none to keep.
                found += [self._facts_folder / PAIRS] if self.experiment.languages else []
            else:
                found.append(Path(source))
        # A stage that had nothing to write has left no file, or an empty one, which the trainer
        # would refuse.
        return [path for path in found if path.is_file() and path.stat().st_size]

    def scores(self) -> list[dict[str, Any]]:
        """The score records of the evaluation."""
        return read_scores(self.folder / EVALUATED)

    def evaluation(self) -> dict[str, Any]:
        """The summary of the evaluation."""
        return read_json(self.folder / EVALUATED / SUMMARY)

    def preferences(self) -> dict[str, float]:
        """The model's preference for the true answer, by probe."""
        return read_preferences(self.folder / PRESSED)

    def facts(self) -> dict[Language, dict[str, bool]]:
        """Whether the model is right about each fact that no arm is taught, by language."""
        return read_json(self.folder / PLAIN / _RIGHT)

    def document_scores(self, lang: Language) -> list[dict[str, Any]]:
        """`{id, nats, tokens}` of each measured document."""
        return read_json(self.folder / f"{DOCUMENTS}_{lang}" / SCORES)

    def capability(self) -> dict[str, Any] | None:
        """What `launch.capability` reports, where the arm does tasks."""
        path = self.folder / CAPABILITY / RESULT
        return read_json(path) if path.is_file() else None

    def task_answers(self) -> dict[str, dict[str, bool]]:
        """Whether the model is right about each document of the harness's tasks, by task."""
        return right_answers(self.folder / CAPABILITY)

    def training(self) -> TrainConfig:
        """The settings of its training; after the stages that write its data."""
        config, settings = self.config, self.arm.train
        assert settings is not None
        assert self.before is not None
        data: dict[str, str] = {"conversations": config.conversations}
        if self.arm.stage == CPT:
            data = {"documents": str(self._workdir / TEXT / TRAINING)}
        elif self.arm.stage == ADVERSARIAL:
            if not (pairs := self.pairs):
                raise GateNotMet(
                    f"{self.folder}: there is no pair to train on: no attack gave one, and the "
                    "base model knows its facts in no language; raise config.synthesis.attempts, "
                    "in another workdir"
                )
            data = {settings.kind: ",".join(map(str, pairs))}
            # Packed conversations can't be replayed among preferences.
            if settings.kind == "conversations":
                data["replay"] = config.conversations
        return replace(settings, model=self.before.model, **data)

    # ---------------------------------------------------------------------------------- its stages

    def _stage(self, folder: Path, do: Callable[[], Any]) -> Stage:
        return Stage(folder.relative_to(self._workdir).as_posix(), do)

    @property
    def _kind(self) -> str:
        assert self.arm.train is not None
        return self.arm.train.kind

    @property
    def _accepted(self) -> str:
        return "preferences.jsonl" if self._kind == "preferences" else "accepted.jsonl"

    @property
    def _facts_folder(self) -> Path:
        return self._workdir / (FACTS if self._kind == "conversations" else f"{FACTS}_{self._kind}")

    def _attack(self) -> None:
        assert self.before is not None
        synthesis = replace(
            self.config.synthesis,
            attacker=self.config.model,
            attacker_family=self._family,
            # The model that is then trained answers for itself, under the persona: what is learned
            # is its own best behaviour, without the persona.
            actor=self.before.model,
            actor_family=self._family,
        )
        synthesize(synthesis, self.attack_folder)

    def _teach(self) -> None:
        if self.experiment.languages:
            seed = self.config.seed
            self.experiment.write_pairs(PRESSED_BOTH_WAYS, self._kind, self._facts_folder, seed)

    def _train(self) -> None:
        train(self.training(), self.folder / TRAIN)

    def _evaluate(self) -> None:
        settings = replace(self.config.evaluation, model=self.model, model_family=self._family)
        run_evaluation(settings, self.folder / EVALUATED)

    def _press(self) -> None:
        self.experiment.measure(self.model, self.folder / PRESSED)

    def _recall(self) -> None:
        measure_facts(self.experiment, self.model, self.langs, self.folder / PLAIN)

    def _score(self, lang: Language, folder: Path) -> None:
        config = self.config
        measured = str(self._workdir / TEXT / HELD_OUT)
        settings = DocumentSettings(measured, lang, config.document_tokens, config.on_bad_record)
        score_documents(settings, self.model, folder)

    def _measure_capability(self) -> None:
        measure_tasks(self.config, self.config.evaluation, self.model, self.folder / CAPABILITY)


def runs_of(
    config: StagesConfig, experiment: Experiment, family: str, langs: Sequence[Language]
) -> dict[str, StageRun]:
    """The run of each arm, by name, each after the one that it is trained from."""
    found: dict[str, StageRun] = {}
    for arm in config.arms:
        before = found[arm.after] if arm.after else None
        found[arm.name] = StageRun(
            config, experiment, arm, family=family, langs=langs, before=before
        )
    return found


def all_stages(runs: Sequence[StageRun]) -> Iterator[Stage]:
    """The stages of all arms; one that several have is done once, before the first of them."""
    seen: set[str] = set()
    for run in runs:
        for stage in run.stages():
            if stage.name not in seen:
                seen.add(stage.name)
                yield stage


def measure_facts(
    experiment: Experiment, model: str, langs: Sequence[Language], folder: Path
) -> None:
    """Writes, by language and fact, whether a model prefers the true sentence of facts of topics
    that no arm is taught: what it can do beside what it is trained for.

    They are asked plainly, whether the base model knows them or not, and the log-likelihoods of a
    true and a false sentence are compared. So every arm's capability is measured without the
    evaluation harness; `config.capability` names tasks of the harness beside it.
    """
    topics = experiment.split.held_out_topics
    facts = [fact for fact in experiment.facts if fact.topic in topics]
    settings = {"model": model, "languages": list(langs), "facts": facts_hash(facts)}
    run = Run(PLAIN, folder, settings)
    if run.is_finished():
        return
    probes = {
        lang: [probe for fact in own for probe in neutral_probes(fact, lang, (0,))]
        for lang in langs
        if (own := in_language(facts, lang))
    }
    # Nobody judges here, so the model's family doesn't matter.
    roles, parents = open_roles({MODEL: RoleSpec(model, MODEL)}, experiment.config, folder)
    with run.opened():
        write_sources(folder, models_of(roles))
        flat = [probe for own in probes.values() for probe in own]
        preferences = score_probes(scoring(roles[MODEL], MODEL), flat, folder)
        right = {
            lang: {probe.fact: bool(preferences[probe.id] > 0) for probe in own}
            for lang, own in probes.items()
        }
        write_json(folder / _RIGHT, right)
        paths = fact_paths(experiment.config.facts)
        run.finish([*parents, *(Parent.of("facts", path) for path in paths)])
