"""The whole road: convert, train twice, attack, train on what came of it, measure, export, report.

Each stage is a run of its own in its own folder, and continues or is skipped when it is started
again; so the road continues wherever it was stopped.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from vcjax.adversarial.run import synthesize
from vcjax.charter.load import load_charter
from vcjax.charter.schema import Charter
from vcjax.data.importers import Records
from vcjax.evaluation.benchmark import load_benchmark
from vcjax.foundation.errors import GateNotMet
from vcjax.foundation.files import read_json, write_json
from vcjax.foundation.lineage import NAME, Parent, write_lineage
from vcjax.foundation.workdir import check_config, opened
from vcjax.road.config import RoadConfig
from vcjax.road.measure import measure
from vcjax.road.outcome import write_outcome
from vcjax.road.stages import convert, export
from vcjax.roles.opening import RoleSpec, family_of
from vcjax.train.run import train
from vcjax.train.sources import raw_records
from vcjax.weights.bundle import load_bundle

FOLDERS = ("model", "cpt", "sft", "before", "synthesis", "adversarial", "after", "export")
"""One folder a stage, in the order of the road."""
SECONDS = "seconds.json"


def drive(config: RoadConfig, workdir: str | Path) -> dict[str, Any]:
    """Drives the whole road and returns its summary.

    Raises:
      UserError: an input that doesn't hold; all are checked before the first stage starts.
      GateNotMet: no pair was accepted, so there is nothing to train on adversarially.
    """
    workdir, settings = Path(workdir), asdict(config)
    charter, family = _check(config, workdir, settings)
    if (workdir / NAME).is_file():
        print(f"{workdir}: already finished")
        return read_json(workdir / "summary.json")
    with opened(workdir, settings):
        path = {name: workdir / name for name in FOLDERS}
        model, tuned, aligned = (str(path[name]) for name in ("model", "sft", "adversarial"))
        clock = _Clock(workdir)

        clock.run("model", lambda: convert(config.model, path["model"]))
        cpt = replace(config.cpt, model=model)
        clock.run("cpt", lambda: train(cpt, path["cpt"]))
        sft = replace(config.sft, model=str(path["cpt"]))
        clock.run("sft", lambda: train(sft, path["sft"]))

        judge = replace(config.evaluation, judge=model, model_family=family, judge_family=family)
        clock.run("before", lambda: measure(replace(judge, model=model), path["before"]))

        synthesis = replace(
            config.synthesis,
            **{"attacker": model, "actor": tuned, "critic": model},
            **{"attacker_family": family, "actor_family": family, "critic_family": family},
        )
        counts = clock.run("synthesis", lambda: synthesize(synthesis, path["synthesis"]))
        if not counts["accepted"]:
            raise GateNotMet(
                f"{path['synthesis']}: none of {counts['attempts']} attempts was accepted; "
                "its summary.json says why; raise config.synthesis.attempts or name another model"
            )
        pairs = str(path["synthesis"] / "accepted.jsonl")
        adversarial = replace(config.adversarial, model=tuned, conversations=pairs)
        clock.run("adversarial", lambda: train(adversarial, path["adversarial"]))

        clock.run("after", lambda: measure(replace(judge, model=aligned), path["after"]))
        named = (config.model, config.charter)
        clock.run("export", lambda: export(path["adversarial"], path["export"], *named))

        found = (config, charter, family, clock.results, clock.seconds)
        summary = write_outcome(workdir, path, *found)
        parents = [Parent.of(name, path[name]) for name in FOLDERS]
        write_lineage(workdir, kind="demo", parents=parents, config=settings, seed=config.seed)
    return summary


class _Clock:
    """Runs the stages, says which one, and keeps their results and seconds over restarts."""

    def __init__(self, workdir: Path) -> None:
        self._path = workdir / SECONDS
        self.seconds: dict[str, float] = read_json(self._path) if self._path.is_file() else {}
        self.results: dict[str, Any] = {}

    def run(self, name: str, stage: Callable[[], Any]) -> Any:
        print(f"[{FOLDERS.index(name) + 1}/{len(FOLDERS)}] {name}", flush=True)
        start = time.monotonic()
        self.results[name] = stage()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start
        write_json(self._path, self.seconds)
        return self.results[name]


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
    check_config(workdir, settings)
    family = family_of(RoleSpec(config.model, config.family), "family")
    if not (workdir / "model" / NAME).is_file():
        load_bundle(config.model).require_tokenizer()
    return charter, family
