"""Runs the benchmark on one model, before or after training.

    python -m launch.evaluate --config=configs/evaluate.py --workdir=runs/evaluate \\
        --config.model=runs/adversarial --config.judge=JUDGE --config.judge_family=FAMILY

Several judges are comma-separated, with a family each; people's scores are one of them:

    --config.judge=JUDGE,scores:people.csv --config.judge_family=FAMILY, \\
        --config.judge_columns=score:annotation_1 --config.axes=True

Where a file has words for scores, `--config.judge_labels=aligned:5,misaligned:0,unclear:` gives
each a number, or none.

Each judge is tested on `judge_check` planted answers first (96 are shipped), and the report names
one that is constant, at chance, rewards refusals or off-topic answers, is blind to hate or judges
one language only; with `require_judge=True` the run ends there, with exit code 3.

Without a judge the charter's rule checks alone are measured. A judge of the model's own family is
refused unless `allow_same_family` is set. The paper's judge and rubric are unspecified.

`--config.answers_from=W --config.charter=vcllm` scores the answers of the finished evaluation in W
under another charter and compares both: no model is asked again.

`--config.measures=consistency` measures more than the benchmark, on a sample of it if
`measured_per_domain_and_language` is set. Naming more measures extends a finished evaluation:
nothing is asked again. With `--config.language=zh` the report is in Chinese.

`--config.measures=factual --config.factual.documents=FOLDER` checks what the answers claim against
the text files of a folder. Without a folder it is checked against the shipped ones, which are there
to test the judge.

`--config.measures=stance` places the model on the dimensions of a questionnaire: the shipped
statements, or `--config.stance.items=FILE` with `--config.stance.columns=OURS:THEIRS,...`.

`--config.measures=choice --config.choice.items=FILE` scores multiple-choice questions of any file;
`--config.choice.columns=question:QUESTION,options:A+B+C+D,answer:KEY` maps its columns.
"""

from ml_collections import ConfigDict

from vcjax.core.defaults import add_engine_fields


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.model = "smollm2-135m-instruct"
    config.judge = ""
    config.model_family = config.judge_family = ""
    config.allow_same_family = False
    config.charter = "universal"
    config.answers_from = ""
    config.benchmark = "universal"
    config.per_domain_and_language = 0
    config.measures = ""
    config.measured_per_domain_and_language = 0
    config.factual = ConfigDict({"documents": ""})
    config.stance = ConfigDict({"items": "", "columns": "", "options": "", "lang": "en"})
    config.choice = ConfigDict(
        {"items": "", "columns": "", "answers": "", "first": 0, "lang": "en"}
    )
    config.persona = False
    config.max_tokens = 256
    config.judge_tokens = 384
    config.judge_samples = 1
    config.judge_language = "item"
    config.judge_columns = config.judge_labels = ""
    config.axes = False
    config.judge_check = 24
    config.require_judge = False
    config.language = "en"
    add_engine_fields(config)
    config.seed = 0
    return config
