"""Agreement coefficients, against the worked examples of their papers."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from vcjax.stats.agreement import (
    alpha_interval,
    cohen_kappa,
    cohen_test,
    fleiss_kappa,
    icc,
    icc_interval,
    kappa_interval,
    krippendorff_alpha,
    rater_errors,
    spearman,
    spearman_interval,
)
from vcjax.stats.intervals import Interval

_ = math.nan
# Krippendorff (2011), Computing Krippendorff's Alpha-Reliability: four observers, twelve units.
FOUR_OBSERVERS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
        [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
    ]
)
# Shrout & Fleiss (1979), table 2: six targets by four judges.
SIX_TARGETS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
)
labels = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=30)


def spread(table):
    """The two raters' labels that a table of counts stands for."""
    cells = [(i, j) for i, row in enumerate(table) for j, n in enumerate(row) for _ in range(n)]
    return [i for i, _ in cells], [j for _, j in cells]


@pytest.mark.parametrize(
    ("weights", "kappa"), [(None, 0.4842), ("linear", 0.4701), ("quadratic", 1 - 171 / 311)]
)
def test_kappa_of_a_published_table(weights, kappa):
    # A print-out of SAS PROC FREQ; the quadratic one by hand: 9 seen, 311 / 19 by chance.
    a, b = spread([[0, 4, 1], [0, 8, 0], [0, 1, 5]])
    assert cohen_kappa(a, b, weights, labels=[0, 1, 2]) == pytest.approx(kappa, abs=5e-5)


def test_kappa_of_cohen_s_way_of_counting():
    # 35 of 50 alike, chance 1/2: (0.7 - 0.5) / 0.5.
    a, b = spread([[20, 5], [10, 15]])
    assert cohen_kappa(a, b) == pytest.approx(0.4)
    assert cohen_kappa(["yes" if x else "no" for x in a], ["yes" if x else "no" for x in b]) == (
        pytest.approx(0.4)
    )


def test_a_label_that_nobody_used_widens_the_distance_only_where_it_is_named():
    a, b = [0, 0, 0, 2, 3, 3], [0, 0, 0, 3, 2, 3]
    near = cohen_kappa(a, b, "linear")
    assert near == cohen_kappa([0, 0, 0, 1, 2, 2], [0, 0, 0, 2, 1, 2], "linear")
    assert cohen_kappa(a, b, "linear", labels=[0, 1, 2, 3]) != pytest.approx(near)
    assert cohen_kappa(a, b, labels=[0, 1, 2, 3]) == pytest.approx(cohen_kappa(a, b))


@given(labels)
def test_kappa_is_symmetric_and_whole_agreement_is_one(pairs):
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    for weights in (None, "linear", "quadratic"):
        one, other = cohen_kappa(a, b, weights), cohen_kappa(b, a, weights)
        assert one == pytest.approx(other, nan_ok=True)
        assume(len(set(a)) > 1)
        assert cohen_kappa(a, a, weights) == pytest.approx(1)


def test_what_chance_alone_decides_is_undefined():
    assert math.isnan(cohen_kappa([1, 1], [1, 1]))
    assert math.isnan(krippendorff_alpha([[1, 1], [1, 1]]))
    assert math.isnan(fleiss_kappa([[3, 0], [3, 0]]))
    assert math.isnan(icc([[2, 2], [2, 2]]))
    assert kappa_interval([1, 1], [1, 1]) == Interval(None, None, None, 2)


