"""Checkpoints: complete, saved during training, pruned by rules, and not read if damaged."""

import multiprocessing
import random
import shutil
import signal
import subprocess
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.processes import file_size_limit
from vcjax.core.errors import UserError
from vcjax.core.files import read_json, write_json
from vcjax.core.lineage import Parent, content_hash, read_lineage, verify
from vcjax.train.checkpoints import Checkpoints
from vcjax.train.inputs import write_model_files
from vcjax.train.layout import Layout
from vcjax.weights.load import load_model
from vcjax.weights.model import LoadedModel
from vcjax.weights.resolve import resolve
from vcjax.weights.steps import flaw, newest_good, saved_steps, step_folder
from vcjax.weights.workdir import write_sources

ADAM = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-2))
BASE = Parent("model", "tiny", "0" * 64)


@jax.jit
def start() -> tuple[dict, Any]:
    params = {
        "embedding": jnp.arange(600, dtype=jnp.float32).reshape(30, 20),
        "layers": {"q": {"kernel": jnp.ones((2, 20, 10))}, "norm": jnp.ones((2, 20))},
    }
    return params, ADAM.init(params)


@jax.jit
def grown(params: dict, state: Any, step: int) -> tuple[dict, Any]:
    """The arrays of a step: every element tells which one."""
    return jax.tree.map(lambda leaf: (leaf + step).astype(leaf.dtype), (params, state))


def at(step: int) -> tuple[dict, Any]:
    return grown(*start(), step)


def layout_of(params: dict, state: Any) -> Layout:
    def abstract(leaf: jax.Array) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)

    params, state = jax.tree.map(abstract, (params, state))
    return Layout(None, None, params, {}, state)


def equal(one: Any, other: Any) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)


def begun(workdir: Path) -> Path:
    """A workdir as far as checkpoints need it."""
    workdir.mkdir(exist_ok=True)
    write_json(workdir / "config.json", {"seed": 3, "lora": {"rank": 0}})
    write_sources(workdir, [BASE])
    return workdir


def save(workdir: Path, losses: dict[int, float | None], **kept: int) -> None:
    with Checkpoints(workdir, **{"keep": 9, **kept}) as saved:
        for step, loss in losses.items():
            saved.save(step, *at(step), loss)


def restored(workdir: Path) -> int:
    """The step that is restored, after a look at what is in it."""
    with Checkpoints(workdir, 9) as saved:
        found = saved.restore_latest(layout_of(*start()))
    assert found is not None
    equal(found[1:], at(found[0]))
    return found[0]


def flip(path: Path, place: int | None = None) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if place is None else place] ^= 4
    path.write_bytes(data)


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """Checkpoints of steps 1 and 2."""
    workdir = begun(tmp_path_factory.mktemp("runs") / "two")
    save(workdir, {1: None, 2: 0.5})
    return workdir


@pytest.fixture
def copy(two, tmp_path) -> Path:
    return Path(shutil.copytree(two, tmp_path / "copy"))


def test_what_is_saved_comes_back_to_the_bit(two):
    assert restored(two) == 2


def test_nothing_comes_back_from_a_run_that_saved_nothing(tmp_path):
    with Checkpoints(begun(tmp_path / "run"), 1) as saved:
        assert saved.restore_latest(layout_of(*start())) is None
        assert saved.best is None


def test_a_checkpoint_says_what_it_is(two):
    folder = step_folder(two, 2)
    assert read_json(folder / "checkpoint.json") == {"step": 2, "loss": 0.5}
    lineage = read_lineage(folder)
    assert lineage["config"] == read_json(two / "config.json")
    assert [parent["hash"] for parent in lineage["parents"]] == [BASE.hash]
    found = {finding.status for finding in verify(folder)}
    assert found == {"ok", "absent"}  # its files are as recorded; the base model is invented


def test_a_save_keeps_the_values_of_its_step_though_they_are_donated(tmp_path):
    workdir = begun(tmp_path / "run")
    params = {"weights": jnp.zeros((512, 1024))}
    advance = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf + 1, tree), donate_argnums=0)
    with Checkpoints(workdir, 9) as saved:
        for step in range(1, 5):
            params = advance(params)
            saved.save(step, params, {"count": jnp.int32(step)})
            for _ in range(3):  # what the next steps would do with the memory
                params = advance(params)
    for step in range(1, 5):
        for other in saved_steps(workdir):
            if other > step:
                shutil.rmtree(step_folder(workdir, other))
    with Checkpoints(workdir, 9) as saved:
        found = saved.restore_latest(layout_of(params, {"count": jnp.int32(0)}))
    assert found is not None
    np.testing.assert_array_equal(found[1]["weights"], 4 * found[0] - 3)


