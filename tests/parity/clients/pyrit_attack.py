"""PyRIT attacks a model through its OpenAIChatTarget; prints what it got as a line of JSON.

python pyrit_attack.py ADDRESS
"""

# pyright: reportMissingImports=false
import asyncio
import json
import sys

from pyrit.executor.attack import PromptSendingAttack
from pyrit.models import Message
from pyrit.prompt_target import OpenAIChatTarget
from pyrit.setup import initialize_pyrit_async


async def main(address: str) -> None:
    await initialize_pyrit_async("InMemory", load_defaults=False, env_files=[], silent=True)
    target = OpenAIChatTarget(
        endpoint=address,
        api_key="none",
        model_name="tiny",
        temperature=0.0,
        max_completion_tokens=24,
        seed=7,
        frequency_penalty=0.0,
        extra_body_parameters={"metadata": {"run": "1"}},
    )
    before = [
        Message.from_prompt(role="system", prompt="You answer briefly."),
        Message.from_prompt(role="user", prompt="Who are you?"),
        Message.from_prompt(role="assistant", prompt="A model."),
    ]
    attack = PromptSendingAttack(objective_target=target)
    alone = await attack.execute_async(objective="Why do people disagree?")
    behind = await attack.execute_async(
        objective="Why do people disagree?", prepended_conversation=before
    )
    answers = [each.last_response.converted_value for each in (alone, behind)]
    print(json.dumps(answers))


asyncio.run(main(sys.argv[1]))
