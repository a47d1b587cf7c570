"""The records at the edges: one schema each, checked when read, written without empty fields."""

import json
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Any, ClassVar, Self

from vcjax.core.errors import suggest
from vcjax.core.files import hash_text
from vcjax.text.language import guess_language

ROLES = ("system", "user", "assistant")
Message = dict[str, str]  # {"role": one of ROLES, "content": text}
_OF_MESSAGES = ("messages", "conversation")


class BadRecord(ValueError):
    """One record that doesn't fit its schema; the importer adds the file and the line."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


def check_text(value: Any, field: str, *, may_be_empty: bool = False) -> str:
    """Returns `value` if it is text that can be trained on; raises BadRecord otherwise."""
    if not isinstance(value, str):
        raise BadRecord(f"field {field!r} must be a string, not {_kind(value)}")
    if not may_be_empty and not value.strip():
        raise BadRecord(f"field {field!r} is empty")
    try:
        value.encode()
    except UnicodeEncodeError:  # JSON's "\ud800" is legal, but no tokenizer can encode it
        raise BadRecord(f"field {field!r} has half of a surrogate pair") from None
    return value


def check_messages(value: Any, field: str = "messages") -> tuple[Message, ...]:
    """Returns messages as a tuple.

    Raises:
      BadRecord: no list, an empty one, or a message that hasn't exactly a known role and a content.
    """
    if not isinstance(value, list | tuple):
        raise BadRecord(f"field {field!r} must be a list, not {_kind(value)}")
    if not value:
        raise BadRecord(f"field {field!r} is empty")
    return tuple(_check_message(message, f"{field}[{i}]") for i, message in enumerate(value))


def _check_message(value: Any, path: str) -> Message:
    if not isinstance(value, dict):
        raise BadRecord(f"{path} must be an object, not {_kind(value)}")
    for name in value:
        if name not in ("role", "content"):
            hint = suggest(name, ("role", "content"))
            raise BadRecord(f"unknown field {name!r} in {path}{hint}")
    for name in ("role", "content"):
        if name not in value:
            raise BadRecord(f"{path} has no field {name!r}")
    role = value["role"]
    if role not in ROLES:
        hint = suggest(str(role), ROLES)
        raise BadRecord(f"{path} has the unknown role {role!r} (one of {', '.join(ROLES)}){hint}")
    content = check_text(value["content"], f"{path}.content", may_be_empty=True)
    return {"role": role, "content": content}


def _check_turns(messages: tuple[Message, ...], field: str = "messages") -> None:
    for i, message in enumerate(messages):
        if message["role"] == "assistant" and not message["content"].strip():
            raise BadRecord(f"{field}[{i}] is an assistant turn without text")


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__


@dataclass(frozen=True)
class Record:
    """What all records share: reading from JSON with checks, and writing back.

    A field without a default is required, except `id` (then: from a hash of the content, so the
    same content has the same id everywhere) and `lang` (then: from the script of the content).
    """

    id: str

    CONTENT: ClassVar[tuple[str, ...]]  # the fields that the id and the language derive from

    @classmethod
    @cache
    def field_names(cls) -> tuple[str, ...]:
        """The names that an object of this schema may have, in their order."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def from_dict(cls, value: Any) -> Self:
        """Checks a JSON object against the schema.

        Raises:
          BadRecord: not an object, a field missing, unknown, mistyped or empty.
        """
        if not isinstance(value, dict):
            raise BadRecord(f"a record must be an object, not {_kind(value)}")
        for name in value:
            if name not in cls.field_names():
                hint = suggest(str(name), cls.field_names())
                raise BadRecord(f"unknown field {name!r}{hint}")
        checked: dict[str, Any] = {}
        for field in fields(cls):
            given = value.get(field.name)
            if given is not None:
                check = check_messages if field.name in _OF_MESSAGES else check_text
                checked[field.name] = check(given, field.name)
            elif field.default is MISSING and field.name not in ("id", "lang"):
                state = "empty" if field.name in value else "missing"
                raise BadRecord(f"field {field.name!r} is {state}")
        content = [checked[name] for name in cls.CONTENT if name in checked]
        if "id" not in checked:
            # 64 bits: among 10^8 records two have the same id with a probability of 3 in 10,000.
            checked["id"] = hash_text(json.dumps(content, ensure_ascii=False))[:16]
        if "lang" in cls.field_names() and "lang" not in checked:
            checked["lang"] = guess_language("\n".join(_texts(content)))
        record = cls(**checked)
        record.check()
        return record

    def check(self) -> None:
        """Raises BadRecord where fields that are right one by one don't fit together."""

    def texts(self) -> list[str]:
        """The texts that make this record what it is, in order; roles are part of them."""
        return _texts([getattr(self, name) for name in self.CONTENT], roles=True)

    def to_dict(self) -> dict[str, Any]:
        """Returns a JSON object without the fields that are absent."""
        values = {name: getattr(self, name) for name in self.field_names()}
        return {
            name: [dict(message) for message in value] if name in _OF_MESSAGES else value
            for name, value in values.items()
            if value not in (None, ())
        }


