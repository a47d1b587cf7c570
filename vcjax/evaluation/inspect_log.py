"""A finished evaluation as a log of Inspect (inspect.aisi.org.uk), which its own viewer opens.

    answers.jsonl, scores.jsonl, summary.json  ->  inspect.eval, a zip of JSON files:
      header.json                 what was asked, of whom, and the results, from the summary
      samples/<id>_epoch_1.json   the conversation, the answer and its scores
      summaries.json              the samples without their texts, for the viewer's list

The scorers are `judge`, whose score of several judges is the panel's, with each judge beside it as
`judge/<name>`; `axes`; and `all_checks`: whether the answer passed all of the charter's rules. What
has no score is NaN with a `reason`, as in Inspect's own logs.

Source: Inspect's schema of version 2, as `inspect log schema` prints it.
"""

import json
import zipfile
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from vcjax.core.files import hash_text, read_json, read_jsonl, replaced
from vcjax.core.lineage import code_version
from vcjax.core.run import CONFIG, SUMMARY
from vcjax.data.records import BenchmarkItem
from vcjax.evaluation.answering import opening
from vcjax.evaluation.comparison.logs.inspect import OURS
from vcjax.evaluation.comparison.workdirs import current
from vcjax.evaluation.judging.judge import is_answered, no_answer
from vcjax.evaluation.judging.panel import SCALE, by_judge, combine, last_verdicts
from vcjax.roles.cache import fingerprint

NAME = "inspect.eval"
JUDGE, AXES, CHECKS = "judge", "axes", "all_checks"
_VERSION = 2
_STOPPED = {"stop": "stop", "length": "max_tokens"}
_LISTED = 1000
"""Characters of an answer in the list of samples."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of the entries of the zip: always the same, so that a log's bytes are too."""

Record = dict[str, Any]


def write_inspect_log(
    folder: Path,
    items: Sequence[BenchmarkItem],
    models: Collection[str],
    system_prompt: Callable[[BenchmarkItem], str] | None = None,
) -> None:
    """Writes `NAME` into the folder of an evaluation that has its answers, scores and summary.

    Args:
      items: of its benchmark; their references and rubrics are the samples' targets.
      models: identities of the model that it has ended with, see `workdirs.current`.
      system_prompt: of an item, which the model was given.
    """
    answers = current([record for _, record in read_jsonl(folder / "answers.jsonl")], models)
    verdicts: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for _, record in read_jsonl(folder / "scores.jsonl"):
        verdicts[record["id"], record["answer_hash"]].append(record)
    by_id = {item.id: item for item in items}
    summary = read_json(folder / SUMMARY)
    samples = [
        _sample(
            _item(answer, by_id.get(answer["id"])),
            answer,
            last_verdicts(verdicts[answer["id"], answer["answer_hash"]]),
            system_prompt,
            summary["benchmark"]["held_out"],
        )
        for answer in answers
    ]
    header = _header(summary, read_json(folder / CONFIG), samples)
    with (
        replaced(folder / NAME) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for sample in samples:
            _add(archive, f"samples/{sample['id']}_epoch_{sample['epoch']}.json", sample)
        _add(archive, "summaries.json", [_summary(sample) for sample in samples])
        _add(archive, "header.json", header)


def _add(archive: zipfile.ZipFile, name: str, value: Any) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, json.dumps(value, ensure_ascii=False))


# ------------------------------------------------------------------------------------- a sample


def _item(answer: Record, item: BenchmarkItem | None) -> BenchmarkItem:
    """The item as it was asked, which the benchmark may have in other words by now."""
    if item is not None and item.question == answer["question"]:
        return item
    fields = ("id", "parallel_id", "domain", "lang", "question")
    turns = tuple(answer.get("conversation", ()))
    return BenchmarkItem(**{name: answer[name] for name in fields}, conversation=turns)


