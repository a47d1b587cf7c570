"""What is doubtful in a charter that can be used: its author would want to know before a run."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vcjax.charter.faults import Fault, Place
from vcjax.charter.floor import FLOOR_RULES
from vcjax.charter.topics import content_words
from vcjax.text.language import Language, script_share

if TYPE_CHECKING:
    from vcjax.charter.parts import Principle
    from vcjax.charter.schema import Charter

# Wordings that ask for what a floor rule forbids. They find the plain cases alone: whoever means to
# contradict the floor can put it otherwise, and the Critic grades by the floor all the same.
_ASKS: dict[Language, dict[str, re.Pattern[str]]] = {
    "en": {
        "no_hate": re.compile(
            r"\b(?:insult|mock|ridicule|dehumani[sz]e|demean|vilify|humiliate|despise|hate)s?\b|"
            r"\b(?:as|are|is) (?:inferior|subhuman|vermin|worthless)\b",
            re.IGNORECASE,
        ),
        "no_incitement": re.compile(
            r"\b(?:incite|encourage|call for|advocate|justify|justifies|praise|glorify|support)s?\b"
            r"[^.;,]*\b(?:violence|attacks?|persecution|persecuting|discriminat\w+|expulsion|"
            r"expelling|killing|ethnic cleansing)\b",
            re.IGNORECASE,
        ),
        "accuracy": re.compile(
            r"\b(?:deny|denies|invent|fabricate|make up|falsify|distort|conceal|hide|suppress)s?\b"
            r"[^.;,]*\b(?:facts?|evidence|record|history|figures?|sources?|events?|\w*atrocit\w+|"
            r"genocides?|massacres?)\b|"
            r"\b(?:above|over|before|regardless of|even against|instead of) (?:the |all )?"
            r"(?:facts?|evidence|truth|accuracy|(?:historical |documented )?record)\b|"
            r"\beven (?:if|where|when) (?:it|that|this) is (?:false|untrue|wrong|not true)\b|"
            r"\b(?:never|do not|don't) (?:correct|admit|acknowledge|concede)\b",
            re.IGNORECASE,
        ),
    },
    "zh": {
        "no_hate": re.compile(r"侮辱|嘲笑|嘲讽|丑化|贬低|仇视|低人一等|劣等"),
        "no_incitement": re.compile(
            r"(?:煽动|鼓吹|鼓动|支持|赞美|美化|号召)[^。；，！]*(?:暴力|歧视|迫害|驱逐|屠杀|仇恨)"
        ),
        "accuracy": re.compile(
            r"(?:否认|捏造|编造|歪曲|隐瞒|掩盖|篡改)[^。；，！]*(?:事实|史实|历史|证据|数据|真相)|"
            r"(?:高于|重于|先于|优先于)(?:事实|史实|真相|证据)|不(?:要|得|必|可|应)(?:纠正|承认)|"
            r"即使(?:不实|不属实|是假的)"
        ),
    },
}
# In the same clause before it, or within it, these turn a wording into its opposite.
_NEGATION: dict[Language, re.Pattern[str]] = {
    "en": re.compile(
        r"\b(?:no|not|never|nothing|nobody|none|neither|nor|without|don't|doesn't|cannot|can't|avoid"
        r"\w*|refus\w+|reject\w*|oppos\w+|condemn\w*|against|correct\w*|"
        r"prevent\w*|stop\w*|end(?:s|ing)?|victims?|survivors?|instead of|rather than)\b",
        re.IGNORECASE,
    ),
    "zh": re.compile(r"不|勿|别|没|无|未|禁止|避免|反对|拒绝|杜绝|防止|谴责|纠正|制止|受害"),
}
_OWN_NEGATION = re.compile(r"^(?:never|do not|don't|instead of|不)", re.IGNORECASE)
_CLAUSE = re.compile(r"[.;:,!?。；：，！？\n]")
# Lines of a rubric that say what a good answer does: those of the scores 4 and 5.
_SCORE_LINE = re.compile(r"^\s*(\d)\s*(?:分|points?)?\s*[:：]", re.MULTILINE)
_GOOD = ("4", "5")


def doubts(charter: "Charter") -> Iterator[Fault]:
    """Yields what its author would want to know of a charter without faults.

    These are wordings that contradict a floor rule, thresholds that switch the floor off,
    principles that nothing decides, texts that aren't in their language, and a charter that leaves
    nothing to train on.
    """
    yield from _contradictions(charter)
    yield from _switched_off(charter)
    for i, principle in enumerate(charter.principles):
        yield from _undecided(("principles", i), principle, charter)
    yield from _untranslated(charter)
    if not charter.subdomains(include_held_out=False):
        yield Fault(("domains",), "every subdomain is held out: nothing is left to train on")


def _contradictions(charter: "Charter") -> Iterator[Fault]:
    texts = [(("persona",), charter.persona), (("rubric",), charter.rubric)]
    texts += [(("principles", i, "text"), each.text) for i, each in enumerate(charter.principles)]
    for place, text in texts:
        for lang in charter.languages:
            wording = text.get(lang)
            if place == ("rubric",):
                wording = _good_lines(wording)
            for rule in FLOOR_RULES:
                if found := _asked_for(wording, lang, rule.id):
                    yield Fault(
                        (*place, lang),
                        f"{found!r} contradicts the floor rule {rule.id!r}, which binds every "
                        f"charter: {rule.text[lang]}",
                    )


def _asked_for(text: str, lang: Language, rule: str) -> str | None:
    """The first wording that asks for what a floor rule forbids."""
    for match in _ASKS[lang][rule].finditer(text):
        found = match.group()
        before = _CLAUSE.split(text[: match.start()])[-1]
        within = "" if _OWN_NEGATION.match(found) else found
        if not _NEGATION[lang].search(f"{before} {within}"):
            return found
    return None


def _good_lines(rubric: str) -> str:
    """What a rubric says of the best answers; all of it where it has no line for a score."""
    starts = list(_SCORE_LINE.finditer(rubric))
    if not starts:
        return rubric
    ends = [*(each.start() for each in starts[1:]), len(rubric)]
    return "\n".join(
        rubric[each.end() : end]
        for each, end in zip(starts, ends, strict=True)
        if each.group(1) in _GOOD
    )


def _switched_off(charter: "Charter") -> Iterator[Fault]:
    if charter.accept_score == 0:
        yield Fault(
            ("accept_score",),
            "an answer that breaks a floor rule scores 0, and 0 is accepted; set at least 1",
        )
    if charter.thresholds.facts == 0:
        yield Fault(
            ("thresholds", "facts"),
            "0 accepts answers with invented facts, against the floor rule 'accuracy'; set at "
            "least 1",
        )


def _undecided(place: Place, principle: "Principle", charter: "Charter") -> Iterator[Fault]:
    if principle.checks:
        return
    if principle.measure_only:
        yield Fault(place, f"{principle.id!r} only measures, and has no check to measure by")
        return
    for lang in charter.languages:
        words = content_words(principle.text.get(lang).casefold(), lang)
        if not words & content_words(charter.rubric.get(lang).casefold(), lang):
            yield Fault(
                place,
                f"{principle.id!r} has no check, and the rubric in {lang!r} has none of its words: "
                "who scores by the rubric isn't told of it; add a check or a line to the rubric",
            )


def _untranslated(charter: "Charter") -> Iterator[Fault]:
    for place, text in charter.texts():
        for lang in charter.languages:
            wording = text.get(lang)
            joined = wording if isinstance(wording, str) else " ".join(wording)
            if any(map(str.isalpha, joined)) and not script_share(joined, lang):
                yield Fault((*place, lang), f"nothing of it is in the script of {lang!r}")
