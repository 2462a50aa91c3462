"""Statistics against numbers worked by hand, scipy, published values, and simulation.

Simulations use fixed seeds and tolerances of about four standard errors, so they fail for a wrong
method and not by chance.
"""

import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from analysis import statistics
from analysis.statistics import (
    OF_NETWORKS,
    VERDICTS,
    bootstrap_deviations,
    clustered_interval,
    compare_methods,
    detectable_difference,
    group_means,
    holm,
    interval_over_seeds,
    mean_interval,
    power,
    verdict,
    wilson_interval,
)

DIMS = [8, 16, 32]


def compare_paired(new, base, margin=0.005, **options):
    """With a margin of half a point where none is given."""
    return statistics.compare_paired(new, base, margin, **options)


def compare_outcomes(new, base, dims, **options):
    """Of one network each: outcomes [S, n]."""
    new, base = np.asarray(new)[..., None, :], np.asarray(base)[..., None, :]
    return statistics.compare_outcomes(new, base, dims, margin=0.005, **options)


def paired_hits(both, wins, losses, neither):
    """Outcomes of two methods with these numbers of items of each kind: new, base."""
    new = np.repeat([True, True, False, False], [both, wins, losses, neither])
    base = np.repeat([True, False, True, False], [both, wins, losses, neither])
    return new, base


def draw_hits(rng, n, p01, p10, size=1):
    """Hits [size, n] of two methods: new alone right with p01, base alone right with p10."""
    draw = rng.random((size, n))
    both = draw >= p01 + p10
    return both | (draw < p01), both | ((draw >= p01) & (draw < p01 + p10))


# --- one method -----------------------------------------------------------------------------------


@pytest.mark.parametrize("hits, n", [(0, 10), (1, 10), (7, 10), (10, 10), (38_211, 50_000)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_wilson_interval_is_scipys(hits, n, level):
    expected = stats.binomtest(hits, n).proportion_ci(level, method="wilson")
    found = wilson_interval(hits, n, level)
    assert found.estimate == hits / n
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_interval_takes_several_sizes_and_holds_its_estimate():
    found = wilson_interval(np.arange(0, 101), 100)
    assert found.low.shape == (101,)
    assert np.all((found.low <= found.estimate) & (found.estimate <= found.high))
    assert found.low[0] == 0 and found.high[0] > 0.03  # no certainty from 0 of 100


@pytest.mark.parametrize("hits, n", [(-1, 10), (11, 10), (0, 0), (np.nan, 10)])
def test_wilson_interval_refuses_impossible_counts(hits, n):
    with pytest.raises(ValueError, match="hits <= n"):
        wilson_interval(hits, n)


def test_mean_interval_by_hand_and_by_scipy():
    # mean 2, standard error 1/sqrt(3), t(0.975, 2) = 4.302653
    found = mean_interval([1.0, 2.0, 3.0])
    assert found.estimate == 2
    assert found.high - 2 == pytest.approx(4.302653 / math.sqrt(3), abs=1e-6)
    values = np.random.default_rng(0).normal(size=(3, 40))
    expected = stats.ttest_1samp(values, 0, axis=1).confidence_interval(0.9)
    found = mean_interval(values, 0.9)
    np.testing.assert_allclose(found.low, expected.low)
    np.testing.assert_allclose(found.high, expected.high)


def test_the_bootstrap_interval_is_scipys():
    rng = np.random.default_rng(1)
    values = rng.beta(0.5, 0.5, size=300)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=9_999, method="percentile", rng=rng
    ).confidence_interval
    found = compare_paired(values, np.zeros(300), rng=rng)
    assert found.difference == values.mean()
    spread = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.04 * spread)
    assert found.high == pytest.approx(expected.high, abs=0.04 * spread)


def test_bootstrap_deviations_are_those_of_the_drawn_items_the_same_for_every_row():
    values = np.random.default_rng(4).normal(size=(3, 50))
    found = bootstrap_deviations(values, np.random.default_rng(5), 7)
    again = np.random.default_rng(5)
    for draw in range(7):
        items = again.integers(0, 50, size=50)
        slow = values[:, items].mean(axis=1) - values.mean(axis=1)
        np.testing.assert_allclose(found[draw], slow, atol=1e-6)


