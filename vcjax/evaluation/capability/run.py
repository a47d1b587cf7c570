"""Tasks of the harness on one model as a run: answers, scores, lineage."""

import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from numbers import Real
from pathlib import Path
from typing import Any

from lm_eval import evaluator
from lm_eval.api.group import Group
from lm_eval.api.model import LM
from lm_eval.api.task import Task

from vcjax.core.errors import UserError
from vcjax.core.files import hash_text, read_json, write_json, write_jsonl
from vcjax.core.lineage import Parent, code_version
from vcjax.core.run import Run
from vcjax.core.stores import on_disk
from vcjax.evaluation.capability.caching import REQUEST_KEY, CachedLM
from vcjax.evaluation.capability.model import VcjaxLM, open_endpoint, unanswered
from vcjax.evaluation.capability.tasks import check_rendering, load_tasks, local_data
from vcjax.generate.engine_config import EngineConfig
from vcjax.roles.cache import CallCache
from vcjax.roles.endpoint_spec import EndpointSpec, is_endpoint
from vcjax.roles.references import template_parents
from vcjax.weights.workdir import as_begun, write_sources

RESULT, SAMPLES = "capability.json", "samples.jsonl"
TOKENIZER = "tokenizer"
"""Role of the model that lends an endpoint its tokenizer."""
_RESAMPLES = 1000
"""Resamples of a metric's bootstrap; they leave the standard error an error of 2 %."""

_PACKAGES = ("lm_eval", "datasets", "transformers", "jax")


@dataclass(frozen=True)
class CapabilityConfig(EngineConfig):
    """What `launch.capability` takes, beside the fields of `EngineConfig`.

    Attributes:
      model: a model reference, or an OpenAI-compatible endpoint; see `EndpointSpec`.
      tasks: names of the harness's tasks, groups and tags, or YAML files.
      task_path: a folder of more tasks.
      tokenizer: a model reference with an endpoint's tokenizer.
      limit: number of documents of each task, below 1 their share; None is all of them.
      num_fewshot: examples before each document; None is the task's own number.
      apply_chat_template: format each document as a user's turn.
      seed: of the choice of examples and of sampled texts.
    """

    model: str
    tasks: tuple[str, ...]
    task_path: str | None = None
    tokenizer: str | None = None
    limit: float | None = None
    num_fewshot: int | None = None
    apply_chat_template: bool = False
    seed: int = 1234

    def __post_init__(self) -> None:
        """Raises: UserError for a value that is out of its range."""
        super().__post_init__()
        if not self.tasks:
            raise UserError("tasks: name at least one")
        if self.limit is not None and self.limit <= 0:
            raise UserError(f"limit: {self.limit} is not above 0")
        if self.limit is not None and self.limit > 1 and self.limit != int(self.limit):
            raise UserError(f"limit: {self.limit} is neither a number of documents nor a share")
        if self.num_fewshot is not None and self.num_fewshot < 0:
            raise UserError(f"num_fewshot: {self.num_fewshot} is below 0")


def measure_capability(config: CapabilityConfig, workdir: str | Path) -> dict[str, Any]:
    """Runs the tasks; writes the model's answers, the values of each document in `samples.jsonl`,
    `capability.json` and the lineage.

    After a kill, another call asks only what is missing.

    Raises:
      UserError: a bad model, task or workdir, before anything is written; or settings of a task
        that the engine can't satisfy.
      GateNotMet: an endpoint that stopped answering.
    """
    settings = asdict(config)
    run = Run("capability", on_disk(workdir), settings, seed=config.seed)
    if (summary := run.finished(result=RESULT)) is not None:
        return summary
    tasks = load_tasks(config.tasks, config.task_path)
    check_rendering(tasks, config.apply_chat_template)
    lm, about, parents = _open_model(config, run.workdir)
    with run.opened() as folder:
        write_sources(folder, parents)
        with CallCache(folder / "answers.jsonl", REQUEST_KEY) as cache, unanswered(config.model):
            # With the dtype: float32 and bfloat16 give other log-likelihoods.
            model = CachedLM(lm, cache, "/".join(about.values()), config.seed)
            results = _evaluate(model, tasks, config)
        write_jsonl(folder / SAMPLES, _samples(results))
        summary = {"model": about, **_scores(results)}
        write_json(folder / RESULT, {**summary, "settings": settings, "versions": _versions()})
        if config.task_path is not None:
            parents.append(Parent.of("tasks", config.task_path))
        parents += [Parent.of("data", path) for path in local_data(tasks)]
        run.finish(parents)
        return read_json(folder / RESULT)


def score_lines(summary: Mapping[str, Any]) -> list[str]:
    """One line for each metric of each task and group, for a terminal."""
    return [
        f"{name}  {key}  {metric['value']:.4f}"
        + ("" if metric["stderr"] is None else f" ± {metric['stderr']:.4f}")
        + (f"  n={entry['n']}" if "n" in entry else "")
        for kind in ("tasks", "groups")
        for name, entry in summary[kind].items()
        for key, metric in entry["metrics"].items()
    ]


