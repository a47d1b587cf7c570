"""Steps of a corpus as blocks of datatrove (the extra `corpus`).

    pipeline = [JsonlReader(folder), StepBlock("normalise"), StepBlock("quality"), JsonlWriter(out)]
    LocalPipelineExecutor(pipeline, tasks=8).run()

They are for pipelines of one's own: a block counts in datatrove's statistics what `launch.prepare`
has in its summary. Passes, which need all documents, have no block.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any

from datatrove.data import Document as TroveDocument
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.writers.disk_base import DiskWriter
from datatrove.utils.typeshelper import StatHints

from vcjax.core.errors import UserError
from vcjax.core.settings import build
from vcjax.data.corpus.config import STEPS, split_steps
from vcjax.data.corpus.document import Document, Removal

_DEFAULTS: dict[str, Any] = {"source": "", "lang": "und", "domain": None}
"""Fields of our documents that a datatrove document has in its metadata, or not at all."""


class StepBlock(PipelineStep):
    """A step, applied to each document that comes through."""

    type = "STEP"

    def __init__(
        self,
        name: str,
        settings: Mapping[str, Any] | None = None,
        exclusion_writer: DiskWriter | None = None,
    ) -> None:
        """Args:
          name: of the step, as in a config's `steps`.
          settings: of the step; those left out are its defaults.
          exclusion_writer: gets removed documents, with `filter_reason` in their metadata.

        Raises:
          UserError: no such step, a pass, or a wrong setting.
        """
        (self.name,) = split_steps(name)
        super().__init__()
        step = STEPS[self.name]
        if not hasattr(step, "apply"):
            raise UserError(f"{self.name}: decides by all documents, so no block does it")
        self._settings = build(step.Settings, dict(settings or {}), f"settings.{self.name}")
        self._writer = exclusion_writer

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[TroveDocument]:
        # Made here and not before: what steps read in would be sent to each process.
        step, counts = STEPS[self.name](self._settings), Counter[str]()
        with self._writer or nullcontext() as writer:
            for document in data:
                self.stat_update(StatHints.total)
                with self.track_time():
                    outcome = step.apply(_ours(document), counts)
                if isinstance(outcome, Removal):
                    self.stat_update(StatHints.dropped, f"dropped_{outcome.reason}")
                    if writer is not None:
                        document.metadata["filter_reason"] = outcome.reason
                        writer.write(document, rank)
                    continue
                self.stat_update(StatHints.forwarded)
                _update(document, outcome)
                yield document
        for what, count in counts.items():
            self.stat_update(what, value=count)


def _ours(document: TroveDocument) -> Document:
    meta = document.metadata
    shared = {name: meta.get(name, default) for name, default in _DEFAULTS.items()}
    others = {name: value for name, value in meta.items() if name not in _DEFAULTS}
    return Document(text=document.text, id=document.id, file="", line=0, meta=others, **shared)


def _update(document: TroveDocument, outcome: Document) -> None:
    document.text = outcome.text
    document.metadata.update(outcome.meta)
    for name, default in _DEFAULTS.items():
        if (value := getattr(outcome, name)) != default:
            document.metadata[name] = value
