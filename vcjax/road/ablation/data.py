"""What an arm is trained on that isn't its own attacks: as many conversations as these gave pairs.

CONVERSATIONS  ordinary ones, from files
QUESTIONS      pairs that were selected from answers to plain questions
ANSWERS        one answer to each of some queries of the attacks, with no selection
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields, replace
from heapq import nsmallest
from pathlib import Path
from typing import Any

from vcjax.adversarial.actor import Actor
from vcjax.adversarial.calls import ACTOR, CallBuilder, Caller
from vcjax.adversarial.cells import Attempt
from vcjax.adversarial.config import SynthesisConfig, split_names
from vcjax.adversarial.critic.panel import AnswerJudge
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.ledger.query import attempts
from vcjax.adversarial.ledger.schema import opened_to_read
from vcjax.adversarial.run import synthesize
from vcjax.adversarial.waves import run_together
from vcjax.charter.load import charter_parents, load_charter
from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.files import read_json, read_jsonl, write_jsonl
from vcjax.core.lineage import Parent
from vcjax.core.run import CONFIG, Run
from vcjax.core.seeds import derive_seed
from vcjax.data.files import data_parents
from vcjax.data.held_out import HeldOut
from vcjax.data.importers import Records
from vcjax.data.records import Conversation
from vcjax.road.ablation.config import AblationConfig, Arm
from vcjax.roles.references import RoleSpec, models_of, open_roles, without_options
from vcjax.weights.workdir import write_sources

PAIRS, ACCEPTED = "conversations.jsonl", "accepted.jsonl"
_MOST = 4
"""How many times the attempts of an arm of attacks one of plain questions may make, to have as
many pairs."""

# -------------------------------------------------------------------------------------------------
# Ordinary conversations.
# -------------------------------------------------------------------------------------------------


def ordinary_conversations(config: AblationConfig, arm: Arm) -> Iterator[Conversation]:
    """The ordinary conversations that an arm may be trained on, one after the other.

    Raises:
      UserError: a bad file, or none in the language and outside of what the charter holds out.
    """
    charter = load_charter(config.charter)
    held_out = HeldOut(charter)
    files = arm.conversations or config.conversations
    found = False
    for record in Records(files, "conversations", on_bad_record=config.on_bad_record):
        if (
            isinstance(record, Conversation)
            and record.lang == config.language
            and not held_out.is_held_out(record)
        ):
            found = True
            yield record
    if not found:
        raise UserError(
            f"{files}: no conversation in {config.language!r} outside of what "
            f"charter {charter.name!r} holds out"
        )


def write_ordinary(
    config: AblationConfig, arm: Arm, folder: Path, attacks: Sequence[Path], seed: int
) -> None:
    """Writes as many ordinary conversations as the attacks gave pairs, unless they are there or
    there are fewer.

    Args:
      attacks: the synthesis folders of the arm that this one is like, up to this round.
      seed: of this run of the arm.
    """
    files = split_names(arm.conversations or config.conversations)
    settings = {"data": arm.data, "files": files, "seed": seed, "round": len(attacks)}
    run = Run("sample", folder, settings, seed=seed)
    if run.is_finished():
        return
    with run.opened():
        records = next_conversations(ordinary_conversations(config, arm), attacks, seed)
        write_jsonl(folder / PAIRS, records)
        parents = data_parents("conversations", files)
        run.finish([*parents, Parent.of("synthesis", attacks[-1])])


def next_conversations(
    records: Iterable[Conversation], attacks: Sequence[Path], seed: int
) -> list[dict[str, Any]]:
    """The next of a shuffled list after those of the rounds before; it begins again at its end.

    Of the list no more is in memory than all rounds up to this one take.

    Args:
      attacks: see `write_ordinary`.
    """
    # As many in each round as its attacks gave: arms then differ in what they are taught, not in
    # how much.
    counts = [count_records(folder / ACCEPTED) for folder in attacks]
    start, end = sum(counts[:-1]), sum(counts)
    shuffled = nsmallest(end, records, key=lambda each: derive_seed(seed, "ordinary", each.id))
    count = min(counts[-1], len(shuffled))
    return [shuffled[(start + n) % len(shuffled)].to_dict() for n in range(count)]


def count_records(path: Path) -> int:
    """Lines of a JSONL file."""
    return sum(1 for _ in read_jsonl(path))


# -------------------------------------------------------------------------------------------------
# Selected answers to plain questions.
# -------------------------------------------------------------------------------------------------


def select_answers(
    synthesis: SynthesisConfig, folder: Path, attacks: Path, excluded: Sequence[str]
) -> None:
    """Runs a synthesis on plain questions until it has as many pairs as the attacks have.

    Args:
      synthesis: its `attempts` are made first, and as many again as often as is needed.
      excluded: texts that no question may repeat.

    Raises:
      GateNotMet: there are still fewer pairs after four times the attempts.
    """
    wanted, step = count_records(attacks / ACCEPTED), synthesis.attempts
    # Step by step, as nobody knows what share will be accepted, and each attempt costs calls. A run
    # that was stopped continues with the attempts that it had been given by then.
    planned = read_json(folder / CONFIG)["attempts"] if (folder / CONFIG).is_file() else step
    while True:
        summary = synthesize(replace(synthesis, attempts=planned), folder, excluded=excluded)
        if summary["accepted"] >= wanted:
            return
        if planned >= _MOST * step:
            raise GateNotMet(
                f"{folder}: {summary['accepted']} answers to plain questions were accepted of "
                f"{planned}, and {attacks} has {wanted} pairs; raise config.synthesis.answers, in "
                "another workdir, or leave the arm out"
            )
        planned += step


def draw_selected(folder: Path, questions: Path, attacks: Path, seed: int) -> None:
    """Draws as many pairs as the attacks have, unless that is done.

    Args:
      questions: the folder of `select_answers`.
    """
    settings = {"data": "questions", "seed": seed}
    run = Run("sample", folder, settings, seed=seed)
    if run.is_finished():
        return
    with run.opened():
        records = [record for _, record in read_jsonl(questions / ACCEPTED)]
        wanted = count_records(attacks / ACCEPTED)
        # By a hash, so that the order of the file decides nothing.
        drawn = nsmallest(wanted, records, key=lambda each: derive_seed(seed, "drawn", each["id"]))
        write_jsonl(folder / PAIRS, drawn)
        run.finish([Parent.of("questions", questions), Parent.of("synthesis", attacks)])


# -------------------------------------------------------------------------------------------------
# Answers that nobody selected.
# -------------------------------------------------------------------------------------------------


def write_unselected(
    config: AblationConfig, synthesis: SynthesisConfig, folder: Path, attacks: Path
) -> None:
    """Answers as many queries of the attacks as these gave pairs, once each, unless that is done.

    The queries are drawn from all that were asked, whether the attack succeeded or not and whether
    an answer was accepted or not; and the answer is whatever the Actor writes first. So nothing
    that the rules decide is in the data. Of a conversation the query that opens it is drawn: later
    ones depend on answers.

    Args:
      synthesis: of the arm: its Actor answers, and its seed draws.
    """
    recorded = asdict(synthesis)
    recorded |= {name: without_options(recorded[name]) for name in ("attacker", "actor", "target")}
    run = Run("answers", folder, recorded, seed=synthesis.seed)
    if run.is_finished():
        return
    specs = {ACTOR: RoleSpec(synthesis.actor, synthesis.actor_family)}
    roles, parents = open_roles(specs, config, folder)
    charter = load_charter(config.charter)
    with run.opened():
        write_sources(folder, models_of(roles))
        with Ledger.of_run(
            folder / "ledger.sqlite", roles=roles.values(), charter=charter.content_hash
        ) as ledger:
            caller, calls = Caller(roles, ledger), CallBuilder(synthesis)
            actor = Actor(
                charter,
                calls,
                # Its verdicts are read by nobody.
                AnswerJudge(charter, None, calls),
                mode=synthesis.actor_mode,
                answers=1,
                brief=synthesis.brief,
            )
            wanted, waiting = count_records(attacks / ACCEPTED), _drawn(attacks, synthesis.seed)
            records: list[dict[str, Any]] = []
            # An empty answer teaches nothing and is replaced by the answer to another query.
            while waiting and len(records) < wanted:
                missing = wanted - len(records)
                some, waiting = waiting[:missing], waiting[missing:]
                scripts = [actor.answer(attempt, [_user(query)], 0) for attempt, query in some]
                answered = run_together(scripts, caller)
                for (attempt, query), candidates in zip(some, answered, strict=True):
                    if candidates[0].answer.strip():
                        records.append(_conversation(attempt, query, candidates[0].answer))
        write_jsonl(folder / PAIRS, records)
        run.finish([*parents, *charter_parents(config.charter), Parent.of("synthesis", attacks)])


def _drawn(attacks: Path, seed: int) -> list[tuple[Attempt, str]]:
    """All queries that opened an attempt, in an order that only the seed decides."""
    names = [field.name for field in fields(Attempt) if field.name != "index"]
    found = []
    with opened_to_read(attacks / "ledger.sqlite") as connection:
        for row in attempts(connection):
            opening = row["conversation"][0]["content"] if row["conversation"] else row["query"]
            if opening:
                index = int(row["id"].rpartition(".")[2])
                own = {name: row[name] for name in names}
                found.append((Attempt(**own, index=index), opening))
    return sorted(found, key=lambda each: derive_seed(seed, "unselected", each[0].id))


def _conversation(attempt: Attempt, query: str, answer: str) -> dict[str, Any]:
    return {
        "id": attempt.id,
        "messages": [_user(query), {"role": "assistant", "content": answer}],
        "lang": attempt.lang,
        "domain": attempt.subdomain,
    }


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}
