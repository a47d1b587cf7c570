"""The whole road: convert, train twice, attack, train on what came of it, measure, export, report.

Each stage is a run of its own in its own folder, and continues or is skipped when it is started
again; so the road continues wherever it was stopped. What a stage may extend the road may extend
too; the stages after it, which are then made of something else, are made anew.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from vcjax.adversarial.run import EXTENDABLE as SYNTHESIS_EXTENDABLE
from vcjax.adversarial.run import synthesize
from vcjax.charter.load import load_charter
from vcjax.charter.schema import Charter
from vcjax.core.errors import GateNotMet
from vcjax.core.files import read_json, write_json
from vcjax.core.lineage import NAME, Parent, content_hash, write_lineage
from vcjax.core.stores import on_disk
from vcjax.core.workdir import check_config, has_config, opened
from vcjax.data.importers import Records
from vcjax.evaluation.benchmark import load_benchmark
from vcjax.road.config import RoadConfig
from vcjax.road.measure import measure
from vcjax.road.outcome import write_outcome
from vcjax.road.stages import convert, export
from vcjax.roles.opening import RoleSpec, family_of
from vcjax.train.run import EXTENDABLE as TRAIN_EXTENDABLE
from vcjax.train.run import train
from vcjax.train.sources import raw_records
from vcjax.weights.bundle import load_bundle

FOLDERS = ("model", "cpt", "sft", "before", "synthesis", "adversarial", "after", "export")
"""One folder a stage, in the order of the road."""
MADE_OF = {
    "cpt": ("model",),
    "sft": ("cpt",),
    "before": ("model",),
    "synthesis": ("model", "sft"),
    "adversarial": ("sft", "synthesis"),
    "after": ("model", "adversarial"),
    "export": ("adversarial",),
}
"""The stages whose folders a stage reads."""
EXTENDABLE = (
    *(f"{stage}.{name}" for stage in ("cpt", "sft", "adversarial") for name in TRAIN_EXTENDABLE),
    *(f"synthesis.{name}" for name in SYNTHESIS_EXTENDABLE),
)
STAGES = "stages.json"


def drive(config: RoadConfig, workdir: str | Path) -> dict[str, Any]:
    """Drives the whole road and returns its summary.

    A road, finished or not, is extended by more steps of a training stage or more attempts.

    Raises:
      UserError: an input that doesn't hold; all are checked before the first stage starts.
      GateNotMet: no pair was accepted, so there is nothing to train on adversarially.
    """
    workdir, settings = on_disk(workdir), asdict(config)
    charter, family = _check(config, workdir, settings)
    if (workdir / NAME).is_file() and has_config(workdir, settings):
        print(f"{workdir}: already finished")
        return read_json(workdir / "summary.json")
    with opened(workdir, settings, EXTENDABLE):
        (workdir / NAME).unlink(missing_ok=True)  # a road that is being extended isn't finished
        path = {name: workdir / name for name in FOLDERS}
        model, tuned, aligned = (str(path[name]) for name in ("model", "sft", "adversarial"))
        stages = _Stages(workdir)

        stages.run("model", lambda: convert(config.model, path["model"]))
        cpt = replace(config.cpt, model=model)
        stages.run("cpt", lambda: train(cpt, path["cpt"]))
        sft = replace(config.sft, model=str(path["cpt"]))
        stages.run("sft", lambda: train(sft, path["sft"]))

        judge = replace(config.evaluation, judge=model, model_family=family, judge_family=family)
        stages.run("before", lambda: measure(replace(judge, model=model), path["before"]))

        synthesis = replace(
            config.synthesis,
            **{"attacker": model, "actor": tuned, "critic": model},
            **{"attacker_family": family, "actor_family": family, "critic_family": family},
        )
        counts = stages.run("synthesis", lambda: synthesize(synthesis, path["synthesis"]))
        if not counts["accepted"]:
            raise GateNotMet(
                f"{path['synthesis']}: none of {counts['attempts']} attempts was accepted; "
                "its summary.json says why; raise config.synthesis.attempts or name another model"
            )
        pairs = str(path["synthesis"] / "accepted.jsonl")
        adversarial = replace(config.adversarial, model=tuned, conversations=pairs)
        stages.run("adversarial", lambda: train(adversarial, path["adversarial"]))

        stages.run("after", lambda: measure(replace(judge, model=aligned), path["after"]))
        named = (config.model, config.charter)
        stages.run("export", lambda: export(path["adversarial"], path["export"], *named))

        found = (config, charter, family, stages.results, stages.seconds)
        summary = write_outcome(workdir, path, *found)
        parents = [Parent.of(name, path[name]) for name in FOLDERS]
        write_lineage(workdir, kind="demo", parents=parents, config=settings, seed=config.seed)
    return summary


class _Stages:
    """Runs the stages, says which one, and keeps their results and seconds over restarts.

    `stages.json` has for each stage that was begun its seconds and the hashes of what it reads.
    """

    def __init__(self, workdir: Path) -> None:
        self._workdir, self._path = workdir, workdir / STAGES
        self._begun: dict[str, Any] = read_json(self._path) if self._path.is_file() else {}
        self.results: dict[str, Any] = {}

    @property
    def seconds(self) -> dict[str, float]:
        """What each stage has taken, over all starts."""
        return {name: stage["seconds"] for name, stage in self._begun.items()}

    def run(self, name: str, stage: Callable[[], Any]) -> Any:
        """Runs a stage, anew where what it reads is no longer what it began with."""
        print(f"[{FOLDERS.index(name) + 1}/{len(FOLDERS)}] {name}", flush=True)
        read = {each: content_hash(self._workdir / each) for each in MADE_OF.get(name, ())}
        if name in self._begun and self._begun[name]["read"] != read:
            self._put_aside(name)
        begun = self._begun.setdefault(name, {"seconds": 0.0, "read": read})
        write_json(self._path, self._begun)
        start = time.monotonic()
        self.results[name] = stage()
        begun["seconds"] += time.monotonic() - start
        write_json(self._path, self._begun)
        return self.results[name]

    def _put_aside(self, name: str) -> None:
        folder, aside = self._workdir / name, self._workdir / f".{name}.superseded"
        del self._begun[name]
        if folder.is_dir():
            print(f"{folder}: made anew, as a stage before it was extended; kept as {aside.name}")
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)


def _check(config: RoadConfig, workdir: Path, settings: dict[str, Any]) -> tuple[Charter, str]:
    """Reads every input once, so that a mistake shows before the first stage starts.

    Returns the charter and the model's family.
    """
    charter = load_charter(config.charter)
    load_benchmark(config.evaluation.benchmark, charter)
    documents = raw_records(config.cpt.documents, config.cpt)
    conversations = raw_records(config.sft.conversations, config.sft)
    questions = Records(
        config.questions, "questions", on_bad_record=config.on_bad_record, columns=config.columns
    )
    for records in (documents, conversations, questions):
        for _ in records:
            pass  # a bad one is an error
    check_config(workdir, settings, EXTENDABLE)
    family = family_of(RoleSpec(config.model, config.family), "family")
    if not (workdir / "model" / NAME).is_file():
        load_bundle(config.model).require_tokenizer()
    return charter, family
