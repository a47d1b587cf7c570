"""The pressure experiment: does adversarial data make a model keep what it knows, and at what cost?

    knowledge -> attacks, where there is an Attacker
              -> for each seed and arm:  pairs -> train -> measured | answers -> summary, report
              -> each of them trained further, where `half_life.steps` asks for it

Each stage is a run in a folder of its own, so the experiment continues wherever it was stopped.
"""

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

from vcjax.adversarial.pressure.pairs import DATA
from vcjax.charter.load import charter_parents, load_charter
from vcjax.core.files import hash_text, read_jsonl, write_json, write_jsonl, write_text
from vcjax.core.lineage import stage_lineages, stage_parents
from vcjax.core.run import SUMMARY, Run, Stage, explained
from vcjax.core.stores import on_disk
from vcjax.report.pressure.report import pressure_markdown, write_pressure_report
from vcjax.road.commits import at_commits
from vcjax.road.pressure.arms import PressureRun
from vcjax.road.pressure.attacks import ATTACKS, attacks_summary, check_attacks, write_attacks
from vcjax.road.pressure.capability import check_capability
from vcjax.road.pressure.config import PressureConfig
from vcjax.road.pressure.experiment import KNOWLEDGE, MODEL, Experiment
from vcjax.road.pressure.half_life import HALF_LIFE, fine_tunings, half_lives, ordinary
from vcjax.road.pressure.outside import OUTSIDE, OutsideFacts
from vcjax.road.pressure.summary import summarise
from vcjax.text.language import Language
from vcjax.weights.workdir import write_sources

READINGS = "readings.jsonl"
"""One line each time that the results were read: `{time, part, contrasts, config}`, the last as the
hash of all that results depend on."""
_ABOUT = {
    "knowledge": "finds the facts that the base model knows",
    "attacks": "has a model write messages that press such facts",
    "pairs": "writes the pairs that the arm is trained on",
    "train": "trains on them",
    "measured": "measures which facts are given up under pressure",
    "answers": "has pressed questions answered freely",
    "documents_en": "scores English documents that nothing was trained on",
    "documents_zh": "scores Chinese documents that nothing was trained on",
    "capability": "does tasks of lm-eval",
    "outside": "measures published facts under published pressure",
    "examples": "writes examples for further training",
    "step": "measures what further training has left",
}
"""What each kind of stage does, for a person who waits."""


def measure_pressure(config: PressureConfig, workdir: str | Path) -> dict[str, Any]:
    """Runs every arm; writes `summary.json`, `table.md`, `report.html` and lineage.

    A finished experiment is extended by more `seeds` or more arms, and gets its report anew in
    another `language`.

    Returns:
      The summary.

    Raises:
      UserError: an input that can't be used; all are checked before the first stage starts.
      GateNotMet: the base model knows its facts in none of the languages.
    """
    run = Run(
        "pressure",
        on_disk(workdir),
        asdict(config),
        seed=config.seed,
        extendable=["seeds"],
        # The stages record what is theirs of the arms and of their half-lives.
        free=["arms", "contrasts", HALF_LIFE, "language"],
    )
    if (summary := run.finished()) is not None:
        return summary
    # A bad fact or style shows before the first stage starts.
    _outside(config, Experiment(config, run.workdir))
    charter = load_charter(config.charter)
    if config.attacker:
        check_attacks(config)
    check_capability(config)
    if config.half_life.steps:
        ordinary(config.half_life.files, config.half_life.pairs, config.langs, config.seed)
    found, models = at_commits(
        {MODEL: config.model}, run.workdir, begins=not (run.workdir / KNOWLEDGE).is_dir()
    )
    with run.opened() as folder:
        write_sources(folder, models)
        config = replace(config, model=found[MODEL])
        experiment = Experiment(config, folder)
        outside = _outside(config, experiment)

        def know() -> None:
            experiment.find_knowledge()
            experiment.check_knowledge()

        stages = [Stage(KNOWLEDGE, know)]
        if config.attacker:
            made = [arm for arm in config.arms if arm.data in DATA]
            taught = [
                (arm.data, config.seed + number)
                for number in range(config.seeds)
                for arm in made
                if number < arm.runs(config.seeds)
            ]
            stages.append(Stage(ATTACKS, partial(write_attacks, experiment, taught)))
        arms: dict[str, list[PressureRun]] = {arm.name: [] for arm in config.arms}
        for number in range(config.seeds):
            for arm in config.arms:
                # Seed by seed and not arm by arm: what is stopped early has the first seeds of all
                # arms.
                if number < arm.runs(config.seeds):
                    own = PressureRun(config, experiment, arm, number, outside)
                    arms[arm.name].append(own)
                    stages += own.stages()
        tuned = [each for own in arms.values() for each in fine_tunings(own)]
        stages += [stage for each in tuned for stage in each.stages()]
        run.do(explained(stages, _ABOUT))

        readings = _log_reading(folder, config)
        summary = summarise(config, charter, experiment, arms, run.seconds, readings)
        if config.attacker:
            summary[ATTACKS] = attacks_summary(experiment)
        if outside is not None:
            folders = {name: [each.folder / OUTSIDE for each in own] for name, own in arms.items()}
            summary[OUTSIDE] = outside.summary(folders[config.base.name][0], folders)
        if tuned:
            summary[HALF_LIFE] = half_lives(experiment, config, arms)
        names = [each.name for each in stages]
        write_json(folder / SUMMARY, summary)
        write_text(folder / "table.md", pressure_markdown(summary))
        write_pressure_report(
            folder / "report.html",
            summary=summary,
            lineage=stage_lineages(folder, names),
            language=cast(Language, config.language),
        )
        run.finish([*stage_parents(folder, names), *charter_parents(config.charter)])
    return summary


def _outside(config: PressureConfig, experiment: Experiment) -> OutsideFacts | None:
    return OutsideFacts(config, experiment) if config.outside.strip() else None


def _log_reading(folder: Path, config: PressureConfig) -> int:
    """Records that the results are read now; returns how often they have been.

    Whoever tunes settings by what the test part shows leaves a trace of it. The same results in
    another language are read no more often.
    """
    path = folder / READINGS
    known = [record for _, record in read_jsonl(path)] if path.is_file() else []
    read = hash_text(json.dumps(asdict(replace(config, language="en"))))
    if any(record.get("config") == read for record in known):
        return len(known)
    reading = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "part": config.part,
        "contrasts": json.loads(json.dumps(config.contrasts)),
        "config": read,
    }
    write_jsonl(path, [*known, reading])
    return len(known) + 1
