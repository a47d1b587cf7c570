"""Facts from outside, which no arm is taught: ours and the published protocol beside each other.

outside facts -> neutral and pressed probes (ours) | letters, plainly and under a claim (PARROT's)
                             |                                        |
                        preferences.jsonl                        letters.jsonl
"""

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

from vcjax.adversarial.config import split_names
from vcjax.adversarial.pressure.parrot import Scores, parrot_asks, parrot_summary
from vcjax.adversarial.pressure.probes import (
    DIRECTIONS,
    TO_TRUE,
    Probe,
    neutral_probes,
    pressed_probe,
    score_probes,
    with_system,
)
from vcjax.adversarial.pressure.rates import CONTRARIAN, CORRECTIONS, FLIPS, RATES, matrix
from vcjax.adversarial.pressure.suite import CORRECTION, HELD_OUT
from vcjax.charter.load import charter_parents
from vcjax.core.errors import UserError
from vcjax.core.files import read_json, write_json
from vcjax.core.lineage import Parent
from vcjax.core.run import Run
from vcjax.core.seeds import derive_seed
from vcjax.evaluation.facts.fact import Fact, fact_paths, facts_hash, in_language, load_facts
from vcjax.evaluation.facts.importers import PARROT, ParrotItem, read_parrot, split_reference
from vcjax.evaluation.facts.knowledge import KNOWN, WRONG, Knowledge, classify
from vcjax.evaluation.likelihoods import score_answers
from vcjax.road.pressure.config import PressureConfig
from vcjax.road.pressure.experiment import MODEL, Experiment, counted, knows
from vcjax.roles.references import RoleSpec, models_of, open_roles
from vcjax.roles.role import scoring
from vcjax.stats.intervals import RATE, crossed_mean, interval_record
from vcjax.text.language import Language
from vcjax.weights.workdir import write_sources

OUTSIDE = "outside"
_FOUND, _LETTERS = "outside.json", "letters.jsonl"
_OURS = (FLIPS, CONTRARIAN, CORRECTIONS)

T = TypeVar("T", Fact, ParrotItem)


