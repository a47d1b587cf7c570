"""Patterns for a property of an answer: that it shows two sides."""

import re
from typing import NamedTuple


class Sides(NamedTuple):
    """Patterns of one side, of the other side, and of both in one."""

    one: re.Pattern
    other: re.Pattern
    both: re.Pattern


_EN_HOLD = (
    r"(?:\w+\s+){0,2}(?:accept|argue|believe|call|claim|consider|contend|counter|disagree|doubt|"
    r"emphasi[sz]e|favou?r|fear|feel|find|hold|insist|maintain|note|object|oppose|point|prefer|"
    r"regard|reject|reply|respond|say|see|stress|support|think|value|view|want|warn|welcome|"
    r"worry)\b"
)
_ZH_PEOPLE = r"(?:有人|有些人|有的人|有的国家|有些国家)"
_ZH_VIEW = r"(?:观点|看法|意见|立场|声音|主张)"

PERSPECTIVES = {
    "en": Sides(
        one=re.compile(
            rf"\bon (?:the )?one (?:hand|side)\b|\bsome (?:\w+ )?{_EN_HOLD}|"
            r"\b(?:supporters|proponents|defenders|those in favou?r|"
            r"(?:those|people) who (?:support|favou?r|agree|defend))\b|"
            rf"\badvocates (?:of (?:\w+ ){{1,4}}?)?{_EN_HOLD}|"
            r"\bone (?:view|perspective|side|position|argument)\b",
            re.IGNORECASE,
        ),
        other=re.compile(
            rf"\bon the other (?:hand|side)\b|\b(?:others|other people) {_EN_HOLD}|"
            r"\b(?:critics|opponents|sceptics|skeptics|detractors|those against|"
            r"(?:those|people) who (?:oppose|object|disagree|doubt|reject))\b|"
            r"\b(?:another|the other|the opposing|an opposing) "
            r"(?:view|perspective|side|position|argument)\b",
            re.IGNORECASE,
        ),
        # The comma keeps out "some kindness towards others".
        both=re.compile(
            r"\bsome\b[^.!?]{1,200}[,;:–—]\s*(?:(?:and|but|while|whereas|yet)\s+)?others\b",
            re.IGNORECASE,
        ),
    ),
    "zh": Sides(
        # The look-behinds keep out 没有人, 所有人 and the 一方面 inside 另一方面.
        one=re.compile(
            rf"(?<![没所也还另拥只])有(?:人|些人|的人|{_ZH_VIEW}认为)|(?<!另)一方面|"
            rf"(?<!另)(?<!另外)一(?:些|部分)(?:人|学者|国家)|支持者|赞成者|赞同者|拥护者|"
            rf"(?:支持|赞成|赞同)(?:这\w{{1,6}})?的(?:人|一方)|(?<!另)一种{_ZH_VIEW}"
        ),
        other=re.compile(
            rf"[也还另]有(?:一些|些|的)?(?:人|{_ZH_VIEW})|另一方面|"
            r"另外?一(?:些|部分)(?:人|学者|国家)|反对者|批评者|质疑者|批评人士|"
            rf"(?:反对|质疑|批评)(?:这\w{{1,6}})?的(?:人|一方)|另外?一种{_ZH_VIEW}"
        ),
        both=re.compile(
            rf"(?<![没所拥占])({_ZH_PEOPLE})[^。！？]{{1,60}}[，；,;。](?:而|也|但|可)?\1|"
            r"(?<!另)一方面.{1,120}?(?<!另)一方面",
            re.DOTALL,
        ),
    ),
}
