"""Settings of a synthesis run."""

from dataclasses import dataclass

from vcjax.foundation.errors import UserError


@dataclass(frozen=True)
class SynthesisConfig:
    """What `launch.synthesize` takes as `--config.<field>`.

    Attributes:
      charter: name or path.
      attacker, actor, critic: model references, or `recorded:FILE`.
      attacker_family, actor_family, critic_family: declared families; a shipped model's is known.
      allow_same_family: accept a Critic of the Actor's family; the summary says so.
      benchmark: its questions are never attacked with: name or file, empty for none.
      questions: comma-separated files of seed questions, which stand in where the Attacker fails.
      attempts: how many attempts to plan.
      attacks: comma-separated styles; empty is all.
      languages: comma-separated.
      answers: candidate answers for each query.
      accept_score: the Critic's threshold, 0 to 5; -1 is the charter's. At 0 every score passes:
        then the charter's rule checks alone select, and the summary says so.
      wave: attempts planned together; deduplication looks at finished waves and at earlier
        attempts of the same wave.
    """

    charter: str = "universal"
    attacker: str = "smollm2-135m-instruct"
    actor: str = "smollm2-135m-instruct"
    critic: str = "smollm2-135m-instruct"
    attacker_family: str = ""
    actor_family: str = ""
    critic_family: str = ""
    allow_same_family: bool = False
    benchmark: str = "universal"
    questions: str = ""
    attempts: int = 32
    attacks: str = ""
    languages: str = "en,zh"
    answers: int = 2
    accept_score: int = -1
    wave: int = 16
    slots: int = 16
    attacker_tokens: int = 64
    actor_tokens: int = 192
    critic_tokens: int = 160
    attacker_temperature: float = 0.9
    actor_temperature: float = 0.7
    critic_temperature: float = 0.0
    top_p: float = 0.95
    seed: int = 0
    on_bad_record: str = "error"

    def __post_init__(self) -> None:
        counts = ("attempts", "answers", "wave", "slots")
        for name in (*counts, "attacker_tokens", "actor_tokens", "critic_tokens"):
            if getattr(self, name) < 1:
                raise UserError(f"config.{name} must be at least 1, not {getattr(self, name)}")
        if not -1 <= self.accept_score <= 5:
            raise UserError(f"config.accept_score must be -1 to 5, not {self.accept_score}")
