"""DPO's reference log-probabilities: computed once, stored, recomputed if the file is invalid."""

import json
import os
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from tests.pair_scores import PairScores, accuracy, score_model
from vcjax.core.errors import Preempted
from vcjax.data.importers import read_records
from vcjax.data.loader import Batches, in_order
from vcjax.data.preparation import prepare
from vcjax.data.prepared import Prepared, open_prepared
from vcjax.model.build import abstract
from vcjax.parallel import make_mesh
from vcjax.train import reference
from vcjax.train.layout import make_layout, shard_batch, shard_params, sharding_of
from vcjax.train.loop import train
from vcjax.train.losses import make_loss, pair_log_probs
from vcjax.train.optim import make_optimizer, make_schedule
from vcjax.train.reference import score_pairs, with_reference
from vcjax.train.step import make_step
from vcjax.weights.load import load_model

LENGTH, PAIRS, COUNT = 40, 4, 10


@pytest.fixture(scope="module")
def graph(model_config):
    return abstract(model_config)[0]


@pytest.fixture(scope="module")
def rows(tmp_path_factory, tokenizer) -> Prepared:
    """Ten pairs: no multiple of the four that are scored at a time."""
    folder = tmp_path_factory.mktemp("pairs")
    lines = [
        {"prompt": f"{n}?", "chosen": "Yes" + "." * n, "rejected": "No" + "!" * (COUNT - n)}
        for n in range(COUNT)
    ]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    records = read_records(folder / "pairs.jsonl", "preferences").records
    prepare(folder / "out", records, "preferences", tokenizer, LENGTH)
    return open_prepared(folder / "out")


@pytest.fixture
def joined(tmp_path, graph):
    """Joins the reference that is kept in the test's folder."""
    mesh = make_mesh({"fsdp": -1})

    def join(rows: Prepared, begin, **options):
        found = with_reference(
            {"pairs": rows},
            tmp_path,
            initial=begin,
            graph=graph,
            pairs=PAIRS,
            mesh=mesh,
            **options,
        )
        return found["pairs"]

    return join


def never():
    raise AssertionError("the model isn't needed")


def references(rows: Prepared) -> np.ndarray:
    return np.stack([rows[n]["reference"] for n in range(len(rows))])


def test_each_pair_has_its_log_probabilities_and_they_are_computed_once(
    graph, params, rows, joined, tmp_path
):
    first = joined(rows, lambda: params)
    (_, batch), *rest = in_order(rows, COUNT)
    assert not rest
    wanted = jax.jit(lambda p, b: pair_log_probs(nnx.merge(graph, p), b))(params, batch)[0]
    np.testing.assert_allclose(references(first), wanted, rtol=1e-5)
    assert references(first).dtype == np.float32
    assert {name: first[3][name].shape for name in rows[3]} == dict.fromkeys(rows[3], (2, LENGTH))
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.npz"]

    again = joined(rows, never)
    np.testing.assert_array_equal(references(again), references(first))
    batch = Batches([(again, 1.0)], 6, seed=0).batch(0)
    assert batch["reference"].shape == (6, 2)
    assert batch["tokens"].shape == (6, 2, LENGTH)


class Reads:
    """Rows that count how often each is read, and stop where one is read so often."""

    def __init__(self, rows: Prepared, stop: tuple[int, int] | None = None):
        self.rows, self.stop, self.read = rows, stop, Counter()

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        if (index, self.read[index]) == self.stop:
            raise KeyboardInterrupt
        self.read[index] += 1
        return self.rows[index]


