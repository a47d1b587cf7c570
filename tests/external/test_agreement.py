"""The agreement coefficients on published tables."""

import csv
import itertools
import json

import numpy as np
import pytest

from tests.external.outside import DATA
from vcjax.evaluation.judging.people import read_ratings
from vcjax.stats.agreement import (
    cohen_kappa,
    cohen_test,
    fleiss_kappa,
    fleiss_test,
    item_agreement,
    krippendorff_alpha,
)

TABLES = DATA / "agreement_reference_tables"
EXPECTED = json.loads((TABLES / "expected.json").read_text())


def table(name):
    """The numbers of a CSV file, NaN where a cell is empty."""
    rows = list(csv.reader((TABLES / name).open()))[1:]
    return np.array([[float(cell) if cell else np.nan for cell in row] for row in rows])


def printed(value, text=None):
    """A number to the digits that are printed of it."""
    digits = len(str(value if text is None else text).rpartition(".")[2])
    return pytest.approx(value, abs=0.5001 * 10**-digits)


def test_fleiss_kappa():
    diagnoses = table("fleiss1971_diagnoses.csv")
    counts = (diagnoses[:, :, None] == np.arange(1, 6)).sum(axis=1)
    expected = EXPECTED["fleiss1971_diagnoses.csv"]
    assert fleiss_kappa(counts) == printed(expected["fleiss_kappa"])
    assert fleiss_test(counts).z == printed(expected["z"])
    expected = EXPECTED["fleiss_wikipedia_counts.csv"]
    counts = table("fleiss_wikipedia_counts.csv").astype(int)
    assert fleiss_kappa(counts) == printed(expected["fleiss_kappa"], "0.210")
    for found, agreed in zip(item_agreement(counts), expected["P_i"], strict=True):
        assert found == printed(agreed, "0.000")


@pytest.mark.parametrize("weights", ["unweighted", "linear", "quadratic"])
def test_cohen_kappa(weights):
    ratings = table("irr_anxiety.csv")
    expected = EXPECTED["irr_anxiety.csv"]["raters_2_3"]
    chosen = None if weights == "unweighted" else weights
    kappa = cohen_kappa(ratings[:, 1], ratings[:, 2], chosen)
    assert kappa == printed(expected[f"cohen_{weights}"])
    test = cohen_test(ratings[:, 1], ratings[:, 2], chosen)
    assert (test.kappa, test.z) == (kappa, printed(expected[f"z_{weights}"]))


def test_cohen_kappa_of_a_table_with_a_label_that_one_rater_never_used():
    counts = table("sas_cohen_3x3_counts.csv").astype(int)
    a, b = (np.repeat(side.ravel(), counts.ravel()) for side in np.indices(counts.shape))
    expected = EXPECTED["sas_cohen_3x3_counts.csv"]
    unweighted = {**expected, "kappa": expected["cohen_unweighted"], "p": expected["p_two_sided"]}
    linear = expected["weighted_linear"]
    linear = {**linear, "p": linear["p_two_sided"]}
    for weights, figures in ((None, unweighted), ("linear", linear)):
        test = cohen_test(a, b, weights)
        assert cohen_kappa(a, b, weights) == test.kappa
        for found, name in ((test.kappa, "kappa"), (test.error, "ase"), (test.z, "z")):
            assert found == printed(figures[name], "0.0000")
        assert test.p == printed(figures["p"], "0.0000")
        for found, bound in zip(test.interval(), figures["ci95"], strict=True):
            assert found == printed(bound, "0.0000")


@pytest.mark.parametrize("level", ["nominal", "interval"])
def test_krippendorff_alpha(level):
    rows = list(csv.reader((TABLES / "krippendorff_wikipedia.csv").open()))[1:]
    ratings = [[float(cell) if cell else np.nan for cell in row[1:]] for row in rows]
    expected = EXPECTED["krippendorff_wikipedia.csv"][f"alpha_{level}"]
    assert krippendorff_alpha(ratings, level) == printed(expected)


def answers(name, *columns):
    """Columns of a JSON file of PandaLM's, in the order of the comparisons."""
    rows = sorted(json.loads((DATA / "pandalm" / name).read_text()), key=lambda row: row["idx"])
    return [[str(row[column]) for row in rows] for column in columns]


def test_the_kappas_of_pandalm_s_annotators():
    people = answers("testset-v1.json", "annotator1", "annotator2", "annotator3")
    kappas = [cohen_kappa(a, b) for a, b in itertools.combinations(people, 2)]
    # Wang et al., PandaLM (2306.05087), section 4.1, of the same 999 comparisons.
    assert sorted(kappas) == [printed(0.85), printed(0.86), printed(0.88)]


XSTEST = DATA / "xstest"
PEOPLE = ("annotation_1", "annotation_2")


@pytest.mark.parametrize(
    ("model", "same", "kappa", "beside"),
    [
        ("gpt4", 0.984, 0.970, {"gpt4": (0.88, 0.87), "strmatch": (0.86, 0.83)}),
        ("llama2new", 0.958, 0.926, {"gpt4": (0.62, 0.61), "strmatch": (0.75, 0.72)}),
    ],
)
def test_xstest_s_labels_are_judges_beside_its_two_people(model, same, kappa, beside):
    """Imported by the mapping of columns alone. The people's figures are those of
    `../shared/data/README.md`, the judges' beside each of them what was found first."""
    files = {
        **{name: (f"xstest_v2_completions_{model}_gpteval.csv", "human") for name in PEOPLE},
        "gpt4_label": (f"xstest_v2_completions_{model}_gpteval.csv", "gpt4"),
        "strmatch_label": (f"xstest_v2_completions_{model}_streval.csv", "rule"),
    }
    judges = {}
    for column, (file, family) in files.items():
        (judge,) = read_ratings(f"scores:{XSTEST / file}", f"score:{column}", family)
        assert judge.family == family
        judges[column] = {rating.item: rating.score for rating in judge.ratings}
    one, other = (judges[name] for name in PEOPLE)
    assert len(one) == 450
    assert cohen_kappa(*paired(one, other)) == printed(kappa)
    assert np.mean(np.equal(*paired(one, other))) == printed(same)
    for judge, figures in beside.items():
        for name, figure in zip(PEOPLE, figures, strict=True):
            found = cohen_kappa(*paired(judges[name], judges[f"{judge}_label"]))
            assert found == printed(figure)


def paired(a, b):
    """Two judges' labels of the answers that both have labelled."""
    ids = [item for item in a if a[item] is not None and b.get(item) is not None]
    return np.array([[each[item] for item in ids] for each in (a, b)])
