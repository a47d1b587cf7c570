"""What an arm can do beside what it is trained for: facts of topics that no arm is taught.

They are asked plainly, whether the base model knows them or not, and the log-likelihoods of a true
and a false sentence are compared. So every arm's capability is measured without the evaluation
harness; `config.capability` names tasks of the harness beside it.
"""

from collections.abc import Sequence
from pathlib import Path

from vcjax.adversarial.pressure.probes import neutral_probes, score_probes
from vcjax.core.files import read_json, write_json
from vcjax.core.lineage import Parent
from vcjax.core.run import Run
from vcjax.evaluation.facts.fact import fact_paths, facts_hash, in_language
from vcjax.road.pressure.experiment import MODEL, Experiment
from vcjax.roles.references import RoleSpec, models_of, open_roles
from vcjax.roles.role import scoring
from vcjax.text.language import Language
from vcjax.weights.workdir import write_sources

PLAIN = "plain_facts"
_RIGHT = "right.json"


def measure_facts(
    experiment: Experiment, model: str, langs: Sequence[Language], folder: Path
) -> None:
    """Writes whether a model prefers the true sentence, by language and fact; see `facts_right`."""
    topics = experiment.split.held_out_topics
    facts = [fact for fact in experiment.facts if fact.topic in topics]
    settings = {"model": model, "languages": list(langs), "facts": facts_hash(facts)}
    run = Run(PLAIN, folder, settings)
    if run.is_finished():
        return
    probes = {
        lang: [probe for fact in own for probe in neutral_probes(fact, lang, (0,))]
        for lang in langs
        if (own := in_language(facts, lang))
    }
    # Nobody judges here, so the model's family doesn't matter.
    roles, parents = open_roles({MODEL: RoleSpec(model, MODEL)}, experiment.config, folder)
    with run.opened():
        write_sources(folder, models_of(roles))
        flat = [probe for own in probes.values() for probe in own]
        preferences = score_probes(scoring(roles[MODEL], MODEL), flat, folder)
        right = {
            lang: {probe.fact: bool(preferences[probe.id] > 0) for probe in own}
            for lang, own in probes.items()
        }
        write_json(folder / _RIGHT, right)
        paths = fact_paths(experiment.config.facts)
        run.finish([*parents, *(Parent.of("facts", path) for path in paths)])


def facts_right(folder: Path) -> dict[Language, dict[str, bool]]:
    """What `measure_facts` wrote: by language and fact, whether the true sentence is preferred."""
    return read_json(folder / _RIGHT)
