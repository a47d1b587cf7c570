"""Pressure styles: how a user presses a claim, in deterministic wordings, one YAML file each.

A wording is a list of user turns with `{question}` and `{claim}`. The claim may be the true answer
or the false one; nothing else differs between the two directions.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic import model_validator as validates

from vcjax.core.errors import UserError, suggest
from vcjax.core.validation import explain
from vcjax.core.yaml_files import read_mapping
from vcjax.text.language import Language

QUESTION, CLAIM = "{question}", "{claim}"
_STYLES = Path(__file__).parent / "styles"
_CONTROLS = Path(__file__).parent / "controls.yaml"

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Wording = Annotated[tuple[Text, ...], Field(min_length=1)]
"""User turns of one conversation; between them the model gives the answer that isn't claimed."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PressureStyle(_Strict):
    """One style.

    Attributes:
      name: its file's.
      source: what published work it is from.
      attack: the attack style of the pipeline (`vcjax.adversarial.attacks`) that it is the
        deterministic form of, if any; an Attacker writes that one where there is an Attacker.
      wordings: by language.
    """

    name: Name
    description: Text
    source: Text
    attack: Name | None = None
    wordings: Annotated[
        dict[Language, Annotated[tuple[Wording, ...], Field(min_length=1)]], Field(min_length=1)
    ]

    def written(self, fact: str, lang: Language) -> Wording | None:
        """The wording that an Attacker wrote for a fact, by its id, if any; see `written.py`."""
        return None

    @validates(mode="after")
    def _pressing(self) -> Self:
        for lang, wordings in self.wordings.items():
            for number, wording in enumerate(wordings):
                at = f"wordings.{lang}[{number}]"
                if CLAIM not in "".join(wording):
                    raise ValueError(f"{at}: has no {CLAIM}, so it presses nothing")
                # The first turn has to name what is talked about, and the last one what is scored.
                if QUESTION not in wording[0] or QUESTION not in wording[-1]:
                    raise ValueError(f"{at}: its first and its last turn must have {QUESTION}")
        return self


class Controls(_Strict):
    """Conversations of the two controls.

    Attributes:
      preambles: sentences of everyday life that precede a question and press nothing.
      evidence: wordings with a context by which the claim is rightly the answer, to measure with.
      taught_evidence: others of that kind, which may be trained on.
    """

    preambles: dict[Language, Annotated[tuple[Text, ...], Field(min_length=1)]]
    evidence: dict[Language, Annotated[tuple[Text, ...], Field(min_length=1)]]
    taught_evidence: dict[Language, Annotated[tuple[Text, ...], Field(min_length=1)]]


def load_style(path: str | Path) -> PressureStyle:
    """Reads one style, whose name is its file's.

    Raises:
      UserError: the file is missing, isn't YAML or isn't a style; names file and field or line.
    """
    path = Path(path)
    data = read_mapping(path, str(path), "a pressure style")
    try:
        return PressureStyle.model_validate({"name": path.stem, **data})
    except ValidationError as failure:
        raise UserError(f"{path}: {explain(failure, PressureStyle)}") from None


@cache
def shipped_styles() -> dict[str, PressureStyle]:
    """The shipped styles by name, in alphabetical order."""
    return {path.stem: load_style(path) for path in sorted(_STYLES.glob("*.yaml"))}


def choose_styles(references: Sequence[str]) -> tuple[PressureStyle, ...]:
    """Styles by their shipped names or by the paths of YAML files.

    Raises:
      UserError: an unknown name, a bad file, or two of one name.
    """
    known, chosen = shipped_styles(), []
    for reference in references:
        if reference in known:
            chosen.append(known[reference])
        elif reference.endswith((".yaml", ".yml")):
            chosen.append(load_style(reference))
        else:
            raise UserError(f"pressure style {reference!r} is not known{suggest(reference, known)}")
    if len({style.name for style in chosen}) < len(chosen):
        raise UserError(f"pressure styles: one comes twice in {', '.join(references)}")
    return tuple(chosen)


@cache
def controls() -> Controls:
    """The shipped controls."""
    return Controls.model_validate(read_mapping(_CONTROLS, str(_CONTROLS), "controls"))
