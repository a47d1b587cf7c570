"""What the devices need of each slot in a step: a table on the host, uploaded as one array.

Each transfer to an accelerator has a latency of its own, so a slot's numbers are 32-bit words of
one row. Biases and masks are long and rare: they are arrays of their own, which are uploaded again
only where they have changed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt

from vcjax.generate.requests import MAX_BIASES, Request
from vcjax.generate.sampling import SamplingBatch

Upload = Callable[[np.ndarray], Array]
"""Puts an array on the devices; the caller doesn't change it afterwards."""

NO_POSITION = 1 << 30
"""The position of a slot that isn't decoding: beyond every cache, where nothing is written."""

_ALL_ALLOWED = 0xFFFFFFFF
"""A word of a mask that allows each of its 32 tokens."""

_SETTINGS = {
    "temperature": np.float32,
    "top_k": np.int32,
    "top_p": np.float32,
    "min_p": np.float32,
    "repetition_penalty": np.float32,
    "presence_penalty": np.float32,
    "frequency_penalty": np.float32,
    "seed": np.uint32,
}
"""The fields of a slot's row that are its request's sampling parameters."""
_SLOT = np.dtype(
    [
        *_SETTINGS.items(),
        ("step", np.int32),
        ("position", np.int32),
        ("is_biased", np.uint32),
        ("is_masked", np.uint32),
    ]
)
"""A slot's row: `step` is the number of tokens drawn so far, and `position` that of the next."""
_FIELDS = _SLOT.names or ()
_FREE_SLOT = np.array((0, 0, 1, 0, 1, 0, 0, 0, 0, NO_POSITION, 0, 0), _SLOT)
"""The row of a slot without a request: it draws greedily from all tokens."""
_BIAS = np.dtype([("id", np.int32), ("value", np.float32)])


class SlotBatch(NamedTuple):
    """The table on the devices, as the programs take it.

    Attributes:
      rows: a slot's fields, the bits of each as one word, and what else the cache has of it; of the
        first slots, those in the step.
      biases: ids and the bits of their values; an id beyond the vocabulary is none.
      mask: a bit for each token that may come next; see `vcjax.generate.sampling.unpack_mask`.
    """

    rows: UInt[Array, "some fields"]
    biases: UInt[Array, "slots biases 2"]
    mask: UInt[Array, "slots words"]

    def sampling(self) -> SamplingBatch:
        """The sampling parameters, inside a program."""
        number = len(self.rows)
        values = {name: _field(self.rows, name) for name in _SETTINGS}
        seeds = values.pop("seed")
        is_truncated = (values["top_k"] > 0) | (values["top_p"] < 1) | (values["min_p"] > 0)
        is_penalised = (
            (values["repetition_penalty"] != 1)
            | (values["presence_penalty"] != 0)
            | (values["frequency_penalty"] != 0)
        )
        return SamplingBatch(
            **values,
            seeds=seeds,
            steps=_field(self.rows, "step"),
            bias_ids=_bits(self.biases[:number, :, 0], np.int32),
            bias_values=_bits(self.biases[:number, :, 1], np.float32),
            mask=self.mask[:number],
            any_penalised=is_penalised.any(),
            any_biased=_field(self.rows, "is_biased").any(),
            any_masked=_field(self.rows, "is_masked").any(),
            any_truncated=is_truncated.any(),
            any_drawn=(values["temperature"] > 0).any(),
        )

    def positions(self) -> Int[Array, " some"]:
        """Of the tokens that are drawn, inside a program."""
        return positions_of(self.rows)


