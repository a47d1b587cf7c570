"""What a run measures of itself every few steps, and whether it should go on."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vcjax.core.lineage import Parent
from vcjax.model.build import Params
from vcjax.parallel import on_main_process
from vcjax.train.answers import FIELD as PROMPTS
from vcjax.train.answers import Answers, check_prompts
from vcjax.train.config import TrainConfig
from vcjax.train.metrics import VALIDATION, Log, finite, read_lines
from vcjax.train.stopping import replay
from vcjax.train.validation import Validation
from vcjax.train.validation_data import GroupSource, check_groups
from vcjax.weights.stored import StoredModel


@dataclass(frozen=True)
class Measured:
    """`config.validation`, checked: the data to measure on and the prompts to answer, if any."""

    data: GroupSource
    prompts: tuple[str, ...]
    parents: tuple[Parent, ...]


def check_measuring(config: TrainConfig, model: StoredModel, workdir: Path) -> Measured:
    """Reads what `config.validation` names; writes nothing.

    Raises:
      UserError: see `check_groups` and `check_prompts`.
    """
    given, measured = config.validation, Measured(GroupSource(), (), ())
    if given.every and given.data.strip():
        data = check_groups(config, model.require_tokenizer(), workdir)
        measured = Measured(data, (), data.parents)
    if given.every and given.prompts.strip():
        asked = Parent.of(PROMPTS, given.prompts)
        prompts, parents = check_prompts(config, model), (*measured.parents, asked)
        measured = replace(measured, prompts=prompts, parents=parents)
    return measured


class Measuring:
    """Takes the measurements and remembers those of earlier starts.

    Attributes:
      stopping: the rule that ends a run early, after all measurements so far.
    """

    def __init__(
        self,
        config: TrainConfig,
        validation: Validation | None,
        answers: Answers | None,
        workdir: Path,
        done: int,
    ) -> None:
        """`done` is the steps that the run goes on from."""
        self._config, self._validation, self._answers = config, validation, answers
        self._lines = on_main_process(lambda: read_lines(workdir / VALIDATION, done))
        losses = ((line["step"], line["loss"]) for line in self._lines)
        self.stopping = replay(config.validation.patience, losses)

    def due(self, step: int) -> bool:
        """Whether to measure after `step` steps: at the start, every few steps, at the end."""
        every = self._config.validation.every
        return every > 0 and (step % every == 0 or step == self._config.steps)

    def measure(
        self, step: int, trainable: Params, frozen: Params, log: Log | None
    ) -> float | None:
        """Measures the model after `step` steps; returns its held-out loss, if there is data.

        Every process calls it; the main process has the log, and its loss is the one that counts.
        """
        loss = None
        if self._validation is not None:
            line = finite({"step": step, **self._validation.measure(trainable, frozen)})
            self._lines.append(line)
            loss = on_main_process(lambda: line["loss"])
            self.stopping.see(step, loss)
            if log is not None:
                log.write_validation(line)
        if self._answers is not None and log is not None:
            log.write_samples(step, self._answers.prompts, self._answers.sample(trainable, frozen))
        return loss

    def summary(self) -> dict[str, Any]:
        """What `summary.json` says of it: nothing where nothing was measured.

        Returns:
          `validation`: `first_loss, last_loss, best_loss, best_step`; `stopped_early`: the step,
          only where the run did.
        """
        if not self._lines:
            return {}
        about = {
            "first_loss": self._lines[0]["loss"],
            "last_loss": self._lines[-1]["loss"],
            "best_loss": self.stopping.best_loss,
            "best_step": self.stopping.best_step,
        }
        stopped = self.stopping.stopped
        return {"validation": about, **({} if stopped is None else {"stopped_early": stopped})}
