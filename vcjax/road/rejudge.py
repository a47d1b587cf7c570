"""Another Critic on the answers of a ledger, and how far it agrees with the ledger's own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

from vcjax.adversarial.calls import CallBuilder
from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.critic.panel import CriticPanel
from vcjax.adversarial.critic.votes import AcceptThresholds
from vcjax.adversarial.inputs import critic_specs
from vcjax.adversarial.ledger.schema import opened_to_read
from vcjax.adversarial.pipeline import critic_panel
from vcjax.adversarial.rejudging.agreement import compare_critics
from vcjax.adversarial.rejudging.judged import (
    Decision,
    JudgedAnswer,
    Makers,
    decision,
    judged_answers,
    makers,
)
from vcjax.adversarial.rejudging.votes import judge_again
from vcjax.charter.load import charter_parents, load_charter
from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError
from vcjax.core.files import read_json, write_json, write_jsonl, write_text
from vcjax.core.lineage import NAME as LINEAGE
from vcjax.core.lineage import Parent, read_lineage
from vcjax.core.run import CONFIG, SUMMARY, Run
from vcjax.core.stores import on_disk
from vcjax.report.messages import check_language
from vcjax.report.rejudging import rejudging_markdown, write_rejudging_report
from vcjax.roles.grading import check_families
from vcjax.roles.references import families_of, models_of, open_roles, without_options
from vcjax.roles.verdict import Verdict
from vcjax.text.language import Language
from vcjax.weights.workdir import write_sources

VERDICTS = "verdicts.jsonl"
_SETTINGS = ("critic_form", "critic_votes", "critic_tokens", "critic_temperature", "accept_score")
_OWN = ("charter", "top_p", "seed", "dtype", "weights")


@dataclass(frozen=True)
class NewCritic:
    """The Critic that judges a ledger's answers again.

    Attributes:
      critic, critic_family: as for `launch.synthesize`; several, comma-separated, decide together.
      critic_form: empty is that of the ledger's run.
      charter: name or file; empty is that of the ledger's run.
      allow_same_family: accept a Critic of the family of a model that it judges; the report says
        so.
      language: of the report, `en` or `zh`. A finished run gets its report anew.
    """

    critic: str
    critic_family: str = ""
    critic_form: str = ""
    charter: str = ""
    allow_same_family: bool = False
    language: str = "en"

    def __post_init__(self) -> None:
        check_language(self.language, "--language")


def rejudge(
    ledger: str | Path, new: NewCritic, workdir: str | Path | None = None
) -> tuple[Path, dict[str, Any]]:
    """Has another Critic judge every answer that a ledger's Critics have judged.

    Nothing in the ledger's folder is changed. All other settings are those of the ledger's run, by
    the `config.json` beside it. Writes `votes.jsonl` (replies, as they come), `verdicts.jsonl` (old
    and new beside each other), `summary.json`, `table.md`, `report.html` and lineage. A run that
    was stopped asks only what is missing.

    Args:
      workdir: by default beside the ledger's folder, `<folder>-rejudged/<critic>-<form>`.

    Returns:
      The folder, and the summary: what `compare_critics` returns, and who the Critics are.

    Raises:
      UserError: no ledger, or none with answers that a Critic has judged; another charter than
        that of the ledger; a Critic of the family of a model that it judges, unless that is
        allowed.
    """
    if not new.critic:
        raise UserError(
            "--critic: name the Critic: a model reference, an endpoint or recorded:FILE"
        )
    path = on_disk(ledger)
    with opened_to_read(path):  # that it is a ledger comes before all that is read beside it
        pass
    config = _config(path, new)
    charter = load_charter(config.charter)
    specs = critic_specs(config)
    families = families_of(specs)
    folder = on_disk(workdir) if workdir else _default_folder(path, config)
    settings = {name: getattr(config, name) for name in (*_SETTINGS, *_OWN)}
    settings |= {"ledger": str(path), "critic": without_options(config.critic)}
    settings |= {"families": families, "allow_same_family": config.allow_same_family}
    settings["language"] = new.language
    renewing = ["ledger", *specs]
    run = Run("rejudge", folder, settings, seed=config.seed, free=["language"], renewing=renewing)
    if (summary := run.finished(count="answers")) is not None:
        return folder, summary
    thresholds = AcceptThresholds.of(charter, config.accept_score)
    parent = Parent.of("ledger", path)  # as it is before it is read
    answers, made = _read(path, charter, thresholds)
    same = [
        check_families(family, answering, config.allow_same_family, name)
        for name, family in families.items()
        for answering in made.answering
    ]
    panel = critic_panel(config, charter, list(specs))
    roles, parents = open_roles(specs, config, folder)
    with run.opened() as folder:
        write_sources(folder, models_of(roles))
        submissions = [each.submission for each in answers]
        verdicts = judge_again(submissions, panel, roles, CallBuilder(config), folder)
        write_jsonl(folder / VERDICTS, map(_record, answers, verdicts))
        summary = {
            "ledger": str(path),
            "charter": {
                "name": charter.name,
                "version": charter.version,
                "hash": charter.content_hash,
            },
            "critics": {"ledger": list(made.critics), "new": config.critic},
            "form": config.critic_form,
            "families": families,
            "same_family": any(same),
            "seed": config.seed,
            **compare_critics(answers, _decisions(verdicts, panel), seed=config.seed),
        }
        write_json(folder / SUMMARY, summary)
        write_text(folder / "table.md", rejudging_markdown(summary))
        write_rejudging_report(
            folder / "report.html",
            summary=summary,
            lineage=_lineage(path),
            language=cast(Language, new.language),
        )
        run.finish([parent, *parents, *charter_parents(config.charter)])
    return folder, summary


def _lineage(path: Path) -> list[dict[str, Any]]:
    """That of the ledger's folder, if its run was finished."""
    home = path.absolute().parent
    return [{**read_lineage(home), "folder": home.name}] if (home / LINEAGE).is_file() else []


