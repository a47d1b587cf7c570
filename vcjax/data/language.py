"""Which language a text is in, guessed from its script."""

import re

HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
KANA = re.compile(r"[\u3040-\u30ff]")
LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")
LETTER = re.compile(r"[^\W\d_]")

SAMPLE = 4000  # characters looked at; enough for a share, and cheap on long documents
HAN_SHARE = 0.2  # Chinese prose about code or Latin names still has this share of Han letters


def guess_language(text: str) -> str:
    """Returns `zh`, `en` or `und` (BCP 47's *undetermined*) from the shares of scripts in `text`.

    Only Chinese and English are told apart: text in another Latin-script language is called `en`.
    Give the field `lang` where that matters. Japanese (Han among kana) is `und`.
    """
    sample = text[:SAMPLE]
    letters = len(LETTER.findall(sample))
    if not letters:
        return "und"
    if len(HAN.findall(sample)) / letters >= HAN_SHARE:
        return "und" if len(KANA.findall(sample)) / letters >= HAN_SHARE else "zh"
    return "en" if len(LATIN.findall(sample)) / letters >= 0.5 else "und"
