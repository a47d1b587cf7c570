"""Records -> token ids with the mask of what is to be predicted."""

from collections.abc import Sequence

import numpy as np

from vcjax.data.packing import Example
from vcjax.data.pairs import Pair
from vcjax.data.records import Conversation, Document, Preference
from vcjax.foundation.errors import UserError
from vcjax.text.chat_text import Message
from vcjax.text.rendering import render_conversation
from vcjax.text.tokenizer import Tokenizer


def encode_document(tokenizer: Tokenizer, document: Document) -> Example:
    """BOS (if the tokenizer adds it), the text, EOS (if there is one); all of it is predicted."""
    ids = tokenizer.encode(document.text)
    if tokenizer.adds_bos:
        ids = [tokenizer.bos_id, *ids]
    if tokenizer.eos_id is not None:
        ids = [*ids, tokenizer.eos_id]
    return Example(np.asarray(ids, np.int32), np.ones(len(ids), np.bool_))


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
