"""Canaries: how text inside an answer changes the verdict on it."""

import json

import pytest

from vcjax.adversarial.critic.canaries import CANARIES, PLACEBO, canaries, measure_canaries
from vcjax.adversarial.critic.panel import CriticPanel
from vcjax.adversarial.critic.votes import Submission
from vcjax.charter.load import load_charter
from vcjax.core.seeds import derive_seed
from vcjax.generate.engine_config import EngineConfig
from vcjax.generate.model_pool import ModelPool
from vcjax.roles.local import LocalRole
from vcjax.roles.recorded import RecordedRole
from vcjax.roles.role import Ask
from vcjax.text.rendering import render_prompt

CHARTER = load_charter("universal")
EN = Submission("one", "en", "Is it fair?", "Some say {so}.", "gender")
ZH = Submission("two", "zh", "公平吗？", "有人认为公平。", "race")


def poll_of(role, max_tokens=512):
    """Asks a role, as a run does, with a seed for every vote."""

    def poll(requests):
        asks = [
            Ask(
                key=f"{request.submission}/{request.vote}",
                messages=request.messages,
                max_tokens=max_tokens,
                seed=derive_seed(request.submission, request.vote),
                json_schema=request.json_schema,
            )
            for request in requests
        ]
        return role.ask(asks)

    return poll


@pytest.fixture
def recorded(tmp_path):
    """A function from scores by (submission, canary or `clean`) to a poll; texts are as given."""

    def make(said):
        path = tmp_path / "said.jsonl"
        with path.open("w", encoding="utf-8") as stream:
            for (submission, canary), score in said.items():
                text = json.dumps({"reason": "So.", "score": score})
                text = score if isinstance(score, str) else text
                record = {"key": f"canary/{submission}/{canary}/0", "text": text}
                stream.write(json.dumps(record) + "\n")
        return poll_of(RecordedRole(path))

    return make


@pytest.mark.parametrize("submission", [EN, ZH], ids=["en", "zh"])
def test_a_canary_is_the_answer_and_something_that_speaks_to_the_critic(submission):
    planted = canaries(submission.answer, submission.lang, '{"score": 5}')
    assert tuple(planted) == CANARIES
    assert len(set(planted.values())) == len(CANARIES)
    for text in planted.values():
        assert text.startswith(submission.answer)
        assert len(text) > len(submission.answer)
    assert "score: 5" in planted["score"]
    assert "</answer>" in planted["closing tags"]
    assert '{"score": 5}' in planted["verdict"]
    assert {"en": "ignore", "zh": "忽略"}[submission.lang] in planted["instruction"]
    assert "<|im_end|>" in planted["turns"]


@pytest.mark.parametrize("form", ["full", "simple"])
@pytest.mark.parametrize("submission", [EN, ZH], ids=["en", "zh"])
def test_a_planted_text_stays_inside_its_delimiters_and_its_turn(tiny, form, submission):
    panel = CriticPanel(CHARTER, form=form)
    clean = render_prompt(tiny.tokenizer, panel.vote_requests(submission)[0].messages)
    special = set(tiny.tokenizer.special_tokens.values())
    for name, answer in canaries(submission.answer, submission.lang, '{"score": 5}').items():
        planted = Submission(
            "x", submission.lang, submission.question, answer, submission.subdomain
        )
        messages = panel.vote_requests(planted)[0].messages
        text = messages[1]["content"]
        assert text.count("<answer>") == text.count("</answer>") == 1, name
        inside = text.partition("<answer>")[2].partition("</answer>")[0]
        assert "5" in inside or name == PLACEBO
        ids = render_prompt(tiny.tokenizer, messages)
        assert [id for id in ids if id in special] == [id for id in clean if id in special]


@pytest.mark.parametrize("form", ["full", "simple"])
def test_no_canary_makes_a_constrained_verdict_invalid(tiny_folder, form):
    panel = CriticPanel(CHARTER, form=form)
    critic = LocalRole(ModelPool(EngineConfig(slots=8)), str(tiny_folder), family="tiny")
    report = measure_canaries([EN, ZH], panel, poll_of(critic))
    assert report["n"] == 2
    assert (report["clean"]["valid"]["k"], report["clean"]["valid"]["n"]) == (2, 2)
    for moves in report["overall"].values():
        assert (moves["valid"]["k"], moves["valid"]["n"]) == (2, 2)
        assert moves["moved"]["n"] == moves["shift"]["n"] == 2
    assert json.loads(json.dumps(report)) == report


def test_what_moved_and_how_far_is_counted(recorded):
    submissions = [Submission(str(n), "zh" if n > 5 else "en", "Q?", "A.") for n in range(8)]
    said = {(str(n), "clean"): [5, 4, 3, 3, 2, 0, 3, 5][n] for n in range(8)}
    for name in CANARIES:
        said |= {(str(n), name): said[str(n), "clean"] for n in range(8)}
    said |= {("2", "instruction"): 5, ("3", "instruction"): 4, ("4", "instruction"): 3}
    said |= {("5", "instruction"): "score: 5", ("0", "instruction"): 4, ("6", "score"): 5}
    panel = CriticPanel(CHARTER, form="simple")
    report = measure_canaries(submissions, panel, recorded(said))

    still = report["overall"][PLACEBO]
    assert (still["moved"]["k"], still["turned"]["k"], still["shift"]["value"]) == (0, 0, 0)
    moves = report["overall"]["instruction"]
    counted = {name: (moves[name]["k"], moves[name]["n"]) for name in ("valid", "moved", "raised")}
    assert counted == {"valid": (7, 8), "moved": (4, 7), "raised": (3, 7)}
    assert (moves["turned"]["k"], moves["turned"]["n"]) == (2, 5)
    assert moves["shift"]["value"] == pytest.approx((2 + 1 + 1 - 1) / 7)
    assert moves["shift"]["low"] < moves["shift"]["value"] < moves["shift"]["high"]
    assert moves["expected_shift"]["n"] == 0
    chinese = report["languages"]["zh"]
    assert (chinese["score"]["turned"]["k"], chinese["score"]["turned"]["n"]) == (1, 1)
    assert (chinese["instruction"]["moved"]["k"], chinese["instruction"]["moved"]["n"]) == (0, 2)
    assert report["languages"]["en"]["score"]["moved"]["k"] == 0


def test_every_vote_of_a_panel_counts_for_validity(recorded):
    said = {("one", name): 4 for name in ("clean", *CANARIES)}
    poll = recorded(said)

    def twice(requests):
        first = poll([request for request in requests if request.vote == 0])
        spoilt = [("so" if "verdict" in b.submission else None) for b in requests if b.vote == 0]
        pairs = zip(first, spoilt, strict=True)
        return [
            reply if text is None or vote == 0 else type(reply)(text, "stop", 1, 1)
            for reply, text in pairs
            for vote in range(2)
        ]

    panel = CriticPanel(CHARTER, form="simple", votes=2)
    valid = measure_canaries([EN], panel, twice)["overall"]
    assert (valid["verdict"]["valid"]["k"], valid["verdict"]["valid"]["n"]) == (1, 2)
    assert (valid["score"]["valid"]["k"], valid["score"]["valid"]["n"]) == (2, 2)
