"""All queries of a run: what no new one may repeat, and the written ones that stand in."""

from collections.abc import Iterable

from vcjax.adversarial.attacks.style import Attack
from vcjax.adversarial.cells import Attempt
from vcjax.adversarial.query_faults import query_fault
from vcjax.adversarial.seeds import SeedQuestions
from vcjax.data.near_duplicates import NearDuplicates, Quoted, Texts
from vcjax.roles.role import Message


class Queries:
    """Queries of finished waves, and of the wave that is being run."""

    def __init__(self, seeds: SeedQuestions, excluded: Iterable[str] = ()) -> None:
        """Args: `excluded` are texts that no query may repeat: the benchmark's."""
        self._seeds = seeds
        self._past, self._wave = NearDuplicates(), NearDuplicates()
        self._excluded = Quoted(excluded)

    def finish_wave(self, texts: Iterable[str]) -> None:
        """Takes in the queries of a wave that is decided, and forgets what it only considered."""
        for text in filter(None, texts):
            self._past.add(text)
        self._wave = NearDuplicates()

    def asked(self, text: str) -> bool:
        """Whether a finished wave has asked this."""
        return self._past.first_match(text) is not None

    def take(self, text: str) -> None:
        """Keeps the rest of the wave from asking this."""
        self._wave.add(text)

    def fault(
        self, attempt: Attempt, attack: Attack, prompt: Iterable[Message], text: str
    ) -> str | None:
        """Why a first or refined query of the Attacker's is no good, or None."""
        known: dict[str, Texts] = {
            "asked before": self._past,
            "asked before in its wave": self._wave,
            "in the benchmark": self._excluded,
        }
        return _fault(text, attempt, attack, prompt, known)

    def fault_in_conversation(
        self, attempt: Attempt, attack: Attack, prompt: Iterable[Message], text: str
    ) -> str | None:
        """Why a later query of a conversation is no good, or None.

        What it means depends on what came before: others may have asked the same.
        """
        return _fault(text, attempt, attack, prompt, {})

    def seed(self, attempt: Attempt) -> str | None:
        """A written question that is like none that was asked, or None."""
        seen: tuple[Texts, ...] = (self._past, self._wave, self._excluded)
        return next(
            (
                text
                for text in self._seeds.of(attempt)
                if all(texts.first_match(text) is None for texts in seen)
            ),
            None,
        )


def _fault(
    text: str,
    attempt: Attempt,
    attack: Attack,
    prompt: Iterable[Message],
    known: dict[str, Texts],
) -> str | None:
    shown = [message["content"] for message in prompt]
    return query_fault(text, attempt.lang, shown=shown, known=known, mixed=attack.mixes_languages)