def _sample(
    item: BenchmarkItem,
    answer: Record,
    verdicts: Sequence[Record],
    system_prompt: Callable[[BenchmarkItem], str] | None,
    held_out: Collection[str],
) -> Record:
    asked = list(opening(item, None))
    message = {"role": "assistant", "content": answer["answer"], "source": "generate"}
    message["model"] = answer["model"]
    usage = _usage(answer)
    output = {
        "model": answer["model"],
        "choices": [
            {"message": message, "stop_reason": _STOPPED.get(answer["finish_reason"], "unknown")}
        ],
        "completion": answer["answer"],
        **({"usage": usage} if usage else {}),
    }
    sample = {
        "id": item.id,
        "epoch": 1,
        "input": asked if item.conversation else item.question,
        "target": "\n\n".join(filter(None, (item.reference, item.rubric))),
        "messages": [*opening(item, system_prompt), message],
        "output": output,
        "scores": _scores(verdicts, answer["answer"]),
        "metadata": {
            "parallel_id": item.parallel_id,
            "domain": item.domain,
            "lang": item.lang,
            "held_out": item.domain in held_out,
        },
        "store": {},
        "events": [],
        "model_usage": {answer["model"]: usage} if usage else {},
        "role_usage": {},
        "attachments": {},
        "uuid": fingerprint(answer["fingerprint"], item.id),
    }
    if not is_answered(answer):
        sample["error"] = {"message": no_answer(answer), "traceback": "", "traceback_ansi": ""}
    return sample


def _usage(answer: Record) -> dict[str, int]:
    if answer["prompt_tokens"] is None or answer["tokens"] is None:
        return {}
    return {
        "input_tokens": answer["prompt_tokens"],
        "output_tokens": answer["tokens"],
        "total_tokens": answer["prompt_tokens"] + answer["tokens"],
    }


def _scores(verdicts: Sequence[Record], answer: str) -> dict[str, Record]:
    judges = by_judge(verdicts)
    (whole,) = combine(verdicts)
    scores = {JUDGE: _judged(whole, verdicts)} if judges else {}
    if len(judges) > 1:
        for name, own in judges.items():
            (each,) = combine(own)
            scores[f"{JUDGE}/{name}"] = _judged(each, own)
    if whole.get("axes"):
        scores[AXES] = _score(dict(whole["axes"]))
    checks = whole["checks"]
    if checks is None:
        scores[CHECKS] = _score(None, whole["unscored"])
    else:
        failed = [name for name, passed in checks.items() if not passed]
        explained = f"failed: {', '.join(failed)}" if failed else "passed all"
        scores[CHECKS] = _score(not failed, explanation=explained, metadata=dict(checks))
    return {name: {**score, "answer": answer} for name, score in scores.items()}


def _judged(combined: Record, verdicts: Sequence[Record]) -> Record:
    reasons = [each["reason"] for each in verdicts if each["reason"]]
    return _score(
        combined["score"],
        combined["unscored"],
        "\n\n".join(reasons),
        {"judge": combined["judge"], "family": combined["family"]},
    )


def _score(
    value: Any,
    unscored: str | None = None,
    explanation: str = "",
    metadata: Record | None = None,
) -> Record:
    # JSON has no NaN, but Inspect's logs do, as Python writes it.
    score: Record = {"value": float("nan") if value is None else value, "history": []}
    if value is None:
        score["reason"] = unscored
    if explanation:
        score["explanation"] = explanation
    return score if metadata is None else {**score, "metadata": metadata}


def _summary(sample: Record) -> Record:
    """A sample as the viewer's list has it."""
    kept = ("id", "epoch", "input", "target", "metadata", "model_usage", "role_usage", "uuid")
    scores = {
        name: {key: score[key] for key in ("value", "history", "reason") if key in score}
        | {"answer": score["answer"][:_LISTED]}
        for name, score in sample["scores"].items()
    }
    found = {name: sample[name] for name in kept} | {
        "scores": scores,
        "completed": "error" not in sample,
        "message_count": len(sample["messages"]),
    }
    return found if found["completed"] else {**found, "error": sample["error"]["message"]}


