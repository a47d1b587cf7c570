"""The cache of calls, in a file or in memory: no call is made twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.adversarial.timed import Clock, TimedRole
from tests.roles.failing import serving
from vcjax.core.errors import GateNotMet, UserError
from vcjax.roles.cache import CachedRole, CallCache
from vcjax.roles.endpoint import EndpointRole
from vcjax.roles.endpoint_spec import EndpointSpec
from vcjax.roles.role import Ask, Reply

ID = ("id",)
RECORDS = [{"id": str(i), "text": text} for i, text in enumerate(["one", "二\n", "", "four"])]


def test_records_are_there_when_it_is_opened_again(tmp_path):
    with CallCache(tmp_path / "new" / "s.jsonl", ID) as cache:
        for record in RECORDS:
            cache.append(record)
    with CallCache(tmp_path / "new" / "s.jsonl", ID) as cache:
        assert list(cache.records.values()) == RECORDS
        assert cache.records.keys() == {(record["id"],) for record in RECORDS}


def test_a_record_is_on_the_disk_when_append_returns(tmp_path):
    with CallCache(tmp_path / "s.jsonl", ID) as cache:
        cache.append({"id": "a"})
        assert (tmp_path / "s.jsonl").read_text() == '{"id": "a"}\n'


@given(data=st.data())
def test_a_file_cut_anywhere_keeps_its_whole_lines_and_is_continued(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("cache") / "s.jsonl"
    with CallCache(path, ID) as cache:
        for record in RECORDS:
            cache.append(record)
    content = path.read_bytes()
    cut = content[: data.draw(st.integers(0, len(content)))]
    path.write_bytes(cut)
    with CallCache(path, ID) as cache:
        assert list(cache.records.values()) == RECORDS[: cut.count(b"\n")]
        for record in RECORDS[cut.count(b"\n") :]:
            cache.append(record)
    assert path.read_bytes() == content


def test_the_key_may_be_of_several_fields(tmp_path):
    with CallCache(tmp_path / "s.jsonl", ("id", "judge")) as cache:
        cache.append({"id": "a", "judge": "x"})
        cache.append({"id": "a", "judge": "y"})
        assert cache.records.keys() == {("a", "x"), ("a", "y")}
        with pytest.raises(ValueError, match="already there"):
            cache.append({"id": "a", "judge": "x"})


@pytest.mark.parametrize("line", ['{"id": "b"', "[1]", '{"name": "b"}', '{"id": "a"}', ""])
def test_a_broken_line_that_isnt_the_last_is_named(tmp_path, line):
    (tmp_path / "s.jsonl").write_text(f'{{"id": "a"}}\n{line}\n{{"id": "c"}}\n')
    with pytest.raises(UserError, match=r"s.jsonl:2: .*remove the line"):
        CallCache(tmp_path / "s.jsonl", ID)


class Asked:
    """A role that replies with the keys of what it is asked, the last one first."""

    family, model, identity = "some", "some/model", "hash"

    def __init__(self):
        self.keys = []

    def ask(self, asks, on_reply=None):
        self.keys += [ask.key for ask in asks]
        replies = [Reply(ask.key, "stop", 1, 1) for ask in asks]
        for index in reversed(range(len(asks))):
            on_reply(index, replies[index])
        return replies


def test_known_replies_are_returned_again_and_the_others_asked_for():
    asks = [Ask(key, ({"role": "user", "content": "Why?"},), 9) for key in "abcd"]
    known = {key: Reply(f"known {key}", "stop", 0, 0) for key in "bd"}
    asked, received = Asked(), {}
    role = CachedRole(asked, known)
    replies = role.ask(asks, received.__setitem__)
    assert [reply.text for reply in replies] == ["a", "known b", "c", "known d"]
    assert [received[index] for index in range(4)] == replies
    assert asked.keys == ["a", "c"]
    assert (role.family, role.model, role.identity) == ("some", "some/model", "hash")
    assert role.ask(asks[1:2]) == [known["b"]]
    assert asked.keys == ["a", "c"]


def test_asks_are_batched_as_before_a_kill_and_each_record_is_kept_as_it_comes(tmp_path):
    asks = [Ask(key, ({"role": "user", "content": "Why?"},), 9) for key in "abcdefg"]
    keys = [(ask.key,) for ask in asks]
    batches = []

    class Batched(Asked):
        def ask(self, asks, on_reply=None):
            batches.append([ask.key for ask in asks])
            return super().ask(asks, on_reply)

    with CallCache(tmp_path / "s.jsonl", ID) as cache:
        cache.append({"id": "b"})
        cache.append({"id": "e"})
        cache.ask(
            Batched(),
            asks,
            keys,
            lambda index, reply: {"id": asks[index].key, "text": reply.text},
            chunk=3,
            label="answers",
        )
        assert batches == [["a", "c"], ["d", "f"], ["g"]]
        assert [key for (key,) in cache.records] == ["b", "e", "c", "a", "f", "d", "g"]


def test_a_budget_counts_what_the_records_of_earlier_starts_have_cost(tmp_path):
    asks = [Ask(f"{n}", ({"role": "user", "content": f"good {n}"},), 9) for n in range(6)]

    def ask(role: EndpointRole, some: list[Ask]) -> None:
        def record(index: int, reply: Reply) -> dict[str, str]:
            return {"id": some[index].key}

        with CallCache(tmp_path / "s.jsonl", ID) as cache:
            cache.ask(role, some, [(each.key,) for each in some], record, chunk=9, label="answers")

    def start(url: str, options: str) -> EndpointRole:
        spec = EndpointSpec.parse(f"{url}#m#concurrency=1#prompt_price=0#price=2#{options}")
        role = EndpointRole(spec, family="a")
        for some in (asks[:4], asks[4:]):  # a run may open its file again
            ask(role, some)
        return role

    with serving() as server:
        for _ in range(2):
            for bound in ("token_budget=40", "cost_budget=0.00003"):
                with pytest.raises(GateNotMet, match="its budget is spent"):
                    start(server.url, bound)
                assert sum(server.tries.values()) == 3
        whole = start(server.url, "token_budget=100")
        assert sum(server.tries.values()) == 6
    assert whole.account.tokens == 6 * 15
    assert whole.account.cost == pytest.approx(6 * 5 * 2e-6)


def test_no_slot_waits_for_the_end_of_a_chunk(tmp_path):
    asks = [Ask(f"{n}", ({"role": "user", "content": "Why?"},), 9) for n in range(24)]
    clock = Clock()
    role = TimedRole(clock, slots=4, seconds=lambda ask: 0.1 * (1 + int(ask.key) % 3))
    with CallCache(tmp_path / "s.jsonl", ID) as cache:
        keys = [(ask.key,) for ask in asks]
        record = lambda index, reply: {"id": asks[index].key}  # noqa: E731
        cache.ask(role, asks, keys, record, chunk=4, label="answers")
        assert cache.records.keys() == set(keys)
    assert clock.occupancy(4) > 0.9
