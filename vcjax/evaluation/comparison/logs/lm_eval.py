"""Samples of lm-evaluation-harness (`--log_samples`): `samples_<task>_<time>.jsonl`."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vcjax.core.errors import UserError
from vcjax.core.files import read_json, read_jsonl
from vcjax.evaluation.comparison.logs.samples import Log, Sample

TOOL = "lm-evaluation-harness"
_NAME = re.compile(r"samples_(?P<task>.+)_(?P<time>\d{4}-\d\d-\d\dT[\d.:-]+)\.jsonl")


def sample_files(folder: Path) -> list[Path]:
    """The files of samples at and below a folder.

    Raises:
      UserError: they are of several runs.
    """
    files = sorted(folder.rglob("samples_*.jsonl"))
    times = {match["time"] for file in files if (match := _NAME.fullmatch(file.name))}
    if len(times) > 1:
        raise UserError(f"{folder}: has samples of {len(times)} runs; name the files of one")
    return files


def is_sample(record: Any) -> bool:
    """Whether a line is a sample of lm-evaluation-harness."""
    return isinstance(record, dict) and {"doc_id", "doc", "resps"} <= record.keys()


def read_samples(files: Sequence[Path]) -> Log:
    """The samples of one or more tasks; a task is a domain.

    Raises:
      UserError: a line that isn't a sample.
    """
    samples: list[Sample] = []
    for file in files:
        match = _NAME.fullmatch(file.name)
        task = match["task"] if match else file.stem
        samples += _task(file, task)
    return Log(TOOL, samples, {"model": _model(files[0])})


def _task(file: Path, task: str) -> list[Sample]:
    records = []
    for number, record in read_jsonl(file):
        if not is_sample(record):
            raise UserError(f"{file}:{number}: no sample of {TOOL}")
        records.append(record)
    filters = {record.get("filter", "none") for record in records}
    # A sample is there once for each filter of its answer.
    by_document: dict[Any, list[Mapping[str, Any]]] = {}
    for record in records:
        by_document.setdefault(record["doc_id"], []).append(record)
    return [
        Sample(
            id=f"{task}/{id}",
            # The whole document: the prompt has few-shot examples, which a seed may choose
            # otherwise.
            question=json.dumps(own[0]["doc"], sort_keys=True, ensure_ascii=False),
            answer=_text(own[0].get("filtered_resps") or own[0]["resps"]),
            scores={
                f"{metric},{each['filter']}" if len(filters) > 1 else metric: each.get(metric)
                for each in own
                for metric in each.get("metrics", ())
            },
            fields=own[0]["doc"],
            group=task,
        )
        for id, own in by_document.items()
    ]


def _text(responses: Any) -> str:
    # The first repeat of the first filter; log-likelihoods are nested once more.
    while isinstance(responses, list) and responses:
        responses = responses[0]
    return responses if isinstance(responses, str) else json.dumps(responses, ensure_ascii=False)


def _model(file: Path) -> str:
    """The model's name in the results beside the samples."""
    match = _NAME.fullmatch(file.name)
    beside = file.with_name(f"results_{match['time']}.json") if match else file
    if not match or not beside.is_file():
        return ""
    return read_json(beside).get("model_name") or ""
