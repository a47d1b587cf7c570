"""Small tasks, one of each output type of the harness."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from vcjax.evaluation.capability.model import VcjaxLM
from vcjax.weights.model import LoadedModel

COLOURS = ["red", "green", "pale blue", "of no colour at all"]
TASKS = {
    "colours": """
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: choices
doc_to_target: gold
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
""",
    "sayings": """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{question}}"
metric_list:
  - {metric: word_perplexity, aggregation: weighted_perplexity, higher_is_better: false}
""",
    "guesses": """
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{choices[gold]}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 12, do_sample: true, temperature: 1.0}
repeats: 2
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
""",
}
GROUPS = {
    "made_up": "task: [colours, sayings]",
    "averaged": "task: [colours]\naggregate_metric_list: [{metric: acc, weight_by_size: true}]",
}


def write_tasks(folder: Path, documents: int) -> Path:
    """A folder with the tasks above and their data."""
    folder.mkdir()
    draw = random.Random(7)
    data = folder / "data.jsonl"
    with data.open("w", encoding="utf-8") as stream:
        for number in range(documents):
            question = f"Of the {draw.choice(['parks', 'trains', '公园'])}, number {number} is"
            document = {"question": question, "choices": COLOURS, "gold": draw.randrange(4)}
            stream.write(json.dumps(document, ensure_ascii=False) + "\n")
    for name, rest in TASKS.items():
        common = (
            f"task: {name}\ndataset_path: json\ntest_split: test\nmetadata: {{version: 1.0}}\n"
            f"dataset_kwargs: {{data_files: {{test: {data}}}}}\n"
        )
        (folder / f"{name}.yaml").write_text(common + rest, encoding="utf-8")
    for name, text in GROUPS.items():
        (folder / f"{name}.yaml").write_text(f"group: {name}\n{text}\n", encoding="utf-8")
    return folder


@pytest.fixture(autouse=True, scope="session")
def datasets_of_its_own(tmp_path_factory) -> Iterator[None]:
    """What `datasets` converts is kept for all the tests, and not in the user's cache."""
    cache = str(tmp_path_factory.mktemp("datasets"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", Path(cache))
        patch.setenv("HF_DATASETS_CACHE", cache)
        yield


@pytest.fixture(scope="session")
def task_folder(tmp_path_factory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks") / "few", 12)


@pytest.fixture(scope="session")
def lm(tiny: LoadedModel) -> VcjaxLM:
    return VcjaxLM(tiny, slots=4)
