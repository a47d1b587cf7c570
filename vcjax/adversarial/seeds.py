"""Written seed questions, which stand in where the Attacker's own query is no good."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from vcjax.adversarial.cells import Attempt
from vcjax.charter.schema import Charter
from vcjax.data.records import Question


class SeedQuestions:
    """Questions by language and subdomain; those of no known subdomain serve any."""

    def __init__(self, questions: Iterable[Question], charter: Charter) -> None:
        known = {subdomain.id for subdomain in charter.subdomains()}
        self._pools: dict[tuple[str, str | None], list[str]] = defaultdict(list)
        for question in sorted(questions, key=lambda question: question.id):
            subdomain = question.domain if question.domain in known else None
            self._pools[question.lang, subdomain].append(question.question)

    def of(self, attempt: Attempt) -> Iterator[str]:
        """The questions that fit an attempt, those of its own subdomain first."""
        yield from self._pools.get((attempt.lang, attempt.subdomain), [])
        yield from self._pools.get((attempt.lang, None), [])