# ------------------------------------------------------------------------------------ the header


def _header(summary: Record, config: Record, samples: Sequence[Record]) -> Record:
    benchmark, judge, code = summary["benchmark"], summary["judge"], code_version()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    name = Path(benchmark["name"]).stem
    # By the content, so that an evaluation has the same id whenever its log is written.
    run = hash_text(json.dumps([sample["uuid"] for sample in samples]))[:22]
    usage: dict[str, dict[str, int]] = {}
    for sample in samples:
        for model, own in sample["model_usage"].items():
            before = usage.get(model, dict.fromkeys(own, 0))
            usage[model] = {kind: before[kind] + number for kind, number in own.items()}
    scorers = list(dict.fromkeys(scorer for sample in samples for scorer in sample["scores"]))
    return {
        "version": _VERSION,
        "status": "success",
        "eval": {
            "eval_id": run,
            "run_id": run,
            "created": now,
            "task": name,
            "task_id": hash_text(benchmark["hash"])[:22],
            "task_version": 0,
            "task_attribs": {},
            "task_args": {},
            "task_args_passed": {},
            "dataset": {
                "name": name,
                "samples": len(samples),
                "sample_ids": [sample["id"] for sample in samples],
                "shuffled": False,
            },
            "model": summary["model"]["name"],
            "model_generate_config": {"max_tokens": config["max_tokens"], "temperature": 0.0},
            "model_args": {},
            "config": {"epochs": 1},
            "packages": {"vcjax": code["version"]},
            "scorers": [{"name": scorer} for scorer in scorers],
            "metadata": {
                "same_family": summary["same_family"],
                "seed": summary["seed"],
                "commit": code["commit"],
                OURS: {
                    "metric": JUDGE if judge else CHECKS,
                    "judge": judge["name"] if judge else "",
                    "scale": list(SCALE if judge else (0.0, 1.0)),
                    "domain": "domain",
                    "language": "lang",
                    "parallel": "parallel_id",
                    "charter": summary["charter"],
                    "benchmark": benchmark,
                },
            },
        },
        "plan": {
            "name": "plan",
            "steps": [{"solver": "generate", "params": {}, "params_passed": {}}],
            "config": {},
        },
        "results": {
            "total_samples": len(samples),
            "completed_samples": sum("error" not in sample for sample in samples),
            "scores": [_result(scorer, samples, summary) for scorer in scorers],
        },
        "stats": {
            "started_at": now,  # when it was isn't recorded, and the viewer needs both
            "completed_at": now,
            "model_usage": usage,
            "role_usage": {},
            "connection_limit_history": [],
        },
        "invalidated": False,
        "tags": [],
        "metadata": {},
    }


def _result(scorer: str, samples: Sequence[Record], summary: Record) -> Record:
    """A scorer's mean, beside it the summary's by language with their intervals."""
    scores = [sample["scores"].get(scorer) for sample in samples]
    values = [score["value"] for score in scores if score and "reason" not in score]
    metrics: dict[str, float | None] = {}
    if scorer == AXES:
        for axis in values[0]:
            given = [each[axis] for each in values if each[axis] is not None]
            metrics[axis] = fmean(given) if given else None
    else:
        metrics["mean"] = fmean(values) if values else None
    parts, kind = {}, "mean"
    if scorer == JUDGE:
        parts = summary["languages"]
    elif scorer == CHECKS:
        parts, kind = summary["all_checks"]["languages"], "rate"
    for lang, own in parts.items():
        metrics |= {f"{lang}_mean": own[kind], f"{lang}_low": own["low"]}
        metrics |= {f"{lang}_high": own["high"]}
    return {
        "name": scorer,
        "scorer": scorer,
        "scored_samples": len(values),
        "unscored_samples": len(samples) - len(values),
        "params": {},
        "metrics": {
            name: {"name": name, "value": value, "params": {}}
            for name, value in metrics.items()
            if value is not None
        },
    }
