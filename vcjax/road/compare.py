"""A comparison as a run: finished evaluations in, `comparison.json`, report and lineage out."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from vcjax.charter.load import SHIPPED, charter_parents, load_charter
from vcjax.core.errors import UserError
from vcjax.core.files import write_json
from vcjax.core.lineage import Parent
from vcjax.core.run import Run
from vcjax.core.stores import on_disk
from vcjax.evaluation.comparison.analysis import compare_runs
from vcjax.evaluation.comparison.comparable import with_checks, without_scores
from vcjax.evaluation.comparison.judge_errors import JudgeErrors
from vcjax.evaluation.comparison.logs.samples import LogOptions
from vcjax.evaluation.comparison.reading import read_runs
from vcjax.report.comparison import write_comparison_report
from vcjax.report.messages import check_language
from vcjax.text.language import Language

RESULT = "comparison.json"


@dataclass(frozen=True, kw_only=True)
class ComparisonConfig:
    """What `launch.compare` takes as flags.

    Attributes:
      runs: workdirs of finished evaluations, or logs of other tools; the first is the baseline.
      names: what the report calls them; empty takes those of their folders.
      charter: whose checks are run anew on the answers of all runs; empty takes those recorded.
      judge_errors: a file with the judge's measured sensitivity and specificity.
      metric: of logs, the score that is compared.
      domain_field, language_field: of logs, the fields of a sample that have its domain and its
        language.
      parallel_field: of logs, the field that versions of a sample in several languages share.
      scale: of logs, the ends of the scale as `LOW,HIGH`; empty takes 0,1 where all are within.
      confidence: of all intervals, and of the whole report where nothing changed.
      language: of the report, `en` or `zh`. A finished comparison gets its report anew.
      seed: of the intervals' draws.
    """

    runs: tuple[str, ...]
    names: tuple[str, ...] = ()
    charter: str = ""
    judge_errors: str = ""
    metric: str = ""
    domain_field: str = ""
    language_field: str = ""
    parallel_field: str = ""
    scale: tuple[str, ...] = ()
    confidence: float = 0.95
    language: str = "en"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise UserError(f"--confidence: {self.confidence} is not between 0 and 1")
        check_language(self.language, "--language")
        _ = self.log_options

    @property
    def log_options(self) -> LogOptions:
        """How logs are read. Raises: UserError for a scale that is none."""
        scale = None
        if self.scale:
            try:
                low, high = map(float, self.scale)
            except ValueError:
                low = high = 0.0
            if not low < high:
                raise UserError(f"--scale: {','.join(self.scale)!r} is not LOW,HIGH; e.g. 0,5")
            scale = (low, high)
        return LogOptions(
            metric=self.metric,
            domain=self.domain_field,
            language=self.language_field,
            parallel=self.parallel_field,
            scale=scale,
        )


def run_comparison(config: ComparisonConfig, workdir: str | Path) -> dict[str, Any]:
    """Compares finished runs; writes `comparison.json`, `report.html` and lineage.

    A run that has changed since is compared anew.

    Returns:
      The comparison; see `vcjax.evaluation.comparison.analysis.compare_runs`.

    Raises:
      UserError: runs that can't be read or compared, or the workdir of something else.
    """
    renewing = ["run", "judge_errors"]
    if config.charter not in ("", *SHIPPED):
        renewing.append("charter")
    run = Run(
        "compare",
        on_disk(workdir),
        asdict(config),
        seed=config.seed,
        free=["language"],
        renewing=renewing,
    )
    if (found := run.finished(result=RESULT)) is not None:
        return found
    charter = load_charter(config.charter) if config.charter else None
    runs = read_runs(config.runs, config.names, config.log_options)
    if charter is not None:
        # Before `with_checks`, which gives all of them the charter that was named.
        charters = {each.identity.get("charter") for each in runs} - {None}
        runs = [with_checks(each, charter) for each in runs]
        if len(charters) > 1:  # the judge has scored by these
            runs = [without_scores(each) for each in runs]
    errors = JudgeErrors.read(config.judge_errors) if config.judge_errors else None
    result = compare_runs(runs, errors=errors, seed=config.seed, confidence=config.confidence)
    with run.opened() as folder:
        write_json(folder / RESULT, result)
        language = cast(Language, config.language)
        write_comparison_report(folder / "report.html", comparison=result, language=language)
        parents = [Parent.of("run", each.path) for each in runs]
        if config.judge_errors:
            parents.append(Parent.of("judge_errors", config.judge_errors))
        run.finish([*parents, *(charter_parents(config.charter) if config.charter else [])])
    return result
