"""The bodies of requests: OpenAI's fields and those that the engine adds; any other is an error.

The types are checked here, the bounds of sampling settings by `SamplingParams`.
"""

import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, FiniteFloat, model_validator

from vcjax.core.errors import UserError
from vcjax.generate.requests import MAX_BIASES, MAX_TOP_LOGPROBS, SamplingParams
from vcjax.serve.messages import (
    MAX_TOOLS,
    Body,
    ChatMessage,
    ChosenTool,
    Tool,
    ToolChoice,
    check_tools,
)

MAX_CHOICES = 128
MAX_PROMPTS = MAX_MESSAGES = 2048
"""As in OpenAI's API."""
MAX_STOP_TOKENS = 64
"""Each is looked up for each token of a continuation."""
MIN_LOGPROB = -9999.0
"""Replaces minus infinity, which JSON doesn't have; as in OpenAI's API."""
_SAMPLING_FIELDS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "min_tokens",
    "logit_bias",
    "regex",
)
"""Fields that have the same name in `SamplingParams`."""
_DEFAULTS = {"temperature": 1.0}
"""Where OpenAI's API has another default than `SamplingParams`."""
TokenId = Annotated[int, Field(ge=0)]


def _biases_by_id(value: Any) -> Any:
    # JSON's keys are strings.
    if not isinstance(value, dict):
        return value
    if len(value) > MAX_BIASES:
        raise ValueError(f"{len(value)} entries; at most {MAX_BIASES} are accepted")
    if not all(key.isascii() and key.isdigit() for key in value):
        raise ValueError("must have token ids as keys")
    return {int(key): bias for key, bias in value.items()}


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _prompts(value: Any) -> list[str | list[int]]:
    """Turns the four forms of a prompt into a list of texts or of ids."""
    many = value if isinstance(value, list) and value and not isinstance(value[0], int) else [value]
    if all(isinstance(one, str) for one in many) or all(_is_prompt_of_ids(one) for one in many):
        return many
    raise ValueError("must be a text, a list of texts, a list of token ids or a list of such lists")


def _is_prompt_of_ids(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        # Not `isinstance`, which takes true for an integer.
        and all(type(token) is int and token >= 0 for token in value)
    )


class StreamOptions(Body):
    """Attributes: `include_usage` adds a last chunk with the counts of tokens. Nothing is ever
    added to the chunks to hide their length, so `include_obfuscation` changes nothing."""

    include_usage: bool = False
    include_obfuscation: bool = False


class JsonSchema(Body):
    """A named schema. It is always enforced, so `strict` changes nothing."""

    name: str
    schema_: dict[str, Any] = Field(default_factory=lambda: {"type": "object"}, alias="schema")
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(Body):
    """Which format the text must have."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    def schema_of_text(self) -> dict[str, Any] | None:
        """The JSON schema that constrains the text, or None."""
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise UserError("response_format: json_schema comes with type 'json_schema' alone")
        if self.json_schema is not None:
            return self.json_schema.schema_
        return {"type": "object"} if self.type == "json_object" else None


class _Generation(Body):
    """The fields of both kinds of requests.

    Absent sampling settings are those of the model's `generation_config.json`, and otherwise
    OpenAI's. `top_k`, `min_p`, `repetition_penalty`, `min_tokens`, `regex` and `choices` aren't
    OpenAI's. vLLM's are `prompt_logprobs`, the number of alternatives beside each token of the
    prompt; `stop_token_ids`, which end an answer and aren't part of it; `ignore_eos`; and
    `best_of`, which is accepted where it doesn't choose: equal to `n`. `user`, `metadata`, `store`,
    `service_tier`, `safety_identifier` and `prompt_cache_key` are accepted and change nothing.
    """

    model: str = ""
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] = 1
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: Annotated[list[str], Field(fail_fast=True), BeforeValidator(_as_list)] = Field(
        default_factory=list
    )
    temperature: FiniteFloat | None = None
    top_p: FiniteFloat | None = None
    presence_penalty: FiniteFloat | None = None
    frequency_penalty: FiniteFloat | None = None
    logit_bias: Annotated[dict[int, FiniteFloat], BeforeValidator(_biases_by_id)] | None = None
    response_format: ResponseFormat | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    top_k: int | None = None
    min_p: FiniteFloat | None = None
    repetition_penalty: FiniteFloat | None = None
    min_tokens: int | None = None
    regex: str | None = None
    choices: Annotated[list[str], Field(fail_fast=True)] | None = None
    stop_token_ids: Annotated[list[TokenId], Field(max_length=MAX_STOP_TOKENS, fail_fast=True)] = (
        Field(default_factory=list)
    )
    ignore_eos: bool = False
    best_of: int | None = None
    prompt_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None

    @model_validator(mode="after")
    def _streams(self) -> "_Generation":
        # Not ValueErrors, which pydantic would wrap with its own location and words.
        if self.stream_options is not None and not self.stream:
            raise UserError("stream_options come with stream=true alone")
        if self.prompt_logprobs is not None and self.stream:
            raise UserError("prompt_logprobs come without stream alone")
        if self.best_of not in (None, self.n):
            raise UserError(f"best_of must be n, {self.n}: this server chooses no answers")
        return self

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the counts of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    def chosen_seed(self) -> int:
        """The request's seed, or a new one."""
        return secrets.randbits(32) if self.seed is None else self.seed

    def sampling(
        self, max_tokens: int, seed: int, top_logprobs: int, defaults: Mapping[str, Any]
    ) -> SamplingParams:
        """The sampling parameters of one choice; `defaults` are those of absent fields.

        Raises:
          UserError: two constraints at once.
        """
        given: dict[str, Any] = {name: getattr(self, name) for name in _SAMPLING_FIELDS}
        settings = {**_DEFAULTS, **defaults}
        settings |= {name: value for name, value in given.items() if value is not None}
        schema = self.response_format.schema_of_text() if self.response_format else None
        return SamplingParams(
            max_tokens=max_tokens,
            seed=seed,
            stop=tuple(self.stop),
            json_schema=schema,
            choices=None if self.choices is None else tuple(self.choices),
            top_logprobs=top_logprobs,
            **settings,
        )


