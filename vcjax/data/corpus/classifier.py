"""A small classifier of domains, for documents that don't have the words of the charter's terms.

    labelled texts --- features ---> sparse counts of hashed words, characters and pairs of these
                                        |
    multinomial logistic regression with an L2 penalty, by L-BFGS ---> one safetensors file

The domain `none` is a class like the others: give examples of it, too. One in five examples, by
the hash of its text, isn't trained on, and what the classifier does on these is in the file.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from jaxtyping import Float, Float32, Int64
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from vcjax.core.errors import UserError
from vcjax.core.files import read_jsonl, replaced
from vcjax.core.seeds import derive_seed
from vcjax.text.grams import gram_hashes, mixed, units_of

if TYPE_CHECKING:
    import scipy.sparse


NONE = "none"
"""The class of texts of no domain."""
_BITS = 16
_LONGEST = 20_000
"""Characters of a text that are read; what it is about shows by then."""
_TEST = 5  # one in so many examples
_FORMAT = "vcjax-domain-classifier-1"


@dataclass(frozen=True)
class Classifier:
    """A fitted classifier.

    Attributes:
      classes: names, in the order of the columns.
      weights: of each hashed feature.
      bias: of each class.
      measured: `measure` on the examples that weren't trained on.
    """

    classes: tuple[str, ...]
    weights: Float32[np.ndarray, "features classes"]
    bias: Float32[np.ndarray, " classes"]
    measured: Mapping[str, Any]

    def probabilities(self, text: str) -> Float[np.ndarray, " classes"]:
        """The probability of each class."""
        indices, values = features(text)
        scores = values @ self.weights[indices].astype(np.float64) + self.bias
        scores = np.exp(scores - scores.max())
        return scores / scores.sum()

    def best(self, text: str) -> tuple[str, float]:
        """The most probable class and its probability."""
        probabilities = self.probabilities(text)
        index = int(probabilities.argmax())
        return self.classes[index], float(probabilities[index])

    def save(self, path: str | os.PathLike) -> None:
        """Writes one safetensors file, whole or not at all."""
        about = {"classes": self.classes, "measured": self.measured}
        # One entry: safetensors writes several in random order.
        metadata = {_FORMAT: json.dumps(about, ensure_ascii=False)}
        with replaced(path) as temporary:
            save_file({"weights": self.weights, "bias": self.bias}, temporary, metadata)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Self:
        """Reads what `save` wrote.

        Raises:
          UserError: no such file, or not a classifier's.
        """
        try:
            with safe_open(path, "numpy") as stored:
                metadata = stored.metadata() or {}
                if _FORMAT not in metadata:
                    raise UserError(f"{path}: not a classifier that vcjax has trained")
                weights, bias = stored.get_tensor("weights"), stored.get_tensor("bias")
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        except SafetensorError as error:
            raise UserError(f"{path}: not a safetensors file ({error})") from None
        about = json.loads(metadata[_FORMAT])
        return cls(tuple(about["classes"]), weights, bias, about["measured"])


def train_classifier(examples: Iterable[tuple[str, str]], penalty: float = 1.0) -> Classifier:
    """Fits a classifier to labelled texts; the same ones, in any order, give the same classifier.

    Args:
      examples: text and domain, or `NONE`.
      penalty: of the squared weights; higher where there are few examples or their labels are
        doubtful.

    Raises:
      UserError: fewer than two domains, or too few examples of one to measure it.
    """
    parts: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
    # Sorted, so that the sums of L-BFGS have their terms in one order; split by a hash, so that a
    # text that is added moves no other from one side to the other.
    for text, domain in sorted(dict(examples).items()):
        parts[derive_seed("classifier", text) % _TEST == 0].append((text, domain))
    trained, tested = parts
    counts = Counter(domain for _, domain in trained)
    classes = tuple(sorted(counts))
    if len(classes) < 2:
        raise UserError("labelled examples: of two domains at least, or of one and of none")
    if missing := {domain for _, domain in tested} - set(classes):
        raise UserError(f"labelled examples: too few of {min(missing)!r} to train on")
    rows = _rows([text for text, _ in trained])
    index_of = {domain: number for number, domain in enumerate(classes)}
    labels = np.array([index_of[domain] for _, domain in trained])
    weights, bias = _fit(rows, labels, len(classes), penalty)
    fitted = Classifier(classes, weights, bias, {})
    return Classifier(classes, weights, bias, measure(fitted, tested))


def measure(classifier: Classifier, examples: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """How often a classifier is right.

    Returns:
      `examples`, `accuracy`, and by class `{examples, found, right}`: how many have it, for how
      many it is the most probable class, and for how many both.
    """
    found = [classifier.best(text)[0] for text, _ in examples]
    true = [domain for _, domain in examples]
    right = [a for a, b in zip(found, true, strict=True) if a == b]
    of = [Counter(names) for names in (true, found, right)]
    return {
        "examples": len(true),
        "accuracy": len(right) / len(true) if true else None,
        "classes": {
            name: {"examples": of[0][name], "found": of[1][name], "right": of[2][name]}
            for name in classifier.classes
        },
    }


def features(text: str) -> tuple[Int64[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """The hashed features of a text, each once, and their values: the logarithm of one plus how
    often they occur, scaled to a Euclidean norm of one."""
    grams = [gram_hashes(units.hashes, n) for units in units_of(text[:_LONGEST]) for n in (1, 2)]
    hashes = mixed(np.concatenate(grams)) if grams else np.empty(0, np.uint64)
    indices, counts = np.unique(hashes >> np.uint64(64 - _BITS), return_counts=True)
    values = np.log1p(counts)
    return indices.astype(np.int64), values / max(1e-9, float(np.linalg.norm(values)))


def read_labelled(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Reads labelled examples from JSONL files: `{text, domain}` a line, other fields are ignored.

    Raises:
      UserError: a line without one of the two; names file and line.
    """
    for path in paths:
        for line, value in read_jsonl(path):
            fields = value if isinstance(value, dict) else {}
            text, domain = fields.get("text"), fields.get("domain")
            if not isinstance(text, str) or not isinstance(domain, str):
                raise UserError(f"{path}:{line}: needs 'text' and 'domain', both strings")
            yield text, domain


