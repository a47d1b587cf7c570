"""One arm of the pressure experiment with one seed; each of its stages is a run in a folder.

pairs -> train -> measured (preferences) | answers (free) | documents (perplexity, by language)
                                         | outside (facts that no arm is taught)
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from vcjax.adversarial.pressure.probes import TO_FALSE, Probe, with_system
from vcjax.adversarial.pressure.suite import HELD_OUT
from vcjax.charter.load import charter_parents
from vcjax.core.files import read_json, read_jsonl, write_jsonl
from vcjax.core.run import Run, Stage
from vcjax.core.seeds import derive_seed
from vcjax.road.ablation.documents import SCORES, DocumentSettings, score_documents
from vcjax.road.pressure.capability import CAPABILITY, RESULT, measure_tasks
from vcjax.road.pressure.config import PressureArm, PressureConfig
from vcjax.road.pressure.experiment import MEASURED, MODEL, PAIRS, Experiment, read_preferences
from vcjax.road.pressure.outside import OUTSIDE, OutsideFacts
from vcjax.roles.references import RECORDED, RoleSpec, models_of, open_roles
from vcjax.roles.role import Ask, Reply
from vcjax.text.language import Language
from vcjax.train.config import TrainConfig
from vcjax.train.loop import train
from vcjax.weights.workdir import write_sources

ANSWERS, DOCUMENTS = "answers", "documents"


class PressureRun:
    """One arm, once: with one seed."""

    def __init__(
        self,
        config: PressureConfig,
        experiment: Experiment,
        arm: PressureArm,
        number: int,
        outside: OutsideFacts | None = None,
    ) -> None:
        """Reads and writes nothing. Args: `number` counts the arm's runs, from 0."""
        self.outside = outside
        self.config, self.experiment, self.arm = config, experiment, arm
        # The same seeds in every arm, so that arms can be compared run by run.
        self.seed = config.seed + number
        self.folder = experiment.workdir / arm.name / (f"seed{number}" if arm.trains else "")

    @property
    def model(self) -> str:
        """Reference of the model that is measured."""
        if self.arm.trains:
            return str(self.folder / "train")
        return self.arm.model or self.config.model

    def stages(self) -> list[Stage]:
        """All of them in their order."""
        found = []
        if self.arm.trains:
            found.append(self._stage("pairs", self._write_pairs))
            found.append(self._stage("train", self._train))
        found.append(self._stage(MEASURED, self._measure))
        if self.config.answers:
            found.append(self._stage(ANSWERS, self._answer))
        for lang in self.document_languages:
            found.append(self._stage(f"{DOCUMENTS}_{lang}", partial(self._score, lang)))
        if self.config.capability.strip() and not self.is_recorded:
            found.append(self._stage(CAPABILITY, self._measure_capability))
        if self.outside is not None:
            do = partial(self.outside.measure, self.model, self.folder / OUTSIDE)
            found.append(self._stage(OUTSIDE, partial(do, persona=self.arm.persona)))
        return found

    @property
    def is_recorded(self) -> bool:
        """Whether only what a model once preferred is there to be measured."""
        return self.model.startswith(RECORDED)

    @property
    def document_languages(self) -> tuple[Language, ...]:
        """The languages whose documents are scored: a persona changes nothing there, and of a
        recorded model nobody knows."""
        unknown = self.arm.persona or self.is_recorded
        return self.config.langs if self.config.documents.strip() and not unknown else ()

    def training(self) -> TrainConfig:
        """The settings of the arm's training, on its pairs."""
        return replace(
            self.arm.train,
            model=self.config.model,
            seed=self.seed,
            **{self.arm.train.kind: str(self.folder / "pairs" / PAIRS)},
        )

    def preferences(self) -> dict[str, float]:
        """Preferences by probe; after the stage `measured`."""
        return read_preferences(self.folder / MEASURED)

    def answers(self) -> list[dict[str, Any]]:
        """`{id, answer, ...}` of each free answer, after the stage `answers`."""
        return [record for _, record in read_jsonl(self.folder / ANSWERS / "answers.jsonl")]

    def capability(self) -> dict[str, Any] | None:
        """What `launch.capability` reports, after its stage; None where there is no such stage."""
        path = self.folder / CAPABILITY / RESULT
        return read_json(path) if path.is_file() else None

    def document_scores(self, lang: Language) -> list[dict[str, Any]]:
        """`{id, nats, tokens}` of each document, after its stage."""
        return read_json(self.folder / f"{DOCUMENTS}_{lang}" / SCORES)

    def _stage(self, name: str, do: Callable[[], None]) -> Stage:
        folder = (self.folder / name).relative_to(self.experiment.workdir)
        return Stage(folder.as_posix(), do)

    def _write_pairs(self) -> None:
        kind, folder = self.arm.train.kind, self.folder / "pairs"
        self.experiment.write_pairs(self.arm.data, kind, folder, self.seed)

    def _train(self) -> None:
        train(self.training(), self.folder / "train")

    def _measure(self) -> None:
        self.experiment.measure(self.model, self.folder / MEASURED, persona=self.arm.persona)

    def _measure_capability(self) -> None:
        measure_tasks(self.config, self.config, self.model, self.folder / CAPABILITY)

    def _score(self, lang: Language) -> None:
        config = self.config
        settings = DocumentSettings(
            config.documents, lang, config.document_tokens, config.on_bad_record
        )
        score_documents(settings, self.model, self.folder / f"{DOCUMENTS}_{lang}")

    def _answer(self) -> None:
        config, folder, persona = self.config, self.folder / ANSWERS, self.arm.persona
        settings = {"answers": config.answers, "answer_tokens": config.answer_tokens}
        settings |= {"model": self.model, "persona": persona}
        run = Run(ANSWERS, folder, settings, seed=config.seed)
        if run.is_finished():
            return
        probes = answered(self.experiment, config.answers)
        # Nobody judges here, so that the family is only a word.
        roles, parents = open_roles({MODEL: RoleSpec(self.model, MODEL)}, config, folder)
        with run.opened():
            write_sources(folder, models_of(roles))
            replies = roles[MODEL].ask([self._ask(probe) for probe in probes])
            write_jsonl(folder / "answers.jsonl", map(_answer_record, probes, replies))
            run.finish([*parents, *(charter_parents(config.charter) if persona else [])])

    def _ask(self, probe: Probe) -> Ask:
        system = self.experiment.system(probe.lang, self.arm.persona)
        [shown] = with_system([probe], system)
        return Ask(probe.id, shown.messages, self.config.answer_tokens, seed=self.config.seed)


def answered(experiment: Experiment, count: int) -> list[Probe]:
    """The probes that are answered freely: so many of each language, drawn among those that press
    to the false answer on held-out facts in held-out styles."""
    key = partial(derive_seed, experiment.config.seed, "answers")
    chosen: list[Probe] = []
    for lang in experiment.languages:
        pressed = [p for p in experiment.suite(lang)[HELD_OUT] if p.claimed == TO_FALSE]
        chosen += sorted(pressed, key=lambda probe: key(probe.id))[:count]
    return chosen


def _answer_record(probe: Probe, reply: Reply) -> dict[str, Any]:
    return {**asdict(probe), "answer": reply.text}