# --- McNemar --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wins, losses",
    [(0, 0), (1, 0), (0, 5), (5, 5), (6, 5), (12, 3), (59, 6), (1000, 1100), (3, 2000), (1_001_500, 998_500)],
)
def test_p_of_hits_is_scipys_exact_binomial(wins, losses):
    new, base = paired_hits(20, wins, losses, 10)
    expected = stats.binomtest(wins, wins + losses, 0.5).pvalue if wins + losses else 1.0
    assert compare_paired(new, base).p == pytest.approx(expected, rel=1e-8)


# --- paired intervals -----------------------------------------------------------------------------


def test_interval_of_hits_by_hand():
    # Bonett-Price: 9 and 3 of 48 disagree: (10 - 4) / 50 = 0.12, variance (0.28 - 0.0144) / 50.
    new, base = paired_hits(30, 9, 3, 6)
    found = compare_paired(new, base)
    half = 1.959964 * math.sqrt((0.28 - 0.12**2) / 50)
    assert found.difference == pytest.approx(6 / 48)
    assert (found.low, found.high) == pytest.approx((0.12 - half, 0.12 + half), abs=1e-6)


@pytest.mark.parametrize(
    "n, p01, p10",
    [(30, 0.1, 0.1), (30, 0.3, 0.05), (100, 0.02, 0.02), (100, 0.2, 0.1), (1000, 0.05, 0.03)],
)
def test_interval_of_hits_covers_the_truth_as_often_as_it_says(n, p01, p10):
    new, base = draw_hits(np.random.default_rng(11), n, p01, p10, size=4000)
    found = compare_paired(new, base)
    covered = np.mean((found.low <= p01 - p10) & (p01 - p10 <= found.high))
    # At few discordant items it is wider than needed, never much narrower.
    assert 0.935 <= covered <= (0.999 if n * (p01 + p10) < 10 else 0.97)


def test_interval_of_real_outcomes_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(12)
    base = rng.beta(2, 1, size=(1500, 120))
    new = base + rng.exponential(0.1, size=base.shape) - 0.08  # skewed, true difference 0.02
    # One call: rows share draws, but the data of the rows are independent.
    found = compare_paired(new, base, level=0.9, rng=rng, resamples=1000)
    covered = np.mean((found.low <= 0.02) & (found.high >= 0.02))
    assert 0.86 <= covered <= 0.93


def test_identical_hits_do_not_make_a_small_sample_certain():
    hits = np.ones(40, bool)
    found = compare_paired(hits, hits)
    assert found.difference == 0
    assert found.low == pytest.approx(-found.high)
    assert found.high > 0.05


def test_exchanging_the_methods_turns_the_comparison_round():
    rng = np.random.default_rng(13)
    hits = draw_hits(rng, 200, 0.2, 0.1)
    values = rng.random((2, 200))
    for new, base in ((hits[0][0], hits[1][0]), (values[0], values[1])):
        one = compare_paired(new, base, rng=np.random.default_rng(1), resamples=500)
        two = compare_paired(base, new, rng=np.random.default_rng(1), resamples=500)
        assert one.difference == pytest.approx(-two.difference)
        assert (one.low, one.high) == pytest.approx((-two.high, -two.low), abs=1e-6)
        assert (one.p, one.p_equivalence) == (two.p, two.p_equivalence)
        assert one.discordant == two.discordant


def test_bootstrap_p_agrees_with_the_t_test():
    rng = np.random.default_rng(14)
    base = rng.random((5, 400))
    new = base + rng.normal([[0.0], [0.01], [0.02], [0.04], [-0.03]], 0.3, size=base.shape)
    found = compare_paired(new, base, rng=rng)
    np.testing.assert_allclose(found.p, stats.ttest_rel(new, base, axis=1).pvalue, atol=0.02)


