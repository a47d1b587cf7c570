"""Asking a role many things: in fixed chunks, each reply recorded as it comes."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from tqdm import tqdm

from vcjax.core.files import hash_text
from vcjax.roles.role import Ask, Reply, Role


def fingerprint(*parts: object) -> str:
    """Sixteen hex digits that stand for JSON-like `parts`: everything that a record depends on.

    A record is reused only where all of it is the same, so a changed prompt, model, seed or
    charter asks again instead of reusing what was said to another question.
    """
    return hash_text(json.dumps(parts, sort_keys=True, ensure_ascii=False))[:16]


def ask_in_chunks(
    role: Role,
    asks: Sequence[Ask],
    done: Sequence[bool],
    on_reply: Callable[[int, Reply], None],
    *,
    chunk: int,
    label: str,
) -> None:
    """Asks what isn't `done`; `on_reply(index, reply)` is called for each reply as it comes.

    The chunks are of `asks`, done or not, so a resumed run forms the same ones. Progress goes to
    stderr where that is a terminal.
    """
    with tqdm(total=len(asks), initial=sum(done), desc=label, disable=None) as bar:
        for start in range(0, len(asks), chunk):
            stop = min(start + chunk, len(asks))
            indices = [index for index in range(start, stop) if not done[index]]
            if indices:
                _ask_chunk(role, asks, indices, on_reply, bar)


def _ask_chunk(
    role: Role,
    asks: Sequence[Ask],
    indices: list[int],
    on_reply: Callable[[int, Reply], None],
    bar: tqdm,
) -> None:
    def receive(position: int, reply: Reply) -> None:
        # Half of a surrogate pair, which JSON's "\ud800" makes, can't be hashed or written.
        text = reply.text.encode(errors="replace").decode()
        on_reply(indices[position], replace(reply, text=text))
        bar.update()

    role.ask([asks[index] for index in indices], receive)
