"""A script that ran in a test's process removes its own flags and keeps those of libraries."""

import importlib

import pytest
from absl import flags

from tests.scripts import ran

LIBRARY = """
from absl import flags

WIDTH = flags.DEFINE_integer("library_width", 64, "Read whenever the library is used.")
"""


def test_a_library_keeps_the_flags_that_it_defined_when_a_script_imported_it(
    tmp_path, monkeypatch, script_cache
):
    (tmp_path / "library_with_flags.py").write_text(LIBRARY)
    config = tmp_path / "config.py"
    config.write_text(
        "import library_with_flags\nfrom configs.sft import get_config as other\n\n"
        "def get_config():\n    return other()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    ran("chat", ["--unknown"], script_cache)
    before = set(flags.FLAGS)
    arguments = [f"--config={config}", "--config.seed=1", "--config.steps=0"]
    for _ in range(2):
        code, _, error = ran("train", [*arguments, f"--workdir={tmp_path}/run"], script_cache)
        assert code == 2, error
        assert "config." in error.splitlines()[-1]
        assert "defined twice" not in error
    library = importlib.import_module("library_with_flags")
    with pytest.raises(flags.UnparsedFlagAccessError):  # as where nobody parses any flags
        _ = library.WIDTH.value
    assert library.WIDTH.default == 64
    assert set(flags.FLAGS) - before == {"library_width"}
    del flags.FLAGS.library_width
