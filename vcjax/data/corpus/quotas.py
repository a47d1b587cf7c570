"""Quotas: no domain has more than its share of a corpus, so that none drowns another.

Which documents of a domain stay is decided by a hash of their ids, so that it depends neither on
their order nor on how many processes read them, and a larger quota keeps all that a smaller one
does. Nothing but totals is in memory: documents are counted by the first bits of their hashes, and
only those in the bucket that a quota ends in are compared one by one.
"""

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int64

from vcjax.core.errors import UserError
from vcjax.core.seeds import derive_seed
from vcjax.data.corpus.classifier import NONE
from vcjax.data.corpus.document import Document
from vcjax.data.corpus.step import Decision, Observed

_BITS, _BUCKET_BITS = 31, 12
_EVIDENCE = struct.Struct("<IQ")  # hash and characters; the domain follows


@dataclass(frozen=True)
class QuotasSettings:
    """How much of a domain stays; 0 is no limit.

    Attributes:
      characters: of one domain, at most.
      share: the largest share, 0 to 1, of one domain in the characters that are left.
      seed: of the draw.
    """

    characters: int = 0
    share: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.characters < 0:
            raise UserError(f"config.characters: must be 0 or more, not {self.characters}")
        if not 0 <= self.share <= 1:
            raise UserError(f"config.share: must be from 0 to 1, not {self.share}")


class Quotas:
    """The pass that leaves out what is above a domain's quota."""

    name: ClassVar[str] = "quotas"
    Settings: ClassVar[type] = QuotasSettings

    def __init__(self, settings: QuotasSettings) -> None:
        self._settings = settings

    def observe(self, document: Document) -> bytes:
        """The document's number in the draw, its length and its domain."""
        drawn = derive_seed(self._settings.seed, "quota", document.id)
        domain = document.domain or NONE
        return _EVIDENCE.pack(drawn, len(document.text)) + domain.encode()

    def decide(
        self, observed: Iterable[Observed], text_of: Callable[[int], str], counts: Counter[str]
    ) -> Iterator[Decision]:
        """Yields what is above a quota: of each domain those with the highest hashes.

        Raises:
          UserError: with so few domains none can have as little as `share`.
        """
        buckets: dict[str, Int64[np.ndarray, " buckets"]] = {}
        for each in observed:
            drawn, size, domain = _unpacked(each)
            if domain not in buckets:
                buckets[domain] = np.zeros(1 << _BUCKET_BITS, np.int64)
            buckets[domain][drawn >> (_BITS - _BUCKET_BITS)] += size
        totals = {domain: int(sizes.sum()) for domain, sizes in buckets.items()}
        quotas = quotas_of(totals, self._settings.characters, self._settings.share)
        # The bucket in which the running total passes the quota; all below it stay, all above it
        # go, and its own documents are sorted by their full hashes.
        ends = {
            domain: int(np.searchsorted(np.cumsum(sizes), quotas[domain], side="right"))
            for domain, sizes in buckets.items()
        }
        left = {domain: quotas[domain] - buckets[domain][: ends[domain]].sum() for domain in ends}
        undecided: dict[str, list[tuple[int, int, int]]] = {domain: [] for domain in ends}
        for each in observed:
            drawn, size, domain = _unpacked(each)
            bucket = drawn >> (_BITS - _BUCKET_BITS)
            if bucket == ends[domain]:
                undecided[domain].append((drawn, each.number, size))
            elif bucket > ends[domain]:
                yield _above(each.number, domain)
        for domain, several in undecided.items():
            for _, number, size in sorted(several):
                left[domain] -= size
                if left[domain] < 0:
                    yield _above(number, domain)
        for domain, total in totals.items():
            counts[f"characters before, {domain}"] += total


def quotas_of(totals: dict[str, int], characters: int, share: float) -> dict[str, int]:
    """The characters that may stay of each domain.

    The largest limit c is found for which no domain has more than `share` of what is left of all,
    where each has the lesser of c and what it has.

    Args:
      totals: characters of each domain; `characters` and `share`: see `QuotasSettings`.

    Raises:
      UserError: `share` is less than one divided by the number of domains.
    """
    limit = max(totals.values(), default=0)
    if characters:
        limit = min(limit, characters)
    sizes: Float[np.ndarray, " domains"] = np.sort([each for each in totals.values() if each])
    if share and len(sizes):
        if share * len(sizes) < 1:
            raise UserError(
                f"config.share: {share} of each of {len(sizes)} domains is less than the whole: "
                f"raise it to {1 / len(sizes):.3f} at least"
            )
        # With k domains cut at c, c = share (rest + k c), where the rest is of smaller domains.
        for k in range(1, len(sizes) + 1):
            rest = sizes[: len(sizes) - k].sum()
            cut = share * rest / (1 - share * k) if share * k < 1 else np.inf
            smaller = sizes[len(sizes) - k - 1] if k < len(sizes) else 0
            if cut >= smaller:
                limit = min(limit, int(min(cut, sizes[len(sizes) - k])))
                break
    return {domain: min(total, limit) for domain, total in totals.items()}


def _unpacked(each: Observed) -> tuple[int, int, str]:
    drawn, size = _EVIDENCE.unpack_from(each.evidence)
    return drawn, size, each.evidence[_EVIDENCE.size :].decode()


def _above(number: int, domain: str) -> Decision:
    return Decision(number, "above its domain's quota", domain)
