"""What to do with an embedding: rows that answer, and what they say in words."""

import json

import made
import pandas as pd
import pytest
from test_collection import CODES, METHODS, run, study_of

from analysis.answers import answers, markdown
from analysis.evaluations.answers import largest_within, settled
from analysis.findings import across_collections
from suite.errors import UserError
from suite.study import load_study


@pytest.mark.parametrize(
    ("interval", "bound", "verdict"),
    [
        ((-0.009, 0.02), 0.01, "not worse"),
        ((-0.01, 0.02), 0.01, "undecided"),
        ((-0.03, -0.01), 0.01, "undecided"),
        ((-0.03, -0.011), 0.01, "worse"),
        ((0.001, 0.02), 0, "better"),
        ((0, 0.02), 0, "undecided"),
        ((-0.02, -0.001), 0, "worse"),
    ],
)
def test_a_verdict_is_of_the_whole_interval(interval, bound, verdict):
    assert settled(*interval, bound) == verdict


def test_a_code_is_compared_with_the_longest_prefix_that_takes_no_more():
    keys = [{"bytes_per_item": size} for size in (16, 32, 64, 40, 12)]
    assert [largest_within(keys, [0, 1, 2], place) for place in (3, 4)] == [1, None]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Tables of a collection: of `plain`, `nested` holds the first four columns and zeros."""
    folder = tmp_path_factory.mktemp("answers")
    made.collection(folder / "mine", documents=300, queries=150, zeros=False)
    for split in ("corpus", "queries"):
        vectors = made.load(folder / "mine", "plain", split)
        vectors[:, 4:] = 0
        made.save(folder / "mine", "nested", split, vectors)
    methods = METHODS | {
        "nested_random": {"baseline": "random_features", "source": "nested", "label": "nested, random"},
        "nested_turned": {"baseline": "random_rotation", "source": "nested", "label": "nested, turned"},
        "nested_axes": {"baseline": "pca", "source": "nested", "centre": False, "label": "nested, axes"},
        "plain_axes": {"baseline": "pca", "source": "plain", "centre": False, "label": "axes"},
    }
    measures = {"ranking": {"depth": 40}, "two_stages": {"lengths": [10, 40, 300]}, "neighbours": {"k": 10}}
    measures["indexes"] = {"splits": [["queries", "corpus"]], "queries": 100, "shortlist": 40, "seconds": 0}
    measures["indexes"] |= {"k": 10, "indexes": CODES}
    tasks = {"judged_retrieval": {"recalls": [10]}, "quantised_retrieval": {"methods": list(METHODS)}}
    tasks |= {"two_stage_retrieval": {"methods": list(METHODS)}, "answers": {"share": 0.7}}
    # That nothing changed in 150 queries does not show that less than 2 points would.
    given = {"tasks": tasks, "measures": measures, "margin": {"value": 0.02, "reason": "150 queries"}}
    with pytest.MonkeyPatch.context() as patch:
        found = run(study_of(folder / "mine", methods, **given), folder, patch)
    return found | {"main": found["judged_retrieval"].query("metric == 'ndcg@10'")}


def of(table, question, model="nested"):
    rows = table["answers"]
    return rows[(rows["question"] == question) & (rows["label"] == model)]


def test_differences_are_those_of_the_tables_that_they_come_from(table):
    means = table["main"].set_index(["method", "renormalised", "dim"])["value"]
    for model in METHODS:
        sizes = of(table, "size", model).set_index("dim")
        assert sizes.index.tolist() == [4, 8] and (sizes["bound"] == 0.02).all()
        again = of(table, "renormalise", model).set_index("dim")
        for m in (4, 8):
            full, here, cut = (means[model, how, at] for how, at in ((True, 16), (True, m), (False, m)))
            assert sizes.at[m, "value"] == pytest.approx(here - full)
            assert sizes.at[m, "score"] == pytest.approx(here)
            assert again.at[m, "value"] == pytest.approx(here - cut)
    nested = of(table, "nested").set_index("dim")["value"]
    assert nested[4] == pytest.approx(means["nested", True, 4] - means["nested_random", True, 4])
    assert set(of(table, "map")["other"]) == {"axes"}  # a rotation is no map that anybody would take
    codes = table["quantised_retrieval"].query("metric == 'ndcg@10' and method == 'plain'")
    exact = codes.query("index == 'float32' and dim == 16 and not refined")["value"].item()
    rows = of(table, "code", "plain")
    assert len(rows) == len(codes) and set(rows["full_bytes"]) == {64}
    assert rows["value"].to_numpy() == pytest.approx(codes["value"].to_numpy() - exact, abs=1e-9)
    plans = table["two_stage_retrieval"].query("metric == 'difference' and method == 'plain'")
    short = of(table, "shortlist", "plain")
    assert short["value"].to_numpy() == pytest.approx(plans["value"].to_numpy(), abs=1e-12)
    assert short["bound"].to_numpy() == pytest.approx(0.3 * short["full_score"].to_numpy())


def test_what_was_planted_is_what_is_answered(table):
    said = {model: dict(pairs) for model, pairs in answers(table["answers"]).items()}
    nested, plain = (
        {question.split()[0] + question.split()[1]: text for question, text in said[model].items()}
        for model in METHODS
    )
    assert nested["Howfar"].startswith("**To 4 of 16**: not worse by more than 2 points")
    assert plain["Howfar"].startswith("**No size below 16** is shown") and "Worse: 8 (" in plain["Howfar"]
    assert nested["Doesit"].startswith("**Yes, it is nested**") and "Doesit" not in plain
    assert nested["Howlong"].startswith("**10 candidates from 4 dimensions**, ordered again by all 16")
    assert nested["Isa"].startswith("**None is shown to be.**")
    assert "float32 cut to" in plain["Cutor"]


def row(question, dim, value, low, high, verdict, **keys):
    bound = 0.01 if question in ("size", "code") else 0.0
    found = {"label": "A", "question": question, "dim": dim, "value": value, "low": low, "high": high}
    return found | {"verdict": verdict, "bound": bound, "n": 100, "full": 64} | keys


SIZES = [
    row("size", 8, -0.2, -0.25, -0.15, "worse"),
    row("size", 16, -0.005, -0.009, 0.0, "not worse"),
    row("size", 32, -0.008, -0.02, 0.004, "undecided"),
    row("size", 48, 0.001, -0.004, 0.006, "not worse"),
]


def test_a_size_counts_as_far_as_all_longer_ones_are_settled():
    (said,) = answers(pd.DataFrame(SIZES)).values()
    assert said == [
        (
            "How far can it be cut?",
            "**To 48 of 64**: not worse by more than 1 point, +0.1\u00a0[−0.4,\u00a0+0.6]. Undecided: 32 "
            "(−0.8\u00a0[−2.0,\u00a0+0.4]). Not worse: 16 (−0.5\u00a0[−0.9,\u00a0+0.0]). Worse: 8 "
            "(−20.0\u00a0[−25.0,\u00a0−15.0]).",
        )
    ]


def code(index, dim, size, verdict, refined=False, factory="", value=0.0):
    keys = {"index": index, "bytes_per_item": size, "refined": refined, "factory": factory, "score": 0.5}
    return row("code", dim, value, value, value, verdict, full_bytes=256, shortlist_k=50 * refined, **keys)


def test_bytes_are_the_fewest_that_are_not_worse_alone_and_re_ranked():
    rows = [
        code("float32", 64, 256, "not worse", factory="Flat"),
        code("float32", 32, 128, "not worse", factory="Flat"),
        code("bits4", 64, 32, "not worse", value=-0.002),
        code("bits4", 32, 16, "undecided"),
        code("binary", 64, 256 + 8, "not worse", refined=True),
    ]
    (said,) = answers(pd.DataFrame(rows)).values()
    assert "**32 bytes an item**, bits4 of 64 dimensions" in said[0][1]
    assert "By cutting alone: 128 bytes." in said[0][1]
    assert "With 50 candidates ordered again by full vectors, which may lie on a disk: 8 bytes" in said[0][1]
    (said,) = answers(pd.DataFrame(rows[3:4])).values()
    assert said[0][1] == "**None of the codes alone** is shown to lose less than 1 point."


@pytest.mark.parametrize(
    ("verdicts", "starts"),
    [
        (("better", "better"), "**Yes**: ahead at 8 ("),
        (("worse", "undecided"), "**No**: behind at 8 ("),
        (("better", "worse"), "**It depends**: ahead at 8 ("),
        (("undecided", "undecided"), "**No difference is shown.** Undecided: 8 ("),
    ],
)
def test_normalising_again_has_an_answer_for_every_outcome(verdicts, starts):
    rows = [row("renormalise", m, 0.0, -0.1, 0.1, each) for m, each in zip((8, 16), verdicts)]
    (said,) = answers(pd.DataFrame(rows)).values()
    assert said[0][1].startswith(starts)


def test_models_stand_side_by_side_with_what_the_numbers_are():
    rows = pd.DataFrame([*SIZES, *({**each, "label": "B"} for each in SIZES)])
    head, line, size, _, about = markdown(rows).splitlines()
    assert (head, line) == ("| | A | B |", "|---|---|---|") and size.count("**To 48 of 64**") == 2
    assert "paired over 100 queries" in about and "loses less than 1 point" in about


def test_collections_stand_side_by_side_a_cell_for_each_question():
    rows = [
        *SIZES,
        row("nested", 0, 0.02, 0.01, 0.03, "better"),
        row("map", 0, 0.03, 0.01, 0.05, "better", other="PCA"),
        row("map", 0, 0.04, -0.01, 0.09, "undecided", other="turned"),
        code("float32", 64, 256, "not worse"),
        code("bits4", 64, 32, "not worse"),
        row("shortlist", 8, 0.0, 0.0, 0.0, "not worse", **{**LISTED, "shortlist_k": 50, "mflops": 2.0}),
        row("shortlist", 16, 0.0, 0.0, 0.0, "not worse", **{**LISTED, "shortlist_k": 20, "mflops": 1.0}),
    ]
    table = pd.DataFrame(rows).assign(study="papers", refined=False)
    head, line, cells = across_collections.markdown(table).splitlines()
    assert head.count("|") == line.count("|") == cells.count("|")
    assert [cell.strip() for cell in cells.split("|")[1:-1]] == [
        "`papers`",
        "100",
        "A",
        "48 of 64; undecided: 32",
        "16: −0.5\u00a0[−0.9,\u00a0+0.0]",
        "**yes** +2.0\u00a0[+1.0,\u00a0+3.0]",
        "PCA +3.0\u00a0[+1.0,\u00a0+5.0]",
        "32 of 256 (bits4 of 64)",
        "20 of 1,000 from 16",
    ]


LISTED = {"items": 1000, "full_mflops": 4.0, "full_score": 0.5}


def test_the_picture_of_collections_shows_what_is_kept_against_how_much_smaller():
    of = [("float32", 8, 32, 0.5), ("float32", 4, 16, 0.4), ("int8", 8, 8, 0.45), ("int8", 4, 4, 0.2)]
    codes = pd.DataFrame(of, columns=["index", "dim", "bytes_per_item", "value"])
    codes["factory"] = codes["index"].replace({"float32": "Flat", "int8": "SQ8"})
    codes = codes.assign(study="papers", method="mine", metric="ndcg@10", refined=False)
    grid = [("X", 16, "full", 64, 1.0), ("X", 8, "full", 32, 0.7), ("X", 16, "half", 32, 0.99)]
    others = pd.DataFrame(grid, columns=["model", "dim", "quantiser", "bytes", "share"])
    figure = across_collections.picture(codes, {"mine": "Mine"}, others.assign(collections=25))
    papers, corect, empty = figure.axes
    cut, quantised, best = (line.get_xydata().tolist() for line in papers.lines)
    assert cut == [[1, 100], [2, 80]] and quantised == [[1, 100], [4, 90]]
    assert best == [[1, 100], [4, 90], [8, 40]]
    assert [line.get_xydata().tolist() for line in corect.lines] == [
        [[1, 100], [2, 70]],
        [[1, 100], [2, 99]],
        [[1, 100], [2, 99]],
    ]
    assert corect.get_title() == "CoRECT: 1 models, 25 collections" and not empty.get_visible()


# --- studies on the base of others ------------------------------------------------------------------


def test_a_study_takes_from_its_base_what_it_does_not_say_itself(tmp_path):
    mine = {"base": "collection", "name": "mine", "title": "mine", "nesting": [4, 8]}
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(mine))
    found, base = load_study(path), load_study("collection")
    assert (found.name, found.nesting, found.tasks) == ("mine", (4, 8), base.tasks)
    assert found.config == base.config | {key: mine[key] for key in ("name", "title", "nesting")}
    (tmp_path / "next.yaml").write_text(json.dumps({"base": str(path), "name": "next", "seeds": [3]}))
    found = load_study(tmp_path / "next.yaml")
    assert (found.name, found.seeds, found.nesting) == ("next", (3,), (4, 8))


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("colection", r"unknown study 'colection' \(did you mean 'collection'.*`base` of .*mine.yaml"),
        (None, "unknown study 'None'"),
        ("mine.yaml", "base is mine.yaml, whose own base leads back to it"),
    ],
)
def test_a_base_that_is_not_there_or_leads_back_is_refused(base, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(json.dumps({"base": base, "name": "mine"}))
    with pytest.raises(UserError, match=message):
        load_study("mine.yaml")
