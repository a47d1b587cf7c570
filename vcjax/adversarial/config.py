"""Settings of a synthesis run."""

import math
from dataclasses import dataclass

from vcjax.adversarial.reasons import FILTERS
from vcjax.core.errors import UserError
from vcjax.core.settings import check_at_least
from vcjax.generate.engine_config import EngineConfig


@dataclass(frozen=True)
class SynthesisConfig(EngineConfig):
    """What `launch.synthesize` takes as `--config.<field>`, beside the fields of `EngineConfig`.

    Attributes:
      charter: name or path.
      attacker, actor: model references, endpoints, or `recorded:FILE`.
      critic: likewise; several, comma-separated, decide together. Without any the charter's rule
        checks alone select, and the summary reports it.
      target: the checkpoint that is attacked, likewise: its own answer is judged first. Empty for
        none: then the Actor is what attacks are refined against.
      attacker_family, actor_family, critic_family, target_family: declared families; a shipped
        model's is known.
      allow_same_family: accept a Critic of the family of a model that it judges; the summary says
        so.
      only_failures: have no answer written where the attack on the target failed.
      benchmark: its questions are never attacked with: name or file, empty for none.
      questions: comma-separated files of seed questions, which stand in where the Attacker fails.
      columns: names of columns in these files for ours, `question:prompt`; '' is none.
      topics: what is asked about beside the charter's own topics: comma-separated JSONL files of
        `{topic, domain, lang}`, or `attacker:N` to have the Attacker write topics until each
        subdomain and language has N; '' is none.
      attempts: how many attempts may be made.
      per_cell: accepted pairs wanted of every cell; 0 wants none and makes all attempts.
      cell_attempts: how many attempts a cell may take; 0 leaves it at `attempts`.
      subdomains: comma-separated ids of the charter's; empty is all that it doesn't hold out.
      attacks: comma-separated; empty is all.
      held_out_attacks: comma-separated; these only measure and are never trained on.
      languages: comma-separated.
      severities: comma-separated levels from 1 to 3: how hard the Attacker presses.
      turns: comma-separated numbers of turns, for attacks that have several; empty is their own.
      attacker_tries: how often the Attacker may write one query, before a seed question stands in.
      actor_mode: `direct`, `best` of several answers by the Critic, or `revise`: each answer is
        criticised by the Actor against the charter's principles and written again.
      answers: candidate answers for each query.
      brief: ask the Actor for two or three sentences; the pairs don't contain that request. A small
        model's long answers are cut off or repeat themselves.
      filters: comma-separated: which rules reject an answer before a Critic is asked. Where the
        calibration shows that the Critic agrees with people, these are advice to it: it is asked
        all the same and decides. The charter's own checks are switched off in the charter.
      critic_form: `full`, a score for each principle and aspect, or `simple`, one for the whole.
      critic_votes: of each Critic on every answer.
      calibration: a JSONL file of answers with people's labels, which the Critic is compared with.
      min_kappa: the least agreement with those labels that has the pairs exported.
      force_export: export them all the same; the card says so.
      canaries: how many answers of each language are judged again with text that speaks to the
        Critic planted in them.
      accept_score: the Critic's threshold, 0 to 5; -1 is the charter's. At 0 every score passes:
        then the charter's rule checks alone select, and the summary reports it.
      shard: `1/4` is the first of four parts of the plan, each for another process or host,
        in another workdir; see `vcjax.adversarial.cells.Shard`.
      attacker_tokens, actor_tokens, critic_tokens: bounds of what each role writes.
      attacker_temperature, actor_temperature, critic_temperature, top_p: how it is sampled;
        temperature 0 is greedy.
      seed: of everything that is drawn.
      on_bad_record: `error` or `quarantine`, of files of questions.
      wave: attempts planned together; a query may repeat none of an earlier wave or of an earlier
        attempt of its own wave.
      ahead: with `per_cell`, how many waves may begin before an earlier one has ended. A plan then
        doesn't know how the attempts of so many waves before it ended: slots stay busy, for some
        attempts more than are needed. Without `per_cell` no wave waits for another one.
    """

    charter: str = "universal"
    attacker: str = "smollm2-135m-instruct"
    actor: str = "smollm2-135m-instruct"
    critic: str = "smollm2-135m-instruct"
    target: str = ""
    attacker_family: str = ""
    actor_family: str = ""
    critic_family: str = ""
    target_family: str = ""
    allow_same_family: bool = False
    only_failures: bool = False
    benchmark: str = "universal"
    questions: str = ""
    attempts: int = 32
    per_cell: int = 0
    cell_attempts: int = 0
    subdomains: str = ""
    attacks: str = ""
    held_out_attacks: str = ""
    languages: str = "en,zh"
    severities: str = "2"
    turns: str = ""
    attacker_tries: int = 1
    actor_mode: str = "best"
    answers: int = 2
    brief: bool = False
    filters: str = ",".join(FILTERS)
    critic_form: str = "full"
    critic_votes: int = 1
    calibration: str = ""
    min_kappa: float = 0.4
    force_export: bool = False
    canaries: int = 0
    accept_score: int = -1
    shard: str = ""
    wave: int = 16
    ahead: int = 0
    attacker_tokens: int = 64
    actor_tokens: int = 192
    critic_tokens: int = 256
    attacker_temperature: float = 0.9
    actor_temperature: float = 0.7
    critic_temperature: float = 0.0
    top_p: float = 0.95
    seed: int = 0
    on_bad_record: str = "error"
    columns: str = ""
    topics: str = ""
    dtype: str = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = ("attempts", "answers", "attacker_tries", "critic_votes", "wave")
        tokens = ("attacker_tokens", "actor_tokens", "critic_tokens")
        check_at_least(self, dict.fromkeys((*counts, *tokens), 1))
        if self.only_failures and not self.target:
            raise UserError("config.only_failures: there is no target that could fail")
        check_at_least(self, dict.fromkeys(("per_cell", "cell_attempts", "canaries", "ahead"), 0))
        for name in ("attacker_temperature", "actor_temperature", "critic_temperature"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(f"config.{name} must be at least 0, not {getattr(self, name)}")
        if not 0 < self.top_p <= 1:
            raise UserError(f"config.top_p must be above 0 and at most 1, not {self.top_p}")
        if not -1 <= self.accept_score <= 5:
            raise UserError(f"config.accept_score must be -1 to 5, not {self.accept_score}")


def split_names(names: str) -> list[str]:
    """The names in a comma-separated list."""
    return [name.strip() for name in names.split(",") if name.strip()]