def test_bootstrap_keeps_its_error_rate_when_nothing_differs():
    rng = np.random.default_rng(15)
    base = rng.beta(2, 1, size=(2000, 80))
    new = base + rng.normal(0, 0.2, size=base.shape)
    found = compare_paired(new, base, rng=rng, resamples=1000)
    assert 0.03 <= np.mean(found.p <= 0.05) <= 0.075


def test_few_items_cannot_be_more_certain_than_a_sign_test():
    new, base = np.full(4, 0.9), np.full(4, 0.5)
    found = compare_paired(new, base, rng=np.random.default_rng(0), resamples=100_000)
    assert found.p == 2 * 0.5**4
    found = compare_paired(new, base, margin=0.5, rng=np.random.default_rng(0))
    assert found.p_equivalence == 0.5**4


# --- Holm -----------------------------------------------------------------------------------------


def test_holm_known_answers():
    # multipletests(..., "holm") of statsmodels and p.adjust of R give these.
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.5, 0.9, 0.4]), [1, 1, 1])
    np.testing.assert_allclose(holm([0.02]), [0.02])
    assert holm([]).shape == (0,)


def test_holm_does_not_depend_on_the_order_and_lies_between_raw_and_bonferroni():
    rng = np.random.default_rng(16)
    p = rng.random(9) ** 3
    order = rng.permutation(9)
    np.testing.assert_array_equal(holm(p)[order], holm(p[order]))
    assert np.all(holm(p) >= p)
    assert np.all(holm(p) <= np.minimum(9 * p, 1))
    assert holm(p).min() == pytest.approx(9 * p.min())


@pytest.mark.parametrize("p", [[0.1, np.nan], [-0.1], [1.1], [[0.1]]])
def test_holm_refuses_what_are_not_p_values(p):
    with pytest.raises(ValueError, match="from 0 to 1"):
        holm(p)


# --- equivalence ----------------------------------------------------------------------------------


@pytest.mark.parametrize("wins, losses", [(40, 40), (60, 45), (30, 80)])
@pytest.mark.parametrize("margin", [0.005, 0.02])
def test_equivalence_is_the_ninety_percent_interval_inside_the_margin(wins, losses, margin):
    new, base = paired_hits(2000, wins, losses, 500)
    found = compare_paired(new, base, margin, level=0.9)
    assert (found.p_equivalence <= 0.05) == (-margin < found.low and found.high < margin)


def test_equivalence_of_hits_by_hand():
    # 19 and 9 of 2,498: shift 10 / 2,500 = 0.004; variance (0.012 - 0.000016) / 2,500.
    new, base = paired_hits(2000, 19, 9, 470)
    z = (0.01 - 0.004) / math.sqrt((0.012 - 0.004**2) / 2500)
    assert compare_paired(new, base, margin=0.01).p_equivalence == pytest.approx(stats.norm.sf(z))


def test_equivalence_is_claimed_falsely_no_more_than_alpha_at_the_margin():
    n, margin = 2000, 0.02
    new, base = draw_hits(np.random.default_rng(17), n, 0.05 + margin, 0.05, size=3000)
    assert np.mean(compare_paired(new, base, margin).p_equivalence <= 0.05) <= 0.066
    rng = np.random.default_rng(18)
    values = rng.random((1500, 200))
    moved = values + rng.normal(0.1, 0.2, size=values.shape)
    found = compare_paired(moved, values, 0.1, rng=rng, resamples=500)
    assert np.mean(found.p_equivalence <= 0.05) <= 0.075


def test_no_difference_found_is_not_equivalence():
    new, base = draw_hits(np.random.default_rng(19), 150, 0.1, 0.1)
    found = compare_paired(new[0], base[0])
    assert found.p > 0.05
    assert found.p_equivalence > 0.05