def test_fleiss_kappa_of_a_published_table():
    # Wikipedia, Fleiss' kappa: fourteen raters, ten subjects, five categories.
    counts = [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
    assert fleiss_kappa(counts) == pytest.approx(0.210, abs=5e-4)


@pytest.mark.parametrize(
    ("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_of_krippendorff_s_four_observers(level, alpha):
    assert krippendorff_alpha(FOUR_OBSERVERS, level) == pytest.approx(alpha, abs=5e-4)


@settings(deadline=None)
@given(labels, st.sampled_from(["nominal", "ordinal", "interval"]))
def test_alpha_does_not_depend_on_who_rated_or_in_which_order(pairs, level):
    ratings = np.array(pairs, float).T
    alpha = krippendorff_alpha(ratings, level)
    assert krippendorff_alpha(ratings[::-1, ::-1], level) == pytest.approx(alpha, nan_ok=True)
    alone = np.array([[3.0], [_]])  # an item that one rater saw says nothing about agreement
    assert krippendorff_alpha(np.hstack([ratings, alone]), level) == (
        pytest.approx(alpha, nan_ok=True)
    )


@given(labels)
def test_nominal_alpha_is_fleiss_kappa_corrected_for_few_items(pairs):
    ratings = np.array(pairs)
    counts = (ratings[:, :, None] == np.arange(4)).sum(axis=1)
    kappa, n = fleiss_kappa(counts), ratings.size
    assume(not math.isnan(kappa))
    assert krippendorff_alpha(ratings.T) == pytest.approx(1 - (1 - kappa) * (n - 1) / n)


@pytest.mark.parametrize(
    ("form", "value"),
    [("1,1", 0.17), ("2,1", 0.29), ("3,1", 0.71), ("1,k", 0.44), ("2,k", 0.62), ("3,k", 0.91)],
)
def test_icc_of_shrout_and_fleiss(form, value):
    assert icc(SIX_TARGETS.T, form) == pytest.approx(value, abs=5e-3)


def test_icc_is_of_a_single_rating_s_absolute_agreement_by_default():
    assert icc(SIX_TARGETS.T) == icc(SIX_TARGETS.T, "2,1")


@pytest.mark.parametrize("coefficient", ["kappa", "alpha"])
def test_an_interval_covers_about_as_often_as_it_says(coefficient):
    rng = np.random.default_rng(0)
    # Two raters who see the truth, two labels at one half each, 85 % of the time: P(alike) = .745.
    truth = 2 * (0.85**2 + 0.15**2) - 1
    covered = 0
    for n in range(200):
        true = rng.integers(0, 2, 150)
        seen = np.where(rng.random((2, 150)) < 0.85, true, 1 - true)
        if coefficient == "kappa":
            interval = kappa_interval(*seen.tolist(), seed=n, resamples=400)
        else:
            interval = alpha_interval(seen, seed=n, resamples=400)
        covered += interval.low <= truth <= interval.high
    assert 180 <= covered <= 198


def test_an_interval_belongs_to_its_seed_and_to_the_estimate():
    a, b = spread([[20, 5], [10, 15]])
    one = kappa_interval(a, b, seed=1)
    assert one == kappa_interval(a, b, seed=1) != kappa_interval(a, b, seed=2)
    assert one.value == pytest.approx(0.4)
    assert (one.low < 0.4 < one.high, one.n) == (True, 50)
    alpha = alpha_interval([a, b], seed=1)
    assert alpha.value == pytest.approx(krippendorff_alpha([a, b]))


@pytest.mark.parametrize("weights", [None, "quadratic"])
def test_raters_who_agree_on_all_of_a_few_items_may_yet_disagree(weights):
    few, many = ([0] * n + [1] * n for n in (6, 60))
    intervals = [kappa_interval(labels, labels, weights) for labels in (few, many)]
    intervals += [alpha_interval(np.array([labels, labels])) for labels in (few, many)]
    for interval in intervals:
        assert (interval.value, interval.high) == (1.0, 1.0)
    assert 0.3 < intervals[0].low < 0.6
    assert 0.3 < intervals[2].low < 0.6
    assert 0.9 < intervals[1].low < 1
    assert 0.9 < intervals[3].low < 1


def test_a_single_rare_label_leaves_agreement_nearly_unknown():
    interval = kappa_interval([0, 0, 0, 1], [0, 0, 0, 1])
    assert interval.value == 1.0
    assert interval.low < 0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: cohen_kappa([1, 2], [1]), "of 2 and 1"),
        (lambda: cohen_kappa([], []), "of 0 and 0"),
        (lambda: cohen_kappa([1, None], [1, 2]), "missing"),
        (lambda: cohen_kappa([1.0, _], [1, 2]), "missing"),
        (lambda: cohen_kappa(["a"], ["b"], "linear"), "order"),
        (lambda: cohen_kappa([1], [2], labels=[1]), r"unknown labels: \[2\]"),
        (lambda: cohen_kappa([1], [2], "cubic"), "cubic"),
        (lambda: fleiss_kappa([[2, 0], [1, 0]]), "same number of raters"),
        (lambda: fleiss_kappa([[1, 0], [0, 1]]), "at least 2"),
        (lambda: fleiss_kappa([1, 2]), "a table"),
        (lambda: krippendorff_alpha([1, 2]), "raters, items"),
        (lambda: krippendorff_alpha([[1, _], [_, 2]]), "two ratings"),
        (lambda: krippendorff_alpha([[1], [1]], "ratio"), "ratio"),
        (lambda: icc([[1, 2]]), "2 by 2"),
        (lambda: icc([[1, _], [1, 2]]), "missing"),
        (lambda: icc(SIX_TARGETS, "4,1"), "4,1"),
    ],
)
def test_what_can_t_be_counted_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


@given(labels, st.sampled_from(["1,1", "2,1", "3,1", "1,k", "2,k", "3,k"]), st.integers(-50, 50))
def test_icc_does_not_depend_on_origin_unit_or_order(pairs, form, origin):
    ratings = np.array(pairs, float).T
    found = icc(ratings, form)
    assume(not math.isnan(found))
    assert icc(3 * ratings[:, ::-1] + origin, form) == pytest.approx(found, abs=1e-9)