class ChatRequest(_Generation):
    """`/v1/chat/completions`.

    `add_generation_prompt` false with `continue_final_message` true, both vLLM's, leaves the last
    turn, the assistant's, open: its text is the end of the prompt. Its `chat_template_kwargs` are
    variables of the chat template, beside the model's own. `tools` change nothing where
    `tool_choice` is none; without it, it is auto. `parallel_tool_calls` allows several calls.
    """

    messages: Annotated[
        list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)
    ]
    max_completion_tokens: int | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    tools: Annotated[list[Tool], Field(max_length=MAX_TOOLS, fail_fast=True)] = Field(
        default_factory=list
    )
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool = True
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "ChatRequest":
        if self.top_logprobs is not None and not self.logprobs:
            raise UserError("top_logprobs come with logprobs=true alone")
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise UserError("max_tokens and max_completion_tokens are one setting; give one")
        if self.add_generation_prompt == self.continue_final_message:
            raise UserError(
                "add_generation_prompt: give false with continue_final_message=true, else true"
            )
        if self.continue_final_message and self.messages[-1].role != "assistant":
            raise UserError("continue_final_message: the last message isn't the assistant's")
        check_tools(self.tools, self.tool_choice)
        if self.continue_final_message and (self.offered or self.has_calls):
            raise UserError("continue_final_message: not beside tools and their calls")
        is_held = any(each is not None for each in (self.response_format, self.regex, self.choices))
        if self.required and is_held:
            raise UserError(
                "tool_choice: a call that is required can't match response_format, regex or choices"
            )
        return self

    @property
    def has_calls(self) -> bool:
        """Whether there are calls of tools, or their results, among the messages."""
        return any(message.role == "tool" or message.tool_calls for message in self.messages)

    @property
    def offered(self) -> list[Tool]:
        """The tools that the answer may call."""
        return [] if self.tool_choice == "none" else self.tools

    @property
    def required(self) -> list[Tool]:
        """The tools of which the answer must call one; empty where it needn't."""
        if isinstance(self.tool_choice, ChosenTool):
            name = self.tool_choice.function.name
            return [tool for tool in self.tools if tool.function.name == name]
        return self.tools if self.tool_choice == "required" else []


class CompletionRequest(_Generation):
    """`/v1/completions`. `logprobs` is the number of alternatives beside each token."""

    prompt: Annotated[
        list[str | Annotated[list[int], Field(fail_fast=True)]],
        Field(max_length=MAX_PROMPTS, fail_fast=True),
        BeforeValidator(_prompts),
    ]
    echo: bool = False
    logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
