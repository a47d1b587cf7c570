"""The whole road: convert, train twice, attack, train on the accepted pairs, evaluate, export.

Beside the accepted pairs the model is trained on facts that it knows, pressed in both directions.
The evaluation is made before and after the training, and so is the measure of facts that are given
up under pressure (`vcjax.road.pressure`); `report.html` compares them. What a stage
lets the user raise (steps, attempts) the whole lets them raise too: the stages after it, which are
then made of something else, are made anew.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import jax.numpy as jnp
import numpy as np

from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.inputs import read_inputs
from vcjax.adversarial.pressure.pairs import ADVERSARIAL
from vcjax.adversarial.run import synthesize
from vcjax.charter.load import load_charter
from vcjax.charter.schema import Charter
from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.files import write_json
from vcjax.core.lineage import NAME as LINEAGE
from vcjax.core.lineage import stage_lineages, stage_parents
from vcjax.core.run import SUMMARY, Run, Stage, explained
from vcjax.core.stores import on_disk, short_name
from vcjax.data.importers import Records
from vcjax.evaluation.benchmark import load_benchmark
from vcjax.model.build import abstract, plain_logits
from vcjax.report import write_demo_report
from vcjax.road.demo.config import EXTENDABLE, TRAINED, DemoConfig
from vcjax.road.demo.summary import metric_lines, paired_answers, summarise
from vcjax.road.evaluate import run_evaluation
from vcjax.road.pressure.config import CONVERSATIONS
from vcjax.road.pressure.experiment import PAIRS, Experiment
from vcjax.roles.references import RoleSpec, family_of
from vcjax.text.language import Language
from vcjax.text.rendering import render_prompt
from vcjax.train.data import raw_records
from vcjax.train.loop import train
from vcjax.weights.card import model_card
from vcjax.weights.export import save_model
from vcjax.weights.load import load_model, open_located
from vcjax.weights.model import LoadedModel
from vcjax.weights.resolve import resolve

_ABOUT = {
    "model": "converts the base model",
    "cpt": "continues its pre-training on the documents",
    "sft": "tunes it on the conversations",
    "before": "asks the base model the benchmark's questions and judges its answers",
    "synthesis": "attacks the tuned model and has its answers judged",
    "knowledge": "finds the facts that the base model knows",
    "facts": "writes pairs in which a user presses such facts",
    "pressed_before": "measures which of them the base model gives up under pressure",
    "adversarial": "trains on the accepted pairs and the pressed facts",
    "after": "asks the trained model the benchmark's questions and judges its answers",
    "pressed_after": "measures which facts the trained model gives up under pressure",
    "export": "writes the trained model as a Hugging Face folder, and reads it back",
}
"""What each stage does, for a person who waits."""
FOLDERS = tuple(_ABOUT)
"""One folder a stage, in the order of the road."""


def run_demo(config: DemoConfig, workdir: str | Path) -> dict[str, Any]:
    """Does all stages; writes `summary.json`, `report.html` and lineage; returns the summary.

    A demo, finished or not, is extended by more steps of a training stage or more attempts.

    Raises:
      UserError: an input that can't be used; all are checked before the first stage starts.
      GateNotMet: no pair was accepted, so there is nothing to train on adversarially.
    """
    run = Run(
        "demo",
        on_disk(workdir),
        asdict(config),
        seed=config.seed,
        extendable=EXTENDABLE,
        free=("language",),
    )
    if (summary := run.finished()) is not None:
        return summary
    charter, family = _check_inputs(config, run.workdir)
    with run.opened() as folder:
        folders = {name: folder / name for name in FOLDERS}
        results = run.do(_stages(config, family, folders))
        summary = summarise(config, charter, family, folders, results)
        summary["seconds"] = run.seconds
        write_json(folder / SUMMARY, summary)
        write_demo_report(
            folder / "report.html",
            summary=summary,
            metrics={name: metric_lines(folders[name]) for name in TRAINED},
            samples=paired_answers(folders["before"], folders["after"]),
            lineage=stage_lineages(folder, FOLDERS),
            language=cast(Language, config.language),
        )
        run.finish(stage_parents(folder, FOLDERS))
    return summary


def _stages(config: DemoConfig, family: str, folders: Mapping[str, Path]) -> list[Stage]:
    model, tuned, aligned = (str(folders[name]) for name in ("model", "sft", "adversarial"))
    cpt = replace(config.cpt, model=model)
    sft = replace(config.sft, model=str(folders["cpt"]))
    synthesis = _synthesis(config, family, model, tuned)
    experiment = Experiment(replace(config.pressure, model=model), folders["knowledge"].parent)
    judged = replace(config.evaluation, judge=model, model_family=family, judge_family=family)
    before, after = replace(judged, model=model), replace(judged, model=aligned)

    def attack() -> dict[str, Any]:
        counts = synthesize(synthesis, folders["synthesis"])
        if not counts["accepted"]:
            raise GateNotMet(
                f"{folders['synthesis']}: none of {counts['attempts']} attempts was accepted; "
                "its summary.json says why; raise config.synthesis.attempts or name another model"
            )
        return counts

    def teach() -> None:
        experiment.write_pairs(ADVERSARIAL, CONVERSATIONS, folders["facts"], config.seed)

    def tune() -> dict[str, Any]:
        pairs = [folders["synthesis"] / "accepted.jsonl"]
        if experiment.languages:  # a model that only guesses facts has none to keep
            pairs.append(folders["facts"] / PAIRS)
        conversations = ",".join(map(str, pairs))
        settings = replace(config.adversarial, model=tuned, conversations=conversations)
        return train(settings, folders["adversarial"])

    def press(name: str, pressed: str) -> None:
        experiment.measure(pressed, folders[name])

    stages = [
        Stage("model", lambda: _convert(config.model, folders["model"])),
        Stage("cpt", lambda: train(cpt, folders["cpt"]), ("model",)),
        Stage("sft", lambda: train(sft, folders["sft"]), ("cpt",)),
        Stage("before", lambda: run_evaluation(before, folders["before"]), ("model",)),
        Stage("synthesis", attack, ("model", "sft")),
        Stage("knowledge", experiment.find_knowledge, ("model",)),
        Stage("facts", teach, ("knowledge",)),
        Stage("pressed_before", lambda: press("pressed_before", model), ("knowledge",)),
        Stage("adversarial", tune, ("sft", "synthesis", "facts")),
        Stage("after", lambda: run_evaluation(after, folders["after"]), ("model", "adversarial")),
        Stage("pressed_after", lambda: press("pressed_after", aligned), ("adversarial",)),
        Stage("export", lambda: _export(config, aligned, folders["export"]), ("adversarial",)),
    ]
    return explained(stages, _ABOUT)


def _synthesis(config: DemoConfig, family: str, model: str, tuned: str) -> SynthesisConfig:
    """Its config, where the base `model` attacks and judges what the `tuned` one answers."""
    return replace(
        config.synthesis,
        attacker=model,
        actor=tuned,
        critic=model,
        attacker_family=family,
        actor_family=family,
        critic_family=family,
    )


def _check_inputs(config: DemoConfig, workdir: Path) -> tuple[Charter, str]:
    """Reads every input once, so that a mistake shows before the first stage starts.

    Returns the charter and the model's family.
    """
    charter = load_charter(config.charter)
    load_benchmark(config.evaluation.benchmark, charter)
    Experiment(config.pressure, workdir)
    documents = raw_records(config.cpt.documents, config.cpt)
    conversations = raw_records(config.sft.conversations, config.sft)
    questions = Records(
        config.questions, "questions", on_bad_record=config.on_bad_record, columns=config.columns
    )
    for records in (documents, conversations, questions):
        for _ in records:
            pass  # a bad one is an error
    family = family_of(RoleSpec(config.model, config.family), "family")
    try:
        read_inputs(_synthesis(config, family, config.model, config.model))
    except UserError as error:  # names its fields without their section
        raise UserError(re.sub(r"^config\.", "config.synthesis.", str(error))) from None
    # Once converted, the model is read from the workdir, and the original may be gone.
    if not (workdir / "model" / LINEAGE).is_file():
        load_model(config.model).require_tokenizer()
    return charter, family


def _convert(reference: str, folder: Path) -> None:
    """Writes any model reference as a vcjax checkpoint in float32, unless it is there."""
    if not (folder / LINEAGE).is_file():
        model = open_located(resolve(reference))
        save_model(model, folder, form="checkpoint", dtype="float32")


def _export(config: DemoConfig, trained: str, folder: Path) -> float:
    """Exports the model of a training workdir to a Hugging Face folder, unless it is there.

    Returns the largest difference between the logits of the reloaded export and those of the model
    in memory, in float32.
    """
    loaded, charter = load_model(trained, "float32"), load_charter(config.charter)
    if not (folder / LINEAGE).is_file():
        notes = (
            f"Base model: `{config.model}`.",
            "Trained by vcjax: continued pre-training, instruction tuning, adversarial tuning.",
        )
        title = f"{short_name(config.model)}, aligned to the charter {charter.name}"
        card = model_card(loaded, title=title, notes=notes)
        save_model(loaded, folder, form="hf", dtype="float32", card=card)
    reloaded = load_model(str(folder), "float32")
    return float(np.max(np.abs(_logits(loaded) - _logits(reloaded))))


def _logits(loaded: LoadedModel) -> np.ndarray:
    question = [{"role": "user", "content": "Why do people disagree about what is fair?"}]
    ids = render_prompt(loaded.require_tokenizer(), question)
    graph, _ = abstract(loaded.config)
    return np.asarray(plain_logits(graph, loaded.params, jnp.asarray([ids])))