def test_clusters_of_one_item_each_are_the_items_and_larger_ones_count_for_less():
    random = np.random.default_rng(4)
    a = random.integers(0, 3, 40).repeat(5)
    b = np.where(random.random(40).repeat(5) < 0.7, a, random.integers(0, 3, 40).repeat(5))
    sides = a.tolist(), b.tolist()
    for interval in (kappa_interval, lambda a, b, **more: icc_interval([a, b], **more)):
        alone = interval(*sides)
        each = interval(*sides, clusters=range(200))
        together = interval(*sides, clusters=np.arange(40).repeat(5).tolist())
        assert alone.value == each.value == together.value
        assert each.bounds == pytest.approx(alone.bounds, abs=0.01)
        assert together.low < alone.low - 0.05
        assert together.high > alone.high
    with pytest.raises(ValueError, match="200 items, but 3 clusters"):
        kappa_interval(*sides, clusters=[1, 2, 3])


def test_icc_of_a_constant_has_no_interval():
    assert icc_interval([[2, 2, 2], [2, 2, 2]]) == Interval(None, None, None, 3)


def test_kappa_s_standard_error_of_a_published_table():
    # A print-out of SAS PROC FREQ.
    a, b = spread([[0, 4, 1], [0, 8, 0], [0, 1, 5]])
    test = cohen_test(a, b)
    assert (test.error, test.z, test.p) == pytest.approx((0.1380, 3.2626, 0.0011), abs=5e-5)
    assert test.interval() == pytest.approx((0.2137, 0.7547), abs=5e-5)


def test_a_rater_of_one_label_agrees_by_chance_and_can_t_be_tested():
    test = cohen_test([1, 1, 1, 1, 1, 1], [0, 1, 2, 3, 4, 5])
    assert (test.kappa, test.error) == pytest.approx((0, 0))
    assert math.isnan(test.z)
    assert math.isnan(test.p)


@settings(deadline=None)
@given(labels)
def test_spearman_is_scipy_s_and_is_undefined_where_a_rater_says_one_thing(pairs):
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert math.isnan(spearman(a, b))
        assert spearman_interval(a, b, resamples=9).bounds is None
    else:
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
        assert spearman(a, [10 * y**3 for y in b]) == pytest.approx(spearman(a, b))
        interval = spearman_interval(a, b, resamples=99)
        assert -1 <= interval.low <= interval.value <= interval.high <= 1


def test_raters_who_agree_on_few_items_leave_room_for_doubt():
    few, many = ([n % 6 for n in range(size)] for size in (6, 60))
    for interval in (spearman_interval(few, few), icc_interval([few, few], scale=(0, 5))):
        assert interval.value == pytest.approx(1)
        assert interval.low < 0.5
    for interval in (spearman_interval(many, many), icc_interval([many, many], scale=(0, 5))):
        assert interval.low > 0.7


@pytest.mark.parametrize("interval", [kappa_interval, spearman_interval])
def test_versions_of_one_item_count_once(interval):
    random = np.random.default_rng(0)
    a = random.integers(0, 4, 30)
    b = np.where(random.random(30) < 0.7, a, random.integers(0, 4, 30))
    alone = interval(a.tolist(), b.tolist(), seed=1)
    twice = interval([*a, *a], [*b, *b], clusters=[*range(30)] * 2, seed=1)
    ignoring = interval([*a, *a], [*b, *b], seed=1)
    assert twice.value == pytest.approx(alone.value)
    assert twice.high - twice.low == pytest.approx(alone.high - alone.low, rel=0.1)
    assert ignoring.high - ignoring.low < 0.8 * (twice.high - twice.low)


def test_a_panel_is_worth_as_many_judges_as_have_errors_of_their_own():
    random = np.random.default_rng(0)
    truth, own = random.normal(size=20_000), random.normal(size=(4, 20_000))
    common = random.normal(size=20_000)
    independent = rater_errors(truth + own, truth)
    assert independent.effective == pytest.approx(4, abs=0.1)
    # Half of each error's variance is common: 4 / (1 + 3 / 2).
    alike = rater_errors(truth + own + common + 2.0, truth)
    assert (alike.common, alike.effective) == pytest.approx((0.5, 1.6), abs=0.03)
    assert alike.correlation[0, 1] == pytest.approx(0.5, abs=0.03)
    same = rater_errors(np.stack([truth + common] * 3), truth)
    assert (same.common, same.effective) == pytest.approx((1, 1))
    never = rater_errors(np.stack([truth, truth]), truth)
    assert math.isnan(never.effective)


def test_items_that_somebody_left_out_are_in_no_error():
    ratings, truth = np.array([[1.0, 2, 3, _], [1.0, 2, 5, 4]]), np.array([1.0, 1, _, 3])
    assert rater_errors(ratings, truth).n == 2
