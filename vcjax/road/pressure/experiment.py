"""What all arms share: the facts, what the base model knows of them, pairs, and how to measure.

facts -> knowledge (the base model's preferences without pressure) -> pairs | suite of probes
                                                                       |         |
                                                                     train  ->  measure
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from vcjax.adversarial.config import split_names
from vcjax.adversarial.pressure.pairs import DATA, Taught, conversation, pairs, preference
from vcjax.adversarial.pressure.probes import Probe, neutral_probes, score_probes, with_system
from vcjax.adversarial.pressure.rates import RATES
from vcjax.adversarial.pressure.split import DEV, TEST, TRAIN, Split, split_facts
from vcjax.adversarial.pressure.style import PressureStyle, Wording, choose_styles
from vcjax.adversarial.pressure.suite import Material, Sizes, suite
from vcjax.adversarial.pressure.written import with_messages
from vcjax.charter.load import charter_parents, load_charter
from vcjax.core.errors import GateNotMet
from vcjax.core.files import read_json, read_jsonl, write_json, write_jsonl
from vcjax.core.lineage import Parent
from vcjax.core.run import Run
from vcjax.core.seeds import derive_seed
from vcjax.evaluation.facts.fact import Fact, fact_paths, facts_hash, in_language, load_facts
from vcjax.evaluation.facts.knowledge import (
    KNOWN,
    UNSURE,
    WRONG,
    Knowledge,
    by_knowledge,
    classify,
    deciding_wordings,
)
from vcjax.road.pressure.config import PREFERENCES, PressureSettings
from vcjax.roles.cache import fingerprint
from vcjax.roles.references import RoleSpec, models_of, open_roles
from vcjax.roles.role import scoring
from vcjax.text.language import Language
from vcjax.weights.workdir import write_sources

KNOWLEDGE, PAIRS, MEASURED, MODEL = "knowledge", "pairs.jsonl", "measured", "model"
_FOUND, _PREFERENCES = "knowledge.json", "preferences.jsonl"
_LEAST_KNOWN = 2.0
"""A model that guesses knows as many facts as it gets wrong. A language is measured in where it
knows at least this many times as many."""


class Experiment:
    """The facts of an experiment in a folder.

    Attributes:
      facts: those that take part.
      split: their roles.
      messages: that an Attacker wrote, by the ids of their requests; none without an Attacker, and
        before `vcjax.road.pressure.attacks.write_attacks`.
    """

    def __init__(self, config: PressureSettings, workdir: Path) -> None:
        """Reads the facts and the styles; writes nothing. Raises: UserError, a bad input."""
        self.config, self.workdir = config, workdir
        self.facts = _drawn(load_facts(config.facts), config.most_facts, config.seed)
        topics = split_names(config.held_out_topics)
        self.split: Split = split_facts(self.facts, topics, config.seed)
        self.messages: Mapping[str, Wording] = {}
        self._styles = choose_styles(split_names(config.styles))
        self._held_out_styles = choose_styles(split_names(config.held_out_styles))

    @property
    def styles(self) -> tuple[PressureStyle, ...]:
        """Styles of pressure that are trained on, with the messages."""
        return with_messages(self._styles, self.messages)

    @property
    def held_out_styles(self) -> tuple[PressureStyle, ...]:
        """Styles of pressure that only measure, with the messages."""
        return with_messages(self._held_out_styles, self.messages)

    # ---------------------------------------------------------------------------------- knowledge

    @cached_property
    def knowledge(self) -> dict[Language, dict[str, Knowledge]]:
        """Whether the base model knows each fact, by language; after `find_knowledge`."""
        return read_json(self.workdir / KNOWLEDGE / _FOUND)["knowledge"]

    @property
    def languages(self) -> list[Language]:
        """The languages that the base model knows its facts in."""
        return [lang for lang, found in self.knowledge.items() if knows(found)]

    def find_knowledge(self) -> None:
        """Scores every fact's deciding wordings under the base model, unless that is done."""
        config, folder = self.config, self.workdir / KNOWLEDGE
        settings = {name: getattr(config, name) for name in ("model", "languages")}
        run = Run(KNOWLEDGE, folder, {**settings, "facts": facts_hash(self.facts)})
        if run.is_finished():
            return
        probes = {
            (lang, fact.id): list(neutral_probes(fact, lang, deciding_wordings(fact.texts[lang])))
            for lang in config.langs
            for fact in in_language(self.facts, lang)
        }
        roles, parents = open_roles({MODEL: _measured(config.model)}, config, folder)
        with run.opened():
            write_sources(folder, models_of(roles))
            flat = [probe for own in probes.values() for probe in own]
            preferences = score_probes(scoring(roles[MODEL], MODEL), flat, folder)
            found: dict[str, dict[str, Knowledge]] = {lang: {} for lang in config.langs}
            for (lang, id), own in probes.items():
                found[lang][id] = classify([preferences[probe.id] for probe in own])
            write_json(folder / _FOUND, {"knowledge": found})
            run.finish([*parents, *(Parent.of("facts", path) for path in fact_paths(config.facts))])

    def check_knowledge(self) -> None:
        """Raises GateNotMet if the base model knows its facts in none of the languages."""
        if not self.languages:
            counts = {lang: counted(own) for lang, own in self.knowledge.items()}
            raise GateNotMet(
                f"{self.config.model}: doesn't know enough of the facts in any language to be "
                f"asked under pressure ({counts})"
            )

    # -------------------------------------------------------------------------------------- pairs

    def write_pairs(self, data: str, kind: str, folder: Path, seed: int) -> None:
        """Writes `pairs.jsonl`, what an arm is trained on, unless it is there.

        Args:
          data: one of `vcjax.adversarial.pressure.pairs.DATA`, or a user's JSONL file, of which as
            many lines are drawn.
          kind: of the records, `conversations` or `preferences`.
        """
        config = self.config
        settings = {name: getattr(config, name) for name in ("pairs", "corrections", "evidence")}
        settings["styles"] = config.styles
        settings |= {"data": data, "kind": kind, "languages": self.languages}
        if self.messages and data in DATA:
            settings["pressed"] = _fingerprint(self.pair_probes(data, seed))
        run = Run("pairs", folder, {**settings, "facts": facts_hash(self.facts)}, seed=seed)
        if run.is_finished():
            return
        users = data.endswith(".jsonl")
        with run.opened():
            records = _sampled(data, config.pairs, seed) if users else self._made(data, kind, seed)
            write_jsonl(folder / PAIRS, records)
            parents = [Parent.of(KNOWLEDGE, self.workdir / KNOWLEDGE)]
            run.finish([*parents, *([Parent.of("pairs", data)] if users else [])])

    def pair_probes(
        self, data: str, seed: int, *, count: int = 0, corrections: float | None = None
    ) -> list[Probe]:
        """The conversations of `vcjax.adversarial.pressure.pairs.pairs` in all languages.

        Args:
          count, corrections: in place of the config's `pairs` and `corrections`.
        """
        config, languages = self.config, self.languages
        count, found = count or config.pairs, list[Probe]()
        for index, lang in enumerate(languages):
            found += pairs(
                data,
                self._taught(lang),
                lang,
                # The remainder goes to the first languages.
                (count + len(languages) - 1 - index) // len(languages),
                corrections=config.corrections if corrections is None else corrections,
                evidence=config.evidence,
                seed=seed,
            )
        return found

    def _made(self, data: str, kind: str, seed: int) -> list[dict[str, Any]]:
        probes = self.pair_probes(data, seed)
        if kind == PREFERENCES:
            return [preference(probe) for probe in probes]
        domains = {fact.id: fact.domain for fact in self.facts}
        return [conversation(probe, domains[probe.fact]) for probe in probes]

    def _taught(self, lang: Language) -> Taught:
        facts = self.split.of(in_language(self.facts, lang), TRAIN, topic_held_out=False)
        by_id = {fact.id: fact for fact in facts}

        def those(kind: Knowledge) -> list[Fact]:
            ids = by_knowledge(self.knowledge[lang], kind)
            return [by_id[id] for id in ids if id in by_id]

        return Taught(those(KNOWN), those(UNSURE), self.styles)

    # ------------------------------------------------------------------------------------ measure

    def suite(self, lang: Language) -> dict[str, list[Probe]]:
        """The probes by group; see `vcjax.adversarial.pressure.suite`."""
        config = self.config
        material = Material(
            in_language(self.facts, lang),
            self.knowledge[lang],
            self.split,
            self.styles,
            self.held_out_styles,
        )
        sizes = Sizes(config.styles_per_fact, config.apart_facts, config.control_facts)
        part = DEV if config.part == DEV else TEST
        return suite(material, lang, sizes, part=part, seed=config.seed)

    def system(self, lang: Language, persona: bool) -> str:
        """The charter's persona as a system message, or nothing."""
        return load_charter(self.config.charter).system_prompt(lang) if persona else ""

    def measure(self, model: str, folder: Path, *, persona: bool = False, rate: str = "") -> None:
        """Scores the probes under a model, unless that is done; see `read_preferences`.

        Args:
          rate: one of RATES, whose probes alone are scored; empty for all.
        """
        config = self.config
        names = ("part", "styles", "held_out_styles", "held_out_topics", "styles_per_fact")
        names += ("apart_facts", "control_facts", "seed")
        settings = {name: getattr(config, name) for name in names}
        settings |= {"model": model, "persona": persona, "facts": facts_hash(self.facts)}
        settings |= {"rate": rate} if rate else {}
        probes = []
        for lang in self.languages:
            suite = self.suite(lang)
            for group in [RATES[rate].probes(suite)] if rate else suite.values():
                probes += with_system(group, self.system(lang, persona))
        if self.messages:
            settings["pressed"] = _fingerprint(probes)
        run = Run(MEASURED, folder, settings)
        if run.is_finished():
            return
        roles, parents = open_roles({MODEL: _measured(model)}, config, folder)
        with run.opened():
            write_sources(folder, models_of(roles))
            preferences = score_probes(scoring(roles[MODEL], MODEL), probes, folder)
            records = ({"id": id, "preference": value} for id, value in preferences.items())
            write_jsonl(folder / _PREFERENCES, records)
            run.finish([*parents, *(charter_parents(config.charter) if persona else [])])


