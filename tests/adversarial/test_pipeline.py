"""The pipeline on recorded roles: every outcome of an attempt, and which calls are repeated."""

import json

import pytest

from vcjax.adversarial.outputs import accepted_records, preference_records, write_records
from vcjax.adversarial.summary import RunSummary
from vcjax.core.errors import UserError
from vcjax.data.importers import read_records
from vcjax.data.records import Question

NOUNS = ["lamp", "bench", "river", "bridge", "market", "school", "garden", "station"]
FAIR = "Some say yes and others say no, and both have reasons."
REFUSAL = "I'm sorry, but I can't help with that."


def query(number):
    noun = NOUNS[number]
    return f"Which {noun} near {noun}town would you let go for a quieter {noun}?"


def graded(score, reason="A reason."):
    return json.dumps({"reason": reason, "score": score})


def script(planned, answers, verdicts, queries=query):
    """What every role says about each planned attempt, by key."""
    said = {}
    for attempt in planned:
        said[f"{attempt.id}/attacker"] = queries(attempt.number)
        for n, answer in enumerate(answers(attempt.number)):
            said[f"{attempt.id}/actor/{n}"] = answer
        for n, verdict in enumerate(verdicts(attempt.number)):
            said[f"{attempt.id}/critic/{n}"] = verdict
    return said


def decided(pipeline, run, attempts, said_by_actor, said_by_critic, queries=query, **changes):
    """Runs a script to its end; returns the records and the roles."""
    changes = {"critic_form": "simple", **changes}
    first, planned, _ = pipeline({}, attempts=attempts, **changes)
    first.ledger.close()
    said = script(planned, said_by_actor, said_by_critic, queries)
    made, planned, roles = pipeline(said, attempts=attempts, **changes)
    return run(made), roles


def test_every_attempt_ends_as_its_best_candidate_does(pipeline, run):
    cases = [
        ((FAIR, FAIR + " Too."), (graded(4), graded(5)), "accepted", 5, 1),
        ((REFUSAL, FAIR), ("", graded(4)), "accepted", 4, 1),
        ((REFUSAL, (FAIR, "length")), ("", ""), "rejected", None, 0),
        ((FAIR, REFUSAL), (graded(2), ""), "rejected", 2, 0),
        ((FAIR, FAIR), (graded(3), "Five!"), "unscored", None, 1),
        ((FAIR, ""), (graded(6), ""), "unscored", None, 0),
    ]
    records, roles = decided(pipeline, run, 6, lambda n: cases[n][0], lambda n: cases[n][1], wave=4)
    for record, (answers, _, kind, score, chosen) in zip(records, cases, strict=True):
        assert (record["kind"], record["score"]) == (kind, score)
        texts = [each if isinstance(each, str) else each[0] for each in answers]
        assert record["answer"] == texts[chosen]
        assert [candidate["answer"] for candidate in record["candidates"]] == texts
        assert (record["source"], record["attacker_fault"]) == ("attacker", None)
    assert records[2]["reason"] == "actor: refusal"
    assert [candidate["reason"] for candidate in records[2]["candidates"]] == [
        "actor: refusal",
        "actor: truncated",
    ]
    assert records[4]["reason"] == "critic: malformed"
    assert records[5]["reason"] == "critic: out_of_range"
    # The Critic is asked about nothing that a rule has decided.
    verdicts = [key for key in roles["critic"].keys if not key.endswith("/style")]
    assert len(verdicts) == 2 + 1 + 0 + 1 + 2 + 1
    assert len(roles["critic"].keys) == len(verdicts) + 6  # of each query its style and topic
    assert len(roles["actor"].keys) == 12


def test_accepted_records_and_preference_pairs_say_what_they_should(pipeline, run):
    answers = [(FAIR, REFUSAL), (FAIR, FAIR + " So."), (REFUSAL, ""), (FAIR, "")]
    verdicts = [(graded(5), ""), (graded(5), graded(1)), ("", ""), ("?", "")]
    records, _ = decided(pipeline, run, 4, lambda n: answers[n], lambda n: verdicts[n])
    first, second = [each for record in records for each in accepted_records(record)]
    assert first["messages"] == [
        {"role": "user", "content": query(0)},
        {"role": "assistant", "content": FAIR},
    ]
    assert (first["lang"], first["domain"]) == ("en", records[0]["subdomain"])
    assert second["id"] == records[1]["id"]
    pairs = [each for record in records for each in preference_records(record)]
    assert [(each["chosen"], each["rejected"]) for each in pairs] == [
        (FAIR, REFUSAL),
        (FAIR, FAIR + " So."),
    ]
    assert pairs[0]["messages"] == first["messages"][:1]


