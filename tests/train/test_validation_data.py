"""Validation losses by language and domain, against a computation record by record."""

import hashlib
import json
import math
from collections import defaultdict

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.packed import pack
from vcjax.core.errors import UserError
from vcjax.core.lineage import Parent
from vcjax.data.corpus.config import PrepareConfig
from vcjax.data.corpus.run import prepare_corpus
from vcjax.data.encode import encode_documents
from vcjax.data.importers import read_records
from vcjax.data.preparation import prepare
from vcjax.data.prepared import Prepared
from vcjax.model.build import abstract, packed_logits
from vcjax.parallel import make_mesh
from vcjax.train.data import check_sources
from vcjax.train.evaluation import ValidationLoss, perplexity
from vcjax.train.inputs import read_through
from vcjax.train.layout import make_layout, shard_params
from vcjax.train.losses import make_loss
from vcjax.train.optim import make_optimizer
from vcjax.train.reference import add_references
from vcjax.train.validation_data import (
    check_raw_groups,
    check_validation_data,
    prepare_groups,
    spread,
)

RECORDS = [
    {"text": f"{text} {n}", "source": "test", "lang": lang, "domain": domain}
    for lang, domain, texts in (
        ("en", "law", ["Every rule has a reason.", "A court"]),
        ("en", "art", ["Paint"]),
        ("zh", "law", ["法律", "规则有理由。"]),
        ("zh", None, ["画"]),
    )
    for text in texts
    for n in range(3)
]


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    path = tmp_path_factory.mktemp("held_out") / "documents.jsonl"
    path.write_text("\n".join(map(json.dumps, RECORDS)), encoding="utf-8")
    return path


@pytest.fixture
def make_validation(make_config, model_config, params, tokenizer, tmp_path):
    """A function from changes of the config to what measures, and the parameters."""

    def make(**changes):
        config = make_config(**changes)
        mesh = make_mesh({"fsdp": -1})
        layout = make_layout(model_config, config, make_optimizer(config), mesh)
        trainable = shard_params(params, layout.trainable)
        source = check_validation_data(config, tokenizer, tmp_path)
        groups = prepare_groups(source, config, tokenizer, tmp_path)
        if config.objective == "dpo":
            scoring = {"graph": layout.graph, "pairs": 2, "mesh": layout.mesh}
            folder = tmp_path / "reference"
            _, groups = add_references([], groups, folder, initial=lambda: trainable, **scoring)
        validation = ValidationLoss(groups, config, layout, make_loss(config))
        return validation, trainable

    return make


def direct(records, model_config, params, tokenizer) -> dict[tuple, tuple[float, int]]:
    """Summed loss and predicted tokens by (lang, domain), each record in a row of its own."""
    graph, sums = abstract(model_config)[0], defaultdict(lambda: np.zeros(2))
    for record in records:
        row = pack(encode_documents(tokenizer, [record]), 48, split_long=True).rows
        arrays = (row[name] for name in ("tokens", "positions", "segment_ids"))
        log_probs = jax.nn.log_softmax(packed_logits(graph, params, *arrays))
        for n, at in zip(*np.nonzero(row["loss_mask"]), strict=True):
            loss = -log_probs[n, at - 1, row["tokens"][n, at]]
            sums[record.lang, record.domain] += loss, 1
    return dict(sums)


def check(found: dict, sums: list) -> None:
    loss, count = np.sum(sums, axis=0)
    assert found["count"] == count
    np.testing.assert_allclose(found["loss"], loss / count, rtol=1e-5)
    assert found["perplexity"] == math.exp(found["loss"])