def _texts(content: list[Any], *, roles: bool = False) -> list[str]:
    texts = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
            continue
        for message in part:
            texts += [message["role"]] * roles + [message["content"]]
    return texts


@dataclass(frozen=True)
class Document(Record):
    """A text for continued pre-training.

    Attributes:
      lang: `en` or `zh`, or the code of another language.
      source: where the text is from; the file's name where the file gives none.
      domain: a subdomain of the charter.
    """

    text: str
    lang: str
    source: str
    domain: str | None = None

    CONTENT = ("text",)


@dataclass(frozen=True)
class Conversation(Record):
    """Messages for instruction tuning; at least one assistant turn has text.

    Attributes:
      messages: `{"role", "content"}` each, in their order.
      domain: a subdomain of the charter.
    """

    messages: tuple[Message, ...]
    lang: str
    domain: str | None = None

    CONTENT = ("messages",)

    def check(self) -> None:
        """Raises BadRecord without an assistant turn, or with one that is empty."""
        if not any(m["role"] == "assistant" and m["content"].strip() for m in self.messages):
            raise BadRecord("conversation without an assistant turn")
        _check_turns(self.messages)


@dataclass(frozen=True)
class Preference(Record):
    """A prompt with a better and a worse answer to it, for DPO and ORPO.

    Attributes:
      messages: the conversation up to the answer.
      chosen, rejected: the text of the better and of the worse answer.
      domain: a subdomain of the charter.
    """

    messages: tuple[Message, ...]
    chosen: str
    rejected: str
    domain: str | None = None

    CONTENT = ("messages", "chosen", "rejected")

    @property
    def lang(self) -> str:
        """Guessed from the script of the texts; it is no field of a preference."""
        return guess_language("\n".join(_texts([self.messages, self.chosen, self.rejected])))

    def check(self) -> None:
        """Raises BadRecord where both answers are the same, or the prompt ends with an answer."""
        if self.messages[-1]["role"] == "assistant":
            raise BadRecord("the messages of a preference must not end with an assistant turn")
        if self.chosen == self.rejected:
            raise BadRecord("chosen and rejected are the same")
        _check_turns(self.messages)


@dataclass(frozen=True)
class Question(Record):
    """A seed question, which is asked where the Attacker's own attempt fails.

    Attributes:
      domain: a subdomain of the charter.
    """

    question: str
    lang: str
    domain: str | None = None

    CONTENT = ("question",)


@dataclass(frozen=True)
class BenchmarkItem(Record):
    """A benchmark question; `parallel_id` ties it to its versions in other languages.

    Attributes:
      domain: a subdomain of the charter.
      reference: a good answer, which judges are shown.
      rubric: what an answer to this question must have.
      conversation: the turns of user and assistant before the question, where there are any.
    """

    parallel_id: str
    domain: str
    lang: str
    question: str
    reference: str | None = None
    rubric: str | None = None
    conversation: tuple[Message, ...] = ()

    CONTENT = ("conversation", "question")

    def check(self) -> None:
        """Raises BadRecord where the conversation doesn't alternate from user to assistant."""
        for i, turn in enumerate(self.conversation):
            if turn["role"] != (role := ("user", "assistant")[i % 2]):
                raise BadRecord(f"conversation[{i}] must be of {role!r}, not {turn['role']!r}")
        if len(self.conversation) % 2:
            raise BadRecord("the conversation before a question must end with an assistant turn")
        _check_turns(self.conversation, "conversation")


KINDS: dict[str, type[Record]] = {
    "documents": Document,
    "conversations": Conversation,
    "preferences": Preference,
    "questions": Question,
    "benchmark": BenchmarkItem,
}
