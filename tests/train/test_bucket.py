"""A run with its workdir in a bucket, killed and continued, gives the result of one on a disk."""

from vcjax.core.files import read_json
from vcjax.core.stores import as_path
from vcjax.train.loop import train
from vcjax.weights.load import load_model
from vcjax.weights.steps import saved_steps


def test_a_finished_run_in_a_bucket_is_found_extended_and_refused(store, make_config, capsys):
    workdir = f"{store}/run"
    train(make_config(steps=2), workdir)
    train(make_config(steps=2), workdir)
    assert f"{workdir}: already finished (2 steps)" in capsys.readouterr().out
    train(make_config(steps=3), workdir)
    assert saved_steps(as_path(workdir))[-1] == 3
    assert read_json(f"{workdir}/summary.json")["steps"] == 3
    assert load_model(f"{workdir}/checkpoints/3").origin.path == f"{workdir}/checkpoints/3"
