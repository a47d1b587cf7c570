"""Runs lm-evaluation-harness on two scripted models: python lm_logs.py OUT"""

import json
import pathlib
import sys

from lm_eval import simple_evaluate
from lm_eval.api.model import LM
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

OUT = pathlib.Path(sys.argv[1]).absolute()
HERE = pathlib.Path("lmtasks")
ROWS = [
    {
        "question": f"What is {n} + {n + 3}?",
        "choices": [str(2 * n + 3 + d) for d in (0, 1, 2, 3)],
        "answer": 0,
        "topic": "even" if n % 2 == 0 else "odd",
    }
    for n in range(14)
]
(HERE / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
HEAD = (
    "dataset_path: json\ntest_split: test\n"
    f"dataset_kwargs: {{data_files: {{test: {HERE}/rows.jsonl}}}}\n"
)
(HERE / "sums_choice.yaml").write_text(
    HEAD
    + """task: sums_choice
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: answer
metric_list: [{metric: acc}, {metric: acc_norm}]
"""
)
(HERE / "sums_free.yaml").write_text(
    HEAD
    + """task: sums_free
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{choices[answer]}}"
generation_kwargs: {until: ["\\n"]}
metric_list: [{metric: exact_match}]
"""
)


class Scripted(LM):
    def __init__(self, right):
        super().__init__()
        self.right = right

    def _answer(self, context):
        numbers = [int(word.strip("?")) for word in context.split() if word.strip("?").isdigit()]
        return str(sum(numbers[-2:]) + (not self.right(numbers[-2])))

    def loglikelihood(self, requests):
        return [
            (-1.0 if text.strip() == self._answer(context) else -2.0 - len(text), False)
            for context, text in (request.args for request in requests)
        ]

    def generate_until(self, requests):
        return [self._answer(request.args[0]) for request in requests]

    def loglikelihood_rolling(self, requests):
        raise NotImplementedError


for name, right in {"baseline": lambda n: n % 4 == 0, "better": lambda n: n % 4 != 1}.items():
    tracker = EvaluationTracker(output_path=str(OUT / name))
    results = simple_evaluate(
        Scripted(right),
        tasks=["sums_choice", "sums_free"],
        log_samples=True,
        task_manager=TaskManager(include_path=str(HERE), include_defaults=False),
        bootstrap_iters=0,
        evaluation_tracker=tracker,
    )
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for task in results["configs"]:
        tracker.save_results_samples(task_name=task, samples=samples[task])
    print(name, {task: own for task, own in results["results"].items()})