def test_a_seed_question_stands_in_for_a_failed_attacker_until_none_is_left(pipeline, run):
    seeds = [
        Question("1", "Is the old park worth its price to the town?", "en", "parks"),
        Question("2", "Is a late train worth a dear ticket to you?", "en", "trains"),
        Question("3", "公园值得保留吗？", "zh", "parks"),
    ]
    records, roles = decided(
        pipeline,
        run,
        4,
        lambda n: (FAIR,),
        lambda n: (graded(5),),
        queries=lambda n: "No idea.",
        questions=seeds,
        answers=1,
        wave=2,
    )
    assert [record["query"] for record in records[:2]] == [seeds[0].question, seeds[1].question]
    assert [record["source"] for record in records[:2]] == ["seed", "seed"]
    assert {record["attacker_fault"] for record in records} == {"not a question"}
    for record in records[2:]:
        assert record["kind"] == "rejected"
        assert record["reason"] == "attacker: not a question, and no seed question is left"
        assert (record["query"], record["answer"], record["candidates"]) == ("", None, [])
    assert len(roles["actor"].keys) == 2


SEEDS = [
    Question(f"{n}", f"Is the {noun} of {noun}town worth its {noun} price?", "en", domain)
    for n, (noun, domain) in enumerate(zip(NOUNS, ["parks", "trains"] * 4, strict=True))
]
OFF = '{"on_style": false, "on_topic": true}'


def quota(pipeline, queries, **changes):
    """Runs up to three attempts a cell for one pair each, of which every answer is accepted;
    returns the attempts and the tallies that quotas are reported from."""
    changes |= {"critic_form": "simple", "answers": 1, "attempts": 12}
    changes |= {"per_cell": 1, "cell_attempts": 3, "questions": SEEDS}
    first, planned, _ = pipeline({}, **changes)
    first.ledger.close()
    said = script(planned, lambda n: (FAIR,), lambda n: (graded(5),), queries)
    said |= {f"{attempt.id}/critic/style": OFF for attempt in planned if attempt.index == 0}
    made, _, _ = pipeline(said, **changes)
    with made.ledger, made:
        made.run()
        return list(made.ledger.attempts()), made.progress.tallies


def test_a_seed_question_fills_no_quota(pipeline):
    records, tallies = quota(pipeline, lambda n: "No idea.")
    assert {record["source"] for record in records if record["query"]} == {"seed"}
    assert sum(record["kind"] == "accepted" for record in records) == len(SEEDS)
    assert {(tally.attempts, tally.accepted) for tally in tallies.values()} == {(3, 0)}
    assert {record["style_checked"] for record in records} == {None}


