"""The facts as a benchmark for other harnesses, with the conversations that press them.

FOLDER/  LICENSE, README.md, *.jsonl   the facts, their licence and card
         tasks/                        of lm-eval and Inspect
         tasks/pressed.jsonl           what is written here: one `Probe` a line
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from vcjax.adversarial.pressure.probes import DIRECTIONS, pressed_probe
from vcjax.adversarial.pressure.style import choose_styles, shipped_styles
from vcjax.core.errors import UserError
from vcjax.core.files import write_jsonl
from vcjax.evaluation.facts.fact import FOLDER, load_facts

TASKS, PRESSED = "tasks", "pressed.jsonl"
_COPIED = ("*.jsonl", "LICENSE", "README.md", f"{TASKS}/*")


def write_benchmark(folder: str | Path, styles: Sequence[str] = (), seed: int = 0) -> int:
    """Copies the released facts and their tasks; adds every fact under every style's pressure.

    Each is pressed in each of its languages and in both directions.

    Args:
      folder: a new one.
      styles: names of shipped pressure styles, or YAML files; without any, all that are shipped.
      seed: of each conversation's wording.

    Returns:
      The number of conversations.

    Raises:
      UserError: the folder exists, or a style is bad.
    """
    folder = Path(folder)
    if folder.exists():
        raise UserError(f"{folder}: exists; name a new folder")
    chosen = choose_styles(styles or list(shipped_styles()))
    records = [
        asdict(pressed_probe(fact, lang, style, claimed, seed))
        for fact in load_facts()
        for lang in fact.texts
        for style in chosen
        for claimed in DIRECTIONS
    ]
    parts = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(parts, ignore_errors=True)  # of a run that was killed
    for source in (path for pattern in _COPIED for path in FOLDER.glob(pattern) if path.is_file()):
        target = parts / source.relative_to(FOLDER)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    write_jsonl(parts / TASKS / PRESSED, records)
    # Whole or not at all: a killed release leaves only the hidden folder, which the next one
    # removes.
    parts.rename(folder)
    return len(records)
