"""Constrained decoding of a model, often enough that a rare dead end would be met."""

import pytest

from tests.generate.test_constraints import SCHEMAS
from tests.generate.writer import assert_holds
from vcjax.generate.requests import SamplingParams


@pytest.mark.parametrize("language", ["en", "zh"])
def test_250_texts_of_a_model_are_valid_and_ended_by_themselves(text_engine, language):
    sampling = SamplingParams(400, temperature=1.0, json_schema=SCHEMAS[language])
    ends = []
    texts = text_engine.generate(
        [f"{language} {n}" for n in range(250)],
        sampling,
        lambda index, text, result: ends.append(result.finish_reason),
    )
    assert ends == ["stop"] * 250
    for text in texts:
        assert_holds(text, SCHEMAS[language])
    assert len(set(texts)) > 200
