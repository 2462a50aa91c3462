"""The rules that decide a claim, and the tables made of what they find."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from analysis.evaluations import findings as ledger
from analysis.evaluations import findings_masked_lm, findings_vit
from analysis.findings import across, page, rules
from analysis.findings.decide import HALF, last_doubling, stated
from analysis.findings.evidence import Claim, Evidence, NotTested, Outcome
from analysis.findings.rules import below_full, every, large, largest, small
from suite.modules import ROOT
from suite.study import Method

KNN = Outcome("knn")
CLAIMS = {
    claim.name: claim for module in (ledger, findings_masked_lm, findings_vit) for claim in module.CLAIMS
}


class Given(Evidence):
    """Evidence with the outcomes it is given: `runs` are method → size → [K, n]."""

    def outcomes(self, method, outcome):
        return self.runs[method]


def shares(*values, n=4000, seeds=3, seed=5):
    """Outcomes by size 2, 4, 8 …: so many hits of n in each training, each in a random order."""
    rng = np.random.default_rng(seed)
    return {
        2 ** (i + 1): np.stack([rng.permutation(np.arange(n) < value * n) for _ in range(seeds)]).astype(
            float
        )
        for i, value in enumerate(values)
    }


def decided(rule, new, base, origins=None):
    """What a rule finds of two methods at a margin of a point."""
    return rule(
        Given({"new": new, "base": base}, 0, 0.01, origins or {}), Claim("", "", rule, "new", "base", KNN)
    )


@pytest.mark.parametrize(
    "rule, new, base, outcome",
    [
        (rules.not_worse(largest), (0.1, 0.1, 0.9), (0.2, 0.5, 0.8), "shown"),
        (rules.not_worse(largest), (0.9, 0.9, 0.795), (0.2, 0.5, 0.8), "undecided"),
        (rules.not_worse(largest), (0.9, 0.9, 0.7), (0.2, 0.5, 0.8), "contradicted"),
        (rules.better(every), (0.5, 0.6, 0.9), (0.3, 0.5, 0.8), "shown"),
        (rules.better(every), (0.5, 0.6, 0.8), (0.5, 0.6, 0.8), "undecided"),
        (rules.better(every), (0.3, 0.5, 0.8), (0.5, 0.6, 0.9), "contradicted"),
        (rules.worse(every), (0.4, 0.6, 0.7), (0.5, 0.7, 0.8), "shown"),
        (rules.worse(every), (0.5, 0.7, 0.8), (0.4, 0.6, 0.7), "contradicted"),
        (rules.within(largest, 5), (0.5, 0.7, 0.78), (0.5, 0.7, 0.8), "shown"),
        (rules.at_least(largest), (0.5, 0.7, 0.9), (0.5, 0.7, 0.8), "shown"),
        (rules.at_least(largest), (0.5, 0.7, 0.7), (0.5, 0.7, 0.8), "contradicted"),
        (rules.equivalent(large), (0.51, 0.71, 0.81), (0.5, 0.7, 0.8), "undecided"),
        (rules.equivalent(large), (0.6, 0.8, 0.9), (0.5, 0.7, 0.8), "contradicted"),
        (rules.not_worse_by_area, (0.5, 0.8, 0.9), (0.5, 0.7, 0.8), "shown"),
        (rules.not_worse_by_area, (0.5, 0.6, 0.8), (0.5, 0.8, 0.8), "contradicted"),
        (rules.each(below_full, "better"), (0.5, 0.7, 0.8), (0.2, 0.5, 0.8), "shown"),
        (rules.each(below_full, "better"), (0.5, 0.5, 0.8), (0.2, 0.5, 0.8), "undecided"),
        (rules.each(below_full, "better"), (0.5, 0.3, 0.8), (0.2, 0.5, 0.8), "contradicted"),
        (rules.each(every, "equivalent"), (0.5, 0.62, 0.8), (0.5, 0.72, 0.8), "contradicted"),
        (rules.stands_out(below_full, 1), (0.5, 0.6, 0.8), (0.2, 0.5, 0.8), "shown"),
        (rules.stands_out(below_full, 1), (0.3, 0.8, 0.8), (0.2, 0.5, 0.8), "contradicted"),
        (rules.stands_out(every, -1), (0.2, 0.5, 0.8), (0.3, 0.5, 0.8), "shown"),
        (rules.stands_out(every, -1), (0.3, 0.5, 0.8), (0.2, 0.5, 0.8), "contradicted"),
        (rules.collapses, (0.2, 0.5, 0.8), (), "shown"),
        (rules.collapses, (0.5, 0.6, 0.8), (), "contradicted"),
        (rules.not_monotone, (0.6, 0.4, 0.8), (), "shown"),
        (rules.not_monotone, (0.4, 0.6, 0.8), (), "contradicted"),
        (rules.best_of_all_sizes, (0.5, 0.7, 0.8), (), "shown"),
        (rules.best_of_all_sizes, (0.0, 0.0, 0.8), (), "contradicted"),
        (rules.reaches_full(rules.an_eighth), (0.55, 0.7, 0.8, 0.5), (), "shown"),
        (rules.reaches_full(rules.an_eighth), (0.5, 0.7, 0.8, 0.9), (), "contradicted"),
    ],
)
def test_rules_decide_as_they_say(rule, new, base, outcome):
    found = decided(rule, shares(*new), shares(*base, seed=6))
    assert found["outcome"] == outcome and found["scope"] == "methods"
    assert found["low"] <= found["value"] <= found["high"] and found["numbers"] and found["detectable"] > 0


def test_equivalence_is_shown_where_trainings_agree():
    """Two methods whose trainings answer alike but for one item in a hundred."""
    new = shares(0.5, 0.7, 0.8, n=20_000)
    base = {
        m: np.where(np.random.default_rng(m).random(values.shape) < 0.01, 0, values)
        for m, values in new.items()
    }
    for rule in (rules.equivalent(large), rules.each(every, "equivalent")):
        assert decided(rule, new, base)["outcome"] == "shown"


def test_undecided_says_what_could_have_been_told():
    """The fewer the trainings, the larger; with one the outcome is of these networks."""
    rule, found = rules.better(every), {}
    for seeds in (1, 2, 5):
        found[seeds] = decided(rule, shares(0.5, 0.7, seeds=seeds), shares(0.5, 0.7, seeds=seeds, seed=6))
    assert [each["outcome"] for each in found.values()] == ["undecided"] * 3
    assert [each["scope"] for each in found.values()] == ["networks", "methods", "methods"]
    assert found[2]["detectable"] > found[5]["detectable"] > 0.001


def test_methods_of_one_network_are_paired():
    luck = np.random.default_rng(7).normal(0, 0.2, (5, 1))
    one, other = (
        {m: values + luck for m, values in shares(0.5, 0.7, seeds=5, seed=k).items()} for k in (1, 2)
    )
    apart = decided(rules.not_worse(every), one, other)
    paired = decided(rules.not_worse(every), one, other, {"new": "ff", "base": "ff"})
    assert paired["detectable"] < apart["detectable"] / 3 and paired["value"] == apart["value"]

    # Of trainings that one side does not have nothing is paired.
    fewer = {m: values[:3] for m, values in other.items()}
    some = decided(rules.not_worse(every), one, fewer, {"new": "ff", "base": "ff"})
    same = {m: values[:3] for m, values in one.items()}
    assert some == decided(rules.not_worse(every), same, fewer, {"new": "ff", "base": "ff"})


def test_sizes_in_between_are_compared_with_the_line_through_their_neighbours():
    class Two(Given):
        def outcomes(self, method, outcome):
            return self.runs[outcome.metric]

    def found(middle):
        evidence = Two({"top1": shares(0.2, 0.6, 0.8), "between": {3: shares(middle)[2]}}, 0, 0.01)
        on = Outcome("knn", "between")
        return rules.on_the_line(KNN)(evidence, Claim("", "", None, "new", "new", on))

    line = 0.2 + 0.4 * np.log2(3 / 2)
    assert found(line + 0.05)["outcome"] == "shown" and found(line - 0.1)["outcome"] == "contradicted"
    assert found(line)["value"] == pytest.approx(0, abs=1e-3)


def test_a_claim_that_a_study_cannot_decide_says_why():
    """Of sizes 2 and 4 neither is small; of one size nothing can be told."""
    two, one = shares(0.5, 0.5, n=9), shares(0.5, n=9)
    with pytest.raises(NotTested, match="no size among 2, 4 that the claim is about"):
        decided(rules.better(small), two, two)
    assert decided(rules.equivalent(large), two, two)["dims"] == "2 4"
    for rule in (rules.stands_out(every, -1), rules.stands_out(below_full, 1), rules.not_monotone):
        with pytest.raises(NotTested, match="two sizes"):
            decided(rule, one, one)


@pytest.mark.parametrize(
    "name, value",
    [
        (
            "mrl_small",
            np.mean(
                [66.63 - 65.29, 73.53 - 72.85, 75.03 - 74.60, 75.82 - 75.27, 76.30 - 75.29, 76.47 - 75.71]
            ),
        ),
        ("robust_r", 35.07 - 37.10),
        ("boosted_small", 69.53 - 66.63),
        ("superclass", (85.572 - 90.22) - (66.63 - 76.80)),
        ("oracle", 4.6),
        ("shifted_map", np.nan),
    ],
)
def test_the_papers_number_is_the_same_difference_of_its_own_values(name, value):
    found, source = CLAIMS[name].of_the_paper()
    assert 100 * found == pytest.approx(value, abs=0.06, nan_ok=True)
    assert bool(source) == np.isfinite(value)


# --- as a page --------------------------------------------------------------------------------------


def rows(**given):
    """A findings table of one row."""
    row = {
        "claim": "A is B",
        "metric": "top1",
        "outcome": "undecided",
        "value": -0.012,
        "low": -0.02,
        "high": 0.03,
    }
    row |= {
        "detectable": 0.031,
        "scope": "methods",
        "paper": 0.013,
        "numbers": "8: …",
        "n": 2000,
        "split": "val",
    }
    return pd.DataFrame([row | {"seeds": 5, "margin": 0.01} | given])


def test_a_row_says_what_was_found_and_of_what():
    text = page.markdown(rows())
    assert (
        "| A is B (top1) | **undecided**; 3.1 could have been told | −1.2 [−2.0, +3.0] | +1.3 | 8: … |"
        in text
    )
    assert "n = 2,000 (val); trainings of each method: 5." in text and "these networks" not in text
    once = rows(outcome="shown", scope="networks", seeds=1)
    text = page.markdown(once)
    assert "**shown** (these networks)" in text and "One training of each" in text
    # A claim that was not tested has no scope, and does not make it several trainings.
    left = rows(outcome="not tested", scope=np.nan, seeds=0)
    assert "One training of each" in page.markdown(pd.concat([once, left]))
    mixed = page.markdown(pd.concat([once, rows()]))
    assert "One training of each" not in mixed and "are of methods trained once" in mixed


def test_gaps_by_length_are_a_row_for_each_pair_of_trainings():
    keys = ["metric", "range", "sizes", "images_seen", "train_images", "value", "low", "high"]
    given = [
        (metric, name, sizes, seen, 64, value, value - 0.01, value + 0.01)
        for seen, value in ((128, -0.02), (1280, -0.005))
        for metric in ("gap", "train_gap")
        for name, sizes in (("small", "8"), ("all", "8 32"))
    ]
    *_, first, second = page.gaps(pd.DataFrame(given, columns=keys)).splitlines()
    assert first == "| 128 | 64 | −2.0 [−3.0, −1.0] | −2.0 [−3.0, −1.0] | −2.0 [−3.0, −1.0] |"
    assert second.startswith("| 1,280 | 64 | −0.5 [−1.5, +0.5] |")


def test_a_study_that_gained_by_its_last_doubling_is_unfinished():
    def run(name, group, epochs, nesting=(2, 4)):
        method = Method(name, "mrl", "trained", name, group, nesting, (0,), {}, {"epochs": epochs})
        return [SimpleNamespace(method=method)]

    class Measured(Evidence):
        def outcomes(self, method, outcome):
            after = {"linear": 0.8, "masked_lm": 0.9}[outcome.task]
            plain = {"plain": (0.7, 0.7), "plain_half": (0.6, 0.6)}
            return shares(*({"mrl": (0.5, after), "half": (0.4, 0.75)} | plain)[method])

    runs = {"mrl": run("mrl", "baselines", 8), "half": run("half", HALF, 4), "other": run("other", "mine", 9)}
    of_tokens = last_doubling(Measured(runs, 0, 0.01), Outcome("masked_lm"))
    assert of_tokens == {"mrl": pytest.approx(0.15)}
    gained = last_doubling(Measured(runs, 0, 0.01))
    assert gained == {"mrl": pytest.approx(0.05)} and stated(gained) == "mrl +5.0"
    marked = page.markdown(rows(gained=0.05, doubling="mrl +5.0"))
    assert "gained, at d, in points: mrl +5.0. **These networks are unfinished**" in marked
    assert "unfinished" not in page.markdown(rows(gained=0.002, doubling="mrl +0.2"))
    # A plain model is the same baseline with one size: its half is its own.
    runs |= {"plain": run("plain", "baselines", 8, (4,)), "plain_half": run("plain_half", HALF, 4, (4,))}
    assert last_doubling(Measured(runs, 0, 0.01)) == {"mrl": pytest.approx(0.05), "plain": pytest.approx(0.1)}


def test_tables_of_pages_are_those_of_the_frozen_studies(tmp_path):
    """`python -m analysis.findings --docs` writes them again; a block that names no study is an error."""
    assert {path.name for path in page.pages()} == {"beyond.md", "collections.md", "findings.md"}
    for path in page.pages():
        text = path.read_text(encoding="utf-8")
        assert page.with_tables(text, ROOT / "results" / "saved") == text, f"stale: {path.name}"
    (tmp_path / "mine" / "tables").mkdir(parents=True)
    rows().to_csv(tmp_path / "mine" / "tables" / "findings.csv")
    given = "before\n<!-- findings: mine/findings -->\nstale\n<!-- end -->\nbehind"
    made = page.with_tables(given, tmp_path)
    assert "stale" not in made and "**undecided**" in made and made.endswith("<!-- end -->\nbehind")
    with pytest.raises(FileNotFoundError):
        page.with_tables(given.replace("mine", "other"), tmp_path)


def test_a_claim_stands_once_with_what_became_of_it_in_every_study(tmp_path):
    shown = {"outcome": "shown", "value": 0.021, "gained": 0.004}
    for study, given in (("mine", {}), ("glyphs", shown), ("vit", {"claim": "Another"})):
        (tmp_path / study / "tables").mkdir(parents=True)
        rows(**given).to_csv(tmp_path / study / "tables" / "findings.csv")
    (tmp_path / "vit" / "tables" / "findings.csv").rename(tmp_path / "vit" / "tables" / "findings_vit.csv")
    table = across.gathered(tmp_path)
    assert list(dict.fromkeys(table["of"])) == ["glyphs", "vit", "mine"]  # others behind those of the suite
    made = page.with_tables("<!-- every study -->\nold\n<!-- end -->\n", tmp_path)
    head, _, _, _, gained, *claims = made.splitlines()[2:-2]
    assert head == "| claim | `glyphs` | `vit` | `mine` | the paper |"
    assert gained == "| *gained by the last doubling, points* | +0.4 |  |  | |"
    cells = [[cell.strip() for cell in line.split("|")[2:5]] for line in claims]
    assert any(one[0] == "**shown** +2.1" and one[1] == "" and "undecided" in one[2] for one in cells)
    assert any(one[0] == one[2] == "" and one[1] for one in cells)
    (axes,) = across.picture(table).axes
    drawn = {(round(line.get_xdata()[0], 2), line.get_alpha()) for line in axes.lines}
    assert (-0.28, 1) in drawn and {x for x, _ in drawn} == {-0.28, 0.72, 1.72}
