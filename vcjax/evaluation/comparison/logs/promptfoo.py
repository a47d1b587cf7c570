"""Results of promptfoo (`promptfoo eval --output results.json`)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vcjax.core.errors import UserError, suggest
from vcjax.evaluation.comparison.logs.samples import Log, LogOptions, Sample

TOOL = "promptfoo"
_PASSED = "success"
_ERROR = 80
_FAILED_TO_RUN = 2
"""`failureReason` of a test that ended in an error, and not in an assertion."""


def is_results(content: Any) -> bool:
    """Whether JSON is what promptfoo writes."""
    return (
        isinstance(content, dict)
        and isinstance(content.get("results"), dict)
        and isinstance(content["results"].get("results"), list)
    )


def read_results(content: Mapping[str, Any], path: Path, provider: str) -> Log:
    """The results of one provider. The tests are known by their number and variables, so that
    providers and prompts may differ.

    Args:
      provider: its label or id; may be empty where there is only one.

    Raises:
      UserError: several providers and none named, or an unknown one.
    """
    results = content["results"]["results"]
    names = list(dict.fromkeys(_provider(result) for result in results))
    if provider and provider not in names:
        hint = suggest(provider, names)
        raise UserError(f"{path}: no provider {provider!r}{hint} ({', '.join(names)})")
    if not provider and len(names) > 1:
        raise UserError(
            f"{path}: has several providers ({', '.join(names)}); name one, as {path}#{names[0]}"
        )
    own = [result for result in results if provider in ("", _provider(result))]
    prompts = {result["promptIdx"] for result in own}
    about = {"model": provider or (names or [""])[0]}
    samples = [_sample(each, len(prompts) > 1) for each in own]
    return Log(TOOL, samples, about, LogOptions(metric=_PASSED))


def _provider(result: Mapping[str, Any]) -> str:
    provider = result["provider"]
    return provider if isinstance(provider, str) else provider.get("label") or provider["id"]


def _sample(result: Mapping[str, Any], several_prompts: bool) -> Sample:
    failed = result.get("failureReason") == _FAILED_TO_RUN
    output = (result.get("response") or {}).get("output")
    scores = {
        _PASSED: result["success"],
        "score": result["score"],
        **(result.get("namedScores") or {}),
    }
    prompt = f"/{result['promptIdx']}" if several_prompts else ""
    metadata = {**result.get("vars", {}), **(result.get("metadata") or {})}
    return Sample(
        id=f"{result['testIdx']}{prompt}",
        question=json.dumps(result.get("vars", {}), sort_keys=True, ensure_ascii=False),
        answer=output if isinstance(output, str) else json.dumps(output, ensure_ascii=False),
        # A test that ended in an error has failed to run, and not its assertions: it is unscored.
        scores=dict.fromkeys(scores) if failed else scores,
        # Those with an underscore are promptfoo's own.
        fields={name: value for name, value in metadata.items() if not name.startswith("_")},
        error=f"error: {str(result.get('error'))[:_ERROR]}" if failed else None,
    )
