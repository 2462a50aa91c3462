"""Benchmarks at toy size: what they find, and what they cannot use."""

import time

import numpy as np
import pandas as pd
import pytest
import torch

from analysis.benchmark import __main__ as command
from analysis.benchmark import adaptive, search
from suite import timing
from suite.errors import UserError

TOY = {
    "search": ["--rows", "600", "--queries", "20", "--dims", "4", "16", "--k", "1", "5"],
    "search --scale": ["--scale", "--scale-rows", "500", "--queries", "9", "--dims", "4", "16", "--k", "3"],
    "adaptive": ["--rows", "700", "--dim", "32", "--queries", "9", "--shortlist-dims", "8", "--seconds", "0"],
}
TOY["retrieval"] = ["--rows", "900", "--classes", "9", "--dim", "64", "--queries", "12", "--seconds", "0"]
TOY["retrieval"] += ["--shortlist-dims", "8", "--shortlist", "150", "--hnsw", "--hnsw-full"]
TOY["adaptive hnsw"] = [*TOY["adaptive"], "--index", "hnsw"]


@pytest.mark.parametrize("toy", TOY)
def test_the_benchmark_runs_at_toy_size(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "GEMM_SIDES", (64,))
    on_disk = "--scale" in toy or toy == "retrieval"
    folder = ["--folder", str(tmp_path / "files")] if on_disk else []
    out = tmp_path / "table.csv"
    command.main([toy.split()[0], *TOY[toy], *folder, "--threads", "1", "--out", str(out)])
    table = pd.read_csv(out)
    if toy == "search":
        assert table["k"].tolist() == [1, 5] and (table["same_ids"] > 0.99).all()
        assert (table["speedup"] > 0).all()
    elif toy == "adaptive hnsw":  # a shortlist of 200 takes 200 candidates at least
        assert set(table.query("shortlist_dim == 8")["search"]) == {
            "efSearch=200",
            "efSearch=256",
            "efSearch=512",
        }
        assert len(table.query("shortlist_dim == 32")) == 6 and table["counted"].isna().all()
    elif toy == "adaptive":
        single, short = table.sort_values("shortlist_dim", ascending=False).to_dict("records")
        assert single["speedup"] == single["exact_recall"] == 1 and single["repeats"] >= 3
        assert short["counted"] == pytest.approx(700 * 32 / (700 * 8 + 200 * 32))
    elif toy == "retrieval":
        exact, graph = (table[table["index"] == name].set_index("search") for name in ("exact", "hnsw"))
        assert list(exact.index) == ["single", "adaptive", "funnel C"]
        assert exact.at["single", "exact_recall"] == exact.at["single", "speedup"] == 1
        assert exact.at["adaptive", "counted"] == pytest.approx(900 * 64 / (900 * 8 + 150 * 64))
        stages = 200 * 16 + 100 * 32 + 50 * 64  # it ends where doubling reaches the full size
        assert exact.at["funnel C", "mflops"] == pytest.approx((900 * 8 + stages) / 1e6)
        assert (exact["map@10"] > 0.9).all() and (exact["exact_recall"] > 0.5).all()
        assert (table["speedup_low"] <= table["speedup"]).all() and graph["counted"].isna().all()
        assert len(graph[graph["shortlist_dim"] == 64]) == 6 and graph["exact_recall"].max() > 0.9
        assert not list((tmp_path / "files").iterdir())
    else:
        assert table["rows"].item() == 500 and table["hours_for_210100"].item() > 0
        assert not list((tmp_path / "files").iterdir())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--threads", "0"], "--threads 0: at least one thread"),
        (["--device", "abacus"], "device 'abacus'"),
        (["--out", "table.txt"], "must end in .csv or .json"),
    ],
)
def test_the_benchmark_says_what_it_cannot_use(given, message):
    with pytest.raises(UserError, match=message):
        command.main(["search", *given])


def test_shortlists_are_made_below_the_full_size(tmp_path):
    given = ["retrieval", "--rows", "500", "--dim", "16", "--shortlist-dims", "16", "--folder", str(tmp_path)]
    with pytest.raises(UserError, match="below the full size 16"):
        command.main(given)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_the_benchmark_needs_the_gpu_it_is_told_to_use():
    with pytest.raises(UserError, match="torch finds no GPU here"):
        command.main(["search", "--device", "cuda"])


def test_three_repeats_at_least_are_timed_after_one_that_is_not(monkeypatch):
    worked = []

    def work():
        worked.append(1)
        return len(worked)

    times = iter([3.0, 1.0, 2.0, 3.0, 1.0, 2.0, 4.0])
    monkeypatch.setattr(timing, "timed", lambda work: (work(), (next(times), 0.0)))
    result, seconds = timing.repeated(work, 5)
    assert result == len(worked) == 4 and seconds.tolist() == [3, 1, 2]
    result, seconds = timing.repeated(work, 7)
    assert result == len(worked) == 9 and seconds.tolist() == [3, 1, 2, 4]


def test_a_speedup_is_against_the_fastest_single_search_that_finds_as_much():
    rows = pd.DataFrame(
        [(64, 0.8, 4.0), (64, 0.9, 6.0), (64, 0.95, 9.0), (8, 0.85, 2.0), (8, 0.99, 3.0)],
        columns=["shortlist_dim", "exact_recall", "ms_per_query"],
    )
    found = adaptive.against_single(rows.assign(dim=64, mflops=np.nan))
    assert found["speedup"].tolist() == [1, 1, 1, 6 / 2, 9 / 3]


def test_clocks_count_what_they_say():
    slept, (seconds, processor) = timing.timed(lambda: time.sleep(0.05) or "slept")
    assert slept == "slept" and seconds >= 0.05 > processor >= 0
    held = np.ones(2**25)  # 256 MiB
    assert timing.peak_memory() > held.nbytes / 2**30
    assert (timing.gemm_rate("cpu", "bfloat16", [16], repeats=1) > 0).all()
