"""The settings of a server."""

from dataclasses import dataclass

from vcjax.core.errors import UserError
from vcjax.generate.engine_config import EngineConfig


@dataclass(frozen=True)
class ServeConfig(EngineConfig):
    """One server, beside the fields of `EngineConfig`.

    Attributes:
      models: model references; each gets its own engine.
      names: of the models in requests; empty: the references.
      host, port: to listen at; port 0 is any free one.
      max_waiting: requests that may wait beyond those in slots; further ones are refused with 429.
      max_body_mb: most of a request's body, in 2**20 bytes.
      max_tokens: most new tokens of an answer, and the limit of a chat that gives none; 0 is the
        rest of the context.
      timeout_s: seconds that one HTTP request may take, waiting included.
      api_key: that clients must send as `Authorization: Bearer`; empty requires none.
      row_buckets, pages: see `vcjax.generate.engine.Engine`.
      persona: system message of conversations that have none; empty adds none.
      access_log: write a line of JSON to standard error for each request.
      warm_up: tokens of the longest sequence whose programs are compiled before the server is
        ready; 0 compiles those of a short request alone. See `vcjax.generate.warmup`.

    Raises:
      UserError: a value that is out of its range.
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
    access_log: bool = False
    row_buckets: bool = False
    pages: bool = False
    warm_up: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.models or "" in self.models:
            raise UserError("model: name one model at least")
        if self.names and len(self.names) != len(self.models):
            raise UserError(f"name: {len(self.names)} names for {len(self.models)} models")
        if len(set(self.model_names)) < len(self.model_names) or "" in self.model_names:
            raise UserError("name: models need names that differ")
        for field in ("max_waiting", "max_tokens", "warm_up"):
            if getattr(self, field) < 0:
                raise UserError(f"{field} must be at least 0, not {getattr(self, field)}")
        for field in ("max_body_mb", "timeout_s"):
            if not getattr(self, field) > 0:
                raise UserError(f"{field} must be above 0, not {getattr(self, field)}")

    @property
    def model_names(self) -> tuple[str, ...]:
        """The names of the models in requests."""
        return self.names or self.models

    @property
    def max_body(self) -> int:
        """Bytes."""
        return int(self.max_body_mb * 2**20)
