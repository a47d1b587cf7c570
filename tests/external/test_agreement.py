"""The agreement coefficients on published tables."""

import csv
import json

import numpy as np
import pytest

from tests.external.outside import DATA
from vcjax.stats.agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha

TABLES = DATA / "agreement_reference_tables"
EXPECTED = json.loads((TABLES / "expected.json").read_text())


def table(name):
    """The numbers of a CSV file, NaN where a cell is empty."""
    rows = list(csv.reader((TABLES / name).open()))[1:]
    return np.array([[float(cell) if cell else np.nan for cell in row] for row in rows])


def test_fleiss_kappa():
    diagnoses = table("fleiss1971_diagnoses.csv")
    counts = (diagnoses[:, :, None] == np.arange(1, 6)).sum(axis=1)
    expected = EXPECTED["fleiss1971_diagnoses.csv"]["fleiss_kappa"]
    assert fleiss_kappa(counts) == pytest.approx(expected, abs=5e-8)
    expected = EXPECTED["fleiss_wikipedia_counts.csv"]["fleiss_kappa"]
    counts = table("fleiss_wikipedia_counts.csv").astype(int)
    assert fleiss_kappa(counts) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("weights", [None, "linear", "quadratic"])
def test_cohen_kappa(weights):
    ratings = table("irr_anxiety.csv")
    expected = EXPECTED["irr_anxiety.csv"]["raters_2_3"][f"cohen_{weights or 'unweighted'}"]
    assert cohen_kappa(ratings[:, 1], ratings[:, 2], weights) == pytest.approx(expected, abs=5e-8)


def test_cohen_kappa_of_a_table_with_a_label_that_one_rater_never_used():
    counts = table("sas_cohen_3x3_counts.csv").astype(int)
    a, b = (np.repeat(side.ravel(), counts.ravel()) for side in np.indices(counts.shape))
    expected = EXPECTED["sas_cohen_3x3_counts.csv"]
    assert cohen_kappa(a, b) == pytest.approx(expected["cohen_unweighted"], abs=5e-5)
    linear = expected["weighted_linear"]["kappa"]
    assert cohen_kappa(a, b, "linear") == pytest.approx(linear, abs=5e-5)


@pytest.mark.parametrize("level", ["nominal", "interval"])
def test_krippendorff_alpha(level):
    rows = list(csv.reader((TABLES / "krippendorff_wikipedia.csv").open()))[1:]
    ratings = [[float(cell) if cell else np.nan for cell in row[1:]] for row in rows]
    expected = EXPECTED["krippendorff_wikipedia.csv"][f"alpha_{level}"]
    assert krippendorff_alpha(ratings, level) == pytest.approx(expected, abs=5e-4)
