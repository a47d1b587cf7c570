"""Inspect's task for a model with tools: it calls one, gets the result, and answers.

inspect eval inspect_tools.py --model openai/tiny
"""

# pyright: reportMissingImports=false
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import Score, Target, accuracy, scorer
from inspect_ai.solver import TaskState, generate, use_tools
from inspect_ai.tool import tool


@tool
def stock():
    async def execute(kind: int) -> str:
        """Counts what is left of an article.

        Args:
            kind: the number of the article.
        """
        return f"{kind} apples"

    return execute


@scorer(metrics=[accuracy()])
def was_called():
    async def score(state: TaskState, target: Target) -> Score:
        results = [each.text for each in state.messages if each.role == "tool"]
        return Score(value=bool(results) and results[0].endswith(" apples"), answer=str(results))

    return score


@task
def tools() -> Task:
    return Task(
        dataset=[Sample(input="How many apples are left?")],
        solver=[use_tools(stock(), tool_choice="any"), generate(tool_calls="single")],
        scorer=was_called(),
    )
