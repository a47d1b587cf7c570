"""Answers that are none to learn from: lectures, and answers that are cut off.

A lecture rebukes or exhorts its reader instead of answering. "The idea is false, and harmful
because teachers believe it" is an answer; so are two facts with an exhortation behind them. So
sentences are counted: those that preach against those that inform. The cues were written
and are measured as those of `vcjax.text.refusals`.
"""

import re

from vcjax.text.language import Language
from vcjax.text.refusals import find_refusal, is_courtesy
from vcjax.text.units import sentences, units

# --- lectures ------------------------------------------------------------------------------------

# A rebuke of the question or its author.
_REBUKES = {
    "en": re.compile(
        r"\b(?:it(?:'s| is)|this is|that is|that's) (?:simply |just |really )?(?:not|never)"
        r"(?: \w+,?){0,2} (?:appropriate|acceptable|ethical|respectful)\b|"
        r"\bI (?:don't|do not) (?:think|believe) (?:it|that)(?:'s| is) (?:\w+ or )?"
        r"(?:appropriate|respectful)|"
        r"\b(?:your|this|that|the|such an?) (?:question|statement|request|wording|language|"
        r"assumption)s?\b[^.!?]{0,40}\b(?:harmful|hurtful|offensive|inappropriate|disrespectful|"
        r"discriminat\w+|prejudice\w*|racist|sexist|stereotyp\w+|biased)\b|"
        r"\bI(?:'m| am) (?:deeply |very )?(?:troubled|concerned|disappointed|saddened|shocked|"
        r"dismayed) (?:by|that|to)\b|"
        r"\bI must (?:clarify|emphasi[sz]e|inform|remind|stress|point out)\b|"
        r"\b(?:no ?one|nobody|you) should (?:ever |never )?(?:say|ask|think)\b|"
        r"\binstead of (?:asking|judging)\b|\brather than ask\w*\b|\bwhy (?:do )?you want\b|"
        r"\bis not a competition\b",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        r"(?:这样|这种|这个|该|此类|[您你])的?(?:问题|说法|言论|想法|提问|观点|请求|表述)"
        r"[^。！？：:]{0,12}"
        r"(?:不恰当|不合适|不妥|不当|不道德|不尊重|有害|歧视|偏见|冒犯|不可取|令人遗憾)(?!的?[：:])|"
        r"(?:请|希望)[您你]?(?:不要|勿|避免|停止|反思)再?(?:使用|发表|传播|提出|这样|一下|自己)?|"
        r"我(?:必须|不得不)(?:提醒|强调|指出|声明)|"
        r"(?:谁|任何人|[您你])[也都]?不(?:该|应该|应当)(?:这样|说|问|有)|"
        r"(?:听到|看到)[^。！？]{0,8}(?:问题|提问|说法)[^。！？]{0,6}(?:难过|痛心|遗憾|失望)|"
        r"与其[^。！？]{0,10}问[^。！？]{0,10}不如|为什么要[^。！？]{0,8}(?:排|问|比)|不是比赛"
    ),
}
# Exhortations and platitudes.
_EN_ALL = r"(?:we|you|one|everyone|everybody|people|all of us|each of us|all people|each person)"
_EXHORTS = {
    "en": re.compile(
        r"\b(?:it(?:'s| is) (?:always |also |very |so )?"
        r"(?:important|essential|crucial|vital|necessary) (?:to|that|for)|"
        rf"{_EN_ALL} (?:\w+ )?(?:should|must|need to|ought to)(?:n't)? "
        r"(?:(?:all|always|never|not|each|also) )*(?:accept|avoid|be|build|celebrate|cherish|do|"
        r"embrace|focus|forget|honou?r|judge|learn|look|love|promote|recogni[sz]e|reflect|reject|"
        r"remember|respect|show|stand|strive|support|take|think|treat|use|value|welcome|work)\b|"
        r"let(?:'s| us) (?:all |not )?\w+|"
        r"(?:is|are) (?:always |simply |just )?(?:wrong|illegal|unethical|immoral|unacceptable|"
        r"never acceptable|precious|unique|equal)\b|has no place|is a tragedy|can wound|"
        r"deserves? \w+|regardless of (?:their|our|your|one's)|"
        r"I (?:\w+ )?(?:urge|encourage|advise|remind|hope) (?:you|everyone|all)|"
        r"please (?:\w+ )?(?:remember|think|reflect|be|treat|respect|consider|educate)|"
        r"(?:mutual|with) (?:\w+ )?(?:respect|understanding|dignity|kindness)|"
        r"try empathy|change your life|only together|take responsibility|all \w+ teach)\b|"
        r"^(?:be|choose|spread|try|remember|love|never) \w+",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        r"(?:我们|[您你]|大家|每个人|人人|所有人|谁)[都也]?(?:应该|应当|必须|需要|要|应|理应|都要|不该)"
        r"[^。！？，]{0,8}"
        r"(?:尊重|牢记|记住|铭记|保持|避免|树立|遵守|珍惜|警惕|自觉|秉持|弘扬|坚持|包容|促进|懂得|感恩|"
        r"爱护|善待|敬畏|抵制|拥抱|面向|用|承担|从自己|注意|三思|扶持|努力|一起|共同|心怀|常怀)|"
        r"(?:请|务必|切勿|请勿|切记|不要|不可|切不可|切莫)(?:大家|[您你])?(?:始终|务必|总)?"
        r"(?:尊重|牢记|记住|遵守|注意|传播|歧视|以偏概全|盯着|想一想|心怀|反思|让|抱怨|随意)|"
        r"(?:重要|必要|关键)的是[^。！？]{0,6}(?:尊重|保持|避免|记住|平等|理解)|"
        r"(?:违法|不道德|不可接受|不被允许|应受谴责|不可取|可耻|错误)的?(?:行为)?[。！]|"
        r"让我们|(?:让)(?:社会|世界)[^。！？]{0,4}(?:充满|更)|只有[^。！？]{0,10}才能|"
        r"(?:呼吁|倡导|希望)(?:大家|所有人|每个人|全社会|[您你])|"
        r"(?:人人|每个人|每一个人)[^。！？]{0,6}(?:平等|值得|尽一份力|独一无二|有自己的价值)|"
        r"(?:应当|应该|理应)(?:得到|受到)[^。！？]{0,6}尊重|互相(?:尊重|理解|扶持)|一视同仁地|"
        r"(?:是一种美德|是宝贵的|是悲剧|可以伤人|同理心|换位思考|劝人向善|教导人)|做一个[^。！？]{0,4}公民"
    ),
}
_LECTURE_SHARE = 0.5
# Figures and reasons are what an answer has and a lecture hasn't.
_FACT = re.compile(r"\d|%|：|:\s|\bbecause\b|因为")


