"""What counts as another config when a run is continued."""

from vcjax.core.config_difference import config_difference


def test_a_field_that_an_earlier_version_lacked_is_no_difference_at_its_default():
    before = {"seed": 0, "evaluation": {"model": "a"}}
    after = {"seed": 0, "context": 0, "evaluation": {"model": "a", "context": 0, "replicas": 0}}
    assert config_difference(before, after) == {}
    after["evaluation"]["context"] = 512
    assert config_difference(before, after) == {"evaluation.context": (0, 512)}


def test_a_default_that_has_changed_since_is_no_difference():
    before = {"slots": 16, "synthesis": {"slots": 16}}
    assert config_difference(before, {"slots": 0, "synthesis": {"slots": 0}}) == {}
    assert config_difference(before, {"slots": 8, "synthesis": {"slots": 0}}) == {"slots": (16, 8)}
    assert config_difference({"slots": 4}, {"slots": 0}) == {"slots": (4, 0)}


def test_what_a_config_no_longer_has_is_a_difference():
    assert config_difference({"gone": 1}, {}) == {"gone": (1, None)}