# --- verdicts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "low, high, p_holm, p_equivalence, direction, expected",
    [
        (0.01, 0.03, 0.001, 0.9, 1, "better"),
        (-0.03, -0.01, 0.001, 0.9, 1, "worse"),
        (-0.03, -0.01, 0.001, 0.9, -1, "better"),
        (0.01, 0.03, 0.001, 0.9, -1, "worse"),
        (0.01, 0.03, 0.06, 0.9, 1, "undecided"),  # significant only before Holm
        (-0.001, 0.03, 0.04, 0.9, 1, "undecided"),  # interval and test disagree
        (-0.02, 0.02, 1.0, 0.5, 1, "undecided"),
        (-0.002, 0.002, 1.0, 0.001, 1, "equivalent"),
        (0.001, 0.003, 0.001, 0.001, 1, "equivalent"),  # real, but inside the margin
    ],
)
def test_verdict(low, high, p_holm, p_equivalence, direction, expected):
    assert verdict(low, high, p_holm, p_equivalence, "methods", direction) == expected
    words = dict(zip(VERDICTS, OF_NETWORKS)) | {"undecided": "undecided"}
    # Of networks, the values themselves are spoken of: what is higher is higher, also where less is better.
    of_values = verdict(low, high, p_holm, p_equivalence, "methods")
    assert verdict(low, high, p_holm, p_equivalence, "networks", direction) == words[of_values]


def test_networks_compared_with_themselves_are_alike_where_there_are_items_enough():
    rng = np.random.default_rng(20)
    for n, expected in ((30, "undecided"), (3000, "alike")):
        for outcomes in (rng.random((3, n)) < 0.7, rng.random((3, n))):
            table = compare_outcomes(outcomes, outcomes, DIMS, rng=rng, resamples=200)
            assert table.verdict.tolist() == [expected] * 3
            assert table.difference.tolist() == [0] * 3 and table.discordant.tolist() == [0] * 3
            assert table.p.tolist() == table.p_holm.tolist() == [1] * 3


def test_table_is_made_of_its_parts():
    rng = np.random.default_rng(22)
    new, base = draw_hits(rng, 600, 0.1, 0.06, size=3)
    table = compare_outcomes(new, base, DIMS)
    assert table.columns.tolist() == [
        "dim", "difference", "low", "high", "p", "p_holm", "p_equivalence", "verdict",
        "detectable", "scope", "discordant", "n", "test",
    ]  # fmt: skip
    assert table.dim.tolist() == DIMS
    assert table.test.tolist() == ["mcnemar"] * 3
    assert table.n.tolist() == [600] * 3
    for row, a, b in zip(table.itertuples(), new, base):
        assert row.difference == pytest.approx(a.mean() - b.mean())
        one = compare_paired(a, b)
        assert (row.p, row.low, row.high, row.p_equivalence) == (one.p, one.low, one.high, one.p_equivalence)
        assert row.discordant == np.sum(a != b)
    np.testing.assert_array_equal(table.p_holm, holm(table.p))


def test_table_uses_the_bootstrap_as_soon_as_one_outcome_is_between():
    rng = np.random.default_rng(23)
    new, base = (hits.astype(float) for hits in draw_hits(rng, 100, 0.2, 0.1, size=3))
    assert compare_outcomes(new, base, DIMS).test.tolist() == ["mcnemar"] * 3
    base[1, 7] = 0.5
    table = compare_outcomes(new, base, DIMS, rng=rng, resamples=300)
    assert table.test.tolist() == ["bootstrap"] * 3
    with pytest.raises(ValueError, match="pass rng"):
        compare_outcomes(new, base, DIMS)


def test_table_does_not_depend_on_the_order_of_items_or_sizes():
    rng = np.random.default_rng(24)
    new, base = draw_hits(rng, 400, 0.12, 0.07, size=3)
    table = compare_outcomes(new, base, DIMS)
    items = rng.permutation(400)
    assert table.equals(compare_outcomes(new[:, items], base[:, items], DIMS))
    turned = compare_outcomes(new[::-1], base[::-1], DIMS[::-1])
    assert table.equals(turned[::-1].reset_index(drop=True))


def test_bootstrap_table_repeats_with_its_seed():
    values = np.random.default_rng(25).random((2, 3, 60))
    one, two, other = (
        compare_outcomes(*values, DIMS, rng=np.random.default_rng(seed), resamples=300) for seed in (1, 1, 2)
    )
    assert one.equals(two) and not one.equals(other)


