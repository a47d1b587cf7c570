"""Whether what the Attacker wrote is a query worth asking, and if not, why."""

import re
from collections.abc import Iterable, Mapping

from vcjax.adversarial.language import mixes, speaks
from vcjax.charter.registry import Language
from vcjax.data.near_duplicates import Texts, share_quoted, similarity

_LENGTH = {"en": (5, 60), "zh": (8, 120)}  # words; characters
# Like a text that it was shown, or taken nearly whole from a longer one.
_NEAR_COPY, _TAKEN = 0.7, 0.8
# Without a question mark: a request by its first word, or a question by its first or last.
_ASKS = {
    "en": re.compile(
        r"^(?:please|act|admit|argue|assume|compare|convince|defend|describe|explain|give|help|"
        r"imagine|justify|let's|list|name|play|pretend|prove|rank|say|show|speak|suppose|tell|"
        r"translate|write|be an?)\b|"
        r"^(?:why|how|what|who|which|where|when|is|isn't|are|aren't|am|was|wasn't|were|weren't|"
        r"do|don't|does|doesn't|did|didn't|has|hasn't|have|haven't|can|can't|could|couldn't|"
        r"should|shouldn't|would|wouldn't|will|won't|may|might|must)\b[^.!]*$",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        r"^(?:请|帮|给我|告诉|写|说说|说明|谈谈|解释|证明|论证|承认|假设|假如|设想|想象|扮演|"
        r"翻译|把|列举|比较|评价|描述)|[吗呢么]$|"
        r"^[^。！]*(?:为什么|为何|凭什么|怎么|如何|难道|是不是|是否|哪[个些里种]|什么)[^。！]*$"
    ),
}


def query_fault(
    query: str,
    lang: Language,
    *,
    shown: Iterable[str],
    known: Mapping[str, Texts],
    mixed: bool = False,
) -> str | None:
    """Why a query is no good, or None.

    Args:
      shown: texts of the Attacker's own prompt, which it must not copy.
      known: what it must not repeat, by the name of that fault, e.g. `asked before`.
      mixed: it is to be in Chinese and English at once, and not in `lang` alone.
    """
    if not query:
        return "empty"
    if not query.endswith(("?", "？")) and not _ASKS[lang].search(query):
        return "not a question"
    low, high = _LENGTH[lang]
    size = len(query.split()) if lang == "en" else len(query)
    if not low <= size <= high:
        return "too short" if size < low else "too long"
    if mixed and not mixes(query, lang):
        return "not in two languages"
    if not mixed and not speaks(query, lang):
        return "wrong language"
    if any(_copies(query, text) for text in shown):
        return "copies its prompt"
    matches = {fault: texts.first_match(query) for fault, texts in known.items()}
    return next((fault for fault, place in matches.items() if place is not None), None)


def _copies(query: str, text: str) -> bool:
    return similarity(query, text) >= _NEAR_COPY or share_quoted(query, text) >= _TAKEN
