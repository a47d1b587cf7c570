"""Records -> token ids with the mask of what is to be predicted."""

import numpy as np

from vcjax.data.packing import Example
from vcjax.data.records import Conversation, Document
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
    rendered = render_conversation(tokenizer, conversation.messages)
    return Example(np.asarray(rendered.ids, np.int32), np.asarray(rendered.loss_mask, np.bool_))
