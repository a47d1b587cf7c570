"""Whether a text is in the language it should be in: by its script, and by py3langid."""

from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from vcjax.charter.checks import answered_in_language
from vcjax.charter.registry import Language
from vcjax.data.language import HAN, LATIN, LETTER

# The Chinese languages share their writing. The rest of the identifier's 139 are foreign.
_OWN = {"en": ("en",), "zh": ("zh", "wuu", "yue")}
# Below it a text is of another language, or of none. Of 670 English and 220 Chinese questions, most
# of under twelve words, none is below 0.1, and of 19 in other languages none is above 0.01.
_LEAST = 0.05
# With fewer letters than these the identifier guesses, and the script alone decides.
_TELLING = {"en": 20, "zh": 4}
# A Chinese character says about as much as three letters do.
_OWN_SHARE = {"en": 0.5, "zh": 0.25}


def speaks(text: str, lang: Language) -> bool:
    """Whether a text is written in `lang`; names and terms in the other script are let through.

    The script tells Chinese from English; the identifier (Lui and Baldwin, "langid.py", ACL 2012)
    tells English from French and Chinese from Japanese.
    """
    if not answered_in_language("", text, lang).passed:
        return False
    if len(LETTER.findall(text)) < _TELLING[lang]:
        return True
    ranked = dict(_identifier().rank(text))
    return sum(ranked[own] for own in _OWN[lang]) >= _LEAST


def mixes(text: str, lang: Language) -> bool:
    """Whether a text is in Chinese and English at once, with enough of `lang`, and in no third."""
    letters, han, latin = (len(pattern.findall(text)) for pattern in (LETTER, HAN, LATIN))
    own = {"en": latin, "zh": han}[lang]
    both = han >= 2 and latin >= 2
    return both and own >= _OWN_SHARE[lang] * letters and han + latin >= 0.95 * letters


@cache
def _identifier() -> LanguageIdentifier:
    """Half a second and 50 MB; its file holds arrays and nothing that is run."""
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
