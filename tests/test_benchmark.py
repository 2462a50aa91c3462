"""Benchmarks at toy size: what they find, and what they cannot use."""

import time

import numpy as np
import pandas as pd
import pytest
import torch

from analysis.benchmark import __main__ as command
from analysis.benchmark import search
from suite import timing
from suite.errors import UserError

TOY = {
    "search": ["--rows", "600", "--queries", "20", "--dims", "4", "16", "--k", "1", "5"],
    "search --scale": ["--scale", "--scale-rows", "500", "--queries", "9", "--dims", "4", "16", "--k", "3"],
    "adaptive": ["--rows", "700", "--dim", "32", "--queries", "9", "--shortlist-dims", "8", "--seconds", "0"],
}


@pytest.mark.parametrize("toy", TOY)
def test_the_benchmark_runs_at_toy_size(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "GEMM_SIDES", (64,))
    folder = ["--folder", str(tmp_path / "files")] if "--scale" in toy else []
    out = tmp_path / "table.csv"
    command.main([toy.split()[0], *TOY[toy], *folder, "--threads", "1", "--out", str(out)])
    table = pd.read_csv(out)
    if toy == "search":
        assert table["k"].tolist() == [1, 5] and (table["same_ids"] > 0.99).all()
        assert (table["speedup"] > 0).all()
    elif toy == "adaptive":
        single, short = table.sort_values("shortlist_dim", ascending=False).to_dict("records")
        assert single["speedup"] == single["exact_recall"] == 1
        assert short["counted"] == pytest.approx(700 * 32 / (700 * 8 + 200 * 32))
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


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_the_benchmark_needs_the_gpu_it_is_told_to_use():
    with pytest.raises(UserError, match="torch finds no GPU here"):
        command.main(["search", "--device", "cuda"])


def test_the_best_time_is_the_shortest_of_enough_repeats(monkeypatch):
    times = iter([3.0, 1.0, 2.0, 0.5])
    monkeypatch.setattr(timing, "timed", lambda work: (work(), (next(times), 0.0)))
    assert timing.best(lambda: "found", 5) == ("found", 1.0)
    assert timing.best(lambda: "found", 0) == ("found", 0.5)


def test_clocks_count_what_they_say():
    slept, (seconds, processor) = timing.timed(lambda: time.sleep(0.05) or "slept")
    assert slept == "slept" and seconds >= 0.05 > processor >= 0
    held = np.ones(2**25)  # 256 MiB
    assert timing.peak_memory() > held.nbytes / 2**30
    assert (timing.gemm_rate("cpu", "bfloat16", [16], repeats=1) > 0).all()
