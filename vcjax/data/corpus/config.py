"""The configuration of a corpus: what is read, the steps and their settings, what is written."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ml_collections import ConfigDict

from vcjax.core.errors import UserError, suggest
from vcjax.core.lineage import Parent
from vcjax.core.settings import build, check_at_least, check_choice
from vcjax.data.columns import check_columns
from vcjax.data.corpus.contamination import Contamination
from vcjax.data.corpus.duplicates import Duplicates
from vcjax.data.corpus.held_out import HeldOut
from vcjax.data.corpus.language import Language
from vcjax.data.corpus.lines import Lines
from vcjax.data.corpus.normalise import Normalise
from vcjax.data.corpus.personal import Personal
from vcjax.data.corpus.quality import Quality
from vcjax.data.corpus.quotas import Quotas
from vcjax.data.corpus.selection import Selection
from vcjax.data.corpus.sensitive import Sensitive
from vcjax.data.corpus.simplify import Simplify
from vcjax.data.corpus.step import Pass, ReadsFiles, Step
from vcjax.data.importers import ON_BAD_RECORD
from vcjax.data.messages import TOOL_TURNS
from vcjax.data.packing import check_length

KINDS = ("documents", "conversations", "preferences")
STEPS: dict[str, Any] = {
    step.name: step
    for step in (
        Normalise,
        Language,
        Simplify,
        Lines,
        Quality,
        Personal,
        Sensitive,
        Selection,
        HeldOut,
        Contamination,
        Duplicates,
        Quotas,
    )
}
"""The steps that a config may name, by name."""

EXECUTORS = ("local", "slurm", "ray")
_OUTSIDE = ("workers", "memory_mb", "executor", "slurm")
"""Fields that change how long a run takes, and not what it writes."""


@dataclass(frozen=True)
class SlurmSettings:
    """How tasks are submitted to Slurm.

    Attributes:
      partition: of the cluster.
      time: most time of a task, which is one shard in one round.
      memory_gb: of a task.
      environment: a shell command that makes `python -m launch.prepare` work there; by default
        the folder of this Python comes first in PATH.
      options: further ones of `sbatch`, as in `account=lab,qos=low`.
      dry_run: prints what would be submitted first, and ends.
    """

    partition: str = ""
    time: str = "04:00:00"
    memory_gb: int = 1
    environment: str = ""
    options: str = ""
    dry_run: bool = False

    def __post_init__(self) -> None:
        check_at_least(self, {"memory_gb": 1})

    def more(self) -> dict[str, str]:
        """The further options by name; one without a value has an empty one."""
        pairs = (each.strip().partition("=") for each in self.options.split(",") if each.strip())
        return {name: value for name, _, value in pairs}


@dataclass(frozen=True)
class PrepareConfig:
    """A corpus and how it is made.

    Attributes:
      documents, conversations, preferences: names of what is read (see `vcjax.data.files`); one
        of the three has some.
      model: a model reference, whose tokenizer and chat template are used.
      length: tokens of a row.
      charter: name or path of the charter that the steps which need one use.
      steps: names, comma-separated, in their order.
      settings: by step, what differs from its defaults.
      validation: share of the documents, 0 to below 1, that become the split of this name.
      samples: how many removed documents of each reason are in the summary.
      longest: characters of a document; a longer one is removed.
      on_bad_record: `quarantine` sets a bad record or file aside; `error` ends there.
      columns, tool_turns, require_domain: see `vcjax.data.importers.Records`.
      shard_mb: millions of bytes that are read into a shard, which is also what a killed run does
        anew.
      workers: processes on this machine; 0 is one for each core. On a cluster: tasks at the same
        time; 0 sets no limit.
      memory_mb: millions of bytes that all processes on this machine together should stay below;
        there are fewer workers where they wouldn't.
      executor: who works on shards: `local` processes, or the tasks of a `slurm` or `ray` cluster,
        whose machines have the workdir and the inputs under the same paths.
      slurm: how tasks are submitted.
    """

    model: str
    length: int
    steps: str
    documents: str = ""
    conversations: str = ""
    preferences: str = ""
    charter: str = ""
    settings: dict = field(default_factory=dict)
    validation: float = 0.01
    samples: int = 3
    longest: int = 4_000_000
    on_bad_record: str = "quarantine"
    columns: str = ""
    tool_turns: str = "leave_out"
    require_domain: bool = False
    shard_mb: int = 64
    workers: int = 0
    memory_mb: int = 2000
    executor: str = "local"
    slurm: SlurmSettings = field(default_factory=SlurmSettings)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | ConfigDict) -> "PrepareConfig":
        """Checks and freezes a configuration.

        Raises:
          UserError: a field that is unknown, missing, of the wrong type or out of its range.
        """
        plain = values.to_dict() if isinstance(values, ConfigDict) else dict(values)
        config = build(cls, plain, "config")
        config.make_steps()
        return config

    def to_dict(self) -> dict[str, Any]:
        """The fields that decide what is written, ready for JSON."""
        values = asdict(self)
        for name in _OUTSIDE:
            del values[name]
        named = {name: asdict(settings) for name, settings in self._settings()}
        return {**values, "settings": named}

    @property
    def kind(self) -> str:
        """Kind of the records, which is the name of the field with their files."""
        return next(kind for kind in KINDS if getattr(self, kind))

    @property
    def names(self) -> str:
        return getattr(self, self.kind)

    def make_steps(self) -> list[Step | Pass]:
        """The steps, made from their settings."""
        return [STEPS[name](settings) for name, settings in self._settings()]

    def parents(self) -> list[Parent]:
        """The files that the steps read beside the corpus, each once: the charter, terms, a
        classifier, what is measured on."""
        found = [settings for _, settings in self._settings() if isinstance(settings, ReadsFiles)]
        return list(dict.fromkeys(parent for each in found for parent in each.parents()))

    def _settings(self) -> list[tuple[str, Any]]:
        return [(name, self._settings_of(name)) for name in split_steps(self.steps)]

    def _settings_of(self, name: str) -> Any:
        values = dict(self.settings.get(name, {}))
        own = STEPS[name].Settings
        # What the whole config states needn't be repeated for each step.
        for shared in ("charter",):
            if shared in {each.name for each in fields(own)} and not values.get(shared):
                values[shared] = getattr(self, shared)
        return build(own, values, f"config.settings.{name}")

    def __post_init__(self) -> None:
        named = [kind for kind in KINDS if getattr(self, kind).strip()]
        if len(named) != 1:
            what = f"{' and '.join(named)} have" if named else "none of them has"
            raise UserError(f"config.{', '.join(KINDS)}: {what} files; name those of one")
        check_choice("config.on_bad_record", self.on_bad_record, ON_BAD_RECORD)
        check_choice("config.tool_turns", self.tool_turns, TOOL_TURNS)
        check_choice("config.executor", self.executor, EXECUTORS)
        if self.slurm.dry_run and self.executor != "slurm":
            raise UserError(
                f"config.slurm.dry_run: needs config.executor 'slurm', not {self.executor!r}"
            )
        check_columns(self.columns)
        check_length(self.length)
        least = {"samples": 0, "longest": 1, "shard_mb": 1, "workers": 0, "memory_mb": 1}
        check_at_least(self, least)
        if not 0 <= self.validation < 1:
            raise UserError(f"config.validation must be 0 or more and below 1: {self.validation}")
        split_steps(self.steps)
        for name in self.settings:
            if name not in STEPS:
                raise UserError(f"config.settings.{name}: no such step{suggest(name, STEPS)}")


def split_steps(steps: str) -> list[str]:
    """The names in a comma-separated list of steps.

    Raises:
      UserError: one that isn't known, or is named twice.
    """
    names = [name.strip() for name in steps.split(",") if name.strip()]
    for number, name in enumerate(names):
        if name not in STEPS:
            raise UserError(
                f"config.steps: {name!r} is none of {', '.join(STEPS)}{suggest(name, STEPS)}"
            )
        if name in names[:number]:
            raise UserError(f"config.steps: {name!r} is named twice")
    return names


def default_settings(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The settings of steps as they are shipped, for a config file."""
    return {name: asdict(STEPS[name].Settings()) for name in names}
