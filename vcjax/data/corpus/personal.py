"""Personal data is masked: e-mail addresses, telephone numbers, Chinese ID numbers, IP addresses.

A number is what it is by its form and, where it has them, its checks: an ID number by its province,
date of birth and check character, an IP address by its being reachable from anywhere. What has the
form and fails the check stays. Years, ISBNs, amounts, versions, sections and times have none of the
forms; the tests have a list of each. Numbers of services (400, 800) are nobody's.

Patterns begin with the set of their first characters, which `re` looks for several times as fast as
for a condition on the character before; that is checked afterwards.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import ClassVar, Literal

from vcjax.core.errors import UserError
from vcjax.data.corpus.document import Document

Kind = Literal["email", "phone", "id_number", "ip_address"]

# A host ends in letters; names of files such as `logo@2x.png` don't pass.
_EMAIL = re.compile(
    r"(?<![\w.+-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,8}"
    r"(?!png\b|jpe?g\b|gif\b|svg\b|webp\b)[A-Za-z]{2,24}(?![A-Za-z0-9-])",
    re.ASCII,
)
# RFC 2606 reserves them for documentation.
_NOBODYS_EMAIL = re.compile(r"@(?:[\w-]+\.)*example\.(?:com|org|net)$", re.IGNORECASE)

_DIGITS = re.compile(r"[+(0-9][0-9 ()-]{6,}")
"""Where numbers of seven digits and more may be; only there are the kinds tried one by one."""
# GB 11643: six digits of a place, eight of a date of birth, three of an order, a check character.
_PLACE = r"(?:1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3]|91)\d{4}"  # GB/T 2260
_ID = rf"{_PLACE} ?(?:18|19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]) ?\d{{3}}[\dXx]"
# Its version of 1989, issued until 1999: a year of two digits, no check character.
_OLD_ID = rf"{_PLACE}\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{{3}}"
_UNIT = r"\s?(?:元|美元|日元|人|万|亿|吨|公里|平方|字节|[%％]|yuan|RMB|USD|bytes|people)"
_MOBILE = rf"(?:(?:\+|00)?86[ -]?)?1[3-9]\d[ -]?\d{{4}}[ -]?\d{{4}}(?!{_UNIT})"
_LINE = r"(?:(?:\+|00)86[ -]?)?(?:\(0[1-9]\d{1,2}\)[ -]?|0[1-9]\d{1,2}[ -])[2-9]\d{2,3}[ -]?\d{4}"
# North America, in its groups of 3, 3 and 4; 800, 888 and so on are services, as is 400 in China.
_SERVICE = r"(?:400|8(?:00|88|77|66|55|44|33))"
_AMERICAN = (
    rf"(?:\+?1[ -])?(?:\((?!{_SERVICE})[2-9]\d\d\) ?|(?!{_SERVICE})[2-9]\d\d[ -])"
    r"[2-9]\d\d[ -]\d{4}"
)
# Anywhere, with the country's code (ITU-T E.164: at most fifteen digits).
_INTERNATIONAL = r"\+[1-9](?:[ ()-]{0,2}\d){7,14}"
_NUMBER = re.compile(
    rf"(?<![A-Za-z0-9_./])(?<![0-9]-)(?:(?P<id>{_ID})|(?P<old_id>{_OLD_ID})"
    rf"|(?P<phone>{_MOBILE}|{_LINE}|{_AMERICAN}|{_INTERNATIONAL}))(?![A-Za-z0-9_]|[.,-][0-9])",
    re.ASCII,
)
_ID_BEFORE = re.compile(r"(?:身[份分][证證]|[证證]件|\bID)[^0-9\n]{0,12}$")
# ISO 7064, MOD 11-2: a digit weighs 2^i modulo 11, i places before the check character.
_ID_WEIGHTS = [pow(2, 17 - position, 11) for position in range(17)]
_ID_CHECKS = "10X98765432"

_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
# All that are assigned begin with 2 or 3 (RFC 4291); times and `std::x` don't.
_IPV6 = re.compile(r"[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{2,34}")
_PART_BEFORE = re.compile(r"[A-Za-z0-9_.]")
_PART_AFTER = re.compile(r"[A-Za-z0-9_]|\.[A-Za-z0-9]")
_VERSION_BEFORE = re.compile(
    r"(?:版本|版|第|节|§|\b(?:version|release|section|ver\.?|v))[ :：]{0,2}$", re.IGNORECASE
)
_BEFORE = 24
"""Characters before a match that may show what it is."""


@dataclass(frozen=True)
class PersonalSettings:
    """What is masked, and with what.

    Attributes:
      email, phone, id_number, ip_address: what takes the place of one; empty: that kind stays. It
        must have no digit and no @, so that masked text stays as it is.
    """

    email: str = "[email]"
    phone: str = "[phone]"
    id_number: str = "[ID number]"
    ip_address: str = "[IP address]"

    def __post_init__(self) -> None:
        for each in fields(self):
            mask = getattr(self, each.name)
            if re.search("[@0-9]", mask):
                raise UserError(f"config.{each.name}: must have no digit and no @: {mask!r}")


class Personal:
    """The step; counts what it masked, by kind, and ID numbers whose check character is wrong."""

    name: ClassVar[str] = "personal"
    changes: ClassVar[bool] = True
    Settings: ClassVar[type] = PersonalSettings

    def __init__(self, settings: PersonalSettings) -> None:
        self._settings = settings

    def apply(self, document: Document, counts: Counter[str]) -> Document:
        text, found = masked(document.text, self._settings)
        counts.update(found)
        if text == document.text:
            return document
        counts["documents changed"] += 1
        return replace(document, text=text)


def masked(text: str, settings: PersonalSettings | None = None) -> tuple[str, Counter[str]]:
    """Returns the text with masks, and how many there are of each kind.

    The counts are `email masked`, `phone masked`, `id_number masked`, `ip_address masked` and `ID
    number with a wrong check character`, which stays: in its form, an order's number.
    """
    settings = settings or PersonalSettings()
    counts: Counter[str] = Counter()
    while True:
        found = list(_found(text, settings))
        if not found:
            break
        parts, end = [], 0
        for kind, start, stop in found:
            counts[f"{kind} masked"] += 1
            parts += [text[end:start], getattr(settings, kind)]
            end = stop
        # Again: what stood beside what is now a mask may have a form that it had not.
        text = "".join([*parts, text[end:]])
    if wrong := sum(_id_check(match) == "wrong" for match in _numbers(text)):
        counts["ID number with a wrong check character"] += wrong
    return text, counts


def id_check_character(digits: str) -> str:
    """The last character of a Chinese ID number: ISO 7064 MOD 11-2 of its first 17 digits."""
    total = sum(weight * int(digit) for weight, digit in zip(_ID_WEIGHTS, digits, strict=True))
    return _ID_CHECKS[total % 11]


def _found(text: str, settings: PersonalSettings) -> Iterator[tuple[Kind, int, int]]:
    """What is to be masked, by ascending position; of two that overlap the first."""
    spans: list[tuple[int, int, Kind]] = []

    def add(kind: Kind, matches: Iterable[re.Match[str]]) -> None:
        if getattr(settings, kind):
            spans.extend((*match.span(), kind) for match in matches)

    if "@" in text:
        add("email", filter(_is_somebodys_email, _EMAIL.finditer(text)))
    numbers = list(_numbers(text))
    add("phone", (match for match in numbers if match["phone"]))
    add("id_number", (match for match in numbers if _id_check(match) == "right"))
    for pattern in (_IPV4, _IPV6):
        add("ip_address", filter(_is_somebodys_address, pattern.finditer(text)))
    end = 0
    for start, stop, kind in sorted(spans):
        if start >= end:
            yield kind, start, stop
            end = stop


def _numbers(text: str) -> Iterator[re.Match[str]]:
    for stretch in _DIGITS.finditer(text):
        position = stretch.start()
        # A unit, or the X of an ID number, follows the last digit.
        while match := _NUMBER.search(text, position, stretch.end() + _BEFORE):
            if match.start() >= stretch.end():
                break
            yield match
            position = match.end()


def _id_check(match: re.Match[str]) -> Literal["right", "wrong", "none"]:
    """Whether an ID number is one; `wrong` where only its check character isn't."""
    if not (number := match["id"] or match["old_id"]):
        return "none"
    number = number.replace(" ", "").upper()
    born = number[6:14] if match["id"] else "19" + number[6:12]
    if not _is_date(born):
        return "none"
    if match["old_id"]:
        before = match.string[max(0, match.start() - _BEFORE) : match.start()]
        return "right" if _ID_BEFORE.search(before) else "none"
    return "right" if id_check_character(number[:17]) == number[17] else "wrong"


def _is_date(digits: str) -> bool:
    try:
        date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return False
    return True


def _is_somebodys_email(match: re.Match[str]) -> bool:
    return not _NOBODYS_EMAIL.search(match.group())


def _is_somebodys_address(match: re.Match[str]) -> bool:
    """Whether it is an address that is reachable from anywhere, and no version or section."""
    text, (start, end) = match.string, match.span()
    before = text[max(0, start - _BEFORE) : start]
    if _PART_BEFORE.match(before[-1:]) or _PART_AFTER.match(text, end):
        return False
    try:
        address = ipaddress.ip_address(match.group())
    except ValueError:
        return False
    if not address.is_global:
        return False
    # `1.2.3.4` is a section; the addresses in that form are public name servers.
    short = len(match.group()) == len("1.2.3.4") and address.version == 4
    return not short and not _VERSION_BEFORE.search(before)