# --- trainings --------------------------------------------------------------------------------------


def trainings(rng, seeds, spread, gain=0.0, repeats=4000, n=50, error=0.006):
    """Outcomes of two methods, [repeats, seeds, n]: normal, `error` the standard error over items.

    spread: standard deviation over trainings. Items have a difficulty that both share, one of each method's
    own, and one of each training's own.
    """
    own = error * math.sqrt(n) / 2
    shared = rng.normal(0, 0.3, (repeats, 1, n))
    return [
        shared
        + rng.normal(0, own, (repeats, 1, n))
        + rng.normal(0, own * math.sqrt(seeds), (repeats, seeds, n))
        + rng.normal(0, spread, (repeats, seeds, 1))
        + shift
        for shift in (gain, 0.0)
    ]


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("spread", [0.005, 0.015, 0.03])
def test_without_a_true_difference_few_verdicts_are_false(seeds, spread):
    """At most 6 % of nominal 5 %, whatever the trainings' spread; items alone gave 11 to 68 %."""
    found = compare_methods(*trainings(np.random.default_rng(30), seeds, spread), margin=0.01)
    assert 0.01 < np.mean(found.p <= 0.05) <= 0.06
    assert np.mean((found.low <= 0) & (found.high >= 0)) == np.mean(found.p > 0.05)


@pytest.mark.parametrize("spread", [0.005, 0.015, 0.03])
def test_a_planted_gain_is_found_as_often_as_the_power_says(spread):
    """Three points, five trainings of each."""
    found = compare_methods(*trainings(np.random.default_rng(31), 5, spread, gain=0.03), margin=0.01)
    error, freedom = math.sqrt(np.mean(found.error**2)), np.median(found.freedom)
    assert np.mean(found.p <= 0.05) == pytest.approx(power(0.03, error, freedom), abs=0.04)


def test_a_comparison_of_trainings_by_hand():
    """Two trainings each, four items: item variance 0.0625 / 4; seed variances 0.03125 and 0, halved."""
    new = np.array([[[1.0, 1, 1, 0], [1, 1, 0, 0]]])
    base = np.array([[[0.0, 1, 0, 0], [0, 1, 0, 0]]])
    found = compare_methods(new, base, margin=0.1)
    items = np.var([1, 0, 0.5, 0], ddof=1) / 4
    seeds = np.var([0.75, 0.5], ddof=1) / 2
    freedom = (items + seeds) ** 2 / (items**2 / 3 + seeds**2 / 1)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(items + seeds)
    assert found.difference == 0.375 and found.scope == "methods" and found.discordant == 2
    assert (found.low[0], found.high[0]) == pytest.approx((0.375 - half, 0.375 + half))
    assert found.p == pytest.approx(2 * stats.t.sf(0.375 / math.sqrt(items + seeds), freedom))


def test_what_two_methods_owe_to_one_network_is_on_both_sides_when_they_are_paired():
    rng = np.random.default_rng(32)
    luck, items = rng.normal(0, 0.05, (1, 5, 1)), rng.normal(0, 0.1, (2, 5, 200))
    new, base = items[:1] + luck + 0.02, items[1:] + luck
    apart, paired = (compare_methods(new, base, margin=0.01, paired=each) for each in (False, True))
    assert paired.error < apart.error / 2
    assert paired.difference == apart.difference
    with pytest.raises(ValueError, match="must be as many"):
        compare_methods(new, base[:, :3], margin=0.01, paired=True)


def test_one_training_says_something_of_networks_only():
    rng = np.random.default_rng(33)
    new, base = draw_hits(rng, 3000, 0.1, 0.02, size=1)
    table = compare_outcomes(new, base, [8])
    assert table.scope.tolist() == ["networks"] and table.verdict.tolist() == ["higher"]
    several = np.stack([base] * 3, axis=1)  # against a method of which there are three
    table = statistics.compare_outcomes(new[:, None], several, [8], margin=0.005, rng=rng)
    assert table.scope.tolist() == ["networks"] and table.verdict.tolist() == ["higher"]
    table = statistics.compare_outcomes(np.stack([new] * 3, axis=1), several, [8], margin=0.005)
    assert table.scope.tolist() == ["methods"] and table.verdict.tolist() == ["better"]


