"""The generate bench on the tiny model: its output, not its speed."""

import json
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from benchmarks import environment, generate_cases
from benchmarks.contenders import constrained, engine
from benchmarks.contenders.engine import programs_at_most
from benchmarks.generate import GenerateBench, bench_generate, choose_cases, figures_of
from benchmarks.generate_cases import CASES, LIMIT, LLAMA, OURS, PEER, Case
from benchmarks.harness import CONTENDERS
from benchmarks.results import check_bounds, generate_table
from benchmarks.workload import Work
from vcjax.core.errors import UserError
from vcjax.generate import programs
from vcjax.generate.engine import Engine
from vcjax.generate.requests import Request, SamplingParams

NO_PYTHON = {"torch": "", "llama_cpp": ""}


@pytest.fixture(scope="module", autouse=True)
def no_peers(tmp_path_factory):
    """PyTorch's environment is where `make` puts it, if it has; here there is none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        patch.setattr(environment, "find_spec", lambda library: None)
        yield


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """Two cases of the bench with little work."""
    work = Work(requests=2, prompt=5, new=4)
    return [generate_cases.decode("small", work, least=0.5, aim=0.8), generate_cases.json(2)]


@pytest.fixture(scope="module")
def section(cases, tiny_folder, tmp_path_factory) -> dict:
    bench = GenerateBench(str(tiny_folder), cases, False, 1, NO_PYTHON)
    return json.loads(json.dumps(bench_generate(bench, tmp_path_factory.mktemp("bench"))))


def test_prompts_are_new_at_each_step_and_begin_alike():
    work = Work(requests=3, prompt=4, new=5, shared=6)
    first, second = work.prompts(0, 50), work.prompts(1, 50)
    assert (first.shape, first.dtype.name) == ((3, 10), "int32")
    assert 0 <= first.min() <= first.max() < 50
    assert np.array_equal(first, work.prompts(0, 50))
    assert all(np.array_equal(row[:6], first[0, :6]) for row in first)
    assert not np.array_equal(first[0, 6:], first[1, 6:])
    assert not np.array_equal(first[0, :6], second[0, :6])
    assert (work.lengths(), work.tokens) == ([5, 5, 5], 15)


def test_a_long_tail_has_most_lengths_in_its_lower_part():
    work = Work(requests=64, prompt=64, new=256, shortest=16)
    lengths = work.lengths()
    assert lengths == work.lengths()
    assert 16 <= min(lengths) < 20 < 200 < max(lengths) <= 256
    assert np.median(lengths) < np.mean(lengths) < 110
    assert work.tokens == sum(lengths)


def test_every_case_is_measured_and_can_tell_its_bounds(section, cases):
    assert [case["name"] for case in section["cases"]] == [case.name for case in cases]
    for case, told in zip(cases, section["cases"], strict=True):
        here = [runner for runner in case.runners if not (runner.full or runner.library)]
        assert list(told["contenders"]) == [runner.name for runner in here]
        for one in told["contenders"].values():
            rate = one["tokens_per_step"] / one["seconds"]["median"]
            assert one["tokens_per_second"] == pytest.approx(rate)
            assert one["peak_bytes"] > 50_000_000  # a process that has imported JAX
        bounds = check_bounds(case.bounds, figures_of(told))
        absent = {one.figure for one in case.bounds} - {one["figure"] for one in bounds}
        assert all(PEER in figure or LLAMA in figure for figure in absent)
        assert bounds
    assert section["bounds"] == []  # they are for the shipped model alone


@pytest.mark.parametrize(
    "case",
    [
        Case("full", "", [one for one in CASES["batch1"].runners if one.full and not one.library]),
        generate_cases.prefill(Work(requests=2, prompt=40, new=1)),
        generate_cases.prefix(Work(requests=3, prompt=3, new=2, shared=70)),
        generate_cases.tail(Work(requests=6, prompt=3, new=8, shortest=2), slots=2),
    ],
    ids=lambda case: case.name,
)
def test_contenders_of_the_other_cases_run_and_their_brief_step_meets_all_programs(
    case, tiny_folder
):
    for runner in case.runners:
        module = import_module(f"{CONTENDERS}.{runner.module}")
        contender = module.setup({**runner.options, "model": str(tiny_folder)})
        (contender.brief or contender.step)()
        contender.step()
        compiled = contender.measured().get("compilations", {"later": 0})
        assert compiled["later"] == 0, runner.name


def test_a_ratio_is_between_rates_of_tokens(section):
    case = section["cases"][0]
    assert case["ratios"].keys() == {f"{OURS} / {LIMIT}"}
    ours, limit = (case["contenders"][name] for name in (OURS, LIMIT))
    assert (ours["tokens_per_step"], limit["tokens_per_step"]) == (2 * 4, 2)
    ratio = case["ratios"][f"{OURS} / {LIMIT}"]["median"]
    assert ratio == pytest.approx(ours["tokens_per_second"] / limit["tokens_per_second"])


def test_tokens_are_timed_and_compilations_counted(section):
    measured = section["cases"][0]["contenders"][OURS]["measured"]
    assert measured["first_token_seconds"]["median"] > 0
    assert measured["step_seconds"]["median"] > 0
    assert measured["host_share"]["median"] < 1
    for case in section["cases"]:
        for name, one in case["contenders"].items():
            if name != LIMIT:
                compiled = one["measured"]["compilations"]
                assert compiled["first"] > 0
                assert compiled["later"] == 0, (case["name"], name)


def test_an_engine_never_compiles_more_programs_than_are_told(tiny):
    config = replace(tiny.config, max_position=300)
    part, counted = 64, (programs.prefill, programs.decode)
    before = sum(program._cache_size() for program in counted)
    made = Engine(config, tiny.params, slots=2, part=part)
    for length in (1, 20, 40, 70, 130, 250):
        made.generate([Request((5,) * length, SamplingParams(new)) for new in (2, 290 - length)])
    most = programs_at_most(made.layout, part)
    assert 2 < sum(program._cache_size() for program in counted) - before <= most < 30


def test_peers_that_are_not_installed_are_named_with_the_mend(section):
    assert section["cases"][0]["skipped"].keys() == {PEER, LLAMA}
    assert "`make .venv-parity/ready`" in section["cases"][0]["skipped"][PEER]
    assert "`make .venv-llama/ready`" in section["cases"][0]["skipped"][LLAMA]


def test_the_table_has_a_line_for_each_contender_and_each_peer_left_out(section):
    lines = generate_table(section).splitlines()
    for case in section["cases"]:
        start = next(n for n, line in enumerate(lines) if line.startswith(f"{case['name']}: "))
        names = list(case["contenders"])
        assert [line[2:].split("  ")[0] for line in lines[start + 2 :][: len(names)]] == names
    assert sum(line.startswith("  left out: ") for line in lines) == 2


def test_static_batches_are_as_long_as_their_longest():
    requests = [Request((1,), SamplingParams(length)) for length in (3, 5, 2, 4, 1)]
    lengths = [[one.sampling.max_tokens for one in batch] for batch in engine.batches(requests, 2)]
    assert lengths == [[5, 5], [4, 4], [1]]
    assert [
        [one.sampling.max_tokens for one in batch] for batch in engine.batches(requests, 5)
    ] == [[3, 5, 2, 4, 1]]


def test_free_and_constrained_requests_make_the_same_number_of_tokens(tiny_folder):
    asked = {"model": str(tiny_folder), "requests": 2, "engine": {"slots": 2}}
    ready = [constrained.setup({**asked, "constrained": each}) for each in (True, False)]
    for one in ready:
        one.step()  # fails where the numbers differ
    assert ready[0].facts["tokens"] == ready[1].facts["tokens"] > 2 * 10


def test_cases_are_chosen_by_name_and_mistakes_named():
    assert [case.name for case in choose_cases("tail, batch1")] == ["tail", "batch1"]
    assert choose_cases("") == list(CASES.values())
    with pytest.raises(UserError, match=r"--cases: unknown 'prefil' .* did you mean 'prefill'"):
        choose_cases("prefil")


def test_an_interpreter_that_is_not_there_is_found_before_anything_is_made(tiny_folder, tmp_path):
    bench = GenerateBench(str(tiny_folder), [], False, 1, {"torch": str(tmp_path / "python")})
    with pytest.raises(UserError, match="python: no such interpreter"):
        bench_generate(bench, tmp_path / "out")
    assert not (tmp_path / "out").exists()
