"""The harness's tasks on third-party data, with the model class and through the server."""

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.external.outside import DATA, MODELS, OUTSIDE
from tests.serve.servers import KEY, Server
from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.files import read_jsonl
from vcjax.evaluation.capability.run import CapabilityConfig, measure_capability

MODEL = MODELS / "stories260k"
TASKS = Path(__file__).resolve().parent / "tasks"


@pytest.fixture(autouse=True, scope="module")
def at_the_data(tmp_path_factory) -> Iterator[None]:
    """A folder from which the task files' paths lead to the data; what `datasets` converts isn't
    kept."""
    cache = str(tmp_path_factory.mktemp("datasets"))
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "outside").symlink_to(OUTSIDE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("datasets.config.HF_DATASETS_CACHE", Path(cache))
        yield


@pytest.fixture(scope="module")
def server(script_cache, at_the_data) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINY_KEY", KEY)
        server = Server.start(MODEL, script_cache, ["--slots=4", "--api_key_env=TINY_KEY"])
        yield server.wait_ready()
    assert server.stop() == 0


@pytest.fixture
def address(server, monkeypatch) -> str:
    monkeypatch.setenv("CAPABILITY_KEY", KEY)
    return f"{server.address}#tiny#key_env=CAPABILITY_KEY#concurrency=5"


@pytest.fixture(scope="module")
def stories(tmp_path_factory) -> Path:
    """A made-up task of which the model knows something: how its stories go on."""
    folder = tmp_path_factory.mktemp("stories")
    names, ends = ("Lily", "Tim", "Ben", "Sara"), (" the park.", " a.", " her mom", " qu zx")
    with (folder / "stories.jsonl").open("w", encoding="utf-8") as stream:
        for name in names:
            for verb in ("went to", "played with", "looked at"):
                text = f"Once upon a time, there was a kid named {name}. {name} {verb}"
                stream.write(json.dumps({"text": text, "ends": ends, "right": 0}) + "\n")
    (folder / "stories.yaml").write_text(
        f"""
task: stories
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder / "stories.jsonl"}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: text
doc_to_choice: ends
doc_to_target: right
target_delimiter: ""
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
""",
        encoding="utf-8",
    )
    return folder


def answers(workdir: Path) -> dict[tuple[str, int], list]:
    """What was answered, by task and document, in an order of its own."""
    found = defaultdict(list)
    for _, record in read_jsonl(workdir / "answers.jsonl"):
        found[record["task"], record["document"]].append(record["answer"])
    return {key: sorted(values) for key, values in found.items()}


def test_class_and_server_give_the_same_scores(stories, address, tmp_path):
    by = {}
    for name, model, tokenizer in (("class", MODEL, None), ("server", address, str(MODEL))):
        config = CapabilityConfig(str(model), ("stories",), str(stories), tokenizer)
        by[name] = measure_capability(config, tmp_path / name)
    assert by["class"]["tasks"] == by["server"]["tasks"]
    assert by["class"]["tasks"]["stories"]["metrics"]["acc,none"]["value"] > 0.5
    ours, theirs = answers(tmp_path / "class"), answers(tmp_path / "server")
    assert ours.keys() == theirs.keys()
    for key, pairs in ours.items():
        for (logprob, greedy), (its_logprob, its_greedy) in zip(pairs, theirs[key], strict=True):
            assert logprob == pytest.approx(its_logprob, abs=1e-3)
            assert greedy == its_greedy


def test_class_and_server_agree_on_outside_data(address, tmp_path):
    by = {}
    for name, model, tokenizer in (("class", MODEL, None), ("server", address, str(MODEL))):
        config = CapabilityConfig(
            str(model), ("safetybench_zh", "xstest"), str(TASKS), tokenizer, limit=6
        )
        by[name] = measure_capability(config, tmp_path / name)
    ours, theirs = answers(tmp_path / "class"), answers(tmp_path / "server")
    assert ours.keys() == theirs.keys()
    for key, values in ours.items():
        if key[0] == "xstest":
            assert values == theirs[key]
        else:
            totals, its_totals = ([total for total, _ in each] for each in (values, theirs[key]))
            assert totals == pytest.approx(its_totals, abs=1e-3)
    assert by["class"]["tasks"] == by["server"]["tasks"]
    assert by["class"]["tasks"]["xstest"]["metrics"]["chrf,none"]["stderr"] > 0


def test_a_document_of_many_contexts_has_a_perplexity(tmp_path):
    config = CapabilityConfig(str(MODEL), ("udhr",), str(TASKS))
    summary = measure_capability(config, tmp_path / "run")
    metrics = summary["tasks"]["udhr"]["metrics"]
    ((total,),) = answers(tmp_path / "run").values()
    text = (DATA / "udhr" / "udhr2__eng.txt").read_text(encoding="utf-8")
    bits = -total / math.log(2) / len(text.encode())
    assert metrics["bits_per_byte,none"]["value"] == pytest.approx(bits, rel=1e-3)
    assert 1 < bits < 8


def test_an_endpoint_that_is_not_there_or_lacks_a_tokenizer_is_named(tmp_path):
    for tokenizer, message in ((str(MODEL), "nobody answers there"), (None, "--tokenizer")):
        config = CapabilityConfig("http://127.0.0.1:9/v1#x", ("udhr",), str(TASKS), tokenizer)
        with pytest.raises(UserError, match=message):
            measure_capability(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_an_endpoint_says_instead_of_answering_is_told(server, stories, tmp_path, monkeypatch):
    monkeypatch.setenv("CAPABILITY_KEY", KEY)
    address = f"{server.address}#absent#key_env=CAPABILITY_KEY#tries=1"
    config = CapabilityConfig(address, ("stories",), str(stories), str(MODEL))
    with pytest.raises(GateNotMet, match=r"404.*absent"):
        measure_capability(config, tmp_path / "run")
    assert not (tmp_path / "run" / "capability.json").exists()