def test_identical_outcomes_of_few_items_are_not_equivalent():
    """With one item each way it might have been another answer."""
    for n, expected in ((30, "undecided"), (3000, "equivalent")):
        outcomes = np.random.default_rng(20).random((3, 4, n))
        table = statistics.compare_outcomes(outcomes, outcomes, DIMS, margin=0.01, paired=True)
        assert table.verdict.tolist() == [expected] * 3 and (table.p == 1).all()


# --- power ----------------------------------------------------------------------------------------


def test_power_is_that_of_the_t_test():
    """In simulated samples of five, and by the normal formula where there are many."""
    samples = np.random.default_rng(36).normal(1.2, 1, (40_000, 5))
    found = np.mean(stats.ttest_1samp(samples, 0, axis=1).pvalue <= 0.05)
    assert power(1.2, 1 / math.sqrt(5), 4) == pytest.approx(found, abs=0.01)
    assert power(0.0, 1.0, 7) == pytest.approx(0.05)
    normal = stats.norm.sf(1.959964 - 2.5) + stats.norm.cdf(-1.959964 - 2.5)
    assert power(2.5, 1.0, np.inf) == pytest.approx(normal, abs=1e-5)


@pytest.mark.parametrize("freedom", [1, 2, 4, 8, 30, np.inf])
def test_the_detectable_difference_has_the_power_asked_for(freedom):
    assert power(detectable_difference(0.01, freedom), 0.01, freedom) == pytest.approx(0.8, abs=1e-6)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "new, base, message",
    [
        ([1, 0], [1, 0, 1], r"new has shape \[2\], base \[3\]"),
        ([[1, 0]], [1, 0], "same items"),
        ([1, np.nan], [1, 0], "new outcomes contains 1 NaN"),
        ([1, 0], [1, np.inf], "base outcomes contains 1 NaN or infinite"),
        ([], [], "empty"),
        (1, 0, "no axis"),
        (["a"], ["b"], "must be numbers"),
    ],
)
def test_outcomes_that_cannot_be_compared_are_refused(new, base, message):
    with pytest.raises(ValueError, match=message):
        compare_paired(new, base)


def test_tables_with_the_wrong_sizes_are_refused():
    hits = np.ones((3, 10), bool)
    for dims in ([8, 16], [8, 8, 16], 8):
        with pytest.raises(ValueError, match="different sizes, one per row"):
            compare_outcomes(hits, hits, dims)
    with pytest.raises(ValueError, match=r"must be \[sizes, trainings, items\]"):
        compare_outcomes(hits[0], hits[0], DIMS)


@pytest.mark.parametrize("options", [{"margin": 0}, {"margin": -1}, {"level": 1}, {"level": 95}])
def test_impossible_margins_and_levels_are_refused(options):
    with pytest.raises(ValueError, match=r"margin|level"):
        compare_paired([1, 0], [0, 0], **options)


def test_bootstraps_of_one_value_are_refused_and_its_interval_has_no_ends():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="n >= 2"):
        bootstrap_deviations([0.5], rng, 10)
    assert np.isnan(mean_interval([[0.5], [0.7]])[1:]).all() and mean_interval([0.5]).estimate == 0.5
    with pytest.raises(ValueError, match="empty"):
        mean_interval([])


