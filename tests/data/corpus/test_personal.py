"""Personal data is masked, and what only looks like it stays."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcjax.core.errors import UserError
from vcjax.data.corpus.document import Document
from vcjax.data.corpus.personal import Personal, PersonalSettings, id_check_character, masked

PLANTED = [
    ("Write to li.lei+news@mail.example.cn today", "Write to [email] today", "email"),
    ("邮箱zhang_san@163.com，", "邮箱[email]，", "email"),
    ("电话13812345678转", "电话[phone]转", "phone"),
    ("手机：138-1234-5678。", "手机：[phone]。", "phone"),
    ("call +86 139 8765 4321 now", "call [phone] now", "phone"),
    ("总机(010)62345678", "总机[phone]", "phone"),
    ("传真：0755-26345678", "传真：[phone]", "phone"),
    ("Tel. (212) 555-0187.", "Tel. [phone].", "phone"),
    ("at +44 20 7946 0958,", "at [phone],", "phone"),
    ("身份证11010519491231002X。", "身份证[ID number]。", "id_number"),
    ("号码：110105 19491231 002x", "号码：[ID number]", "id_number"),
    ("身份证号：110105491231002，", "身份证号：[ID number]，", "id_number"),
    ("from 93.184.216.34:8080", "from [IP address]:8080", "ip_address"),
    ("服务器2606:2800:220:1:248:1893:25c8:1946在", "服务器[IP address]在", "ip_address"),
]

INNOCENT = [
    "1998-2004, 2021-03-04, 12:30:45, 2021年3月4日14:05:33",
    "ISBN 978-7-111-12345-6, ISBN 0-306-40615-2, ISBN 7-5327-1234-5, ISSN 1234-5678",
    "π = 3.14159265358979, 0.13812345678, 1,381,234,567, 13812345678元, 10 000 000 000",
    "version 10.15.7.2, v2.31.0.17, 版本 11.2.33.4, 第3.12.4.15节, 1.2.3.4",
    "127.0.0.1, 10.0.0.7, 192.168.1.1, 255.255.255.0, 300.1.2.33, 1.22.33.44.55, ::1, fe80::1",
    "std::vector, 20:45:30, 2001:db8::1",
    "订单号202103041234567, 110105194912310021, 000000194912310026, 11010519491331002X",
    "400-810-8888, 1-800-555-0199, 110, 10086, 12345678",
    "user@example.com, logo@2x.png, @someone, a@b, x = y@z",
    "https://example.com/13812345678.html",
]

PIECES = st.sampled_from(
    [found for text, _, _ in PLANTED for found in re.findall(r"[\x21-\x7e]+", text)]
    + INNOCENT + [*"0135789+-() .:@/元中aX\n"]
)  # fmt: skip


@pytest.mark.parametrize(("text", "expected", "kind"), PLANTED)
def test_planted_data_is_masked_and_counted(text, expected, kind):
    assert masked(text) == (expected, {f"{kind} masked": 1})


@pytest.mark.parametrize("text", INNOCENT)
def test_what_only_looks_like_it_stays(text):
    new, counts = masked(text)
    assert new == text
    assert counts.keys() <= {"ID number with a wrong check character"}


def test_an_id_number_with_a_wrong_check_character_stays_and_is_counted():
    text = "编号110105194912310021"
    assert masked(text) == (text, {"ID number with a wrong check character": 1})


@given(st.integers(0, 10**17 - 1))
def test_the_check_character_finds_each_wrong_digit(number):
    digits = f"{number:017d}"
    right = id_check_character(digits)
    for place in range(17):
        wrong = digits[:place] + str((int(digits[place]) + 1) % 10) + digits[place + 1 :]
        assert id_check_character(wrong) != right


@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=25).map("".join)))
def test_masked_text_stays_as_it_is(text):
    once, _ = masked(text)
    again, counts = masked(once)
    assert again == once
    assert counts.keys() <= {"ID number with a wrong check character"}


@given(st.lists(st.sampled_from(PLANTED), max_size=8))
def test_each_of_several_is_masked(planted):
    new, counts = masked("\n".join(text for text, _, _ in planted))
    assert new == "\n".join(expected for _, expected, _ in planted)
    assert counts == Counter(f"{kind} masked" for _, _, kind in planted)


def test_numbers_side_by_side_are_each_masked():
    assert masked("13812345678 13987654321")[0] == "[phone] [phone]"


def test_a_kind_without_a_mask_stays():
    step, counts = Personal(PersonalSettings(phone="", email="<mail>")), Counter()
    text = "13812345678 a@b.com"
    changed = step.apply(Document(text=text, id="d", source="s", file="f", line=1), counts)
    assert changed.text == "13812345678 <mail>"
    assert counts == {"email masked": 1, "documents changed": 1}
    with pytest.raises(UserError, match=r"config\.phone: must have no digit and no @"):
        PersonalSettings(phone="555")