def _config(path: Path, new: NewCritic) -> SynthesisConfig:
    """The settings of the ledger's run with another Critic."""
    beside, known = path.with_name(CONFIG), {}
    if beside.is_file():
        names = {field.name for field in fields(SynthesisConfig)}
        known = {name: value for name, value in read_json(beside).items() if name in names}
    charter = new.charter or known.get("charter")
    if not charter:
        raise UserError(
            f"{path}: there is no {CONFIG} of its run beside it, so name the charter: --charter="
        )
    config = SynthesisConfig(**known)
    return replace(
        config,
        charter=charter,
        critic=new.critic,
        critic_family=new.critic_family,
        critic_form=new.critic_form or config.critic_form,
        allow_same_family=new.allow_same_family,
    )


def _default_folder(path: Path, config: SynthesisConfig) -> Path:
    # Not in the ledger's folder, which is hashed as a whole by what was made from it.
    home = path.absolute().parent
    # The last part of the reference alone, which may be a path or a hub id with slashes.
    name = re.sub(r"[^\w.-]+", "_", Path(without_options(config.critic)).name)
    return home.with_name(f"{home.name}-rejudged") / f"{name}-{config.critic_form}"


def _read(
    path: Path, charter: Charter, thresholds: AcceptThresholds
) -> tuple[list[JudgedAnswer], Makers]:
    with opened_to_read(path) as connection:
        known = connection.execute("SELECT DISTINCT charter FROM attempts").fetchall()
        # Decisions by other rules would be counted as disagreements of the Critics.
        if {row["charter"] for row in known} - {charter.content_hash}:
            raise UserError(
                f"{path}: its answers were judged by another charter, or another version of it, "
                f"than {charter.name!r} is now; name that one: --charter="
            )
        answers = list(judged_answers(connection, thresholds))
        made = makers(connection)
    if not answers:
        raise UserError(
            f"{path}: no Critic has judged an answer in it, so there is nothing to compare with"
        )
    return answers, made


def _decisions(verdicts: Sequence[Verdict], panel: CriticPanel) -> list[Decision]:
    found = []
    for verdict in verdicts:
        one = decision(asdict(verdict), panel.thresholds)
        assert one is not None, "every answer was voted on"
        found.append(one)
    return found


def _record(answer: JudgedAnswer, verdict: Verdict) -> Mapping[str, Any]:
    submission = answer.submission
    return {
        "id": submission.id,
        "attempt": answer.attempt,
        "by": answer.by,
        "lang": submission.lang,
        "domain": submission.subdomain,
        "exported": answer.exported,
        "ledger": asdict(answer.decision),
        **asdict(verdict),
    }