def test_what_a_kill_left_is_not_computed_again(params, rows, joined, tmp_path, monkeypatch):
    monkeypatch.setattr("vcjax.train.reference.SAVE_SECONDS", -1.0)
    with pytest.raises(KeyboardInterrupt):
        joined(Prepared(Reads(rows, stop=(9, 1)), rows.summary), lambda: params)
    with np.load(tmp_path / "pairs.npz") as stored:
        assert stored["scored"].tolist() == [True] * 8 + [False] * 2
        assert stored["log_probs"].all(axis=1).tolist() == stored["scored"].tolist()
    rest = Reads(rows)
    resumed = references(joined(Prepared(rest, rows.summary), lambda: params))
    assert set(rest.read) == set(range(COUNT))
    assert [index for index, times in rest.read.items() if times == 3] == [8, 9]
    (tmp_path / "pairs.npz").unlink()
    np.testing.assert_array_equal(resumed, references(joined(rows, lambda: params)))


def test_a_signal_stops_it_after_the_batch_and_the_rest_gives_the_same_numbers(
    params, rows, joined, tmp_path
):
    asked = iter([None, signal.SIGTERM])
    with pytest.raises(Preempted, match=r"pairs\.npz: stopped by SIGTERM after 8 of 10 pairs"):
        joined(rows, lambda: params, requested=lambda: next(asked))
    with np.load(tmp_path / "pairs.npz") as stored:
        assert stored["scored"].sum() == 8
    resumed = references(joined(rows, lambda: params))
    (tmp_path / "pairs.npz").unlink()
    np.testing.assert_array_equal(resumed, references(joined(rows, lambda: params)))