# 3 rows a time: the last batch of each group has padding.
@pytest.mark.parametrize("sizes", [{"batch_size": 3}, {"batch_size": 6, "microbatches": 2}])
def test_losses_by_language_and_domain_are_those_of_their_records(
    make_validation, held_out, model_config, params, tokenizer, sizes
):
    validation, trainable = make_validation(validation={"data": str(held_out), "every": 1}, **sizes)
    line = validation.measure(trainable, {})
    sums = direct(read_records(held_out, "documents").records, model_config, params, tokenizer)
    check(line, list(sums.values()))
    named = {"/".join(filter(None, key)): value for key, value in sums.items()}
    assert list(line["groups"]) == sorted(named) == ["en/art", "en/law", "zh", "zh/law"]
    for name, value in named.items():
        check(line["groups"][name], [value])
    for part, field, names in (("languages", 0, ["en", "zh"]), ("domains", 1, ["art", "law"])):
        assert list(line[part]) == names
        for name in names:
            check(line[part][name], [value for key, value in sums.items() if key[field] == name])
    assert validation.measure(trainable, {}) | {"seconds": 0} == line | {"seconds": 0}


def test_at_most_so_many_batches_of_a_group_count(make_validation, held_out):
    changes = {"batch_size": 1, "length": 32}
    given = {"data": str(held_out), "every": 1, "batches": 2}
    validation, trainable = make_validation(validation=given, **changes)
    groups = validation.measure(trainable, {})["groups"]
    assert 0 < groups["en/law"]["count"] <= 2 * 31


@pytest.fixture
def pairs(tmp_path):
    """Three pairs: with batches of two, there is a pair of padding."""
    path = tmp_path / "pairs.jsonl"
    asked = [{"role": "user", "content": "Why?"}]
    lines = [{"messages": asked, "chosen": f"a{n}", "rejected": "b"} for n in range(3)]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def on_pairs(pairs, objective: str) -> dict:
    data = {"documents": "", "preferences": str(pairs)}
    given = {"data": str(pairs), "every": 1}
    run = {"stage": "adversarial", "objective": objective, "length": 64}
    return {**data, **run, "validation": given}


def test_preferences_have_the_means_of_their_objective_and_no_perplexity(make_validation, pairs):
    validation, trainable = make_validation(**on_pairs(pairs, "orpo"))
    line = validation.measure(trainable, {})
    assert line["count"] == 3
    assert 0 <= line["accuracy"] <= 1
    assert line["loss"] > 0
    assert "perplexity" not in line
    assert line["groups"]["en"] == {name: line[name] for name in line["groups"]["en"]}


def test_dpo_finds_the_model_that_it_began_with_indifferent(make_validation, pairs):
    validation, trainable = make_validation(**on_pairs(pairs, "dpo"))
    line = validation.measure(trainable, {})
    assert line["count"] == 3
    np.testing.assert_allclose(line["loss"], math.log(2), rtol=1e-5)
    np.testing.assert_allclose(line["margin"], 0, atol=1e-5)