def _open_model(config: CapabilityConfig, workdir: Path) -> tuple[LM, dict[str, str], list[Parent]]:
    """The model, its identity in the summary, and its parents in the lineage."""
    if is_endpoint(config.model):
        spec = EndpointSpec.parse(config.model)
        parent = Parent("model", spec.reference, hash_text(spec.reference))
        named = config.tokenizer and as_begun(config.tokenizer, workdir, TOKENIZER)
        lm, tokenizer = open_endpoint(spec, named)
        parents = [parent, replace(tokenizer, role=TOKENIZER), *template_parents(named or "")]
        return lm, {"reference": spec.reference}, parents
    model = VcjaxLM(as_begun(config.model, workdir), **config.engine_fields)
    origin, dtype = model.origin, model.text.engine.dtype.name
    about = {"reference": origin.reference, "hash": origin.hash, "dtype": dtype}
    return model, about, [origin, *template_parents(config.model)]


def _evaluate(lm: LM, tasks: Sequence[Task | Group], config: CapabilityConfig) -> dict[str, Any]:
    # To resample, the harness would fork processes, in which JAX's threads are gone.
    os.environ["DISABLE_MULTIPROC"] = "1"
    # It would have git look for a commit where the user is, which needn't be a checkout, and print
    # what git has to complain of.
    evaluator.get_git_commit_hash = lambda: None
    limit, loaded = config.limit, list[Any](tasks)
    with redirect_stdout(sys.stderr):  # it prints what it does
        results = evaluator.simple_evaluate(
            model=lm,
            tasks=loaded,
            num_fewshot=config.num_fewshot,
            limit=int(limit) if limit is not None and limit >= 1 else limit,
            apply_chat_template=config.apply_chat_template,
            bootstrap_iters=_RESAMPLES,
            log_samples=True,
            random_seed=config.seed,
            numpy_random_seed=config.seed,
            torch_random_seed=config.seed,
            fewshot_random_seed=config.seed,
        )
    assert results is not None  # only processes beside the first one get nothing
    return dict(results)


def _scores(results: Mapping[str, Any]) -> dict[str, Any]:
    """The harness's results as scores by task and by group.

    Each is `{alias, tasks, n, n_total, num_fewshot, version, metrics}`: `tasks` are those of a
    group, and fields that the harness doesn't report are left out; `metrics` maps `name,filter` to
    `{value, stderr, higher_is_better}`, with None for what the harness doesn't report.
    """
    # The harness lists groups among the results as well.
    groups = results["group_subtasks"]
    tasks = {name: _score(name, results) for name in results["results"] if name not in groups}
    return {"tasks": tasks, "groups": {name: _score(name, results) for name in groups}}


def _samples(results: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """`{task, document, metrics}` of each document, by which two models are compared in pairs.

    Metrics of more than a number, such as a pair of counts that a perplexity is made of, are left
    out.
    """
    for task, samples in results["samples"].items():
        for sample in samples:
            values = {f"{name},{sample['filter']}": sample[name] for name in sample["metrics"]}
            numbers = {name: float(x) for name, x in values.items() if isinstance(x, Real)}
            yield {"task": task, "document": sample["doc_id"], "metrics": numbers}


def _score(name: str, results: Mapping[str, Any]) -> dict[str, Any]:
    values = results["results"][name]
    higher = results["higher_is_better"].get(name, {})
    metrics = {}
    for key, value in values.items():
        metric, _, filtered = key.partition(",")
        if filtered and not metric.endswith("_stderr"):
            metrics[key] = {
                "value": _number(value),
                "stderr": _number(values.get(f"{metric}_stderr,{filtered}")),
                "higher_is_better": higher.get(metric),
            }
    counts = results["n-samples"].get(name)
    about = {
        "alias": values.get("alias", name).strip(" -"),
        "tasks": results["group_subtasks"].get(name),
        "n": counts and counts["effective"],
        "n_total": counts and counts["original"],
        "num_fewshot": results["n-shot"].get(name),
        "version": results["versions"].get(name),
    }
    known = {field: value for field, value in about.items() if value not in (None, "N/A")}
    return {**known, "metrics": metrics}


def _number(value: Any) -> float | None:
    # The harness writes `N/A` where there is none, and NumPy's numbers.
    if value is None or isinstance(value, str) or math.isnan(value):
        return None
    return float(value)


def _versions() -> dict[str, str | None]:
    """The versions of the code and of the packages that a score may depend on."""
    code = code_version()
    return {"vcjax": code["version"], "commit": code["commit"]} | {
        name: version(name) for name in _PACKAGES
    }
