"""The summary of the ablation by stage: each arm, and what each stage has changed."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from vcjax.charter.schema import Charter
from vcjax.core.files import read_json
from vcjax.core.run import SUMMARY
from vcjax.core.seeds import derive_seed
from vcjax.evaluation.benchmark import load_benchmark
from vcjax.road.ablation.data import count_records
from vcjax.road.ablation.results import charter_rules
from vcjax.road.pressure.capability import task_scores
from vcjax.road.stages.arms import TRAIN, StageRun
from vcjax.road.stages.config import ADVERSARIAL, ATTACKS, StagesConfig
from vcjax.road.stages.steps import CONFIDENCE, corrected_together, rules_kept, step
from vcjax.stats.intervals import RATE, interval_record, mean_interval, rate_record
from vcjax.text.language import Language

_TRAINED = ("steps", "tokens", "loss_tokens", "first_loss", "last_loss")


def summarise(
    config: StagesConfig,
    charter: Charter,
    *,
    family: str,
    runs: Mapping[str, StageRun],
    langs: Sequence[Language],
    left_out: Collection[str],
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """The content of `summary.json`.

    Args:
      langs: of the measured documents.
      left_out: ids of measured documents that share a sentence with what an arm was trained on.
      seconds: of each stage, by its name.
    """
    held_out = load_benchmark(config.evaluation.benchmark, charter).held_out
    rules = charter_rules(charter, measured=False)
    steps = [
        step(run, run.before, rules=rules, held_out=held_out, left_out=left_out, langs=langs)
        for run in runs.values()
        if run.before is not None
    ]
    for record, p in zip(steps, corrected_together(steps), strict=True):
        record["p_holm"] = p
    arms = {name: _arm(run, rules, left_out, langs, seconds) for name, run in runs.items()}
    # Judge and benchmark are the same in all arms.
    first = next(iter(runs.values())).evaluation()
    return {
        "model": {"reference": config.model, "family": family},
        "charter": {
            "name": charter.name,
            "version": charter.version,
            "hash": charter.content_hash,
            "domains": {each.id: dict(each.name) for each in charter.subdomains()},
        },
        "judge": first["judge"],
        "same_family": first["same_family"],
        "benchmark": first["benchmark"],
        "languages": list(first["languages"]),
        "confidence": CONFIDENCE,
        "seed": config.seed,
        "base": config.base.name,
        "measured_rules": sorted(set(charter_rules(charter)) - set(rules)),
        "arms": arms,
        "steps": steps,
        "documents_left_out": sorted(left_out),
        "seconds": dict(seconds),
    }


def _arm(
    run: StageRun,
    rules: Collection[str],
    left_out: Collection[str],
    langs: Sequence[Language],
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    evaluation = run.evaluation()
    found: dict[str, Any] = {
        "stage": run.arm.stage,
        "after": run.arm.after,
        "data": run.arm.data,
        "rules": _rules(run, rules),
        "checks": evaluation["checks"],
        "scores": {name: evaluation[name] for name in ("languages", "domains")},
        "facts": {
            lang: rate_record(sum(own.values()), len(own), CONFIDENCE)
            for lang, own in run.facts().items()
        },
        "documents": {lang: _perplexity(run, lang, left_out) for lang in langs},
        "seconds": sum(
            value for name, value in seconds.items() if name.startswith(f"{run.arm.name}/")
        ),
    }
    if run.before is not None:
        trained = read_json(run.folder / TRAIN / SUMMARY)
        found["training"] = {name: trained.get(name) for name in _TRAINED}
    if run.arm.stage == ADVERSARIAL:
        found["pairs"] = sum(map(count_records, run.pairs))
        if ATTACKS in run.arm.sources:
            attacks = read_json(run.attack_folder / SUMMARY)
            found["attacks"] = {name: attacks[name] for name in ("attempts", "accepted")}
    if (tasks := run.capability()) is not None:
        found["capability"] = task_scores([tasks])
    return found


def _rules(run: StageRun, rules: Collection[str]) -> dict[str, Any]:
    """The mean share of rules that an answer keeps: with its interval by language, and by domain
    and language as `{mean, n}`."""
    scores, kept = run.scores(), rules_kept(run.scores(), rules)
    languages: dict[str, list[float]] = {}
    domains: dict[str, dict[str, list[float]]] = {}
    for each in scores:
        if (share := kept.get(each["id"])) is not None:
            languages.setdefault(each["lang"], []).append(share)
            domains.setdefault(each["domain"], {}).setdefault(each["lang"], []).append(share)
    return {
        "languages": {
            lang: interval_record(
                mean_interval(
                    own,
                    scale=RATE,
                    confidence=CONFIDENCE,
                    seed=derive_seed(run.config.seed, "rules", run.arm.name, lang),
                )
            )
            for lang, own in sorted(languages.items())
        },
        "domains": {
            domain: {
                lang: {"mean": sum(own) / len(own), "n": len(own)}
                for lang, own in sorted(groups.items())
            }
            for domain, groups in sorted(domains.items())
        },
    }


def _perplexity(run: StageRun, lang: Language, left_out: Collection[str]) -> dict[str, Any]:
    own = [each for each in run.document_scores(lang) if each["id"] not in left_out]
    tokens = sum(each["tokens"] for each in own)
    loss = sum(each["nats"] for each in own) / tokens if tokens else math.nan
    perplexity = math.exp(loss) if tokens else None
    return {"documents": len(own), "tokens": tokens, "perplexity": perplexity}