class OutsideFacts:
    """The facts of `config.outside`, of each file as many as `config.outside_facts`.

    Attributes:
      facts: of all files, for our measure.
      items: those of PARROT, for its own; the same ones, and those whose answers aren't of
        comparable length.
    """

    def __init__(self, config: PressureConfig, experiment: Experiment) -> None:
        """Reads the files. Raises: UserError, a bad file, or a fact that may be taught."""
        self._config, self._experiment = config, experiment
        self.facts: list[Fact] = []
        self.items: list[ParrotItem] = []
        for reference in split_names(config.outside):
            name, path = split_reference(reference)
            facts = load_facts(reference)
            if name == PARROT:
                items = _drawn(read_parrot(path), config.outside_facts, config.seed)
                # Ours are measured on what PARROT's are, so that the two measures can be compared.
                ids = {item.id for item in items}
                self.items += items
                self.facts += [fact for fact in facts if fact.id in ids]
            else:
                self.facts += _drawn(facts, config.outside_facts, config.seed)
        taught = {fact.id for fact in experiment.facts}
        for fact in self.facts:
            if fact.id in taught:
                raise UserError(f"config.outside: {fact.id!r} is among config.facts too")

    @cached_property
    def languages(self) -> list[Language]:
        """The experiment's languages in which there are such facts."""
        return [lang for lang in self._config.langs if in_language(self.facts, lang)]

    def measure(self, model: str, folder: Path, *, persona: bool) -> None:
        """Scores all of it under a model, unless that is done."""
        experiment, config = self._experiment, self._config
        names = ("outside", "outside_facts", "languages", "held_out_styles", "seed")
        settings = {name: getattr(config, name) for name in names}
        settings |= {"model": model, "persona": persona, "facts": facts_hash(self.facts)}
        run = Run(OUTSIDE, folder, settings)
        if run.is_finished():
            return
        probes: list[Probe] = []
        for lang in self.languages:
            system = experiment.system(lang, persona)
            for fact in in_language(self.facts, lang):
                own = [*self._neutral(fact, lang), *self._pressed(fact, lang)]
                probes += with_system(own, system)
        system = experiment.system("en", persona)
        asks = [ask for item in self.items for ask in parrot_asks(item, system)]
        # In parallel with `asks`: two for each item, plainly and under the claim.
        letters = [list(item.options) for item in self.items for _ in parrot_asks(item)]
        roles, parents = open_roles({MODEL: RoleSpec(model, MODEL)}, config, folder)
        with run.opened():
            write_sources(folder, models_of(roles))
            role = scoring(roles[MODEL], MODEL)
            found = {
                "preferences": score_probes(role, probes, folder),
                "letters": score_answers(role, asks, letters, folder / _LETTERS),
            }
            write_json(folder / _FOUND, found)
            facts = [Parent.of("facts", path) for path in fact_paths(config.outside)]
            run.finish([*parents, *facts, *(charter_parents(config.charter) if persona else [])])

    def summary(self, base: Path, arms: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
        """What every arm does; `knowledge` is the base model's.

        Args:
          base: the base model's folder of this stage.
          arms: of each arm the folders of its runs.
        """
        runs = {name: [read_json(path / _FOUND) for path in own] for name, own in arms.items()}
        preferences = read_json(base / _FOUND)["preferences"]
        knowledge: dict[Language, dict[str, Knowledge]] = {
            lang: self._knowledge(lang, preferences) for lang in self.languages
        }
        return {
            "knowledge": {
                lang: {**counted(found), "measured": knows(found)}
                for lang, found in knowledge.items()
            },
            "arms": {
                name: {
                    "languages": {
                        lang: self._rates(lang, found, [each["preferences"] for each in own])
                        for lang, found in knowledge.items()
                    },
                    PARROT: self._parrot([each["letters"] for each in own]),
                }
                for name, own in runs.items()
            },
        }

    def _parrot(self, runs: Sequence[Scores]) -> dict[str, Any] | None:
        return parrot_summary(self.items, runs) if self.items else None

    def _knowledge(self, lang: Language, preferences: Mapping[str, float]) -> dict[str, Knowledge]:
        # Published items have one wording, which decides and isn't scored: pressure is.
        return {
            fact.id: classify([preferences[probe.id] for probe in self._neutral(fact, lang)])
            for fact in in_language(self.facts, lang)
        }

    def _rates(
        self,
        lang: Language,
        knowledge: Mapping[str, Knowledge],
        runs: Sequence[Mapping[str, float]],
    ) -> dict[str, Any]:
        # A model can give up only what it knows, and be corrected only where it is wrong.
        groups: dict[str, list[Probe]] = {HELD_OUT: [], CORRECTION: []}
        for fact in in_language(self.facts, lang):
            pressed = self._pressed(fact, lang)
            if knowledge[fact.id] == KNOWN:
                groups[HELD_OUT] += pressed
            elif knowledge[fact.id] == WRONG:
                groups[CORRECTION] += [probe for probe in pressed if probe.claimed == TO_TRUE]
        return {
            name: interval_record(crossed_mean(matrix(RATES[name], groups, runs), scale=RATE))
            for name in _OURS
        }

    def _neutral(self, fact: Fact, lang: Language) -> list[Probe]:
        return list(neutral_probes(fact, lang, [0]))

    def _pressed(self, fact: Fact, lang: Language) -> list[Probe]:
        """The fact pressed in both directions, in one held-out style that is drawn."""
        seed = self._config.seed
        styles = self._experiment.held_out_styles
        # One style each, as published sets are large; over many facts every style comes as often.
        style = styles[derive_seed(seed, OUTSIDE, fact.id) % len(styles)]
        return [pressed_probe(fact, lang, style, claimed, seed) for claimed in DIRECTIONS]


def _drawn(found: list[T], most: int, seed: int) -> list[T]:
    """So many of them, the same whatever else the files have; all for 0."""
    key = partial(derive_seed, seed, OUTSIDE)
    return sorted(found, key=lambda each: key(each.id))[: most or None]
