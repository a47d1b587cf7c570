"""Logs of Inspect (inspect.aisi.org.uk): `.eval`, a zip of JSON files, and the JSON format."""

import json
import math
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vcjax.core.errors import UserError
from vcjax.evaluation.comparison.logs.samples import Log, LogOptions, Sample
from vcjax.evaluation.comparison.runs import question_text

TOOL = "Inspect"
OURS = "vcjax"
"""The key in a log's metadata under which we store what Inspect has no field for."""
_ZSTANDARD = 93
"""The compression of a zip's entry that newer versions of Inspect write and Python reads from
3.14 on."""
_ERROR = 80


def read_eval(path: Path) -> Log:
    """Raises: UserError for a file that isn't a whole log."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "header.json" not in names:
                raise UserError(
                    f"{path}: has no header.json: no log of Inspect, or one of a run that "
                    "didn't end"
                )
            header = _entry(archive, path, "header.json")
            samples = (
                _entry(archive, path, name)
                for name in names
                if name.startswith("samples/") and name.endswith(".json")
            )
            return _log(header, samples)
    except zipfile.BadZipFile as error:
        raise UserError(f"{path}: a damaged zip file ({error})") from None


def is_json_log(content: Any) -> bool:
    """Whether JSON is a log of Inspect."""
    return isinstance(content, dict) and {"eval", "status"} <= content.keys()


def read_json_log(content: Mapping[str, Any], path: Path) -> Log:
    """Raises: UserError for a log without its samples."""
    if not content.get("samples"):
        raise UserError(f"{path}: a log without samples; log them, as Inspect does by default")
    return _log(content, iter(content["samples"]))


def _entry(archive: zipfile.ZipFile, path: Path, name: str) -> Any:
    entry = archive.getinfo(name)
    try:
        data = archive.read(entry)
    except NotImplementedError:
        if entry.compress_type != _ZSTANDARD:
            raise UserError(
                f"{path}: {name} is compressed by method {entry.compress_type}, which isn't read; "
                "write the log anew with `inspect log convert --to json`"
            ) from None
        data = _decompressed(path, entry)
    return json.loads(data)


def _decompressed(path: Path, entry: zipfile.ZipInfo) -> bytes:
    import pyarrow

    with path.open("rb") as stream:
        stream.seek(entry.header_offset)
        # The lengths of the name and of the extra field are at the end of an entry's local header.
        lengths = struct.unpack("<HH", stream.read(30)[26:30])
        stream.seek(sum(lengths), 1)
        compressed = stream.read(entry.compress_size)
    return pyarrow.CompressedInputStream(pyarrow.BufferReader(compressed), "zstd").read()


def _log(header: Mapping[str, Any], samples: Iterator[Mapping[str, Any]]) -> Log:
    problems = ()
    if header["status"] != "success":
        problems = (f"Inspect's status of the run is {header['status']!r}: it may lack samples",)
    about = {"model": header["eval"]["model"], "benchmark": header["eval"]["task"]}
    found = Log(TOOL, tuple(map(_sample, samples)), about, problems=problems)
    ours = (header["eval"].get("metadata") or {}).get(OURS)
    return found if ours is None else _described(found, ours)


def _described(log: Log, ours: Mapping[str, Any]) -> Log:
    """A log that `vcjax.evaluation.inspect_log` wrote: it has what is compared, and by whom."""
    scale = ours["scale"]
    fields = {name: ours[name] for name in ("metric", "domain", "language", "parallel")}
    return replace(
        log,
        about={**log.about, "charter": ours["charter"]["name"]},
        defaults=LogOptions(**fields, scale=(scale[0], scale[1])),
        judge=ours["judge"],
        identity={name: ours[name]["hash"] for name in ("charter", "benchmark")},
        held_out=frozenset(ours["benchmark"]["held_out"]),
    )


def _sample(record: Mapping[str, Any]) -> Sample:
    error = record.get("error")
    given = record.get("scores") or {}
    return Sample(
        id=str(record["id"]),
        question=_text(record["input"]),
        # A sample that ended in an error has no output.
        answer=(record.get("output") or {}).get("completion") or "",
        scores=_scores(given),
        fields=record.get("metadata") or {},
        error=f"error: {error['message'][:_ERROR]}" if error else None,
        reasons={name: score["reason"] for name, score in given.items() if _is_unscored(score)},
    )


def _scores(scores: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, score in scores.items():
        value = score["value"]
        if isinstance(value, dict):
            found |= {f"{name}/{part}": own for part, own in value.items()}
        else:
            found[name] = None if _is_unscored(score) else value
    return found


def _is_unscored(score: Mapping[str, Any]) -> bool:
    """Whether Inspect's scorer reports that it has no score, and why. NaN alone is a flaw."""
    value = score["value"]
    return isinstance(value, float) and math.isnan(value) and bool(score.get("reason"))


def _text(messages: Any) -> str:
    """A question as one text: Inspect gives each new message an id, which is left out."""
    if isinstance(messages, str):
        return messages
    return question_text(messages)