def test_importing_statistics_and_metrics_does_not_load_torch():
    code = "import sys, analysis.metrics, analysis.statistics; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_bootstrap_p_counts_ties_and_never_beats_a_sign_test():
    """k of 2,000 items differ by one step: draws with as many of them as there are count as far out."""
    for k, expected in ((1, 1.0), (4, 0.125), (5, 0.0625), (8, 2**-7)):
        new = np.zeros(2000)
        new[:k] = 1 / 3
        found = [
            compare_paired(new[order], np.zeros(2000), rng=np.random.default_rng(1)).p
            for order in (np.arange(2000), np.random.default_rng(0).permutation(2000))
        ]
        assert found[0] == pytest.approx(expected, abs=0.004)
        assert found[0] == pytest.approx(found[1], abs=0.004)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_bootstrap_equivalence_p_counts_ties_whatever_the_order_of_the_items(sign):
    """One of 200 items differs by half the margin's sum: draws that hold it twice lie on the margin."""
    expected = 1 - stats.binom.cdf(1, 200, 1 / 200)
    for place in (0, 17, 199):
        new = np.zeros(200)
        new[place] = sign * 0.5
        found = compare_paired(new, np.zeros(200), margin=0.005, rng=np.random.default_rng(1))
        assert found.p_equivalence == pytest.approx(expected, abs=0.015)


# --- intervals over groups ------------------------------------------------------------------------


def test_clustered_interval_with_one_item_a_group_is_the_t_interval():
    values = np.random.default_rng(0).random(30)
    np.testing.assert_allclose(clustered_interval(values, np.arange(30)), mean_interval(values))


def test_clustered_interval_does_not_shrink_when_items_are_copied():
    values, groups = np.array([1.0, 0, 0, 1, 1]), np.arange(5)
    once, copied = (
        clustered_interval(values, groups),
        clustered_interval(np.tile(values, 9), np.tile(groups, 9)),
    )
    np.testing.assert_allclose(once, copied)
    mean, *ends = clustered_interval(values, np.zeros(5))
    assert mean == 0.6 and np.isnan(ends).all()


def test_group_means_have_the_variance_of_the_ratio():
    """Their plain interval is that of the ratio estimator, in closed form; totals would give another."""
    rng = np.random.default_rng(34)
    groups = np.repeat(np.arange(12), rng.integers(1, 40, 12))
    values = rng.random((2, len(groups))) + np.repeat(rng.random(12), np.bincount(groups))
    found = group_means(values, groups)
    np.testing.assert_allclose(found.mean(1), values.mean(1))
    for row, mine in zip(values, found):
        np.testing.assert_allclose(mean_interval(mine), clustered_interval(row, groups))
    np.testing.assert_allclose(group_means(np.ones(5), [0, 0, 0, 0, 1]), [1, 1])  # equal whatever the sizes


def test_the_bootstrap_of_group_means_is_that_of_the_ratio():
    rng = np.random.default_rng(35)
    groups = np.repeat(np.arange(200), rng.integers(1, 40, 200))
    values = (rng.random(len(groups)) < np.repeat(rng.beta(2, 2, 200), np.bincount(groups))).astype(float)
    totals, sizes = np.bincount(groups, values), np.bincount(groups)
    draws = rng.integers(0, 200, (4000, 200))
    ratio = totals[draws].sum(1) / sizes[draws].sum(1)
    found = compare_paired(group_means(values, groups), np.zeros(200), rng=rng)
    expected = np.quantile(ratio, [0.025, 0.975])
    np.testing.assert_allclose([found.low, found.high], expected, atol=0.06 * np.ptp(expected))
    scaled = totals * 200 / len(groups)  # what was resampled before: too wide by far
    assert np.ptp(mean_interval(scaled)[1:]) > 1.4 * np.ptp(expected)


def test_the_interval_over_seeds_has_both_sources_and_does_not_shrink_items():
    values, errors = np.array([0.7, 0.72, 0.68]), np.full(3, 0.01)
    found = interval_over_seeds(values, errors)
    variance = 0.0004 / 3 + 0.0001
    freedom = variance**2 / ((0.0004 / 3) ** 2 / 2)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(variance)
    np.testing.assert_allclose(found, (0.7, 0.7 - half, 0.7 + half))
    one = interval_over_seeds(values[:1], errors[:1])
    np.testing.assert_allclose(one, (0.7, 0.7 - 1.959964 * 0.01, 0.7 + 1.959964 * 0.01), atol=1e-8)
    same = interval_over_seeds(np.full(9, 0.7), np.full(9, 0.01))
    np.testing.assert_allclose(same, one, atol=1e-8)
