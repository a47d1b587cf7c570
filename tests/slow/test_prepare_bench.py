"""The bench of the preparation of a corpus, on some hundred kilobytes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.datatrove import STEPS
from benchmarks.prepare import ALL, EXPONENT, PEAK, TEXT, PrepareBench, bench_prepare
from benchmarks.results import prepare_table
from configs.prepare import get_config
from vcjax.core.defaults import demo_data
from vcjax.core.errors import UserError
from vcjax.core.files import read_json
from vcjax.data.corpus.config import split_steps


def test_every_step_and_every_size_is_measured(tiny_folder, tmp_path):
    source = Path(demo_data("documents.jsonl")).parent  # sentences that pass the filters of quality
    bench = PrepareBench(str(tiny_folder), source, 1.0, 0.2, 2, "")
    section = json.loads(json.dumps(bench_prepare(bench, tmp_path)))
    names = ["read", *split_steps(get_config().to_dict()["steps"]), "encode"]
    assert list(section["steps"]) == names
    for one in section["steps"].values():
        assert one["mb_per_cpu_second"] > 0
        assert one["peak_bytes"] > 50e6
    assert set(section["datatrove"]) == set(STEPS)
    for one in section["datatrove"].values():
        assert "left_out" in one or one["mb_per_cpu_second"] > 0
    assert [run["documents"] for run in section["runs"]] == sorted(
        run["documents"] for run in section["runs"]
    )
    for run in section["runs"]:
        assert set(run["rounds"]) == {"read", "write"}
        assert 0 < run["alone_seconds"] < run["seconds"]
        assert run["cpu_seconds"] > 0
        assert run["peak_bytes"] > 50e6
    planted = section["planted"]
    assert planted["documents"] > 0
    assert planted["found"] >= 0.95 * planted["documents"]
    assert {ALL, TEXT, PEAK, EXPONENT} <= set(section["figures"])
    assert section["figures"][TEXT] > section["figures"][ALL]
    table = prepare_table(section)
    assert all(name in table for name in names)
    assert not (tmp_path / "scratch").exists()
    assert read_json(tmp_path / "corpora" / "runs" / "made.json")["megabytes"] == 1.0
    more = bench_prepare(bench, tmp_path, [10], section)
    assert more["steps"] == section["steps"]
    assert more["runs"][:4] == section["runs"]
    assert [run["files"] for run in more["runs"]] == [1, 2, 4, 8, 10]
    assert more["figures"][EXPONENT] != section["figures"][EXPONENT]
    other = replace(bench, processes=1)
    with pytest.raises(UserError, match=r"--parts: processes is 1, and was 2 in bench\.json"):
        bench_prepare(other, tmp_path, [10], section)
