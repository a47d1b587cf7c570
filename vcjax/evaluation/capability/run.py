"""Tasks of the harness on one model as a run: resumable, with a record and a lineage."""

import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lm_eval.api.group import Group
from lm_eval.api.model import LM
from lm_eval.api.task import Task
from lm_eval.evaluator import simple_evaluate

from vcjax.core.errors import UserError
from vcjax.core.files import hash_text, read_json, write_json
from vcjax.core.lineage import NAME, Parent, write_lineage
from vcjax.core.run import check_config, opened
from vcjax.core.stores import on_disk
from vcjax.evaluation.capability.caching import REQUEST_KEY, CachedLM
from vcjax.evaluation.capability.endpoint import open_endpoint, unanswered
from vcjax.evaluation.capability.model import VcjaxLM
from vcjax.evaluation.capability.results import tidy, versions
from vcjax.evaluation.capability.tasks import load_tasks, local_data
from vcjax.generate.model_pool import EngineConfig
from vcjax.roles.cache import CallCache
from vcjax.roles.endpoint_spec import EndpointSpec, is_endpoint
from vcjax.weights.bundle import load_bundle

RESULT = "capability.json"
_RESAMPLES = 1000
"""Of the bootstrap, where a metric's standard error needs one; it errs by 2 %."""


@dataclass(frozen=True)
class CapabilityConfig(EngineConfig):
    """What `launch.capability` takes, beside the fields of `EngineConfig`.

    Attributes:
      model: a model reference, or an OpenAI-compatible endpoint; see `EndpointSpec`.
      tasks: names of the harness's tasks, groups and tags, or YAML files.
      task_path: a folder of more tasks.
      tokenizer: a model reference with an endpoint's tokenizer.
      limit: documents a task, below 1 their share; None is all of them.
      num_fewshot: examples before each document; None is what each task says.
      apply_chat_template: put each document to the model as a user's turn.
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
    """Runs the tasks; writes the model's answers, `capability.json` and the lineage.

    Run again after a kill it asks only what is missing.

    Raises:
      UserError: a bad model, task or workdir, before anything is written; or settings of a task
        that can't be met.
      GateNotMet: an endpoint that stopped answering.
    """
    workdir, settings = on_disk(workdir), asdict(config)
    check_config(workdir, settings)
    if (workdir / NAME).is_file():
        print(f"{workdir}: already finished")
        return read_json(workdir / RESULT)
    tasks = load_tasks(config.tasks, config.task_path)
    lm, about, parents = _open_model(config)
    with opened(workdir, settings), CallCache(workdir / "answers.jsonl", REQUEST_KEY) as cache:
        identity = "/".join(about.values())
        with unanswered(config.model):
            results = _evaluate(CachedLM(lm, cache, identity, config.seed), tasks, config)
        summary = {"model": about, **tidy(results), "settings": settings, "versions": versions()}
        write_json(workdir / RESULT, summary)
        if config.task_path is not None:
            parents.append(Parent.of("tasks", config.task_path))
        parents += [Parent.of("data", path) for path in local_data(tasks)]
        write_lineage(
            workdir, kind="capability", parents=parents, config=settings, seed=config.seed
        )
    return read_json(workdir / RESULT)


def _open_model(config: CapabilityConfig) -> tuple[LM, dict[str, str], list[Parent]]:
    """The model, what identifies it, and its part of the lineage."""
    if is_endpoint(config.model):
        spec = EndpointSpec.parse(config.model)
        parent = Parent("model", spec.reference, hash_text(spec.reference))
        return open_endpoint(spec, config.tokenizer), {"reference": spec.reference}, [parent]
    bundle = load_bundle(config.model, config.dtype or None)
    origin = bundle.origin
    about = {"reference": origin.reference, "hash": origin.hash, "dtype": bundle.dtype}
    return VcjaxLM(bundle, **config.engine_fields), about, [origin]


def _evaluate(lm: LM, tasks: Sequence[Task | Group], config: CapabilityConfig) -> dict[str, Any]:
    # The harness would fork processes to resample in, which JAX's threads don't survive.
    os.environ["DISABLE_MULTIPROC"] = "1"
    limit, loaded = config.limit, list[Any](tasks)
    with redirect_stdout(sys.stderr):  # it prints what it does
        results = simple_evaluate(
            model=lm,
            tasks=loaded,
            num_fewshot=config.num_fewshot,
            limit=int(limit) if limit is not None and limit >= 1 else limit,
            apply_chat_template=config.apply_chat_template,
            bootstrap_iters=_RESAMPLES,
            log_samples=False,
            random_seed=config.seed,
            numpy_random_seed=config.seed,
            torch_random_seed=config.seed,
            fewshot_random_seed=config.seed,
        )
    assert results is not None  # only processes beside the first one get nothing
    return dict(results)
