import pytest

from tests.scripts import ran

KNOWN = "train, data, generate, ledger, prepare"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            [],
            f"name what to measure, as in `launch.bench train` (known: {KNOWN})",
        ),
        (
            ["trian"],
            f"unknown bench 'trian' (known: {KNOWN}); did you mean 'train'?",
        ),
        (["train", "data"], "unexpected argument 'data'; settings are given as --name=value"),
    ],
)
def test_mistakes_end_in_one_line(script_cache, tmp_path, arguments, line):
    where = f"--workdir={tmp_path / 'out'}"
    code, out, error = ran("bench", [*arguments, where], script_cache)
    assert (code, out, error) == (2, "", f"error: {line}\n")
    assert not (tmp_path / "out").exists()
