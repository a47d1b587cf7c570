"""Checks a charter's file: everything that is wrong or doubtful in it at once, with its lines.

python -m launch.charter check charter.yaml
python -m launch.charter check charter.yaml --show_prompts      also what each role will be asked

Doubtful are wordings that contradict a floor rule, thresholds that switch the floor off, principles
that neither a check nor the rubric decides, texts that aren't in their language, and a charter that
leaves nothing to train on. A shipped charter may be named instead of a file. The exit code is 3 if
there is a problem.
"""

from typing import TYPE_CHECKING

from absl import flags

from vcjax.core.errors import GateNotMet, UserError, suggest
from vcjax.core.script import run

if TYPE_CHECKING:
    from vcjax.charter.schema import Charter

SHOW_PROMPTS = flags.DEFINE_bool(
    "show_prompts", False, "Print the prompts of Attacker, Actor, Critic and judge."
)
_VERB = "check"


def main(operands: list[str]) -> None:
    from vcjax.charter.review import review_charter

    if len(operands) != 2:
        raise UserError(f"name what to do and a file, as in `launch.charter {_VERB} charter.yaml`")
    verb, reference = operands
    if verb != _VERB:
        raise UserError(f"{verb!r}: no such verb{suggest(verb, [_VERB])} (known: {_VERB})")
    review = review_charter(reference)
    for problem in review.problems:
        print(problem)
    if SHOW_PROMPTS.value and review.charter is not None:
        _print_prompts(review.charter)
    if review.problems:
        count = len(review.problems)
        raise GateNotMet(f"{reference}: {count} problem{'s' if count > 1 else ''}")
    assert review.charter is not None
    _print_summary(reference, review.charter)


def _print_summary(reference: str, charter: "Charter") -> None:
    subdomains = charter.subdomains()
    held_out = sum(each.held_out for each in subdomains)
    checked = sum(bool(each.checks) for each in charter.principles)
    print(
        f"{reference}: no problems: {len(charter.principles)} principles, {checked} of them with "
        f"checks; {len(subdomains)} subdomains, {held_out} of them held out; "
        f"{' and '.join(charter.languages)}"
    )
    if not SHOW_PROMPTS.value:
        print("--show_prompts prints what each role will be asked")


def _print_prompts(charter: "Charter") -> None:
    from vcjax.adversarial.role_prompts import role_prompts

    for lang in charter.languages:
        for prompt in role_prompts(charter, lang):
            print(f"\n--- {prompt.title}")
            for message in prompt.messages:
                print(f"{message['role']}:")
                print("\n".join(f"    {line}" for line in message["content"].splitlines()))
    print()


if __name__ == "__main__":
    run(main, operands=True)
