"""The models that a server holds, loaded while it already answers."""

import threading
import time
from collections.abc import Callable, Sequence

from vcjax.generate.models import ModelPool
from vcjax.generate.service import Service
from vcjax.generate.text import TextEngine
from vcjax.serve.config import ServeConfig
from vcjax.serve.errors import ApiError, unavailable
from vcjax.serve.scoring import Scorer
from vcjax.weights.resolve import resolve

STEP_TOKENS = 512
"""Tokens of prompts run between two steps, so that a long prompt doesn't halt the streams."""


class Loaded:
    """A model that can be asked."""

    def __init__(self, text: TextEngine, max_waiting: int) -> None:
        self.text, shape = text, text.engine.config
        self.context, self.vocab_size = shape.max_position, shape.vocab_size
        self.service = Service(text.engine, max_waiting=max_waiting)
        self.scorer = Scorer(self.service)


class Served:
    """One model under the name that requests give."""

    def __init__(self, name: str, reference: str) -> None:
        self.name, self.reference = name, reference
        self.loaded: Loaded | None = None
        self.created = int(time.time())

    @property
    def status(self) -> str:
        """`loading`, then `warming` (compiling), then `ready`."""
        if self.loaded is None:
            return "loading"
        return "ready" if self.loaded.service.ready else "warming"

    def ready(self) -> Loaded:
        """The model, or an ApiError while it can't be asked."""
        loaded = self.loaded
        if loaded is None or not loaded.service.ready:
            raise unavailable(f"model {self.name!r} is {self.status}; try again soon", "warming")
        return loaded


class Models:
    """All models of a server."""

    def __init__(self, config: ServeConfig) -> None:
        """Finds them; loads nothing.

        Raises:
          UserError: a reference that leads nowhere.
        """
        self._config = config
        pairs = zip(config.called, config.models, strict=True)
        self.all = tuple(Served(*pair) for pair in pairs)
        for served in self.all:
            resolve(served.reference)
        self.failure: Exception | None = None
        self._loader: threading.Thread | None = None

    @property
    def are_loading(self) -> bool:
        """Whether the thread of `load` is at work."""
        return self._loader is not None and self._loader.is_alive()

    def load(self, on_end: Callable[[], None]) -> None:
        """Loads them one after the other in a thread, which at last calls `on_end`.

        What kept a model from being loaded or compiled is in `failure` then.
        """

        config = self._config

        def work() -> None:
            try:
                pool = ModelPool(config, keep=True, step_tokens=STEP_TOKENS)
                for served in self.all:
                    text = pool.get(served.reference).text
                    served.loaded = Loaded(text, config.max_waiting)
                    served.loaded.service.wait_ready()
            except Exception as error:
                self.failure = error
            on_end()

        self._loader = threading.Thread(target=work, name="loader", daemon=True)
        self._loader.start()

    @property
    def status(self) -> str:
        """`ready` once all models are."""
        return next((each.status for each in self.all if each.status != "ready"), "ready")

    def named(self, name: str) -> Served:
        """The model of a request; no name stands for the only model.

        Raises:
          ApiError: there is none of this name.
        """
        for served in self.all:
            if served.name == name or (not name and len(self.all) == 1):
                return served
        names = ", ".join(served.name for served in self.all)
        message = f"model: there is no {name!r} here (there are: {names})"
        raise ApiError(404, message, param="model", code="model_not_found")

    def services(self) -> Sequence[Service]:
        """Those of the models that are loaded."""
        return [served.loaded.service for served in self.all if served.loaded is not None]
