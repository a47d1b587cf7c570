"""What a measurement leaves for those who train: which attacks succeeded, and what was asked."""

from tests.adversarial.attempts import attempt, decide
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.measurement import attack_results, measured_queries
from vcjax.roles.verdict import Verdict

OPENING, LATER = "Are the old parks worth their price?", "So who is to pay for the old parks?"


def test_a_conversation_s_opening_is_kept_out_of_training_and_its_undecided_end_of_results(
    tmp_path,
):
    asked = [("user", OPENING), ("assistant", "Yes."), ("user", LATER)]
    conversation = [{"role": role, "content": text} for role, text in asked]
    good = {"by": "target", "answer": "Yes.", "kind": "accepted"}
    bad = {**good, "kind": "rejected"}
    stopped = Verdict("rejected", "follow-up: not a question")
    with Ledger(tmp_path / "attacks.sqlite") as ledger:
        decide(ledger, attempt(0), query=LATER, conversation=conversation, candidates=[good])
        decide(ledger, attempt(1), verdict=stopped, candidates=[good])
        decide(ledger, attempt(2), verdict=stopped, candidates=[bad])
        decide(ledger, attempt(3), query="", verdict=Verdict("rejected", "attacker: empty"))
    assert measured_queries(tmp_path, ["attacks"]) == [OPENING, LATER, "Why 1?", "Why 2?"]
    found = attack_results(tmp_path, "attacks")
    assert {id: result.succeeded for id, result in found.items()} == {
        attempt(0).id: False,
        attempt(2).id: True,
    }
    assert {result.topic for result in found.values()} == {attempt(0).topic, attempt(2).topic}
