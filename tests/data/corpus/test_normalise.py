"""Text is normalised once and for all, and mojibake is repaired, counted or removed."""

import unicodedata
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcjax.data.corpus.document import Document, Removal
from vcjax.data.corpus.mojibake import unreadable_share
from vcjax.data.corpus.normalise import Normalise, NormaliseSettings, normalise

CHINESE = "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。"

# Pieces that meet in all ways: bytes of UTF-8 read wrongly, spaces, accents, invisible characters.
PIECES = st.sampled_from(
    [
        *"Aé \t\n\r\v\x85\xa0\u3000\u200b\ufeff\u0301\u0303ÃÂâäï©€™\x80\x81\x9d１Ａ中文。的涓鏄锛",
        *("ä¸\xad", "\r\n", "â€", "\ufffd", "锟斤拷"),
    ]
)
TEXTS = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=40).map("".join))


def document(text, **fields):
    return Document(text=text, id="d", source="s", file="f", line=1, **fields)


@pytest.mark.parametrize("collapse", [True, False])
@given(TEXTS)
def test_normalised_text_stays_as_it_is(collapse, text):
    settings = NormaliseSettings(collapse_spaces=collapse)
    once, _ = normalise(text, settings)
    assert normalise(once, settings) == (once, 0)
    assert unicodedata.is_normalized("NFC", once)


@given(st.text("abc中文，é 。", max_size=60))
def test_plain_text_loses_nothing_but_spaces(text):
    assert normalise(text)[0].split() == text.split()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("cafe\u0301", "café"),
        ("a\u3000 \t b", "a b"),
        ("　　第一条\u3000人人生而自由。", "第一条 人人生而自由。"),
        ("one\r\ntwo\rthree\u2028four", "one\ntwo\nthree\nfour"),
        ("one \n\n\n\n two  ", "one\n\ntwo"),
        ("\ufeffa\u200bb\x00c\xadd\u202e", "abcd"),
        ("ＡＢＣ１２３，（全角）", "ABC123，（全角）"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
    ],
)
def test_one_way_to_write_each_thing(raw, expected):
    assert normalise(raw) == (expected, 0)


def test_indentation_stays_where_spaces_are_not_collapsed():
    settings = NormaliseSettings(collapse_spaces=False)
    code = "def f(x):\n    return  x"
    assert normalise(code + "  \n", settings)[0] == code


@pytest.mark.parametrize("reader", ["latin-1", "cp1252"])
@pytest.mark.parametrize(
    "text", [CHINESE, "“It’s” — café…", "価格は½です、全角：１！", "party 🎉!"]
)
def test_utf8_read_as_a_western_encoding_is_repaired(text, reader):
    # As readers do that follow the WHATWG: bytes without a character stay control characters.
    read = "".join(
        bytes([b]).decode(reader) if reader == "latin-1" or b not in UNDEFINED else chr(b)
        for b in text.encode()
    )
    repaired, count = normalise(read, NormaliseSettings(half_width=False))
    assert repaired == text
    assert count


UNDEFINED = (0x81, 0x8D, 0x8F, 0x90, 0x9D)


def test_gb18030_read_as_latin_1_is_repaired():
    assert normalise("你好，世界".encode("gb18030").decode("latin-1")) == ("你好，世界", 1)


def test_utf8_read_as_gb18030_is_repaired_where_no_byte_is_lost():
    whole = "中文文本文本中文文本"  # an even number of bytes, all in pairs that GB 18030 has
    read = whole.encode().decode("gb18030")
    assert normalise(f"{read} abc") == (f"{whole} abc", 1)


@pytest.mark.parametrize(
    "text",
    [
        "L’été » et « à Paris », déjà vu : CAFÉ®, naïve, señor, Ångström, Größe, ÀÉÎÕÜ",
        "涓涓细流，泾渭分明，淅淅沥沥的雨落在湖面上，浠水县的溪流缓缓流过。",
        "鋼鐵廠生產鋼板，鎮上錄得鋼價上升；鐘錶店的鋼錶也跟著漲價，鋼琴則沒有變化。",
        CHINESE,
        "联通公司的网络覆盖了全国大部分地区。",
    ],
)
def test_rare_but_right_characters_are_no_mojibake(text):
    assert normalise(text)[0].replace(" ", "") == text.replace(" ", "")
    assert unreadable_share(text) == 0


@pytest.mark.parametrize(
    "text",
    [
        CHINESE.encode().decode("gb18030", "replace"),
        CHINESE + "锟斤拷锟斤拷",
        CHINESE + "\ufffd\ufffd",
    ],
)
def test_documents_with_lost_bytes_are_removed_as_mojibake(text):
    step, counts = Normalise(NormaliseSettings()), Counter()
    removal = step.apply(document(text), counts)
    assert isinstance(removal, Removal)
    assert removal.reason == "mojibake"
    kept = Normalise(NormaliseSettings(most_unreadable=1)).apply(document(text), counts)
    assert isinstance(kept, Document)


def test_changed_and_repaired_documents_are_counted():
    step, counts = Normalise(NormaliseSettings()), Counter()
    unchanged = document(CHINESE)
    assert step.apply(unchanged, counts) is unchanged
    assert step.apply(document("donâ€™t"), counts).text == "don’t"
    assert step.apply(document("a  b"), counts).text == "a b"
    assert counts == {"changed": 2, "mojibake repaired": 1}
    assert step.apply(document(" \u200b\n"), counts).reason == "empty"
