"""Records -> token ids with the mask of what is to be predicted."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np

from vcjax.core.errors import UserError
from vcjax.data.packing import Example, Pair
from vcjax.data.records import Conversation, Document, Preference, Record
from vcjax.text.rendering import Rendered, render_last_turn, render_samples
from vcjax.text.templates import Message
from vcjax.text.tokenizer import Tokenizer

AT_ONCE = 256  # records encoded together


Encoded = list[Example] | list[Pair]
"""The result of one record: an example, or one for each turn where the chat template rewrites
earlier turns; see `vcjax.text.rendering.render_samples`."""


def encode_documents(tokenizer: Tokenizer, documents: Sequence[Document]) -> list[Example]:
    """BOS (if the tokenizer adds it), the text, EOS (if there is one); all of it is predicted."""
    before = np.asarray([tokenizer.bos_id] if tokenizer.adds_bos else [], np.int32)
    after = np.asarray([] if tokenizer.eos_id is None else [tokenizer.eos_id], np.int32)
    encoded = tokenizer.encode_texts([document.text for document in documents])
    whole = [np.concatenate([before, ids, after]) for ids in encoded]
    return [Example(ids, np.ones(len(ids), np.bool_)) for ids in whole]


def encode_conversation(tokenizer: Tokenizer, conversation: Conversation) -> list[Example]:
    """The conversation in the tokenizer's chat template; each turn of the assistant is predicted in
    one of the examples.

    Raises:
      UserError: the chat template refuses the messages.
    """
    return [_example(each) for each in render_samples(tokenizer, conversation.messages)]


def encode_preference(tokenizer: Tokenizer, preference: Preference) -> Pair:
    """Both conversations in the tokenizer's chat template; only their last turn is predicted.

    Raises:
      UserError: the chat template refuses the messages, or makes the answers the same (one that
        trims them does, where they differ in white space alone).
    """
    chosen, rejected = (
        _example(render_last_turn(tokenizer, (*preference.messages, _turn(answer))))
        for answer in (preference.chosen, preference.rejected)
    )
    if np.array_equal(chosen.ids, rejected.ids):
        raise UserError("chosen and rejected are the same in the chat template")
    return Pair(chosen, rejected)


ENCODERS: dict[str, Callable[[Tokenizer, Sequence], Sequence[Encoded]]] = {
    "documents": lambda tokenizer, records: [[e] for e in encode_documents(tokenizer, records)],
    "conversations": lambda tokenizer, records: [
        encode_conversation(tokenizer, r) for r in records
    ],
    "preferences": lambda tokenizer, records: [[encode_preference(tokenizer, r)] for r in records],
}
"""Functions of several records, by kind."""


def encode_all(
    kind: str, tokenizer: Tokenizer, records: Iterable[Record]
) -> Iterator[tuple[Record, Encoded | UserError]]:
    """Encodes records in their order; yields each with its examples, or the error that it has none.

    `AT_ONCE` of them are encoded in a thread, while the caller works on those before them; where
    TOKENIZERS_PARALLELISM is `false`, as where there is a process for each core, in the caller's
    own: two threads that share a core only take turns.
    """
    waiting = iter(records)
    if os.environ.get("TOKENIZERS_PARALLELISM") == "false":
        while some := list(islice(waiting, AT_ONCE)):
            yield from _encode_some(ENCODERS[kind], tokenizer, some)
        return
    # One thread beside the caller's, which packs and writes meanwhile.
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
    encode: Callable[[Tokenizer, Sequence], Sequence[Encoded]],
    tokenizer: Tokenizer,
    records: Sequence[Record],
) -> list[tuple[Record, Encoded | UserError]]:
    try:
        return list(zip(records, encode(tokenizer, records), strict=True))
    except UserError as error:
        if len(records) == 1:
            return [(records[0], error)]
        # One at a time, to find which of them it is.
        return [one for record in records for one in _encode_some(encode, tokenizer, [record])]


def _turn(answer: str) -> Message:
    return {"role": "assistant", "content": answer}


def _example(rendered: Rendered) -> Example:
    return Example(np.asarray(rendered.ids, np.int32), np.asarray(rendered.loss_mask, np.bool_))
