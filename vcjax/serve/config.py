"""What a server is told by whoever starts it."""

from dataclasses import dataclass

from vcjax.core.errors import UserError
from vcjax.generate.models import EngineConfig


@dataclass(frozen=True)
class ServeConfig(EngineConfig):
    """One server, beside the fields of `EngineConfig`.

    Attributes:
      models: model references; each gets an engine of its own.
      names: how requests call them; empty: as `models` does.
      host, port: where it listens; port 0 is any free one.
      max_waiting: requests that may wait beyond those in slots; further ones are told to try
        again.
      max_body_mb: bound of a request's body, in 2**20 bytes.
      max_tokens: most new tokens of an answer, and what a chat gets that names no bound; 0 is what
        the model's context leaves.
      timeout_s: seconds that one HTTP request may take, waiting included.
      api_key: what callers must present as `Authorization: Bearer`; empty asks for none.
      persona: system message of conversations that have none; empty adds none.
    """

    models: tuple[str, ...]
    names: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8000
    max_waiting: int = 256
    max_body_mb: float = 4.0
    max_tokens: int = 0
    timeout_s: float = 600.0
    api_key: str = ""
    persona: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.models or "" in self.models:
            raise UserError("model: name one model at least")
        if self.names and len(self.names) != len(self.models):
            raise UserError(f"name: {len(self.names)} names for {len(self.models)} models")
        if len(set(self.called)) < len(self.called) or "" in self.called:
            raise UserError("name: models need names, each its own")
        for field, least in (("max_waiting", 0), ("max_tokens", 0)):
            if getattr(self, field) < least:
                raise UserError(f"{field} must be at least {least}, not {getattr(self, field)}")
        for field in ("max_body_mb", "timeout_s"):
            if not getattr(self, field) > 0:
                raise UserError(f"{field} must be above 0, not {getattr(self, field)}")

    @property
    def called(self) -> tuple[str, ...]:
        """The names of the models."""
        return self.names or self.models

    @property
    def max_body(self) -> int:
        """Bytes."""
        return int(self.max_body_mb * 2**20)