def test_a_query_that_is_off_its_style_fills_no_quota(pipeline):
    def queries(n):
        first, second = NOUNS[n % 8], NOUNS[(n + 1 + n // 8) % 8]
        return f"Would the {first}s of {second}ton go first for a quieter {second} and {first}?"

    records, tallies = quota(pipeline, queries)
    # After the first, the plan has two at a time: at the rate so far, one isn't enough.
    assert {(tally.attempts, tally.accepted) for tally in tallies.values()} == {(3, 2)}
    for record in records:
        assert record["kind"] == "accepted"
        outcome = "off style" if record["id"].endswith(".0") else "yes"
        assert (record["style_checked"], record["checked_by"]) == (outcome, "critic")


def test_without_a_critic_and_where_its_reply_can_t_be_read_rules_check(pipeline, run):
    noun = "parks"
    query = f"Which would you give up for good, the old {noun} or the new trains?"
    for who in (("attacker", "actor"), ("attacker", "actor", "critic")):
        changes = {"critic_form": "simple", "answers": 1, "attempts": 1, "who": who}
        first, [planned], _ = pipeline({}, **changes)
        first.ledger.path.unlink()
        first.ledger.close()
        said = script([planned], lambda n: (FAIR,), lambda n: (graded(5),), lambda n: query)
        made, _, _ = pipeline({**said, f"{planned.id}/critic/style": "Yes."}, **changes)
        [record] = run(made)
        assert (record["attack"], record["topic"].split()[1]) == ("dilemma", noun)
        assert (record["style_checked"], record["checked_by"]) == ("yes", "rules")
        made.ledger.path.unlink()


def test_records_and_counts_tell_attacks_from_seeds_and_off_style_queries(pipeline, tmp_path):
    records, _ = quota(pipeline, lambda n: "No idea." if n % 3 else query(n % 8))
    counts = RunSummary()
    for record in records:
        counts.add(record)
    found = counts.summary()
    asked = {name: counts["attempts"] for name, counts in found["queries"].items()}
    assert sum(asked.values()) == found["attempts"] == len(records)
    assert asked["seeds"] > 0
    assert asked["off_style"] > 0
    assert sum(cell["attacks"]["attempts"] for cell in found["cells"]) == asked["attacks"]
    write_records(tmp_path, records)
    for name in ("accepted.jsonl", "rejected.jsonl"):
        for line in (tmp_path / name).read_text("utf-8").splitlines():
            record = json.loads(line)
            [own] = [each for each in records if each["id"] == record["id"]]
            seed = own["source"] == "seed" and own["query"]
            assert record["source"] == own["source"]
            assert record["attack"] == (None if seed else own["attack"])
            assert record["style_checked"] == own["style_checked"]
    conversations = read_records(tmp_path / "accepted.jsonl", "conversations").records
    assert len(conversations) == found["accepted"]


@pytest.mark.parametrize("wave", [1, 2, 4])
def test_a_query_repeats_neither_an_earlier_one_nor_a_benchmark_question(pipeline, run, wave):
    def queries(n):
        return query(0) if n in (0, 2) else query(n)

    records, _ = decided(
        pipeline,
        run,
        4,
        lambda n: (FAIR,),
        lambda n: (graded(5),),
        queries=queries,
        answers=1,
        wave=wave,
        excluded=[query(3)],
    )
    faults = [record["attacker_fault"] for record in records]
    again = "asked before" if wave < 3 else "asked before in its wave"
    assert faults == [None, None, again, "in the benchmark"]


def test_a_finished_pipeline_asks_nothing_and_a_longer_one_only_what_is_new(pipeline, run):
    first, _ = extended(pipeline, run, 3)
    again, roles = extended(pipeline, run, 3)
    assert again == first
    assert [role.keys for role in roles.values()] == [[], [], []]
    longer, roles = extended(pipeline, run, 6)
    assert longer[:3] == first
    new = {record["id"] for record in longer[3:]}
    assert {key.partition("/")[0] for key in roles["actor"].keys} == new
    assert len(roles["attacker"].keys) == 3


def extended(pipeline, run, attempts):
    return decided(
        pipeline,
        run,
        attempts,
        lambda n: (FAIR, FAIR),
        lambda n: (graded(5), graded(4)),
        wave=4,
    )


def test_recorded_calls_are_not_asked_again_after_a_stop_in_mid_wave(pipeline, run):
    changes = {"attempts": 4, "critic_form": "simple"}
    first, planned, _ = pipeline({}, **changes)
    first.ledger.close()
    said = script(planned, lambda n: (FAIR, FAIR), lambda n: (graded(5), graded(4)))
    missing = f"{planned[2].id}/critic/1"
    cut = {key: text for key, text in said.items() if key != missing}
    made, _, _ = pipeline(cut, **changes)
    with pytest.raises(UserError, match="no reply recorded"):
        run(made)
    made, _, roles = pipeline(said, **changes)
    assert list(made.ledger.attempts()) == []
    records = run(made)
    assert roles["attacker"].keys == roles["actor"].keys == []
    assert {record["kind"] for record in records} == {"accepted"}


def test_counts_add_up_in_total_per_cell_reason_and_language(pipeline, run, tmp_path):
    ends = [graded(5), graded(1), "?", graded(1)]
    records, _ = decided(
        pipeline, run, 8, lambda n: (FAIR,), lambda n: (ends[n % 4],), answers=1, languages=("en",)
    )
    summary = tallied(records)
    kinds = ("accepted", "rejected", "unscored", "blocked")
    assert [summary[kind] for kind in kinds] == [2, 4, 2, 0]
    assert summary["attempts"] == 8 == sum(summary[kind] for kind in kinds)
    assert summary["accept_rate_bounds"] == [2 / 8, 4 / 8]
    for cell in (*summary["cells"], *summary["languages"].values()):
        assert cell["attempts"] == sum(cell[kind] for kind in kinds)
    for kind in kinds:
        assert sum(cell[kind] for cell in summary["cells"]) == summary[kind]
    for kind, reasons in summary["reasons"].items():
        assert sum(reasons.values()) == summary[kind]
    assert summary["reasons"]["rejected"] == {"critic: score 1": 4}
    assert summary["funnel"] == {"attempts": 8, "asked": 8, "judged": 8, "accepted": 2}
    written = write_records(tmp_path, records)
    assert written == {"accepted.jsonl": 2, "preferences.jsonl": 0, "rejected.jsonl": 6}
    assert len(read_records(tmp_path / "accepted.jsonl", "conversations").records) == 2
    assert len((tmp_path / "rejected.jsonl").read_text("utf-8").splitlines()) == 6


def tallied(records):
    tallies = RunSummary()
    for record in records:
        tallies.add(record)
    return tallies.summary()


def test_a_run_s_own_threshold_replaces_the_charter_s(pipeline, run):
    records, _ = decided(
        pipeline, run, 3, lambda n: (FAIR,), lambda n: (graded(n),), answers=1, accept_score=1
    )
    assert [record["kind"] for record in records] == ["rejected", "accepted", "accepted"]


def test_preferences_are_read_back_as_records(pipeline, run, tmp_path):
    records, _ = decided(pipeline, run, 2, lambda n: (FAIR, REFUSAL), lambda n: (graded(5), ""))
    write_records(tmp_path, records)
    pairs = read_records(tmp_path / "preferences.jsonl", "preferences").records
    assert [(pair.chosen, pair.rejected) for pair in pairs] == [(FAIR, REFUSAL)] * 2


def test_what_isn_t_exported_is_removed(pipeline, run, tmp_path):
    records, _ = decided(pipeline, run, 2, lambda n: (FAIR, REFUSAL), lambda n: (graded(5), ""))
    assert write_records(tmp_path, records)["accepted.jsonl"] == 2
    assert write_records(tmp_path, records, export=False) == {"rejected.jsonl": 0}
    assert not (tmp_path / "accepted.jsonl").exists()
    assert not (tmp_path / "preferences.jsonl").exists()
