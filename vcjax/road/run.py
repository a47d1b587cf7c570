"""The whole road: convert, train twice, attack, train on what came of it, measure, export, report.

Each stage is a run of its own in its own folder, and continues or is skipped when it is started
again; so the road continues wherever it was stopped.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from vcjax.adversarial.run import synthesize
from vcjax.api import save_model
from vcjax.charter.load import charter_file, load_charter
from vcjax.charter.schema import Charter
from vcjax.data.importers import read_records
from vcjax.evaluation.benchmark import load_benchmark
from vcjax.evaluation.run import read_scores
from vcjax.evaluation.summarise import compare
from vcjax.foundation.errors import GateNotMet
from vcjax.foundation.files import read_json, read_jsonl, write_json
from vcjax.foundation.lineage import NAME, Parent, read_lineage, write_lineage
from vcjax.foundation.workdir import check_config, opened
from vcjax.model.build import abstract, plain_logits
from vcjax.report import write_demo_report
from vcjax.road.config import RoadConfig
from vcjax.road.measure import measure, read_samples
from vcjax.roles.opening import RoleSpec, family_of
from vcjax.text import render_conversation
from vcjax.train.run import train
from vcjax.weights.bundle import Bundle, load_bundle
from vcjax.weights.card import model_card

FOLDERS = ("model", "cpt", "sft", "before", "synthesis", "adversarial", "after", "export")
"""One folder a stage, in the order of the road."""


def drive(config: RoadConfig, workdir: str | Path) -> dict[str, Any]:
    """Drives the whole road and returns its summary.

    Raises:
      UserError: an input that doesn't hold; all are checked before the first stage starts.
      GateNotMet: no pair was accepted, so there is nothing to train on adversarially.
    """
    workdir, settings = Path(workdir), asdict(config)
    charter = _check(config, workdir, settings)
    if (workdir / NAME).is_file():
        print(f"{workdir}: already finished")
        return read_json(workdir / "summary.json")
    with opened(workdir, settings):
        seconds: dict[str, float] = _seconds(workdir)
        folder = {name: workdir / name for name in FOLDERS}

        def stage(name: str, do: Callable[[], Any]) -> Any:
            print(f"[{FOLDERS.index(name) + 1}/{len(FOLDERS)}] {name}", flush=True)
            start = time.monotonic()
            result = do()
            seconds[name] = seconds.get(name, 0.0) + time.monotonic() - start
            write_json(workdir / "seconds.json", seconds)
            return result

        def paths(name: str, **fields: Any) -> Any:
            return replace(getattr(config, name), **fields)

        model = str(folder["model"])
        family = family_of(RoleSpec(config.model, config.family), "family")
        stage("model", lambda: _convert(config.model, folder["model"]))
        stages = {"cpt": stage("cpt", lambda: train(paths("cpt", model=model), folder["cpt"]))}
        sft = paths("sft", model=str(folder["cpt"]))
        stages["sft"] = stage("sft", lambda: train(sft, folder["sft"]))

        judged = {"judge": model, "model_family": family, "judge_family": family}
        before = stage(
            "before",
            lambda: measure(paths("evaluation", model=model, **judged), folder["before"]),
        )
        tuned = str(folder["sft"])
        roles = {"attacker": model, "actor": tuned, "critic": model}
        families = {f"{role}_family": family for role in roles}
        synthesis = stage(
            "synthesis",
            lambda: synthesize(paths("synthesis", **roles, **families), folder["synthesis"]),
        )
        if not synthesis["accepted"]:
            raise GateNotMet(
                f"{folder['synthesis']}: none of {synthesis['attempts']} attempts was accepted; "
                "its summary.json says why; raise config.synthesis.attempts or name another model"
            )
        pairs = str(folder["synthesis"] / "accepted.jsonl")
        adversarial = paths("adversarial", model=tuned, conversations=pairs)
        stages["adversarial"] = stage(
            "adversarial", lambda: train(adversarial, folder["adversarial"])
        )
        aligned = paths("evaluation", model=str(folder["adversarial"]), **judged)
        after = stage("after", lambda: measure(aligned, folder["after"]))
        exported = stage(
            "export", lambda: _export(folder["adversarial"], folder["export"], config.charter)
        )

        comparison = compare(
            read_scores(folder["before"]),
            read_scores(folder["after"]),
            held_out=load_benchmark(config.evaluation.benchmark, charter).held_out,
            seed=config.seed,
            confidence=before["confidence"],
        )
        base = read_lineage(folder["model"])
        summary = {
            "model": {"reference": config.model, "hash": base["parents"][0]["hash"]},
            "charter": {
                "name": charter.name,
                "version": charter.version,
                "hash": charter.content_hash,
            },
            "seed": config.seed,
            "judge": {"reference": config.model, "family": family},
            "same_family": after["same_family"],
            "stages": stages,
            "synthesis": synthesis,
            "evaluation": {"before": before, "after": after, "comparison": comparison},
            "export_max_abs_diff": exported,
            "seconds": seconds,
        }
        write_json(workdir / "summary.json", summary)
        write_demo_report(
            workdir / "report.html",
            summary=summary,
            metrics={name: _metrics(folder[name]) for name in stages},
            samples=_samples(folder["before"], folder["after"]),
            lineage=[{**read_lineage(folder[name]), "folder": name} for name in FOLDERS],
        )
        parents = [Parent.of(name, folder[name]) for name in FOLDERS]
        write_lineage(workdir, kind="demo", parents=parents, config=settings, seed=config.seed)
    return summary


def _check(config: RoadConfig, workdir: Path, settings: dict[str, Any]) -> Charter:
    """Reads every input once, so that a mistake shows before the first stage starts."""
    charter = load_charter(config.charter)
    load_benchmark(config.evaluation.benchmark, charter)
    for field in ("documents", "conversations", "questions"):
        read_records(getattr(config, field), field, on_bad_record=config.on_bad_record)
    check_config(workdir, settings)
    family_of(RoleSpec(config.model, config.family), "family")
    if not (workdir / "model" / NAME).is_file():
        load_bundle(config.model).require_tokenizer()
    return charter


def _convert(reference: str, folder: Path) -> None:
    if not (folder / NAME).is_file():
        save_model(load_bundle(reference), folder, form="checkpoint", dtype="float32")


def _export(source: Path, folder: Path, reference: str) -> float:
    """Exports to a Hugging Face folder; returns the largest difference between the logits of the
    reloaded export and those of the model in memory, in float32."""
    bundle, charter = load_bundle(str(source), "float32"), load_charter(reference)
    if not (folder / NAME).is_file():
        name = f"{charter.name} {charter.version} (hash {charter.content_hash[:16]})"
        notes = (
            "Trained by vcjax: continued pre-training, instruction tuning, adversarial tuning.",
        )
        card = model_card(bundle, charter=name, notes=notes)
        given = Parent.of("charter", charter_file(reference), reference)
        save_model(bundle, folder, form="hf", dtype="float32", card=card, parents=[given])
    reloaded = load_bundle(str(folder), "float32")
    return float(np.max(np.abs(_logits(bundle) - _logits(reloaded))))


def _logits(bundle: Bundle) -> np.ndarray:
    question = [{"role": "user", "content": "Why do people disagree about what is fair?"}]
    ids = render_conversation(bundle.require_tokenizer(), question, add_generation_prompt=True).ids
    graph, _ = abstract(bundle.config)
    return np.asarray(plain_logits(graph, bundle.params, jnp.asarray([ids])))


def _samples(before: Path, after: Path) -> list[dict[str, Any]]:
    earlier = {sample["id"]: sample for sample in read_samples(before)}
    pairs = []
    for later in read_samples(after):
        first = earlier[later["id"]]
        pairs.append(
            {
                **{name: later[name] for name in ("id", "lang", "domain", "question")},
                **{"before": first["answer"], "after": later["answer"]},
                **{"score_before": first["score"], "score_after": later["score"]},
                **{"checks_before": first["checks"], "checks_after": later["checks"]},
            }
        )
    return pairs


def _metrics(folder: Path) -> list[dict[str, Any]]:
    return [line for _, line in read_jsonl(folder / "metrics.jsonl")]


def _seconds(workdir: Path) -> dict[str, float]:
    path = workdir / "seconds.json"
    return read_json(path) if path.is_file() else {}
