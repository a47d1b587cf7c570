"""llama.cpp through its Python package, on the GGUF file that we export: greedy, one batch.

Its sequences decode together in one context, with as many threads as there are cores, as in
llama.cpp's own `batched-bench`. Its low-level API, since the high-level one has one sequence.
"""

# pyright: reportMissingImports=false
import ctypes
from itertools import count
from typing import Any

import llama_cpp
import numpy as np

from benchmarks.serve import Contender, serve
from benchmarks.workload import Work


def setup(asked: dict[str, Any]) -> Contender:
    """Args: `gguf`, a file; `work`, fields of a `Work` whose requests make one batch; `cores`."""
    generate = Batch(asked["gguf"], Work(**asked["work"]), asked["cores"])
    steps = count()

    def step() -> None:
        made = generate(next(steps))
        assert made.shape == (generate.work.requests, generate.work.new)

    facts = {
        "llama_cpp_python": llama_cpp.__version__,
        "system": llama_cpp.llama_print_system_info().decode(),
    }
    return Contender(step, facts)


class Batch:
    """Sequences of equal length that decode together."""

    def __init__(self, path: str, work: Work, cores: int) -> None:
        """Loads the model; its cache has room for the sequences and no more, in float32 as ours."""
        llama_cpp.llama_backend_init()
        self.work = work
        given = llama_cpp.llama_model_default_params()
        self._model = llama_cpp.llama_model_load_from_file(path.encode(), given)
        if not self._model:
            raise RuntimeError(f"llama.cpp can't load {path}")
        vocabulary = llama_cpp.llama_model_get_vocab(self._model)
        self._vocab_size = llama_cpp.llama_vocab_n_tokens(vocabulary)
        tokens = work.requests * work.prompt
        settings = llama_cpp.llama_context_default_params()
        settings.n_seq_max, settings.n_batch = work.requests, tokens
        settings.n_ctx = tokens + work.tokens
        settings.n_threads = settings.n_threads_batch = cores
        settings.type_k = settings.type_v = llama_cpp.GGML_TYPE_F32
        self._context = llama_cpp.llama_init_from_model(self._model, settings)
        self._batch = llama_cpp.llama_batch_init(tokens, 0, 1)

    def __call__(self, step: int) -> np.ndarray:
        """The new tokens [requests, new] of a step's prompts."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
        tokens, at = self.work.prompts(step, self._vocab_size), 0
        made = []
        for _ in range(self.work.new):
            tokens = self._next(tokens, at)[:, None]
            at += self.work.prompt if not made else 1
            made.append(tokens)
        return np.hstack(made)

    def _next(self, tokens: np.ndarray, at: int) -> np.ndarray:
        """Runs `tokens` [requests, length] at the positions from `at`; the likeliest next ones."""
        batch, (rows, length) = self._batch, tokens.shape
        batch.n_tokens = tokens.size
        for number in range(tokens.size):
            row, column = divmod(number, length)
            batch.token[number], batch.pos[number] = int(tokens[row, column]), at + column
            batch.n_seq_id[number], batch.seq_id[number][0] = 1, row
            batch.logits[number] = column == length - 1
        code = llama_cpp.llama_decode(self._context, batch)
        if code:
            raise RuntimeError(f"llama_decode: {code}")
        best = []
        for row in range(rows):
            logits = llama_cpp.llama_get_logits_ith(self._context, row * length + length - 1)
            array = ctypes.cast(logits, ctypes.POINTER(ctypes.c_float * self._vocab_size)).contents
            best.append(np.frombuffer(array, np.float32).argmax())
        return np.array(best)


if __name__ == "__main__":
    serve(setup)