class SlotTable:
    """The rows of all slots on the host."""

    def __init__(self, slots: int, vocab_size: int, upload: Upload) -> None:
        self.slots, self._vocab_size, self._upload = slots, vocab_size, upload
        self._rows = np.full((slots,), _FREE_SLOT)
        # The vocabulary's size as an id means no bias. Every slot has as many entries as a request
        # may have: another number would be another shape, and another program.
        self._biases = np.full((slots, MAX_BIASES), np.array((vocab_size, 0), _BIAS))
        self._mask = np.full((slots, (vocab_size + 31) // 32), _ALL_ALLOWED, np.uint32)
        self._uploaded_biases: Array | None = None
        self._uploaded_mask: Array | None = None
        self.top_logprobs = np.zeros((slots,), np.int32)

    def start(self, slot: int, request: Request) -> None:
        """Enters a request whose prompt is in the cache.

        Raises:
          ConstraintError: its constraint allows no token.
        """
        sampling, row = request.sampling, self._rows[slot : slot + 1]
        for name in _SETTINGS:
            row[name] = getattr(sampling, name)
        row["step"], row["position"] = 0, len(request.prompt)
        self.top_logprobs[slot] = sampling.top_logprobs
        if sampling.logit_bias:
            row["is_biased"], self._uploaded_biases = 1, None
            own = self._biases[slot, : len(sampling.logit_bias)]
            own["id"], own["value"] = list(sampling.logit_bias), list(sampling.logit_bias.values())
        self._set_mask(slot, request, generated=0)

    def advance(self, slot: int, request: Request, generated: int) -> None:
        """Prepares the next step of a request that has `generated` tokens.

        Raises:
          ConstraintError: its constraint can't be continued.
        """
        self._rows["step"][slot] += 1
        self._rows["position"][slot] += 1
        self._set_mask(slot, request, generated)

    def clear(self, slot: int) -> None:
        """Frees a slot: it draws greedily, from all tokens, and writes nothing into the cache."""
        if self._rows["is_biased"][slot]:
            self._biases[slot], self._uploaded_biases = (self._vocab_size, 0), None
        self._allow_all(slot)
        self._rows[slot], self.top_logprobs[slot] = _FREE_SLOT, 0

    def batch(
        self, slots: int | None = None, columns: Int[np.ndarray, "slots columns"] | None = None
    ) -> SlotBatch:
        """The table on the devices: one upload, and one of biases or masks if they have changed.

        Args:
          slots: number of the first ones that the step is for; None is all.
          columns: of int32, what the cache has of each slot.
        """
        # Of copies, since the devices may read them while the table moves on.
        if self._uploaded_biases is None:
            words = self._biases.view(np.uint32).reshape(*self._biases.shape, -1)
            self._uploaded_biases = self._upload(words.copy())
        if self._uploaded_mask is None:
            self._uploaded_mask = self._upload(self._mask.copy())
        rows = self._rows.view(np.uint32).reshape(len(self._rows), -1)
        if columns is not None:
            rows = np.concatenate([rows, columns.view(np.uint32)], axis=1)
        return SlotBatch(
            self._upload(rows[:slots].copy()), self._uploaded_biases, self._uploaded_mask
        )

    def _allow_all(self, slot: int) -> None:
        if self._rows["is_masked"][slot]:
            self._mask[slot], self._rows["is_masked"][slot] = _ALL_ALLOWED, 0
            self._uploaded_mask = None

    def _set_mask(self, slot: int, request: Request, generated: int) -> None:
        """Sets which tokens may come next: those of the constraint, and EOS only once it may."""
        is_early = generated < request.sampling.min_tokens and bool(request.eos_ids)
        constraint = request.constraint
        if constraint is None and not is_early:
            self._allow_all(slot)
            return
        self._rows["is_masked"][slot], self._uploaded_mask = 1, None
        self._mask[slot] = _ALL_ALLOWED if constraint is None else constraint.mask()
        if is_early:
            self._remove_from_mask(slot, request.eos_ids)

    def _remove_from_mask(self, slot: int, eos_ids: tuple[int, ...]) -> None:
        """Forbids the EOS ids, unless nothing else may come: a satisfied constraint must end."""
        before = self._mask[slot].copy()
        for token in eos_ids:
            if token < self._vocab_size:
                self._mask[slot, token >> 5] &= np.uint32(_ALL_ALLOWED ^ (1 << (token & 31)))
        if not self._mask[slot].any():
            self._mask[slot] = before


def free_rows(slots: int) -> UInt[np.ndarray, "slots fields"]:
    """The rows of slots without a request."""
    return np.full((slots,), _FREE_SLOT).view(np.uint32).reshape(slots, -1)


def positions_of(rows: UInt[Array, "slots fields"]) -> Int[Array, " slots"]:
    """Of the tokens that are drawn, inside a program; NO_POSITION where a slot doesn't decode."""
    return _field(rows, "position")


def columns_of(rows: UInt[Array, "slots fields"]) -> Int[Array, "slots columns"]:
    """What follows the fields, inside a program; see `SlotTable.batch`."""
    return _bits(rows[:, len(_FIELDS) :], np.int32)


def _field(rows: UInt[Array, "slots fields"], name: str) -> Array:
    return _bits(rows[:, _FIELDS.index(name)], _SLOT[name])


def _bits(words: UInt[Array, "*shape"], kind: Any) -> Array:
    return jax.lax.bitcast_convert_type(words, jnp.dtype(kind))
