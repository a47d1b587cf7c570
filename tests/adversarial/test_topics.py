"""Topics beside the charter's: from a file, or written by the Attacker, without repetitions."""

import json
from dataclasses import replace

import pytest

from vcjax.adversarial.calls import ATTACKER, CallBuilder, Caller
from vcjax.adversarial.cells import CellGroup
from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.inputs import read_inputs, read_suite
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.pipeline import plan_attempts
from vcjax.adversarial.plan import Limits
from vcjax.adversarial.run import synthesize
from vcjax.adversarial.topics import read_topics, write_topics
from vcjax.core.errors import UserError
from vcjax.roles.role import Reply

CONFIG = SynthesisConfig(
    subdomains="religion,gender", attacks="dilemma,persona", languages="en,zh", benchmark=""
)
SUITE = read_suite(CONFIG)
CELLS = SUITE.cells()


def lines(path, *records) -> str:
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return str(path)


def topic(text, domain="religion", lang="en") -> dict:
    return {"topic": text, "domain": domain, "lang": lang}


def test_a_file_s_topics_come_after_the_charter_s_without_held_out_and_repeated_ones(tmp_path):
    file = lines(
        tmp_path / "topics.jsonl",
        topic("bells that ring before dawn"),
        topic("Bells that ring before dawn!"),
        topic("a chapel for refugees at the border"),  # of a held-out subdomain by its content
        topic("lamps", "migration"),  # of one by its name
        topic("寺院门票的价格", lang="zh"),
        topic("taxes on robots", "technology"),  # of no cell
    )
    topics = read_topics(file, SUITE, CELLS)
    own = SUITE.charter.subdomain("religion").topics_for("en", held_out=False)
    assert topics.lists["religion", "en"] == [*own, "bells that ring before dawn"]
    assert topics.lists["religion", "zh"][-1] == "寺院门票的价格"
    assert set(topics.lists) == {
        (id, lang) for id in ("religion", "gender") for lang in SUITE.languages
    }
    assert topics.left_out == {"held_out": 2, "repeated": 1}
    assert topics.summary(CELLS)["prompts"] == 2 * (5 + 5 + 4 + 4)


def test_thousands_of_topics_are_each_asked_about_once_before_any_comes_again(tmp_path):
    many = [topic(f"{noun}{n} and its neighbours {n}") for n, noun in enumerate(["bell"] * 300)]
    topics = read_topics(lines(tmp_path / "topics.jsonl", *many), SUITE, CELLS)
    [cell, *_] = [cell for cell in CELLS if (cell.subdomain, cell.lang) == ("religion", "en")]
    count = len(topics.lists["religion", "en"])
    assert count > 4
    planner = plan_attempts(
        CONFIG, SUITE, CellGroup((cell,)), Limits(count, wave=count), topics=topics
    )
    assert len({attempt.topic for attempt in planner.plan(0, {})}) == count


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (topic("x y", "religoin"), r"topics.jsonl:1: domain: .*did you mean 'religion'"),
        (topic("x y", lang="fr"), r"topics.jsonl:1: lang: "),
        ({"topic": "x", "lang": "en"}, r"topics.jsonl:1: .*domain"),
        ({**topic("x"), "name": 1}, r"topics.jsonl:1: name: unknown field"),
    ],
)
def test_a_bad_line_is_named(tmp_path, record, message):
    with pytest.raises(UserError, match=message):
        read_topics(lines(tmp_path / "topics.jsonl", record), SUITE, CELLS)


@pytest.mark.parametrize("count", ["0", "", "many"])
def test_a_number_of_topics_is_one(count):
    config = replace(CONFIG, topics=f"attacker:{count}", allow_same_family=True)
    with pytest.raises(UserError, match=r"config.topics: write attacker:N"):
        read_inputs(config)


def test_shards_have_the_same_topics():
    config = replace(CONFIG, topics="attacker:9", shard="1/2", allow_same_family=True)
    with pytest.raises(UserError, match="each shard would write topics of its own"):
        read_inputs(config)


class Writer:
    """An Attacker that writes what it is given, call by call."""

    family, model, identity = "a", "writer", "writer"

    def __init__(self, *replies):
        self._replies, self.asks = list(replies), []

    def ask(self, asks, on_reply=None):
        replies = []
        for index, ask in enumerate(asks):
            self.asks.append(ask)
            text = self._replies.pop(0) if self._replies else "?"
            replies.append(Reply(text, "stop", 1, 1))
            on_reply(index, replies[-1])
        return replies


def written(role, path, count=7):
    cells = [cell for cell in CELLS if (cell.subdomain, cell.lang) == ("religion", "en")]
    with Ledger(path) as ledger:
        caller = Caller({ATTACKER: role}, ledger)
        return write_topics(count, SUITE, cells, CallBuilder(CONFIG), caller)


def test_the_attacker_writes_topics_until_there_are_enough_and_repeats_none(tmp_path):
    first = ["prayer rooms in airports", "Prayer rooms, in airports", "bread", "为什么要有寺院"]
    second = ["fasting during exams", "a mosque for refugees", "bells at night", "church taxes"]
    role = Writer(*(json.dumps({"topics": each}) for each in (first, second)))
    topics = written(role, tmp_path / "ledger.sqlite")
    own = SUITE.charter.subdomain("religion").topics_for("en", held_out=False)
    new = ["prayer rooms in airports", "fasting during exams", "bells at night"]
    assert topics.lists["religion", "en"] == [*own, *new]
    assert topics.left_out == {"repeated": 1, "unfit": 2, "held_out": 1}
    assert "prayer rooms in airports" in role.asks[1].messages[-1]["content"]
    assert role.asks[0].messages[-1] != role.asks[1].messages[-1]
    example = role.asks[0].messages[2]["content"]
    assert "topics" in json.loads(example)
    assert not set(own) & set(json.loads(example)["topics"])
    silent = Writer()
    again = written(silent, tmp_path / "ledger.sqlite")
    assert (again.lists, silent.asks) == (topics.lists, [])


def test_an_attacker_that_writes_nothing_new_is_asked_no_more(tmp_path):
    role = Writer(json.dumps({"topics": ["bells at night"]}))
    topics = written(role, tmp_path / "ledger.sqlite", count=100)
    assert len(topics.lists["religion", "en"]) == 5
    assert len(role.asks) == 4


def test_a_run_asks_about_the_topics_that_its_attacker_wrote(transcripts, tmp_path):
    config = transcripts(4, "Both sides have a point, as many people say.", lambda n: "{}")
    path = tmp_path / "transcript.jsonl"
    reply = json.dumps({"topics": ["lamps along the river", "dogs without a lead"]})
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"key": "topics/parks.en/attacker/0", "text": reply}) + "\n")
    own = len(read_inputs(config).topics.lists["parks", "en"])
    summary = synthesize(replace(config, topics=f"attacker:{own + 2}"), tmp_path / "run")
    assert summary["topics"] == {"topics": own + 2, "prompts": own + 2, "left_out": {}}
    found = [json.loads(line) for line in (tmp_path / "run" / "topics.jsonl").open()]
    assert [each["topic"] for each in found[-2:]] == [
        "lamps along the river",
        "dogs without a lead",
    ]
    given = replace(config, topics=str(tmp_path / "run" / "topics.jsonl"))
    assert read_inputs(given).topics.lists["parks", "en"] == [each["topic"] for each in found]
    card = (tmp_path / "run" / "README.md").read_text("utf-8")
    assert f"{own + 2} topics, {own + 2} different prompts" in card
    assert "| attempts so far | accepted so far |" in card
