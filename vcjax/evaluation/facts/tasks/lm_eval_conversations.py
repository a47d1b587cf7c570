"""An lm-eval task whose documents are conversations of several turns."""

from collections.abc import Callable, Mapping
from typing import Any

from lm_eval.api.task import ConfigurableTask


class ConversationTask(ConfigurableTask):
    """The context is the document's `messages` in the model's chat template.

    lm-eval's own tasks have one user's turn, so an earlier answer of the model has no place there.
    """

    NEEDS_CHAT_TEMPLATE = True

    def __init__(self, config: Mapping[str, Any]) -> None:
        """`config` has the fields of the task's YAML file."""
        # lm-eval leaves the key by which it found this class, and doesn't know it.
        super().__init__(config={name: config[name] for name in config if name != "class"})

    def fewshot_context(
        self,
        doc: Mapping[str, Any],
        num_fewshot: int,
        system_instruction: str | None = None,
        apply_chat_template: bool = False,
        fewshot_as_multiturn: bool = False,
        chat_template: Callable[..., str] | None = None,
        gen_prefix: str | None = None,
    ) -> str:
        """The document's conversation in the model's chat template, up to the assistant's turn.

        Raises:
          ValueError: `--apply_chat_template` isn't given.
        """
        if not apply_chat_template or chat_template is None:
            raise ValueError(f"{self.config.task}: is of conversations: give --apply_chat_template")
        system = [{"role": "system", "content": system_instruction}] if system_instruction else []
        return chat_template([*system, *doc["messages"]], add_generation_prompt=True)
