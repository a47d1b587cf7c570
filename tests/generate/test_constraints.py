"""Constrained generation: whatever the model would say, it is JSON of the schema."""

import json
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from vcjax.foundation.errors import UserError
from vcjax.generate.text import Sampling

SCHEMA = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "maxLength": 12},
        "verdict": {"type": "string", "enum": ["accept", "拒绝", 'no "idea"']},
        "scores": {
            "type": "array",
            "items": {"type": "integer", "enum": [0, 1, 2, 3, 4, 5]},
            "minItems": 1,
            "maxItems": 3,
        },
    },
    "required": ["reason", "verdict", "scores"],
    "additionalProperties": False,
}


class Answer(BaseModel):
    """The same, said to another library."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: Annotated[str, Field(max_length=12)]
    verdict: Literal["accept", "拒绝", 'no "idea"']
    scores: Annotated[list[Annotated[int, Field(ge=0, le=5)]], Field(min_length=1, max_length=3)]


def test_a_random_model_writes_nothing_but_compact_json_of_the_schema(text_engine):
    prompts = ["Grade.", "请评分。"] * 20
    ends = []
    texts = text_engine.generate(
        prompts,
        Sampling(200, temperature=1.0, seed=1, json_schema=SCHEMA),
        lambda index, text, result: ends.append(result.finish_reason),
    )
    assert ends == ["stop"] * 40
    assert len(set(texts)) > 30
    for text in texts:
        Answer.model_validate_json(text)
        assert text.startswith('{"reason":"')
        assert '","verdict":"' in text
        assert text.endswith("]}")
    assert any(any("\u4e00" <= c <= "\u9fff" for c in json.loads(t)["reason"]) for t in texts)


def test_free_and_constrained_requests_decode_together(text_engine):
    free, bound = Sampling(20, 1.0, seed=3), Sampling(200, 1.0, seed=3, json_schema=SCHEMA)
    requests = [text_engine.request("Grade.", s) for s in (free, bound, free)]
    alone = text_engine.engine.generate([text_engine.request("Grade.", free)])
    together = text_engine.engine.generate(requests)
    assert [together[0], together[2]] == alone * 2
    Answer.model_validate_json(text_engine.tokenizer.decode(together[1].tokens))


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"$ref": "#/nowhere"}, {"type": 5}])
def test_a_schema_that_cannot_be_compiled_is_the_user_s_mistake(text_engine, schema):
    with pytest.raises(UserError, match="JSON schema can't be compiled"):
        text_engine.request("Grade.", Sampling(json_schema=schema))
