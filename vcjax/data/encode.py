"""Records -> token ids with the mask of what is to be predicted."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np

from vcjax.data.packing import Example
from vcjax.data.pairs import Pair
from vcjax.data.records import Conversation, Document, Preference, Record
from vcjax.foundation.errors import UserError
from vcjax.text.chat_text import Message
from vcjax.text.rendering import render_conversation
from vcjax.text.tokenizer import Tokenizer

AT_ONCE = 256  # records encoded together


def encode_documents(tokenizer: Tokenizer, documents: Sequence[Document]) -> list[Example]:
    """BOS (if the tokenizer adds it), the text, EOS (if there is one); all of it is predicted."""
    before = np.asarray([tokenizer.bos_id] if tokenizer.adds_bos else [], np.int32)
    after = np.asarray([] if tokenizer.eos_id is None else [tokenizer.eos_id], np.int32)
    encoded = tokenizer.encode_texts([document.text for document in documents])
    whole = [np.concatenate([before, ids, after]) for ids in encoded]
    return [Example(ids, np.ones(len(ids), np.bool_)) for ids in whole]


def encode_conversation(tokenizer: Tokenizer, conversation: Conversation) -> Example:
    """The conversation in the tokenizer's chat template; the assistant's turns are predicted.

    Raises:
      UserError: the chat template refuses the messages.
    """
    return _encode(tokenizer, conversation.messages)


def encode_preference(tokenizer: Tokenizer, preference: Preference) -> Pair:
    """Both conversations in the tokenizer's chat template; only their last turn is predicted.

    Raises:
      UserError: the chat template refuses the messages, or makes the answers the same (one that
        trims them does, where they differ in white space alone).
    """
    chosen, rejected = (
        _last_turn_only(_encode(tokenizer, (*preference.messages, _said(answer))))
        for answer in (preference.chosen, preference.rejected)
    )
    if np.array_equal(chosen.ids, rejected.ids):
        raise UserError("chosen and rejected are the same in the chat template")
    return Pair(chosen, rejected)


def _each(encode: Callable[[Tokenizer, Any], Any]) -> Callable[[Tokenizer, Sequence], list]:
    return lambda tokenizer, records: [encode(tokenizer, record) for record in records]


ENCODERS: dict[str, Callable[[Tokenizer, Sequence], list]] = {
    "documents": encode_documents,
    "conversations": _each(encode_conversation),
    "preferences": _each(encode_preference),
}
"""Functions of several records, by kind."""


def encode_all(
    kind: str, tokenizer: Tokenizer, records: Iterable[Record]
) -> Iterator[tuple[Record, Example | Pair | UserError]]:
    """Encodes records in their order; yields each with what came of it, or why nothing did.

    Some are encoded at once, while the caller works on those before them.
    """
    waiting = iter(records)
    with ThreadPoolExecutor(1) as pool:
        ahead: Future | None = None
        while True:
            some = list(islice(waiting, AT_ONCE))
            after = pool.submit(_encode_some, ENCODERS[kind], tokenizer, some) if some else None
            if ahead is not None:
                yield from ahead.result()
            if after is None:
                return
            ahead = after


def _encode_some(
    encode: Callable[[Tokenizer, Sequence], list], tokenizer: Tokenizer, records: Sequence[Record]
) -> list[tuple[Record, Example | Pair | UserError]]:
    try:
        return list(zip(records, encode(tokenizer, records), strict=True))
    except UserError as error:
        if len(records) == 1:
            return [(records[0], error)]
        # Which of them it is, only one at a time can tell.
        return [one for record in records for one in _encode_some(encode, tokenizer, [record])]


def _said(answer: str) -> Message:
    return {"role": "assistant", "content": answer}


def _encode(tokenizer: Tokenizer, messages: Sequence[Message]) -> Example:
    rendered = render_conversation(tokenizer, messages)
    return Example(np.asarray(rendered.ids, np.int32), np.asarray(rendered.loss_mask, np.bool_))


def _last_turn_only(example: Example) -> Example:
    """Turns of the assistant have the header of another turn between them: theirs is the last
    stretch that is predicted."""
    predicted = np.flatnonzero(example.loss_mask)
    gaps = np.flatnonzero(np.diff(predicted) > 1)
    start = predicted[gaps[-1] + 1] if len(gaps) else predicted[0]
    return Example(example.ids, example.loss_mask & (np.arange(len(example.ids)) >= start))
