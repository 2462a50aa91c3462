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

from analysis.statistics import (
    VERDICTS,
    bootstrap_deviations,
    clustered_interval,
    compare_outcomes,
    compare_paired,
    detectable_difference,
    group_totals,
    holm,
    mean_interval,
    power_mcnemar,
    verdict,
    wilson_interval,
)

DIMS = [8, 16, 32]


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
    "low, high, p_holm, p_equivalence, options, expected",
    [
        (0.01, 0.03, 0.001, 0.9, {}, "better"),
        (-0.03, -0.01, 0.001, 0.9, {}, "worse"),
        (-0.03, -0.01, 0.001, 0.9, {"direction": -1}, "better"),
        (0.01, 0.03, 0.001, 0.9, {"direction": -1}, "worse"),
        (0.01, 0.03, 0.06, 0.9, {}, "undecided"),  # significant only before Holm
        (-0.001, 0.03, 0.04, 0.9, {}, "undecided"),  # interval and test disagree
        (-0.02, 0.02, 1.0, 0.5, {}, "undecided"),
        (-0.002, 0.002, 1.0, 0.001, {}, "equivalent"),
        (0.001, 0.003, 0.001, 0.001, {}, "equivalent"),  # real, but inside the margin
        (-0.05, 0.05, 1.0, 0.6, {"identical": True}, "equivalent"),
    ],
)
def test_verdict(low, high, p_holm, p_equivalence, options, expected):
    assert expected in VERDICTS
    assert verdict(low, high, p_holm, p_equivalence, **options) == expected


@pytest.mark.parametrize("n", [30, 3000])
def test_a_method_compared_with_itself_is_equivalent_everywhere(n):
    rng = np.random.default_rng(20)
    for outcomes in (rng.random((3, n)) < 0.7, rng.random((3, n))):
        table = compare_outcomes(outcomes, outcomes, DIMS, rng=rng, resamples=200)
        assert table.verdict.tolist() == ["equivalent"] * 3
        assert table.difference.tolist() == [0] * 3
        assert table.p.tolist() == [1] * 3
        assert table.p_holm.tolist() == [1] * 3
        assert table.discordant.tolist() == [0] * 3


def test_table_is_made_of_its_parts():
    rng = np.random.default_rng(22)
    new, base = draw_hits(rng, 600, 0.1, 0.06, size=3)
    table = compare_outcomes(new, base, DIMS)
    assert table.columns.tolist() == [
        "dim", "difference", "low", "high", "p", "p_holm", "p_equivalence", "verdict",
        "discordant", "n", "test",
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


# --- power ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n, p01, p10", [(1, 0.5, 0.2), (12, 0.5, 0.1), (40, 0.25, 0.05)])
def test_power_is_the_sum_over_all_outcomes(n, p01, p10):
    total = 0.0
    for wins in range(n + 1):
        for losses in range(n + 1 - wins):
            m = wins + losses
            if m and stats.binomtest(wins, m, 0.5).pvalue <= 0.05:
                total += stats.multinomial.pmf([wins, losses, n - m], n, [p01, p10, 1 - p01 - p10])
    assert power_mcnemar(n, p01, p10) == pytest.approx(total, abs=1e-9)


def test_power_is_symmetric_rises_with_n_and_is_below_alpha_without_a_difference():
    assert power_mcnemar(500, 0.1, 0.05) == pytest.approx(power_mcnemar(500, 0.05, 0.1))
    powers = [power_mcnemar(n, 0.06, 0.04) for n in (200, 1000, 5000, 50_000)]
    assert np.all(np.diff(powers) > 0) and powers[-1] > 0.9999
    assert 0.03 < power_mcnemar(50_000, 0.05, 0.05) <= 0.05
    assert power_mcnemar(100, 0.0, 0.0) == 0
    assert power_mcnemar(20, 1.0, 0.0) == pytest.approx(1)


def test_power_counts_a_p_value_of_exactly_alpha_as_found():
    # Four items, all won by new: p = 2 / 16.
    assert power_mcnemar(4, 1.0, 0.0, alpha=0.125) == pytest.approx(1)
    assert power_mcnemar(4, 1.0, 0.0, alpha=0.124) == 0


@pytest.mark.parametrize("n, discordance", [(500, 0.1), (5000, 0.1), (50_000, 0.12)])
def test_detectable_difference_has_the_power_asked_for(n, discordance):
    found = detectable_difference(n, discordance, power=0.8)
    wins = (discordance + found) / 2
    assert power_mcnemar(n, wins, discordance - wins) == pytest.approx(0.8, abs=1e-5)
    # The usual large-sample formula, for orientation.
    approximate = (1.959964 + 0.841621) * math.sqrt(discordance / n)
    assert found == pytest.approx(approximate, rel=0.12)


def test_no_difference_is_detectable_when_too_few_items_differ():
    assert detectable_difference(20, 0.1) == math.inf


def test_planted_gain_is_found_as_often_as_the_power_says_and_no_gain_is_not():
    n, repeats = 2000, 400
    rng = np.random.default_rng(26)
    expected = power_mcnemar(n, 0.06, 0.04)
    new, base = draw_hits(rng, n, 0.06, 0.04, size=repeats)
    assert np.mean(compare_paired(new, base).p <= 0.05) == pytest.approx(expected, abs=0.08)
    # At a size with power 0.999 after Holm over three sizes, the verdict is always right.
    enough = next(n for n in range(1000, 9000, 500) if power_mcnemar(n, 0.06, 0.04, 0.05 / 3) > 0.999)
    for _ in range(20):
        new, base = draw_hits(rng, enough, 0.06, 0.04, size=3)
        assert compare_outcomes(new, base, DIMS).verdict.tolist() == ["better"] * 3
    verdicts = []
    for _ in range(100):
        new, base = draw_hits(rng, enough, 0.05, 0.05, size=3)
        verdicts.append({"better", "worse"} & set(compare_outcomes(new, base, DIMS).verdict))
    assert np.mean([bool(found) for found in verdicts]) <= 0.12  # 0.05 plus three standard errors


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: power_mcnemar(0, 0.1, 0.1), "n >= 1"),
        (lambda: power_mcnemar(10, 0.6, 0.6), "at most 1"),
        (lambda: power_mcnemar(10, -0.1, 0.6), "at most 1"),
        (lambda: power_mcnemar(10, 0.1, 0.1, alpha=0), "alpha"),
        (lambda: detectable_difference(10, 0.0), "discordance"),
        (lambda: detectable_difference(10, 0.5, power=1.0), "power"),
    ],
)
def test_impossible_power_questions_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


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
    for outcomes, dims in ((hits, [8, 16]), (hits, [8, 8, 16]), (hits[0], DIMS), (hits[0], 8)):
        with pytest.raises(ValueError, match="different sizes, one per row"):
            compare_outcomes(outcomes, outcomes, dims)


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


def test_group_totals_keep_the_mean_over_items():
    values, groups = np.array([[1.0, 0, 1, 1], [0, 0, 0, 1]]), np.array(["b", "a", "b", "b"])
    totals = group_totals(values, groups)
    np.testing.assert_allclose(totals, [[0, 1.5], [0, 0.5]])
    np.testing.assert_allclose(totals.mean(1), values.mean(1))
