"""The shipped configurations of a corpus, and the steps that they name."""

import pytest
from ml_collections import ConfigDict

from configs.prepare import get_config
from vcjax.data.corpus.config import KINDS, STEPS, PrepareConfig
from vcjax.data.corpus.step import Pass, Step


@pytest.mark.parametrize("kind", KINDS)
def test_the_shipped_steps_of_each_kind_can_be_made(kind):
    values = get_config(kind)
    values[kind] = "a.jsonl"
    config = PrepareConfig.from_dict(values)
    steps = config.make_steps()
    assert all(isinstance(step, Step | Pass) for step in steps)
    # Samples of what later steps remove are in the summary, which has no personal data.
    assert [step.name for step in steps][:2] == ["normalise", "personal"]


def test_a_setting_of_one_language_leaves_the_rest_of_it_as_shipped():
    values = get_config()
    values.settings.quality.zh.top_shares = (0.3, 0.2, 0.1)
    rules = STEPS["quality"].Settings().zh
    found = PrepareConfig.from_dict(values).to_dict()["settings"]["quality"]["zh"]
    assert found["top_shares"] == (0.3, 0.2, 0.1)
    assert found["least_units"] == rules.least_units


def test_each_setting_can_be_given_as_a_flag():
    """A field named as a method of ConfigDict, such as `items`, hides behind it."""

    def names(values):
        for name, value in values.items():
            yield name
            if isinstance(value, dict):
                yield from names(value)

    values = get_config().to_dict()
    assert "similarity" in set(names(values))
    assert [name for name in names(values) if hasattr(ConfigDict, name)] == []