@given(st.integers(1, 40), st.integers(1, 60))
def test_rows_are_taken_once_and_evenly(rows, most):
    source = [{"tokens": np.array([row])} for row in range(rows)]
    taken = spread(Prepared(source, {"length": 1}), most)
    numbers = [int(taken[index]["tokens"][0]) for index in range(len(taken))]
    assert len(numbers) == min(rows, most)
    assert numbers[0] == 0
    gaps = np.diff([*numbers, rows])
    assert gaps.min() >= rows // len(numbers)
    assert gaps.max() <= -(-rows // len(numbers))


def test_perplexity_is_e_to_the_loss_as_far_as_there_are_numbers():
    assert perplexity(1.5) == math.exp(1.5)
    assert perplexity(1e4) == math.inf
    assert math.isnan(perplexity(math.nan))


def test_raw_files_are_prepared_once(make_config, held_out, tokenizer, tmp_path):
    config = make_config(validation={"data": str(held_out), "every": 1})
    first = prepare_groups(
        check_validation_data(config, tokenizer, tmp_path), config, tokenizer, tmp_path
    )
    again = check_validation_data(config, tokenizer, tmp_path)
    assert again.raw is None
    assert [(g.name, g.lang, g.domain, len(g.rows)) for g in again.ready] == [
        (g.name, g.lang, g.domain, len(g.rows)) for g in first
    ]


def test_a_prepared_folder_is_a_group_with_its_name(make_config, held_out, tokenizer, tmp_path):
    records = read_records(held_out, "documents").records
    for name, kept in (("all", records), ("one", records[:3])):
        prepare(tmp_path / name, kept, "documents", tokenizer, 48)
    paths = ",".join(str(tmp_path / name) for name in ("all", "one"))
    config = make_config(validation={"data": f"{paths},{held_out}", "every": 1})
    source = check_validation_data(config, tokenizer, tmp_path)
    found = [(group.name, group.lang, group.domain) for group in source.ready]
    assert found == [("all", None, None), ("one", "en", "law")]
    assert [parent.role for parent in source.parents] == ["validation.data"] * 3


def test_of_a_corpus_that_is_trained_on_the_split_of_this_name_is_measured(
    make_config, tokenizer, tmp_path
):
    texts = [hashlib.sha256(bytes([n])).hexdigest() for n in range(40)]
    lines = [json.dumps({"text": text, "source": "s"}) for text in texts]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    folder, files = tmp_path / "corpus", str(tmp_path / "a.jsonl")
    values = {"documents": files, "model": "m", "length": 48, "steps": "", "validation": 0.3}
    corpus = PrepareConfig.from_dict({**values, "workers": 1})
    summary = prepare_corpus(corpus, folder, tokenizer, Parent("model", "m", ""))
    measuring = {"data": str(folder), "every": 1}

    def check(trained):
        config = make_config(validation=measuring, documents=str(trained))
        sources = check_sources(config, tokenizer, tmp_path)
        source = check_validation_data(config, tokenizer, tmp_path)
        read_through(sources, source, config, tokenizer)
        (group,) = source.ready
        return len(group.rows)

    assert check(folder) == summary["validation"]["rows"] > 0
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": "Another.", "source": "s"}))
    assert check(tmp_path / "b.jsonl") == summary["rows"]
    with pytest.raises(UserError, match=r"records are in config\.validation\.data too"):
        check(tmp_path / "a.jsonl")


def test_bad_validation_data_is_refused(make_config, held_out, tokenizer, tmp_path):
    def refused(match, data, **changes):
        config = make_config(validation={"data": str(data), "every": 1}, **changes)
        with pytest.raises(UserError, match=match):
            check_raw_groups(check_validation_data(config, tokenizer, tmp_path), config, bool)

    records = read_records(held_out, "documents").records
    prepare(tmp_path / "a" / "zh", records, "documents", tokenizer, 48)
    refused("config.validation.data: .* has rows of 48", tmp_path / "a" / "zh", length=32)
    refused("two groups are called 'zh'", f"{tmp_path / 'a' / 'zh'},{held_out}")
    refused("nowhere.jsonl: no such file", "nowhere.jsonl")
    raw = tmp_path / "migration.jsonl"
    raw.write_text(json.dumps({"text": "a", "source": "b", "domain": "migration"}))
    refused("'universal' holds out the domains of all 1 documents", raw, charter="universal")


def test_what_the_charter_holds_out_is_not_measured(make_config, tokenizer, tmp_path):
    raw = tmp_path / "documents.jsonl"
    lines = [{"text": name, "source": "test", "domain": name} for name in ("migration", "religion")]
    raw.write_text("\n".join(map(json.dumps, lines)))
    config = make_config(validation={"data": str(raw), "every": 1}, charter="universal")
    source = check_validation_data(config, tokenizer, tmp_path)
    seen = []
    check_raw_groups(source, config, seen.append)
    assert [record.domain for record in seen] == ["religion"]


def test_a_group_of_which_nothing_can_be_predicted_is_named(make_config, tokenizer, tmp_path):
    raw = tmp_path / "conversations.jsonl"
    asked = {"role": "user", "content": "x" * 60}
    long = [asked, {"role": "assistant", "content": "因为"}]
    raw.write_text(json.dumps({"messages": long, "lang": "zh", "domain": "law"}))
    data = {"stage": "sft", "documents": "", "conversations": str(raw)}
    config = make_config(validation={"data": str(raw), "every": 1}, **data)
    source = check_validation_data(config, tokenizer, tmp_path)
    named = "config.validation.data: group 'zh/law': nothing to write: of 1 conversations"
    with pytest.raises(UserError, match=named):
        prepare_groups(source, config, tokenizer, tmp_path)
    assert not (tmp_path / "data" / "validation").exists()