@pytest.mark.parametrize(
    ("losses", "keep", "keep_best", "wanted", "best"),
    [
        ({1: None, 2: None, 3: None}, 2, 0, [2, 3], None),
        ({1: 0.5, 2: 0.9, 3: 0.8, 4: None}, 1, 0, [4], None),
        ({1: 0.5, 2: 0.9, 3: 0.8, 4: None}, 1, 2, [1, 3, 4], 1),
        ({1: 0.7, 2: 0.9, 3: 0.1, 4: 0.1}, 2, 1, [3, 4], 3),
        ({1: float("nan"), 2: 0.9, 3: 1.0}, 1, 1, [2, 3], 2),
    ],
)
def test_the_last_are_kept_and_the_best(tmp_path, losses, keep, keep_best, wanted, best):
    workdir = begun(tmp_path / "run")
    save(workdir, losses, keep=keep, keep_best=keep_best)
    assert saved_steps(workdir) == wanted
    assert sorted(path.name for path in (workdir / "checkpoints").iterdir()) == [*map(str, wanted)]
    with Checkpoints(workdir, keep, keep_best) as saved:
        assert saved.best == best


def test_the_best_is_kept_by_a_run_that_goes_on(tmp_path):
    workdir = begun(tmp_path / "run")
    save(workdir, {1: 0.1, 2: 0.9}, keep=1, keep_best=1)
    save(workdir, {3: 0.5, 4: 0.5}, keep=1, keep_best=1)
    assert saved_steps(workdir) == [1, 4]


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "remove"])
def test_any_damage_to_any_file_is_found(copy, damage):
    folder = step_folder(copy, 2)
    # What Orbax writes when all the rest has been hashed: that, and when, it was committed.
    commit = {folder / "_CHECKPOINT_METADATA", folder / "commit_success.txt"}
    files = [path for path in files_of(folder) if path not in commit]
    names = {path.parent.name for path in files}
    assert {"2", "params", "optimizer", "d", "array_metadatas", "ocdbt.process_0"} <= names
    for path in files:
        before = path.read_bytes()
        if damage == "flip":
            flip(path)
        elif damage == "remove":
            path.unlink()
        else:
            path.write_bytes(before[: len(before) // 2] if damage == "truncate" else b"")
        reason = flaw(folder)
        assert reason is not None, path
        assert str(path if path.name != "lineage.json" else folder) in reason
        path.write_bytes(before)
    assert flaw(folder) is None


def test_a_changed_checkpoint_is_reported_and_the_one_before_it_used(copy, caplog):
    changed = max(step_folder(copy, 2).glob("params/**/d/*"), key=lambda path: path.stat().st_size)
    flip(changed)
    assert restored(copy) == 1
    (message,) = [record.getMessage() for record in caplog.records]
    assert message == (
        f"{changed}: not the bytes that were saved; moved to .2.corrupt, step 1 is used instead"
    )
    # It is kept aside, so that the run can save that step again.
    assert (
        copy / "checkpoints" / ".2.corrupt" / changed.relative_to(step_folder(copy, 2))
    ).exists()
    save(copy, {2: None})
    assert restored(copy) == 2


@pytest.mark.parametrize(
    "left", ["3.orbax-checkpoint-tmp", ".3.partial.orbax-checkpoint-tmp", ".3.partial"]
)
def test_what_a_kill_left_unfinished_is_reported_and_removed(copy, caplog, left):
    rest = copy / "checkpoints" / left
    shutil.copytree(step_folder(copy, 2), rest)
    shutil.copytree(step_folder(copy, 2), copy / "checkpoints" / ".1.deleted")
    assert restored(copy) == 2
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"{rest}: the run was stopped while it saved this step")
    assert sorted(path.name for path in (copy / "checkpoints").iterdir()) == ["1", "2"]


def test_without_a_good_checkpoint_a_run_does_not_begin_again_by_itself(copy):
    for step in (1, 2):
        flip(next(step_folder(copy, step).glob("optimizer/d/*")))
    for _ in range(2):
        with pytest.raises(UserError, match=r"no checkpoint in it is as it was saved \(.*/2/opt"):
            restored(copy)
    assert saved_steps(copy) == [1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: {**p, "embedding": jnp.ones((30, 21))}, r"params: embedding is .*\[30, 20\]"),
        (lambda p: {**p, "head": p["embedding"]}, "params: head is absent"),
        (lambda p: {"embedding": p["embedding"]}, r"params: layers\.norm is .* have none"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(two, change, message):
    params = change(start()[0])
    with Checkpoints(two, 9) as saved, pytest.raises(UserError, match=message):
        saved.restore_latest(layout_of(params, ADAM.init(params)))


def test_a_checkpoint_of_another_optimiser_is_refused(two):
    params = start()[0]
    other = optax.chain(optax.clip_by_global_norm(1.0), optax.lion(1e-2))
    with Checkpoints(two, 9) as saved, pytest.raises(UserError, match=r"optimizer: 1\.0\.nu\."):
        saved.restore_latest(layout_of(params, other.init(params)))


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    try:
        workdir = begun(small / "run")
        save(workdir, {1: None})
        (small / "ballast").write_bytes(bytes(shutil.disk_usage(small).free - 4096))
        full = pytest.raises(OSError, match=r"No space left.*are free.*checkpoints/2")
        with Checkpoints(workdir, 1) as saved, full:
            saved.save(2, *at(2))
        assert restored(workdir) == 1
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_write_that_fails_in_the_background_ends_in_one_clear_error(tmp_path, capfd):
    workdir = begun(tmp_path / "run")
    save(workdir, {1: None})
    big = {"weights": jnp.asarray(np.random.default_rng(0).random((1024, 1024)))}
    with Checkpoints(workdir, 1) as saved, file_size_limit(2**20):
        saved.save(2, big, {"count": jnp.int32(2)})
        with pytest.raises(OSError, match=r"File too large.*checkpoints/2"):
            saved.wait()
    assert "ERROR" not in capfd.readouterr().err  # Orbax's own account of it, a page long
    assert sorted(path.name for path in (workdir / "checkpoints").iterdir()) == ["1"]
    assert restored(workdir) == 1


def save_on_and_on(workdir: Path, said: Connection) -> None:
    """Saves one step after the other, as fast as it can, and says which it knows to be saved."""
    with Checkpoints(workdir, 2) as saved:
        found = saved.restore_latest(layout_of(*start()))
        step = found[0] if found else 0
        while True:
            said.send(step)
            step += 1
            saved.save(step, *at(step))
            saved.wait()


def test_a_kill_at_any_moment_of_a_save_leaves_the_last_whole_checkpoint(tmp_path):
    workdir, moments, last = begun(tmp_path / "run"), random.Random(5), 0
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    for _ in range(6):
        hears, says = processes.Pipe(duplex=False)
        process = processes.Process(target=save_on_and_on, args=(workdir, says))
        process.start()
        says.close()
        assert hears.recv() == last  # where the one before was killed
        for _ in range(moments.randrange(1, 4)):
            last = hears.recv()
        process.join(moments.random() * 0.1)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        try:
            while True:
                last = hears.recv()
        except EOFError:
            hears.close()
        # The step after may have been saved too, without there being time to say so.
        assert newest_good(workdir) in ((last, {}), (last + 1, {}))
        last = restored(workdir)


@pytest.fixture
def run(tmp_path, tiny: LoadedModel) -> Path:
    """A run on the tiny model: step 1 is the model itself, the best, and 2 the model plus one."""
    workdir = begun(tmp_path / "run")
    write_model_files(workdir, tiny, chat=False)
    params = jax.tree.map(jnp.asarray, tiny.params)
    with Checkpoints(workdir, keep=1, keep_best=1) as saved:
        saved.save(1, params, {"count": jnp.int32(1)}, loss=0.1)
        more = jax.tree.map(lambda leaf: leaf + 1, params)
        saved.save(2, more, {"count": jnp.int32(2)}, loss=0.2)
    return workdir


def test_a_workdir_is_the_model_of_its_last_good_checkpoint(run, tiny, caplog):
    raised = jax.tree.map(lambda leaf: leaf + 1, tiny.params)
    equal(load_model(str(run)).params, raised)
    flip(next(step_folder(run, 2).glob("params/d/*")))
    equal(load_model(str(run)).params, tiny.params)
    assert "not the bytes that were saved; step 1 is used instead" in caplog.text
    assert saved_steps(run) == [1, 2]  # reading moves nothing


def test_a_model_does_not_need_the_optimisers_state(run, tiny):
    shutil.rmtree(step_folder(run, 2) / "optimizer")
    equal(load_model(str(run)).params, jax.tree.map(lambda leaf: leaf + 1, tiny.params))


def test_one_checkpoint_of_a_workdir_is_a_model_reference(run, tiny):
    place = step_folder(run, 1)
    located = resolve(str(place))
    assert (located.kind, located.path, located.step) == ("workdir", run.resolve(), 1)
    loaded = load_model(str(place))
    equal(loaded.params, tiny.params)
    assert loaded.origin == Parent("model", str(place), content_hash(place), str(place))
    flip(next(place.glob("params/d/*")))
    with pytest.raises(UserError, match="not the bytes that were saved"):
        load_model(str(place))
