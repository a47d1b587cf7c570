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
from vcjax.data.corpus.pipeline import Pipeline
from vcjax.data.corpus.quality import Quality
from vcjax.data.corpus.quotas import Quotas
from vcjax.data.corpus.selection import Selection
from vcjax.data.corpus.sensitive import Sensitive
from vcjax.data.corpus.simplify import Simplify
from vcjax.data.corpus.step import Pass, ReadsFiles, Step
from vcjax.data.importers import ON_BAD_RECORD
from vcjax.data.messages import TOOL_TURNS
from vcjax.data.packing import check_length
from vcjax.data.readers import AUTO, SAMPLE_BY

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


@dataclass(frozen=True, kw_only=True)
class StepsConfig:
    """What raw files pass before they are rows, whoever prepares them.

    Attributes:
      steps: names, comma-separated, in their order.
      settings: by step, what differs from its defaults.
      samples: how many removed documents of each reason are in the summary.
      longest: characters of a document; a longer one is removed. 0 is no limit.
      sample_by: what of a text file is one document: a `line`, a `paragraph` that blank lines end,
        or the whole file, the `document`; `auto` is the whole file where blank lines stand between
        its lines, and otherwise a line.
    """

    steps: str
    settings: dict = field(default_factory=dict, hash=False)  # compared, but a dict has no hash
    samples: int = 3
    longest: int = 4_000_000
    sample_by: str = AUTO

    def named_settings(self, charter: str, where: str = "config") -> list[tuple[str, Any]]:
        """Each step's name and settings, in their order.

        Args:
          charter: of the steps whose settings name none.
          where: how the user names these fields.

        Raises:
          UserError: a setting that is unknown, of the wrong type or out of its range.
        """
        return [(name, self._settings_of(name, charter, where)) for name in split_steps(self.steps)]

    def steps_for(self, charter: str, where: str = "config") -> list[Step | Pass]:
        """The steps, made from their settings; see `named_settings`."""
        return [STEPS[name](each) for name, each in self.named_settings(charter, where)]

    def _settings_of(self, name: str, charter: str, where: str) -> Any:
        values = dict(self.settings.get(name, {}))
        own = STEPS[name].Settings
        # What the whole config states needn't be repeated for each step.
        if "charter" in {each.name for each in fields(own)} and not values.get("charter"):
            values["charter"] = charter
        return build(own, values, f"{where}.settings.{name}")

    def __post_init__(self) -> None:
        check_choice("config.sample_by", self.sample_by, SAMPLE_BY)
        check_at_least(self, {"samples": 0, "longest": 0})
        split_steps(self.steps)
        for name in self.settings:
            if name not in STEPS:
                raise UserError(f"config.settings.{name}: no such step{suggest(name, STEPS)}")


@dataclass(frozen=True, kw_only=True)
class RawFiles(StepsConfig):
    """How a training run prepares raw files, in one process. By default it leaves out exact
    duplicates, and what its charter holds out; any step of `launch.prepare` may be named.

    Attributes:
      steps: names, comma-separated, in their order. `held_out` holds nothing out where the run has
        no charter, and can't be left out where it has one.
      most_mb: millions of bytes of raw files, as they are stored, above which they are not
        prepared here but by `launch.prepare`. A file whose server doesn't say how large it is isn't
        counted, and is named on the screen.
    """

    steps: str = "held_out,duplicates"
    settings: dict = field(default_factory=lambda: {"duplicates": {"similarity": 1.0}}, hash=False)
    longest: int = 0
    most_mb: int = 1000

    def named_settings(self, charter: str, where: str = "config") -> list[tuple[str, Any]]:
        if charter and HeldOut.name not in split_steps(self.steps):
            raise UserError(
                f"{where}.steps: lacks {HeldOut.name!r}, and charter {charter!r} keeps domains "
                "for evaluation; add it"
            )
        if charter:
            return super().named_settings(charter, where)
        names = [name for name in split_steps(self.steps) if name != HeldOut.name]
        return [(name, self._settings_of(name, charter, where)) for name in names]

    def to_dict(self, charter: str) -> dict[str, Any]:
        """All fields, with every setting of the steps that are named, ready for JSON."""
        shared = ("charter", charter)  # the whole config has it
        named = {
            name: {
                field: value for field, value in asdict(each).items() if (field, value) != shared
            }
            for name, each in self.named_settings(charter)
        }
        return {**asdict(self), "settings": named}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, {"most_mb": 1})


@dataclass(frozen=True, kw_only=True)
class PrepareConfig(StepsConfig):
    """A corpus and how it is made.

    Attributes:
      documents, conversations, preferences: names of what is read (see `vcjax.data.files`); one
        of the three has some.
      model: a model reference, whose tokenizer and chat template are used.
      length: tokens of a row.
      charter: name or path of the charter that the steps which need one use.
      validation: share of the documents, 0 to below 1, that become the split of this name.
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
    documents: str = ""
    conversations: str = ""
    preferences: str = ""
    charter: str = ""
    validation: float = 0.01
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
        named = {name: asdict(settings) for name, settings in self.named_settings(self.charter)}
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
        return self.steps_for(self.charter)

    def pipeline(self) -> Pipeline:
        """The steps in their rounds."""
        return Pipeline(self.make_steps(), self.kind, self.longest)

    def parents(self) -> list[Parent]:
        """The files that the steps read beside the corpus, each once: the charter, terms, a
        classifier, what is measured on."""
        found = [
            settings
            for _, settings in self.named_settings(self.charter)
            if isinstance(settings, ReadsFiles)
        ]
        return list(dict.fromkeys(parent for each in found for parent in each.parents()))

    def __post_init__(self) -> None:
        super().__post_init__()
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
        least = {"shard_mb": 1, "workers": 0, "memory_mb": 1}
        check_at_least(self, least)
        if not 0 <= self.validation < 1:
            raise UserError(f"config.validation must be 0 or more and below 1: {self.validation}")


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


def raw_files_config() -> ConfigDict:
    """The section `prepare` of a training config, with a flag for each setting of each step."""
    values = asdict(RawFiles())
    own = values.pop("settings")
    shipped = default_settings(list(STEPS))
    settings = {name: {**each, **own.get(name, {})} for name, each in shipped.items()}
    return ConfigDict({**values, "settings": settings})


def default_settings(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The settings of steps as they are shipped, for a config file."""
    return {name: asdict(STEPS[name].Settings()) for name in names}
