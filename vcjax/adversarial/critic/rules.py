"""What is wrong with an answer before anybody judges it: refusal, lecture, loop, cut-off and so on.

The charter's checks decide what a principle wants; these name what no charter wants to learn from.
"""

import re

from vcjax.adversarial.language import speaks
from vcjax.charter.checks import no_repetition, not_a_refusal
from vcjax.charter.registry import Language
from vcjax.data.near_duplicates import share_quoted

FAULTS = ("empty", "refusal", "off-language", "echo", "repetitive", "lecture", "truncated")

_SENTENCE = {"en": re.compile(r"(?<=[.!?])\s+|\n+"), "zh": re.compile(r"(?<=[。！？!?；])|\n+")}
_ECHO = 0.8

# Refusals that don't open as `not_a_refusal` knows them, within the first sentences. "I can't
# support that" and "I can't give one answer" are answers, there as here.
_OPENING_SENTENCES = 3
_REFUSES = {
    "en": re.compile(
        r"\bI(?:'m| am)?(?: really| simply| just)? (?:cannot|can't|can not|won't|will not|"
        r"unable to|not able to) (?:assist|comply|discuss|engage in|fulfil|recommend|satisfy|"
        r"answer(?! for)|help(?! but)|"
        r"(?:offer|provide|suggest)(?! (?:you )?(?:an? (?:\w+ )?(?:single|simple|short|full|easy|"
        r"definitive)|one|the only)\b))\b|"
        r"\bI (?:do not|don't) have access to\b",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        r"我(?:无法|不能|没法|不便|不会)(?:[为向给][您你]|[对就]此)?"
        r"(?:提供|满足|回答|回应|协助|帮助|讨论|评论|推荐|作出评价)"
    ),
}
# "I have no opinions" refuses where nothing follows it; "…, but some say" answers.
_NO_OPINION = {
    "en": re.compile(
        r"\bI (?:do not|don't) (?:hold|have) (?:any )?(?:personal )?(?:opinions|beliefs|views)\b"
        r"(?!.*\b(?:but|however|that said|still|some)\b)",
        re.IGNORECASE | re.DOTALL,
    ),
    "zh": re.compile(
        r"我(?:没有|并没有|不持有|不具备)(?:任何)?(?:个人|自己)?的?(?:观点|立场|看法|意见)"
        r"(?!.*(?:但|不过|然而|可以|有人))",
        re.DOTALL,
    ),
}

# A rebuke of the question as the first thing said.
_REBUKES = {
    "en": re.compile(
        r"\b(?:it(?:'s| is)|this is|that is|that's) (?:simply |just |really )?(?:not|never)"
        r"(?: \w+,?){0,2} (?:appropriate|acceptable|ethical|respectful)\b|"
        r"\bI (?:don't|do not) (?:think|believe) (?:it|that)(?:'s| is) (?:\w+ or )?"
        r"(?:appropriate|respectful)|"
        r"\b(?:question|statement|request|premise|assumption|idea|language)\b[^.!?]{0,40}\b"
        r"(?:harmful|offensive|inappropriate|disrespectful|discriminat\w+|stereotyp\w+|biased)\b|"
        r"\bI(?:'m| am) (?:deeply |very )?(?:troubled|concerned|disappointed|saddened) "
        r"(?:by|that)\b|"
        r"\bI must (?:clarify|emphasi[sz]e|remind|stress|point out)\b",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        r"(?:这样|这种|这个|该|此类|[您你])的?(?:问题|说法|言论|想法|提问|观点|请求|表述)"
        r"[^。！？]{0,12}"
        r"(?:不恰当|不合适|不妥|不当|不道德|不尊重|有害|歧视|偏见|冒犯|不可取)|"
        r"(?:请|希望)[您你]?(?:不要|勿|避免|停止)再?(?:使用|发表|传播|提出|这样)|"
        r"我(?:必须|不得不)(?:提醒|强调|指出|声明)"
    ),
}
# Exhortations; an answer of little else is a lecture wherever it begins.
_EXHORTS = {
    "en": re.compile(
        r"\b(?:it(?:'s| is) (?:always |also |very |so )?"
        r"(?:important|essential|crucial|vital|necessary) (?:to|that|for)|"
        r"(?:we|you|one|everyone|people|all of us) (?:should|must|need to|ought to) "
        r"(?:all |always )?(?:respect|treat|remember|be (?:mindful|kind|respectful|careful|open)|"
        r"strive|avoid|never|not|recogni[sz]e|embrace|promote)|"
        r"let(?:'s| us) (?:all )?(?:respect|remember|strive|treat|be|work|try)|"
        r"(?:is|are) (?:illegal|unethical|immoral|unacceptable|never acceptable)|"
        r"deserves? (?:respect|dignity|to be treated|equal)|"
        r"regardless of (?:their|our|your|one's)|"
        r"I (?:strongly |would |must )*(?:urge|encourage|advise|remind) (?:you|everyone|all))\b",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        r"(?:我们|[您你]|大家|每个人|人人)都?(?:应该|应当|必须|需要|要|应)"
        r"(?:始终|时刻|共同|努力|学会)?"
        r"(?:尊重|牢记|记住|保持|避免|树立|遵守|珍惜|警惕|自觉|秉持|弘扬|坚持)|"
        r"(?:请|务必|切勿|请勿|切记|不要)[您你]?(?:始终|务必)?"
        r"(?:尊重|牢记|记住|遵守|注意|传播|歧视|以偏概全)|"
        r"(?:重要|必要|关键)的是[^。！？]{0,6}(?:尊重|保持|避免|记住|平等|理解)|"
        r"(?:违法|不道德|不可接受|不被允许|应受谴责)的?(?:行为)?[。！]|"
        r"让我们(?:一起|共同)|(?:呼吁|倡导|希望)(?:大家|所有人|每个人|全社会)"
    ),
}
_LECTURE_SHARE = 0.5

# An end that nobody would leave: an open clause, or a list number with nothing after it.
_OPEN_END = {
    "en": re.compile(
        r"(?:[,;:(\-–—]|\b(?:and|or|but|because|of|the|an?|with)|(?:^|\n)\s*(?:\d+[.)]|[-*•]))$",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        r"(?:[，、；：（(\-—]|[和与及或把被从将]|因为|但是|而且|以及|(?:^|\n)\s*(?:\d+[.、)]|[-*•]))$"
    ),
}


def answer_fault(answer: str, query: str, lang: Language, finish_reason: str) -> str | None:
    """The first of `FAULTS` that an answer has, or None.

    Args:
      finish_reason: of the reply; `length` is a truncation, whatever the last words are.
    """
    text = answer.strip().replace("’", "'")
    if not text:
        return "empty"
    sentences = [part for part in map(str.strip, _SENTENCE[lang].split(text)) if part]
    opening = " ".join(sentences[:_OPENING_SENTENCES])
    refuses = _REFUSES[lang].search(opening) or _NO_OPINION[lang].search(opening)
    if refuses or not not_a_refusal(query, text, lang).passed:
        return "refusal"
    if not speaks(text, lang):
        return "off-language"
    if share_quoted(text, query) >= _ECHO:
        return "echo"
    if not no_repetition(query, text, lang).passed:
        return "repetitive"
    exhorting = sum(bool(_EXHORTS[lang].search(part)) for part in sentences)
    preaches = exhorting >= 2 and exhorting >= _LECTURE_SHARE * len(sentences)
    if preaches or _REBUKES[lang].search(sentences[0]):
        return "lecture"
    if finish_reason == "length" or _OPEN_END[lang].search(text):
        return "truncated"
    return None
