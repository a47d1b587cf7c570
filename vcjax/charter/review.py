"""Everything that is wrong or doubtful in a charter's file, at once, with its lines.

What is wrong keeps a file from being a charter; what is doubtful is what the author of one that can
be used would want to know before a run.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from vcjax.charter.floor import FLOOR_RULES
from vcjax.charter.load import charter_file, read_charter
from vcjax.charter.parts import Principle
from vcjax.charter.schema import Charter, CharterProblems, Location, Problem
from vcjax.charter.topics import content_words
from vcjax.core.validation import describe_in, path_of
from vcjax.core.yaml_files import line_finder
from vcjax.text.language import Language, script_share


@dataclass(frozen=True)
class Review:
    """What was found in a charter's file.

    Attributes:
      charter: None where it can't be used.
      problems: one line each, `FILE:LINE: FIELD: what is wrong`, in the order of the file.
    """

    charter: Charter | None
    problems: tuple[str, ...]


def review_charter(reference: str) -> Review:
    """Reads a charter as `load_charter` does, and reports all of its problems.

    Raises:
      UserError: the file is missing, isn't YAML or isn't a mapping.
    """
    data = read_charter(reference)
    charter, found = _validated(data)
    line = line_finder(charter_file(reference))
    # In the order of the file, in which its author reads it; the number keeps two of one line
    # apart.
    ordered = sorted(
        (line(problem.location), number, problem) for number, problem in enumerate(found)
    )
    return Review(charter, tuple(_problem(reference, at, problem) for at, _, problem in ordered))


def _problem(reference: str, line: int, problem: Problem) -> str:
    field = f"{path_of(problem.location)}: " if problem.location else ""
    return f"{reference}:{line}: {field}{problem.message}"


def _validated(data: Mapping[str, Any]) -> tuple[Charter | None, list[Problem]]:
    """The charter with what is doubtful in it, or what keeps it from being one."""
    try:
        charter = Charter.model_validate(data)
        return charter, list(doubts(charter))
    except ValidationError as failure:
        found = list(_problems_in(failure))
        unknown = [each["loc"] for each in failure.errors() if each["type"] == "extra_forbidden"]
    if len(unknown) == len(found):
        # Whether the parts fit together is looked at only where each field is valid.
        found += _validated(_without(data, unknown))[1]
    return None, found


def _problems_in(failure: ValidationError) -> Iterator[Problem]:
    for error in failure.errors():
        raised = error.get("ctx", {}).get("error")
        if isinstance(raised, CharterProblems):
            yield from raised.problems
        else:
            yield Problem(error["loc"], describe_in(error, Charter))


def _without(value: Any, locations: list[Location]) -> Any:
    """A copy without the fields at these locations."""
    if isinstance(value, Mapping):
        gone = {location[0] for location in locations if len(location) == 1}
        return {
            name: _without(each, [location[1:] for location in locations if location[0] == name])
            for name, each in value.items()
            if name not in gone
        }
    if isinstance(value, list):
        return [
            _without(each, [location[1:] for location in locations if location[0] == number])
            for number, each in enumerate(value)
        ]
    return value


# --- what is doubtful ----------------------------------------------------------------------------

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


def doubts(charter: Charter) -> Iterator[Problem]:
    """Yields what its author would want to know of a charter without problems.

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
        yield Problem(("domains",), "every subdomain is held out: nothing is left to train on")


def _contradictions(charter: Charter) -> Iterator[Problem]:
    texts = [(("persona",), charter.persona), (("rubric",), charter.rubric)]
    texts += [(("principles", i, "text"), each.text) for i, each in enumerate(charter.principles)]
    for location, text in texts:
        for lang in charter.languages:
            wording = text.get(lang)
            if location == ("rubric",):
                wording = _good_lines(wording)
            for rule in FLOOR_RULES:
                if found := _asked_for(wording, lang, rule.id):
                    yield Problem(
                        (*location, lang),
                        f"{found!r} contradicts the floor rule {rule.id!r}, which binds every "
                        f"charter: {rule.text[lang]}",
                    )


def _asked_for(text: str, lang: Language, rule: str) -> str | None:
    """The first wording that asks for what a floor rule forbids."""
    for match in _ASKS[lang][rule].finditer(text):
        found = match.group()
        before = _CLAUSE.split(text[: match.start()])[-1]
        # "Never admit" is what is asked for; the "never" in it must not acquit it.
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


def _switched_off(charter: Charter) -> Iterator[Problem]:
    if charter.accept_score == 0:
        yield Problem(
            ("accept_score",),
            "an answer that breaks a floor rule scores 0, and 0 is accepted; set at least 1",
        )
    if charter.thresholds.facts == 0:
        yield Problem(
            ("thresholds", "facts"),
            "0 accepts answers with invented facts, against the floor rule 'accuracy'; set at "
            "least 1",
        )


def _undecided(location: Location, principle: Principle, charter: Charter) -> Iterator[Problem]:
    if principle.checks:
        return
    if principle.measure_only:
        yield Problem(location, f"{principle.id!r} only measures, and has no check to measure by")
        return
    for lang in charter.languages:
        words = content_words(principle.text.get(lang).casefold(), lang)
        if not words & content_words(charter.rubric.get(lang).casefold(), lang):
            yield Problem(
                location,
                f"{principle.id!r} has no check, and the rubric in {lang!r} has none of its words: "
                "who scores by the rubric isn't told of it; add a check or a line to the rubric",
            )


def _untranslated(charter: Charter) -> Iterator[Problem]:
    for location, text in charter.texts():
        for lang in charter.languages:
            wording = text.get(lang)
            joined = wording if isinstance(wording, str) else " ".join(wording)
            if any(map(str.isalpha, joined)) and not script_share(joined, lang):
                yield Problem((*location, lang), f"nothing of it is in the script of {lang!r}")
