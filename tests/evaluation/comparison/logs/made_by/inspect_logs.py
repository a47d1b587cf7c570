"""Runs Inspect on two scripted models: python make_inspect.py OUT"""

import sys

from inspect_ai import Task, eval, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import Score, match, mean, scorer, stderr
from inspect_ai.solver import generate

QUESTIONS = [("sums", f"What is {n} + {n + 3}?", str(2 * n + 3)) for n in range(8)]
QUESTIONS += [("products", f"What is {n} times {n + 1}?", str(n * (n + 1))) for n in range(2, 10)]


@scorer(metrics=[mean(), stderr()])
def brevity():
    async def score(state, target):
        return Score(
            value=round(1 / len(state.output.completion.split()), 3), answer=state.output.completion
        )

    return score


@task
def sums(questions):
    samples = [
        Sample(id=f"q{n:02}", input=question, target=answer, metadata={"topic": topic})
        for n, (topic, question, answer) in enumerate(questions)
    ]
    return Task(dataset=MemoryDataset(samples), solver=generate(), scorer=[match(), brevity()])


def run(out, right, fmt, epochs=1, questions=QUESTIONS):
    answers = {question: (answer, right(n)) for n, (_, question, answer) in enumerate(questions)}

    def reply(messages, tools, tool_choice, config):
        answer, is_right = answers[messages[-1].text]
        text = answer if is_right else f"It is {int(answer) + 1} perhaps"
        output = ModelOutput.from_content("mockllm/model", text)
        output.usage = ModelUsage(input_tokens=5, output_tokens=2, total_tokens=7)
        return output

    model = get_model("mockllm/model", custom_outputs=reply, memoize=False)
    (log,) = eval(
        sums(questions), model=model, log_dir=out, log_format=fmt, epochs=epochs, display="none"
    )
    assert log.status == "success", log.error
    print(log.location, log.results.scores[0].metrics["accuracy"].value)


run(f"{sys.argv[1]}/baseline", lambda n: n % 4 == 0, "eval")
run(f"{sys.argv[1]}/better", lambda n: n % 4 != 1, "eval")
run(f"{sys.argv[1]}/baseline", lambda n: n % 4 == 0, "json", questions=QUESTIONS[4:11])
run(f"{sys.argv[1]}/better", lambda n: n % 4 != 1, "json", questions=QUESTIONS[4:11])
run(f"{sys.argv[1]}/epochs", lambda n: n % 4 != 1, "eval", epochs=2)