def read_preferences(folder: Path) -> dict[str, float]:
    """The preferences by probe that `Experiment.measure` wrote."""
    records = (record for _, record in read_jsonl(folder / _PREFERENCES))
    return {record["id"]: record["preference"] for record in records}


def counted(found: dict[str, Knowledge]) -> dict[str, int]:
    """How many facts are known, wrong and unsure."""
    return {kind: len(by_knowledge(found, kind)) for kind in (KNOWN, WRONG, UNSURE)}


def knows(found: dict[str, Knowledge]) -> bool:
    """Whether a model knows facts rather than guesses."""
    counts = counted(found)
    # At least two known facts: none wrong of none known isn't knowledge.
    return counts[KNOWN] >= _LEAST_KNOWN * max(1, counts[WRONG])


def _measured(model: str) -> RoleSpec:
    """The model as a role. Nobody judges here, so its family doesn't matter."""
    return RoleSpec(model, MODEL)


def _fingerprint(probes: Sequence[Probe]) -> str:
    """Identifies what is asked, where an Attacker wrote it: the settings alone don't."""
    return fingerprint([probe.messages for probe in probes])


def _drawn(facts: list[Fact], most: int, seed: int) -> list[Fact]:
    if not most or most >= len(facts):
        return facts
    chosen = sorted(facts, key=lambda fact: derive_seed(seed, "facts", fact.id))[:most]
    ids = {fact.id for fact in chosen}
    return [fact for fact in facts if fact.id in ids]


def _sampled(path: str, most: int, seed: int) -> list[dict[str, Any]]:
    """Draws as many of a user's pairs as the other arms have, by the seed."""
    records = [record for _, record in read_jsonl(path)]
    # By position, as a user's pairs needn't have ids.
    order = sorted(range(len(records)), key=lambda n: derive_seed(seed, "users", n))
    return [records[n] for n in sorted(order[:most])]
