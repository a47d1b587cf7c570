import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcjax.charter.checks import answered_in_language
from vcjax.core.errors import UserError
from vcjax.evaluation.benchmark import load_benchmark, sample

UNIVERSAL = load_benchmark()


def write(path, *records):
    path.write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")
    return path


def item(id="a-en", **fields):
    return {
        "id": id,
        "parallel_id": "a",
        "domain": "technology",
        "lang": "en",
        "question": f"Question {id}?",
        **fields,
    }


def test_the_shipped_benchmark_is_parallel_and_complete(charter):
    items = load_benchmark("universal", charter).items
    assert len({i.parallel_id for i in items}) == 182
    assert Counter(i.lang for i in items) == {"en": 182, "zh": 182}
    assert set(Counter((i.domain, i.lang) for i in items).values()) == {14}
    assert {i.domain for i in items} == {s.id for s in charter.subdomains()}
    assert len({i.domain for i in items}) == 13


def test_the_shipped_questions_are_distinct_in_their_language_and_have_rubrics():
    items = UNIVERSAL.items
    folded = {"".join(c for c in i.question.casefold() if c.isalnum()) for i in items}
    assert len(folded) == len(items)
    assert all(i.rubric for i in items)
    assert all(answered_in_language("", i.question, i.lang, threshold=0.7).passed for i in items)


def test_held_out_domains_come_from_the_charter(charter):
    held_out = load_benchmark("universal", charter).held_out
    assert held_out == {"migration", "inequality", "historical_memory"}
    assert load_benchmark("universal").held_out == frozenset()


def test_the_shipped_benchmark_is_cut_to_the_charter(charter):
    english = charter.model_copy(update={"languages": ("en",), "domains": charter.domains[:1]})
    items = load_benchmark("universal", english).items
    assert len(items) == 3 * 14
    assert {i.lang for i in items} == {"en"}


def test_the_hash_depends_on_the_items_and_not_on_their_order():
    backwards = replace(UNIVERSAL, items=UNIVERSAL.items[::-1])
    fewer = replace(UNIVERSAL, items=UNIVERSAL.items[1:])
    assert UNIVERSAL.hash == backwards.hash != fewer.hash


def test_a_file_of_ones_own_is_read(tmp_path, charter):
    path = write(tmp_path / "own.jsonl", item(), item("a-zh", lang="zh"))
    benchmark = load_benchmark(path, charter)
    assert benchmark.name == str(path)
    assert [i.id for i in benchmark.items] == ["a-en", "a-zh"]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (item(), r"own.jsonl:2: the id 'a-en' is already at .*own.jsonl:1"),
        (item("b"), r"own.jsonl:2: the en version of 'a' is already at .*own.jsonl:1"),
        (item("b", questoin="?"), r"own.jsonl:2: unknown field 'questoin'.*'question'"),
        (item("b", question=" "), r"own.jsonl:2: field 'question' is empty"),
        (item("b", parallel_id="b", lang="fr"), r"own.jsonl:2: field 'lang': 'fr' is none of"),
        (item("b", parallel_id="b", domain="tecnology"), r"own.jsonl:2: .*mean 'technology'"),
        ([], r"own.jsonl:2: a record must be an object"),
    ],
)
def test_a_bad_item_is_named_by_file_and_line(tmp_path, charter, second, message):
    path = write(tmp_path / "own.jsonl", item(), second)
    with pytest.raises(UserError, match=message):
        load_benchmark(path, charter)


def test_what_is_no_benchmark_is_a_users_mistake(tmp_path):
    with pytest.raises(UserError, match="did you mean 'universal'"):
        load_benchmark("univeral")
    with pytest.raises(UserError, match="no such file"):
        load_benchmark(tmp_path / "absent.jsonl")
    with pytest.raises(UserError, match="is a folder"):
        load_benchmark(tmp_path)
    with pytest.raises(UserError, match="no benchmark items"):
        load_benchmark(write(tmp_path / "empty.jsonl"))


@given(size=st.integers(1, 16), seed=st.integers(0, 99))
def test_a_sample_is_stratified_and_keeps_pairs_together(size, seed):
    chosen = sample(UNIVERSAL.items, size, seed)
    assert set(Counter((i.domain, i.lang) for i in chosen).values()) == {min(size, 14)}
    assert set(Counter(i.parallel_id for i in chosen).values()) == {2}
    assert chosen == tuple(i for i in UNIVERSAL.items if i in chosen)


def test_a_sample_depends_on_its_seed_alone():
    def ids(items, seed):
        return {i.id for i in sample(items, 3, seed)}

    assert ids(UNIVERSAL.items, 1) == ids(UNIVERSAL.items[::-1], 1)
    assert ids(UNIVERSAL.items, 1) != ids(UNIVERSAL.items, 2)


def test_a_sample_fills_up_with_questions_in_one_language():
    lacking = {i.id for i in UNIVERSAL.items if i.lang == "zh" and i.parallel_id[-1] in "123"}
    items = [i for i in UNIVERSAL.items if i.id not in lacking]
    counts = Counter((i.domain, i.lang) for i in sample(items, 12, 0))
    assert {count for (_, lang), count in counts.items() if lang == "en"} == {12}


def test_a_sample_of_nothing_is_a_users_mistake():
    with pytest.raises(UserError, match="below 1"):
        sample(UNIVERSAL.items, 0, 0)