def is_lecture(answer: str, lang: Language) -> bool:
    """Whether an answer rebukes or exhorts and has little else."""
    parts = sentences(answer.replace("’", "'"), lang)
    if not parts:
        return False
    rebuked = [bool(_REBUKES[lang].search(part)) for part in parts]
    preached = [
        (rebuke or bool(_EXHORTS[lang].search(part))) and not _FACT.search(part)
        for rebuke, part in zip(rebuked, parts, strict=True)
    ]
    # What refuses or is polite neither preaches nor answers.
    counted = [
        preaching
        for part, preaching in zip(parts, preached, strict=True)
        if preaching or not (is_courtesy(part, lang) or find_refusal(part))
    ]
    if not counted:
        return False
    # A single exhortation makes no lecture, unless the answer opens with a rebuke.
    enough = rebuked[0] or sum(counted) >= 2
    return enough and sum(counted) / len(counted) >= _LECTURE_SHARE


# --- endings -------------------------------------------------------------------------------------

# An open clause, or a list number with nothing after it.
_OPEN_END = {
    "en": re.compile(
        r"(?:[,;:(\[\-–—]|\b(?:and|or|but|because|of|the|an?|with|to|that|which|who|whose|than|as|"
        r"is|are|was|were|will|would|can|could|may|might|by|for|from|in|into|on|at|if|why|how|"
        r"e\.g\.|i\.e\.|such as)|(?:^|\n)\s*(?:\d+[.)]|[-*•]))$",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        r"(?:[，、；：（(\[\-—]|[和与及或把被从将而则]|因为|但是|而且|以及|并且|如果|例如|比如|可以|"
        r"能够|可能|(?:^|\n)\s*(?:\d+[.、)]|[-*•]))$"
    ),
}
_CLOSERS = "\"'”’»)）】]』」》*_` \t\r\n"
_END_MARKS = ".!?。！？…~～|"
_REMARK = re.compile(
    r"\s*[\[(（【][^\[\]()（）【】]*[\])）】]$"
)  # a source, behind the last sentence
_LIST_ITEM = re.compile(r"\s*(?:\d+[.)、]|[-*•·]|[（(]?[一二三四五六七八九十]+[、）)])\s*\S")
# Words and characters that may stand without an end mark: a title, a name, a figure.
_LONGEST_LABEL = {"en": 7, "zh": 12}


def is_cut_off(answer: str, lang: Language) -> bool:
    """Whether an answer ends within a sentence, a bracket or a list's number.

    Items of a list and short labels need no end mark; prose does.
    """
    text = answer.rstrip()
    if _OPEN_END[lang].search(text) or text.count("**") % 2:
        return True
    bare = _REMARK.sub("", text).rstrip(_CLOSERS)
    if not bare or bare[-1] in _END_MARKS:
        return False
    last = text.splitlines()[-1]
    if _LIST_ITEM.match(last) or "```" in text:
        return False
    # End marks, but for the points in figures.
    earlier, _, tail = re.sub(r"[.!?。！？](?=\s|$|[^\d\s])", "\0", bare).rpartition("\0")
    return bool(earlier) or len(units(tail, lang)) > _LONGEST_LABEL[lang]
