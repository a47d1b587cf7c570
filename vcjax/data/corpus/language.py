"""The language of a document: by its script, by what its record states, and only then by py3langid.

Han without kana is Chinese, and Latin letters with English function words are English, which is all
that most documents need. The rest costs a call of the identifier on some hundred characters.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from vcjax.data.corpus.document import Document, Removal
from vcjax.text.language import (
    LEAST_HAN_SHARE,
    LEAST_PROBABILITY,
    count_scripts,
    language_probabilities,
)

_PART = 700
"""Characters of each of the three parts of a document that are looked at."""
_IDENTIFIED = 600
"""Characters that the identifier reads; its figures change little with more."""
_MOST_KANA_SHARE = 0.15
"""Of Han and kana. Chinese that names Japanese titles is below it, Japanese prose above 0.4."""
_LEAST_LETTERS = 20
"""With fewer Latin letters than these an identifier guesses: they are English."""
_LEAST_FUNCTION_WORDS, _LEAST_FUNCTION_SHARE = 2, 0.1
"""Different ones, and of all words; English prose has a share of 0.2 to 0.35."""

# None is as common in another language of Europe.
_FUNCTION_WORDS = (
    "the and of to that with this are from which it has you your they their there were would been"
)
_ENGLISH = frozenset(_FUNCTION_WORDS.split())
_WORD = re.compile(r"[a-z]+")

# Common characters that only one of the two scripts has, in pairs: traditional, simplified.
_PAIRS = (
    "這这們们個个來来時时會会國国說说對对學学過过還还沒没開开關关點点為为與与從从當当進进樣样發发實实現现經经應应該该無无產产業业動动機机電电車车長长東东門门問问間间聽听見见讓让認认識识記记"
    "論论語语請请講讲談谈議议許许課课題题頭头體体觀观歷历書书畫画寫写處处報报導导員员戰战爭争權权義义務务環环聯联將将選选舉举總总統统黨党軍军歲岁錢钱貿贸輸输醫医藥药網网線线級级約约紀纪結结"
    "給给組组細细終终絕绝繼继續续維维億亿難难雖虽離离雜杂雙双類类顯显願愿飛飞養养館馆馬马驗验魚鱼鳥鸟麗丽齊齐龍龙轉转運运達达遠远適适邊边鄉乡銀银鐵铁錄录陽阳陸陆際际隊队階阶險险隨随靜静響响"
    "頁页順顺預预領领風风亞亚數数區区種种蘭兰歐欧稱称諾诺計计內内羅罗兩两設设據据氣气場场變变條条傳传衛卫廣广項项納纳規规師师聖圣則则決决證证資资遜逊濟济術术標标較较圖图帶带協协職职質质倫伦"
    "專专確确號号傑杰葉叶頓顿獲获賽赛視视層层單单溫温獨独連连頻频測测擊击儘尽劇剧創创壓压試试華华樂乐蘇苏貝贝強强屬属費费輪轮劃划擁拥狀状積积敗败聲声減减兒儿熱热節节殺杀營营執执憲宪眾众須须"
    "擴扩織织劑剂愛爱藝艺財财調调責责圍围橋桥療疗釋释飾饰擔担麥麦鎮镇蓋盖張张潛潜載载戶户參参喬乔夠够僅仅軌轨極极監监礎础換换碼码園园裝装勞劳廢废徑径漢汉價价簽签聞闻殘残"
)
_TRADITIONAL, _SIMPLIFIED = (re.compile(f"[{_PAIRS[first::2]}]") for first in (0, 1))


@dataclass(frozen=True)
class LanguageSettings:
    """Which languages stay.

    Attributes:
      keep: ISO 639-1 codes; `und` keeps what has too few letters to be of one.
      trust_stated: whether a language that the record states is believed where the script allows
        it. It saves the identification, and a wrong statement isn't found.
    """

    keep: tuple[str, ...] = ("en", "zh")
    trust_stated: bool = True


class Language:
    """The step; sets `lang`, and `meta["script"]` (`Hans`, `Hant`) of Chinese."""

    name: ClassVar[str] = "language"
    changes: ClassVar[bool] = False
    Settings: ClassVar[type] = LanguageSettings

    def __init__(self, settings: LanguageSettings) -> None:
        self._settings = settings

    def apply(self, document: Document, counts: Counter[str]) -> Document | Removal:
        stated = document.lang if self._settings.trust_stated else "und"
        lang, by = language_of(document.text, stated)
        counts[f"decided by {by}"] += 1
        if lang not in self._settings.keep:
            return Removal(self.name, f"language {lang}", document)
        if lang != "zh":
            return document if lang == document.lang else replace(document, lang=lang)
        script = chinese_script(document.text)
        counts[f"Chinese in {script}"] += 1
        return replace(document, lang=lang, meta={**document.meta, "script": script})


def language_of(text: str, stated: str = "und") -> tuple[str, Literal["script", "record", "text"]]:
    """The language of a text, and by what it was decided.

    Args:
      stated: what its record says; `und` where it says nothing.

    Returns:
      An ISO 639 code (`und` where there are no letters); and `script` (function words included),
      `record` or `text`, which is py3langid's reading.
    """
    sample = sample_of(text)
    words = _WORD.findall(sample.lower())
    letters = latin = sum(map(len, words))
    han = kana = 0
    if not sample.isascii():
        letters, han, kana, latin = map(int, count_scripts(sample))
    if not letters:
        return "und", "script"
    if han >= LEAST_HAN_SHARE * letters and kana <= _MOST_KANA_SHARE * (han + kana):
        return "zh", "script"
    if latin < 0.5 * letters or han >= LEAST_HAN_SHARE * letters:
        return _identified(sample), "text"
    if latin < _LEAST_LETTERS or _reads_as_english(words):
        return "en", "script"
    if stated not in ("und", "zh"):
        return stated, "record"
    return _identified(sample), "text"


def chinese_script(text: str) -> Literal["Hans", "Hant"]:
    """Whether a Chinese text is in simplified or traditional characters, by the more frequent."""
    sample = sample_of(text)
    traditional, simplified = (len(p.findall(sample)) for p in (_TRADITIONAL, _SIMPLIFIED))
    return "Hant" if traditional > simplified else "Hans"


def sample_of(text: str) -> str:
    """The start, the middle and the end of a long text, a line each; all of a short one."""
    if len(text) <= 3 * _PART:
        return text
    # Three parts, as the start of a web page is often its menu, in another language than its
    # text.
    middle = (len(text) - _PART) // 2
    return "\n".join((text[:_PART], text[middle : middle + _PART], text[-_PART:]))


def _identified(sample: str) -> str:
    ranked = language_probabilities(sample[:_IDENTIFIED])
    # Lists of names look like any language of Europe; what may be English is.
    return "en" if ranked["en"] >= LEAST_PROBABILITY else next(iter(ranked))


def _reads_as_english(words: Sequence[str]) -> bool:
    found = [word for word in words if word in _ENGLISH]
    return (
        len(found) >= _LEAST_FUNCTION_SHARE * len(words)
        and len(set(found)) >= _LEAST_FUNCTION_WORDS
    )
