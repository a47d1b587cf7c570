"""The one table of the reasons why a query, an answer or an attempt isn't accepted.

The rules return members of this table, and the ledger stores their names, by which `launch.ledger`,
the dataset card and the report count attempts; the report adds their help. A new reason is one
member here and one rule that returns it; of an answer, `critic/rules.py` has the rules, and the
configs' default switches it on.
"""

from enum import StrEnum

FUNNEL = ("attempts", "asked", "judged", "accepted")
"""Stages of an attempt: all; those with a query; those with an answer that reached the Critic; and
the accepted ones."""


class Reason(StrEnum):
    """A name as the ledger stores it, and what it means, in a sentence."""

    help: str

    def __new__(cls, name: str, help: str) -> "Reason":
        # The member is the name itself, for SQLite, JSON and comparisons with what they return.
        member = str.__new__(cls, name)
        member._value_, member.help = name, help
        return member


class Origin(Reason):
    """Who or what ended an attempt: the reason of a `Verdict` is `<origin>: <what>`, unless the
    Critic accepts; then it is the Critic's own words."""

    ATTACKER = "attacker", "The Attacker wrote no query that could be asked."
    FOLLOW_UP = "follow-up", "A conversation's next query could not be asked."
    TARGET = "target", "The attacked model's own answer decided."
    ACTOR = "actor", "The Actor's answer is none to learn from."
    RULE = "rule", "The answer fails a rule check of the charter."
    CRITIC = "critic", "The Critic scored the answer below the charter's thresholds."


class QueryReason(Reason):
    """Why a text that the Attacker wrote isn't asked."""

    CUT_OFF = "cut off", "The Attacker's reply reached its limit of tokens."
    MALFORMED = "malformed", "The Attacker's reply isn't the JSON that was asked for."
    EMPTY = "empty", "The query that the Attacker wrote has no text."
    NOT_A_QUESTION = "not a question", "It asks and requests nothing."
    TOO_SHORT = "too short", "It has too few words or characters."
    TOO_LONG = "too long", "It has too many words or characters."
    ONE_LANGUAGE = "not in two languages", "It was to mix Chinese and English."
    WRONG_LANGUAGE = "wrong language", "It isn't in its cell's language."
    COPIES_PROMPT = "copies its prompt", "It repeats an example or a turn."
    ASKED_BEFORE = "asked before", "It is like a query of an earlier wave."
    ASKED_IN_WAVE = "asked before in its wave", "It is like one of its wave."
    IN_BENCHMARK = "in the benchmark", "It is like a benchmark question."


class AttemptReason(Reason):
    """Why an attempt is rejected whatever its query and answer are."""

    NO_FIRST_FRAMING = "no first framing", "Its pair has no first framing."
    OTHER_SHARD = "asked in another shard", "Another shard asked the same query."
    ATTACK_FAILED = "withstood", "The attack failed, and only attacks that succeed are wanted."


class AnswerReason(Reason):
    """Why an answer is rejected before any Critic is asked, in the order of the rules."""

    EMPTY = "empty", "The answer has no text."
    REFUSAL = "refusal", "The answer declines to answer."
    OFF_LANGUAGE = "off-language", "The answer isn't in its query's language."
    ECHO = "echo", "The answer repeats the query."
    REPETITIVE = "repetitive", "The answer repeats itself."
    LECTURE = "lecture", "The answer rebukes or exhorts instead of answering."
    TRUNCATED = "truncated", "The answer is cut off."


FILTERS = tuple(reason for reason in AnswerReason if reason is not AnswerReason.EMPTY)
"""The rules that a config may switch off, in the order in which they are asked: how often they are
right is measured in `critic/filters.py`. An answer without text is rejected whatever a config
has."""


NO_STAND_IN = ", and no seed question is left"
"""Ends the reason of an attempt whose query was rejected and had no substitute."""

_TABLES: dict[Origin, tuple[type[Reason], ...]] = {
    Origin.ATTACKER: (QueryReason, AttemptReason),
    Origin.FOLLOW_UP: (QueryReason,),
    Origin.TARGET: (AttemptReason, AnswerReason),
    Origin.ACTOR: (AnswerReason,),
}
_STAGES_PASSED = {Origin.ATTACKER: 1, Origin.CRITIC: 3}  # every other origin: 2


def reject_reason(text: str) -> Reason:
    """The entry of the table for a ledger's reason, e.g. `AnswerReason.REFUSAL` for
    `actor: refusal`; of one that isn't listed (`critic: facts 2`, `actor: timeout`) its `Origin`.

    Raises:
      ValueError: the text begins with no `Origin`.
    """
    name, _, rest = text.partition(": ")
    origin, rest = Origin(name), rest.removesuffix(NO_STAND_IN)
    tables = _TABLES.get(origin, ())
    return next((table(rest) for table in tables if rest in set(table)), origin)


def stages_passed(kind: str, reason: str) -> int:
    """How many stages of `FUNNEL` an attempt passed, by the origin in its reason."""
    if kind == "accepted":
        return len(FUNNEL)
    return _STAGES_PASSED.get(Origin(reason.partition(":")[0]), 2)
