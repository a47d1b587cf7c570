"""Stance: where do the probabilities of a questionnaire's options lie, and how firmly?

Nothing is sampled: an item's options are shown under letters, in several orders, and the letters'
probabilities are those of the options. Options on a scale are shown forwards and backwards, others
rotated so that each is at each position once: a mere preference for a letter then has position 0,
or equal shares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.spatial.distance
import scipy.stats
from jaxtyping import Float

from vcjax.charter.schema import Charter
from vcjax.core.files import write_jsonl
from vcjax.core.seeds import derive_seed
from vcjax.evaluation.benchmark import Benchmark
from vcjax.evaluation.comparison.differences import ALL
from vcjax.evaluation.measures.measure import Measure, Sample
from vcjax.evaluation.options.letters import ITEMS, option_ask, option_probabilities
from vcjax.evaluation.options.stances import POSITIONS, StanceItem, load_stances
from vcjax.evaluation.subject import Subject
from vcjax.evaluation.summary import Record, Records
from vcjax.roles.cache import fingerprint
from vcjax.roles.role import scoring
from vcjax.stats.intervals import RATE, Scale, interval_record, mean_interval, rate_record

_LEAST_ITEMS = 10
"""Items that a group of people must have answered to be compared with."""


@dataclass(frozen=True)
class StanceSettings:
    """What `launch.evaluate` takes as `--config.stance.<field>`.

    Attributes:
      items, columns, options, lang: see `vcjax.evaluation.options.stances.load_stances`.
    """

    items: str = ""
    columns: str = ""
    options: str = ""
    lang: str = "en"


class Stance(Measure):
    """See the head of this file, and `measure.Measure`."""

    scores_texts = True
    input_role = "questionnaire"

    def __init__(
        self, charter: Charter, benchmark: Benchmark, sample: Sample, settings: StanceSettings
    ) -> None:
        items = load_stances(settings.items, settings.columns, settings.lang, settings.options)
        self._shipped = not settings.items
        if self._shipped:
            items = [item for item in items if item.lang in charter.languages]
        self._items = items
        self.inputs = [Path(name.strip()) for name in settings.items.split(",") if name.strip()]

    def run(self, subject: Subject, workdir: Path, folder: Path) -> dict[str, Any]:
        """Writes `items.jsonl`, see `item_record`; returns `shipped` (whether the items are the
        package's) and what `summarise` returns."""
        asks = [ask for item in self._items for ask in _asks(item)]
        found = option_probabilities(scoring(subject.model, "model"), asks, folder)
        records = [
            item_record(
                item, [found[f"{item.id}/{order}"] for order in range(len(orders_of(item)))]
            )
            for item in self._items
        ]
        write_jsonl(folder / ITEMS, records)
        groups = {item.id: item.groups for item in self._items}
        settings = subject.settings
        return {
            "shipped": self._shipped,
            **summarise(records, groups, seed=settings.seed, confidence=settings.confidence),
        }


def orders_of(item: StanceItem) -> list[tuple[int, ...]]:
    """The orders in which an item's options are shown, as indices of options."""
    options = tuple(range(len(item.options)))
    # A scale keeps its order and is shown from either end; of other options each comes once under
    # each letter, as models prefer some letters whatever stands behind them.
    if item.positions:
        return [options, options[::-1]]
    return [options[start:] + options[:start] for start in options]


def _asks(item: StanceItem) -> list[Any]:
    return [
        option_ask(
            f"{item.id}/{number}",
            item.lang,
            item.question,
            [item.options[index] for index in order],
        )
        for number, order in enumerate(orders_of(item))
    ]


def item_record(item: StanceItem, shown: Sequence[Float[np.ndarray, " options"]]) -> dict[str, Any]:
    """What is found of an item.

    Args:
      shown: for each of its orders the probabilities of the options, as they were shown.

    Returns `{id, fingerprint, parallel_id, lang, dimension, probabilities, position, entropy,
    order, flips}`:
      fingerprint: of the question, its options and their positions.
      probabilities: of the options in the file's order, the mean over the orders.
      position: their mean position, or None where they are no scale.
      entropy: of the probabilities, as a share of the largest: 1 is no preference.
      order: how far an order's probabilities are from these, in total variation (0 to 1), on
        average: how much the order decides.
      flips: whether the position has another sign in another order; None where there is none.
    """
    rows = np.empty((len(shown), len(item.options)))
    for row, order, own in zip(rows, orders_of(item), shown, strict=True):
        # Back from the order in which they were shown to that of the file.
        row[list(order)] = own
    mean = rows.mean(axis=0)
    position, flips = None, None
    if item.positions:
        # Options without a position, such as "don't know", are left out and the others scaled up.
        rated = np.array([each is not None for each in item.positions])
        at = np.array([each for each in item.positions if each is not None])
        by_order = rows[:, rated] @ at / rows[:, rated].sum(axis=1)
        position = float(by_order.mean())
        flips = bool(by_order.min() < 0 < by_order.max())
    return {
        "id": item.id,
        "fingerprint": fingerprint(item.question, item.options, item.positions),
        "parallel_id": item.parallel_id,
        "lang": item.lang,
        "dimension": item.dimension,
        "probabilities": mean.tolist(),
        "position": position,
        "entropy": float(scipy.stats.entropy(mean) / np.log(len(mean))),
        "order": float(np.abs(rows - mean).sum(axis=1).mean() / 2),
        "flips": flips,
    }


def summarise(
    records: Records,
    groups: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    seed: int,
    confidence: float,
) -> dict[str, Any]:
    """The numbers of the measure, of the records of `item_record`.

    Args:
      groups: by item, the shares of each option by group of people.

    Returns:
      dimensions: by dimension and language, and `all` where there are several, `position` and
        `entropy`, means over items with intervals that hold for any distribution. Items of one
        `parallel_id`, a statement's versions, are alike and count as one.
      languages: by language, `entropy`, `order` and `flips` (a rate) of all items.
      groups: by language and group, `similarity`, the mean over items of 1 less the Jensen-Shannon
        distance (base 2) between the model's probabilities and the group's shares; of groups with
        at least 10 items, the nearest first.
    """

    def mean(field: str, own: Records, scale: Scale, *names: str) -> Record:
        known = [record for record in own if record[field] is not None]
        interval = mean_interval(
            [record[field] for record in known],
            [record["parallel_id"] for record in known],
            scale=scale,
            confidence=confidence,
            seed=derive_seed(seed, field, *names),
        )
        return interval_record(interval, field)

    cells: dict[str, dict[str, Records]] = {}
    by_lang: dict[str, Records] = {}
    for record in records:
        cells.setdefault(record["dimension"], {}).setdefault(record["lang"], []).append(record)
        cells[record["dimension"]].setdefault(ALL, []).append(record)
        by_lang.setdefault(record["lang"], []).append(record)

    def language(lang: str, own: Records) -> Record:
        flips = [record["flips"] for record in own if record["flips"] is not None]
        return {
            "entropy": mean("entropy", own, RATE, lang),
            "order": mean("order", own, RATE, lang),
            "flips": rate_record(int(sum(flips)), len(flips), confidence),
        }

    def likeness(lang: str, own: Records) -> dict[str, Record]:
        near: dict[str, Records] = {}
        for record in own:
            for name, shares in groups[record["id"]].items():
                far = scipy.spatial.distance.jensenshannon(record["probabilities"], shares, base=2)
                # Rounding may make the divergence of equal distributions negative: its root is NaN.
                similarity = 1.0 - min(1.0, float(np.nan_to_num(far)))
                near.setdefault(name, []).append({**record, "similarity": similarity})
        found = {
            name: mean("similarity", likenesses, RATE, lang, name)
            for name, likenesses in near.items()
            if len(likenesses) >= _LEAST_ITEMS
        }
        return dict(sorted(found.items(), key=lambda each: -each[1]["similarity"]))

    return {
        "dimensions": {
            dimension: {
                lang: {
                    "position": mean("position", own, POSITIONS, dimension, lang),
                    "entropy": mean("entropy", own, RATE, dimension, lang),
                }
                for lang, own in sorted(languages.items())
                # In one language alone these would be the same twice.
                if lang != ALL or len(languages) > 2
            }
            for dimension, languages in sorted(cells.items())
        },
        "languages": {lang: language(lang, own) for lang, own in sorted(by_lang.items())},
        "groups": {
            lang: found for lang, own in sorted(by_lang.items()) if (found := likeness(lang, own))
        },
    }