def _rows(texts: Sequence[str]) -> "scipy.sparse.csr_array":
    from scipy.sparse import csr_array

    found = [features(text) for text in texts]
    ends = np.cumsum([0, *(len(indices) for indices, _ in found)])
    indices = np.concatenate([indices for indices, _ in found])
    values = np.concatenate([values for _, values in found])
    return csr_array((values, indices, ends), shape=(len(texts), 1 << _BITS))


def _fit(
    rows: "scipy.sparse.csr_array", labels: Int64[np.ndarray, " n"], classes: int, penalty: float
) -> tuple[Float32[np.ndarray, "features classes"], Float32[np.ndarray, " classes"]]:
    from scipy.optimize import minimize

    # Most hashes aren't those of any feature of the examples: their weights stay zero.
    used = np.unique(rows.indices)
    rows = rows[:, used]
    columns = rows.T.tocsr()
    size = len(used) * classes
    wanted = np.eye(classes)[labels]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = flat[:size].reshape(-1, classes), flat[size:]
        scores = rows @ weights + bias
        # A softmax is the same after a shift, and exp can't overflow.
        scores -= scores.max(axis=1, keepdims=True)
        logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        error = np.exp(logs) - wanted
        gradient = np.concatenate(
            [(columns @ error + 0.01 * penalty * weights).ravel(), error.sum(axis=0)]
        )
        value = -(logs * wanted).sum() + 0.005 * penalty * (weights**2).sum()
        return float(value), gradient

    start = np.zeros(size + classes)
    options = {"maxiter": 100, "maxcor": 5}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
    weights = np.zeros((1 << _BITS, classes), np.float32)
    weights[used] = found[:size].reshape(-1, classes)
    return weights, found[size:].astype(np.float32)
