"""Where a run's metrics go beside its files."""

import pytest

from vcjax.core.errors import UserError
from vcjax.train.sinks import check_sink, run_id


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_sink_that_is_not_installed_is_named_with_its_extra(name, monkeypatch):
    monkeypatch.setattr("sys.path", [])  # so that it isn't, wherever the tests run
    with pytest.raises(UserError, match=f"config.sink: '{name}' isn't installed.* extra '{name}'"):
        check_sink(name)
    check_sink("")


def test_a_run_keeps_its_id_and_no_other_run_has_it(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    ids = [run_id(workdir) for workdir in (one, other)]
    assert ids[0] != ids[1]
    one.rename(tmp_path / "moved")
    assert run_id(tmp_path / "moved") == ids[0]
