"""Makes a folder to start from: a charter to edit, questions, configs and the next three commands.

python -m launch.init mine

The folder must be new, or empty but for hidden files. Its README.md has the commands.
"""

from vcjax.core.errors import UserError
from vcjax.core.script import run
from vcjax.core.stores import on_disk


def main(operands: list[str]) -> None:
    from vcjax.road.starter import write_starter

    if len(operands) != 1:
        raise UserError("name one folder, as in `launch.init mine`")
    folder = on_disk(operands[0])
    # `launch` in a checkout, `vcjax.launch` where the package is installed.
    write_starter(folder, f"python -m {__package__}")
    print(f"{folder}: edit {folder / 'charter.yaml'}; {folder / 'README.md'} has the next commands")


if __name__ == "__main__":
    run(main, operands=True)