def test_a_run_that_gets_a_sigterm_in_it_ends_at_once_and_the_same_command_continues(
    make_config, tmp_path, monkeypatch
):
    lines = [{"prompt": f"{n}?", "chosen": "Yes", "rejected": "No" * n} for n in range(1, 7)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    settings = {"stage": "adversarial", "objective": "dpo", "documents": "", "steps": 1}
    config = make_config(**settings, preferences=str(path), batch_size=2, length=LENGTH)
    whole = train(config, tmp_path / "whole")
    scored, calls = reference._score, []

    def terminated(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return scored(*arguments)

    monkeypatch.setattr(reference, "_score", terminated)
    with pytest.raises(Preempted, match="stopped by SIGTERM after 4 of 6 pairs; the same command"):
        train(config, tmp_path / "run")
    assert len(calls) == 2
    summary = train(config, tmp_path / "run")
    assert len(calls) == 3
    assert summary["last_loss"] == whole["last_loss"]


def test_what_an_earlier_version_left_is_taken_over(params, rows, joined, tmp_path):
    whole = references(joined(rows, lambda: params))
    for count in (COUNT, 4):
        np.savez(tmp_path / "pairs.npz", log_probs=whole[:count] + 1)
        begin = never if count == COUNT else lambda: params
        again = references(joined(rows, begin))
        np.testing.assert_array_equal(again[:count], whole[:count] + 1)
        np.testing.assert_allclose(again[count:], whole[count:], rtol=1e-5)


def pair(seed: int, used: int, length: int) -> dict[str, np.ndarray]:
    """A row of two random answers, of which the rejected one is shorter."""
    draw, order = np.random.default_rng(seed), np.broadcast_to(np.arange(length), (2, length))
    inside = order < np.array([[used], [used - 5]])
    return {
        "tokens": np.where(inside, draw.integers(3, 250, (2, length)), 0).astype(np.int32),
        "segment_ids": inside.astype(np.int32),
        "positions": np.where(inside, order, 0).astype(np.int32),
        "loss_mask": inside & (order >= used // 2),
    }


def test_short_pairs_are_cut_and_more_of_them_are_scored_together(model_config, params):
    """What a pair costs follows from its own tokens, not from how long a row may be."""
    length, config = 512, replace(model_config, max_position=512)
    mesh = make_mesh({"fsdp": -1})
    rows = Prepared(
        [pair(n, 20 + n, length) for n in range(40)] + [pair(40, 300, length)], {"length": length}
    )
    graph, given = abstract(config)[0], []

    def counting(graph, everywhere, params, batch):
        given.append(batch["tokens"].shape)
        return scored(graph, everywhere, params, batch)

    scored = reference._score
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "_score", counting)
        found = list(score_pairs(graph, params, rows, 2, mesh))
    assert given == [(2, 2, 512), (16, 2, 64), (16, 2, 64), (8, 2, 64)]
    log_probs = np.zeros((41, 2), np.float32)
    for indices, own in found:
        log_probs[indices] = own
    (_, batch), *_ = in_order(rows, 41)
    wanted = jax.jit(lambda p, b: pair_log_probs(nnx.merge(graph, p), b))(params, batch)[0]
    np.testing.assert_allclose(log_probs, wanted, rtol=1e-5)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def exchanged(path: Path) -> None:
    np.savez(path, log_probs=np.zeros((COUNT + 1, 2), np.float32))


def pickled(path: Path) -> None:
    np.savez(path, log_probs=np.array([{}] * COUNT, object))


@pytest.mark.parametrize("damage", [truncated, flipped, emptied, exchanged, pickled])
def test_a_damaged_file_is_reported_and_replaced(params, rows, joined, tmp_path, damage):
    wanted = references(joined(rows, lambda: params))
    damage(tmp_path / "pairs.npz")
    with pytest.warns(UserWarning, match=r"pairs\.npz: .*; computed again"):
        mended = joined(rows, lambda: params)
    np.testing.assert_array_equal(references(mended), wanted)
    np.testing.assert_array_equal(references(joined(rows, never)), wanted)


def test_dpo_begins_at_log_2_and_learns_to_prefer_the_chosen_answers(
    model_config, model_folder, params, make_config, rows, joined
):
    config = make_config(
        stage="adversarial",
        objective="dpo",
        documents="",
        preferences="pairs.jsonl",
        batch_size=COUNT,
        microbatches=2,
        length=LENGTH,
        learning_rate=3e-3,
    )
    mesh = make_mesh({"fsdp": -1})
    optimizer = make_optimizer(config)
    layout = make_layout(model_config, config, optimizer, mesh)
    step = make_step(layout, make_loss(config), optimizer, make_schedule(config), 2)
    trainable = shard_params(params, layout.trainable)
    state = jax.jit(optimizer.init, out_shardings=sharding_of(layout.optimizer))(trainable)
    batches = Batches([(joined(rows, lambda: params), 1.0)], COUNT, seed=0)
    lines = []
    for count in range(8):
        batch = shard_batch(batches.batch(count), mesh, COUNT)
        trainable, state, measured = step(trainable, state, {}, batch, count)
        lines.append({name: float(value) for name, value in measured.items()})
    np.testing.assert_allclose(lines[0]["loss"], np.log(2), rtol=1e-4)
    np.testing.assert_allclose(lines[0]["margin"], 0, atol=1e-4)
    assert lines[-1]["loss"] < 0.6
    assert lines[-1]["accuracy"] == 1.0
    answers = sum(int(rows[n]["loss_mask"].sum()) for n in range(COUNT))
    assert {line["loss_tokens"] for line in lines} == {answers}

    before = load_model(str(model_folder), "float32")
    trained = jax.tree.map(np.asarray, trainable)
    base = score_model(before, rows, PAIRS)
    after = score_model(replace(before, params=trained), rows, PAIRS)
    margins = after.margins(base)
    assert margins.shape == (COUNT,)
    assert accuracy(margins) == 1.0
    assert accuracy(base.margins(base)) == 0.5
    assert np.mean(after.margins()) > np.mean(base.margins())


def test_margins_are_differences_in_nats_whole_or_by_token():
    scores = PairScores(
        np.array([[-8.0, -6.0], [-3.0, -5.0]], np.float32), np.array([[4, 2], [3, 1]], np.int32)
    )
    other = PairScores(np.array([[-9.0, -3.0], [-3.0, -5.0]], np.float32), scores.tokens)
    assert scores.margins().tolist() == [-2.0, 2.0]
    assert scores.margins(per_token=True).tolist() == [1.0, 4.0]
    assert scores.margins(other).tolist() == [4.0, 0.0]
    assert accuracy(scores.margins()) == 0.5
    assert accuracy(scores.margins(other)) == 0.75
