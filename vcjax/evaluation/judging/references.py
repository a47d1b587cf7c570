"""From the judges that a config names to those that are asked, and those that have scored."""

from dataclasses import dataclass

from vcjax.core.errors import UserError
from vcjax.core.lineage import Parent
from vcjax.data.files import data_parents
from vcjax.evaluation.judging.people import SCORES, RatedScores, is_scores, read_ratings
from vcjax.roles.endpoint_spec import split_references
from vcjax.roles.references import RoleSpec

JUDGE = "judge"
_SEPARATOR = ";"


@dataclass(frozen=True)
class Panel:
    """The judges of a config.

    Attributes:
      specs: of those that are asked, by role: `judge`, `judge2` and so on.
      rated: the judges of each file of scores, by role likewise.
      parents: the files of scores, for the lineage.
    """

    specs: dict[str, RoleSpec]
    rated: dict[str, list[RatedScores]]
    parents: list[Parent]

    @property
    def names(self) -> list[str]:
        """The roles, in the config's order."""
        return sorted({*self.specs, *self.rated}, key=lambda name: (len(name), name))


def read_panel(judges: str, families: str, columns: str = "", labels: str = "") -> Panel:
    """The judges of comma-separated references; files of scores are read.

    Args:
      families: one for each reference, which may be empty, or none at all.
      columns, labels: see `people.read_ratings`; one mapping for all files of scores, or one for
        each, separated by semicolons.

    Raises:
      UserError: not as many families or mappings, or a bad file of scores.
    """
    references = split_references(judges)
    declared = [name.strip() for name in families.split(",")] if families.strip() else []
    if len(declared) not in (0, len(references)):
        raise UserError(
            f"config.judge_family: {len(declared)} families for {len(references)} judges"
        )
    declared = declared or [""] * len(references)
    files = sum(map(is_scores, references))
    columns_of = _mappings("columns", columns, files)
    labels_of = _mappings("labels", labels, files)
    panel = Panel({}, {}, [])
    for number, (reference, family) in enumerate(zip(references, declared, strict=True), start=1):
        name = f"{JUDGE}{number if number > 1 else ''}"
        if not is_scores(reference):
            panel.specs[name] = RoleSpec(reference, family)
            continue
        try:
            own = len(panel.rated)
            panel.rated[name] = read_ratings(reference, columns_of[own], family, labels_of[own])
        except UserError as error:
            text = str(error)
            named = text.startswith(("columns:", "labels:"))
            raise UserError(f"config.judge_{text}" if named else text) from None
        panel.parents.extend(data_parents(name, reference.removeprefix(SCORES)))
    return panel


def _mappings(field: str, text: str, files: int) -> list[str]:
    """The mapping of each file of scores."""
    mappings = [each.strip() for each in text.split(_SEPARATOR)]
    if text.strip() and not files:
        raise UserError(f"config.judge_{field}: no judge is a file of scores, {SCORES}FILE")
    if len(mappings) not in (1, files):
        raise UserError(
            f"config.judge_{field}: {len(mappings)} mappings for {files} files of scores"
        )
    return mappings * files if len(mappings) == 1 else mappings
