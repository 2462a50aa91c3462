"""The page of a study: what it says is what the tables say, and a browser opens it without a network."""

import base64
import gzip
import html
import json
import re
import shutil
import subprocess
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
from PIL import Image

from analysis.findings.evidence import signed
from analysis.findings.rules import OUTCOMES
from analysis.plotting import over_seeds
from analysis.report import index, study
from analysis.report.__main__ import main
from analysis.run import COLUMNS
from suite import files
from suite.contracts import FIGURE
from suite.errors import UserError
from suite.modules import ROOT
from suite.study import load_study

SIZES, SEEDS = (2, 4, 8, 16), (0, 1)
METHODS = ("mrl", "mrl_e", "fixed_feature", "pca")
TASKS = ("linear", "knn", "retrieval", "cost", "findings", "paired")
FIGURES = ["findings", "linear", "cost"]
TITLE = "synthetic: <b>12</b> planted classes"
MADE_WITH = {"commit": "0123456789ab", "date": "2026-01-02T03:04:05+00:00", "python": "3.11.7"}
MADE_WITH |= {"machine": "x86_64 Made Up", "cores": 2, "device": "cpu", "libraries": {"torch": "2.11.0"}}
COSTS = {"networks": 1, "train_macs": 3e10, "fit_macs": 1e9, "parameters": 1000, "macs_all_sizes": 500}
COSTS |= {"forwards": 1}
MANY = ("fixed_feature", "networks")  # has four times as many
# Outcome, difference and the paper's own of six claims.
CLAIMS = [("shown", 0.02, np.nan), ("shown", -0.012, 0.01), ("contradicted", -0.05, 0.02)]
CLAIMS += [("undecided", 0.001, np.nan), ("undecided", 0.01, 0.04), ("not tested", np.nan, np.nan)]


def row(task, method, seed, dim, metric, value, n=200, half=np.nan, split="val", **keys):
    """A row of a tidy table."""
    found = ("synthetic", method, seed, dim, task, split, metric, value, n, value - half, value + half)
    return dict(zip(COLUMNS, found)) | keys


def tables():
    """Made-up tables by evaluation, as the suite writes them."""
    rng = np.random.default_rng(0)

    def curves(task, metrics, sizes=SIZES, methods=METHODS, **keys):
        every = product(methods, SEEDS, sizes, metrics)
        return [row(task, *each, round(rng.random(), 4), half=0.04, **keys) for each in every]

    made = {"linear": curves("linear", ("top1", "probe_top1"))}
    made["linear"] += [row("linear", method, 0, 0, "classifier_bytes", 64, n=1) for method in METHODS]
    made["knn"] = curves("knn", ["top1"], trained=True) + curves("knn", ["top1"], (3, 12), trained=False)
    some = {"metrics": ("map@10", "recall@5"), "methods": METHODS[:3]}
    made["retrieval"] = curves("retrieval", **some, database="train")
    made["retrieval"] += curves("retrieval", **some, split="query", database="database")
    made["cost"] = [
        row("cost", method, seed, 0, name, COSTS[name] * (4 if (method, name) == MANY else 1), n=1)
        for method, seed, name in product(METHODS, SEEDS, COSTS)
    ]
    every = product(METHODS, SEEDS, SIZES)
    made["cost"] += [row("cost", *each, "macs_per_image", each[-1], n=1) for each in every]
    pair = {"baseline": "fixed_feature", "verdict": "undecided"}
    made["paired"] = [
        row("paired", "mrl", 0, dim, "difference", rng.normal(0, 0.02), half=0.01, outcome=outcome, **pair)
        for outcome, dim in product(("linear", "knn"), (*SIZES, 0))
    ]
    said = {"baseline": "fixed_feature", "margin": 0.01, "seeds": 2, "gained": 0.03, "doubling": "MRL +3.0"}
    made["findings"] = [
        row("findings", "mrl", 0, 0, "1-NN top1", value, half=0.003, finding=f"claim_{i}", **said)
        | {"claim": f"Claim {i} < d/8", "outcome": outcome, "paper": paper, "scope": "methods"}
        | {"detectable": 0.02 + 0.01 * i}
        | {"numbers": "the study has no split a" if outcome == "not tested" else "2: +1.0; 4: +3.0"}
        for i, (outcome, value, paper) in enumerate(CLAIMS)
    ]
    return {task: pd.DataFrame(rows) for task, rows in made.items()}


def write_results(found, layout):
    """Everything that a page is made of."""
    for task, table in tables().items():
        with files.write_aside(layout.table(task)) as aside:
            table.to_csv(aside, index=False)
    for place, name in enumerate(FIGURES):
        layout.figure(name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(place).integers(0, 256, (40, 50 + place, 3), dtype=np.uint8)
        Image.fromarray(noise).save(layout.figure(name))
    for method, seed in product(found.methods.values(), SEEDS):
        sizes = SIZES if "fixed_feature" in (method.name, method.source) else (16,)
        names = [f"{method.source or method.name}_{m}" for m in sizes]
        cost = {"networks": [{"network": name, "train_seconds": 90.0} for name in names]}
        meta = {"seed": seed, "cost": cost, "provenance": MADE_WITH}
        files.write_json(layout.embeddings(method.name, seed) / "meta.json", meta)
    data = {"source": "glyphs", "checksum": "f" * 64, "seen_classes": 12, "unseen_classes": 6}
    files.write_json(layout.data / "manifest.json", data | {"splits": {"val": {"n": 1200}}})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(study, layout, page) of made-up results, in their folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("report"))
        given = {"tasks": dict.fromkeys(TASKS), "figures": FIGURES, "title": TITLE}
        config = synthetic.config(methods=dict.fromkeys(METHODS), measures={}, **given)
        Path("mine.yaml").write_text(json.dumps(config))
        found = load_study("mine.yaml")
        write_results(found, found.layout)
        main(["--study", "mine.yaml"])
        yield found, found.layout, found.layout.report.read_text(encoding="utf-8")


def text_of(page):
    """What a page says: marks left out, one space between words and none before a full stop."""
    text = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", page, flags=re.S)
    return re.sub(r" (?=[;:.,])", "", re.sub(r"\s+", " ", html.unescape(text)))


def unpacked(page, name):
    """What lies packed in a page."""
    (found,) = re.findall(rf'<script type="text/plain" id="{name}"[^>]*>(.*?)</script>', page, re.S)
    return gzip.decompress(base64.b64decode(found))


# --- what it says -----------------------------------------------------------------------------------


def test_the_answer_is_counted_from_the_ledger_and_every_claim_is_a_row(made):
    page, said = made[2], text_of(made[2])
    assert "Of 6 claims of the paper about this kind of data this study shows 2 and contradicts 1;" in said
    assert "2 are undecided and 1 could not be tested. Undecided does not mean equal" in said
    assert "differences below 5.0 to 6.0 points" in said and "These networks are unfinished" in said
    assert TITLE in said and "<b>12</b>" not in page
    # Those that are decided by name, all that were tested in the table, the others with the reason.
    decided, every = said.split("Every claim", 1)
    for i, (outcome, value, _) in enumerate(CLAIMS):
        named = f"Claim {i} < d/8 (1-NN top1): {signed(value)} [" in decided
        assert named == (outcome in ("shown", "contradicted"))
    assert page.count('data-name="difference"') == 5
    assert "Claim 2 < d/8 (1-NN top1) contradicted −5.0 [−5.3, −4.7] +2.0 2: +1.0; 4: +3.0" in every
    assert "Claim 3 < d/8 (1-NN top1) undecided; 5.0 could have been told +0.1 [−0.2, +0.4] 2: +1.0" in every
    untested = every.split("What was not tested", 1)[1]
    assert "Claim 5 < d/8 (the study has no split a)" in untested
    assert "Evaluations of the suite that this study does not have: adaptive_classification" in untested


def test_mrl_minus_ff_stands_there_at_every_size_with_its_interval(made):
    rows, said = pd.read_csv(made[1].table("paired")).query("dim > 0"), text_of(made[2])
    assert "MRL − FF at every size" in said and len(rows) == 8
    for each in rows.itertuples():
        assert f"{signed(each.value)} [{signed(each.low)}, {signed(each.high)}], undecided" in said
    assert study.differences(None, {}) is None


def test_every_figure_stands_there_as_it_was_drawn_with_its_caption_and_its_tables(made):
    _, layout, page = made
    for name in FIGURES:
        (found,) = re.findall(rf'<figure id="figure-{name}">(.*?)</figure>', page, re.S)
        assert f"{name}. {FIGURE.summary(name)}".replace("`", "") in text_of(found)
        assert f'data-table="{FIGURE.facts(name).TABLES[0]}"' in found
        (data,) = re.findall(r'src="data:image/webp;base64,([^"]+)"', found)
        (layout.root / "shown.webp").write_bytes(base64.b64decode(data))
        with Image.open(layout.root / "shown.webp") as shown, Image.open(layout.figure(name)) as drawn:
            np.testing.assert_array_equal(np.asarray(shown), np.asarray(drawn))


def test_tables_lie_in_the_page_byte_for_byte_and_curves_are_means_with_their_intervals(made):
    _, layout, page = made
    for task in TASKS:
        assert unpacked(page, f"table-{task}") == layout.table(task).read_bytes()
    curves = json.loads(unpacked(page, "packed-curves"))
    assert list(curves) == ["linear", "knn", "retrieval"]
    assert curves["retrieval"]["metrics"] == ["mAP@10 (%)", "recall@5 (%)"]
    assert curves["retrieval"]["places"] == ["val, train", "query, database"]
    linear, knn = curves["linear"], curves["knn"]
    assert knn["places"] == ["val"] and {each[4] for each in knn["rows"]} == {*SIZES, 3, 12}
    metric, mrl = linear["metrics"].index("linear top-1 accuracy (%)"), linear["methods"].index("mrl")
    own = {tuple(each[3:5]): each[5:] for each in linear["rows"] if (each[0], each[2]) == (metric, mrl)}
    assert set(own) == set(product((study.MEAN, *SEEDS), SIZES))
    table = pd.read_csv(layout.table("linear")).query("metric == 'top1' and method == 'mrl'")
    means = over_seeds(table).set_index("dim")[["value", "low", "high", "n"]]
    for m in SIZES:
        assert own[study.MEAN, m] == pytest.approx(means.loc[m].tolist(), abs=1e-3)
        value = 100 * table.query(f"seed == 1 and dim == {m}")["value"].item()
        assert own[1, m] == pytest.approx([value, value - 4, value + 4, 200], abs=1e-3)


def test_costs_and_conditions_are_those_of_the_runs(made):
    said = text_of(made[2])
    # Four networks for FF, one for MRL and MRL-E each, PCA on FF's; twice, 90 seconds each.
    for fact in (
        "Commit 0123456789ab Computed 2026-01-02 Machine x86_64 Made Up, 2 cores, cpu",
        "Versions Python 3.11.7, torch 2.11.0 Seeds 0, 1 Sizes M = 2, 4, 8, 16; d = 16",
        "Trainings 12, 0.3 hours in all Data glyphs, checksum ffffffffffff, 12 classes seen and 6 unseen",
        "Items val 1,200 Margin ± 1 points",
        "Network name: small_resnet, dim: 16, widths: [4, 4] Trained by epochs: 2, batch_size: 8,",
        "FF 4 31 1,000 16 500 1",
        "nesting: - 2 - 4 - 8 - 16",
    ):
        assert fact in said


def test_what_does_not_fit_is_named_and_what_is_missing_is_told(made, monkeypatch):
    found, layout, page = made
    packed = {task: len(re.search(rf'id="table-{task}"[^>]*>(.*?)<', page)[1]) for task in TASKS}
    largest = max(packed, key=packed.get)
    pictures = sum(map(len, re.findall(r"image/webp;base64,([^\"]+)", page)))
    monkeypatch.setattr(study, "LIMIT", pictures + sum(packed.values()) - 1)
    smaller = study.page(found, layout)
    assert [f'id="table-{task}"' in smaller for task in TASKS] == [task != largest for task in TASKS]
    assert f"{largest}, is too large for this page: {layout.table(largest)}" in text_of(smaller)
    layout.figure("cost").rename(layout.root / "aside.png")
    with pytest.raises(UserError, match="no figure results/figures/synthetic/cost.png; run `snakemake"):
        study.page(found, layout)
    (layout.root / "aside.png").rename(layout.figure("cost"))


# --- the list of studies ----------------------------------------------------------------------------


def test_the_index_lists_frozen_studies_and_links_pages_that_exist(made):
    page = (made[1].root / "report" / "index.html").read_text(encoding="utf-8")
    assert '<a href="synthetic.html">synthetic</a>' in page
    root, saved = made[1].root / "listed", ROOT / "results" / "saved"
    shutil.copytree(saved, root / "saved", ignore=shutil.ignore_patterns("*.npz", "*.pt", "[!f]*.csv"))
    for path in ("report/glyphs.html", "compare/glyphs/mine.html"):
        (root / path).parent.mkdir(parents=True)
        (root / path).touch()
    page = index.page(root)
    assert set(re.findall(r'href="(?!data:)([^"]+)"', page)) == {"glyphs.html", "../compare/glyphs/mine.html"}
    rows = dict(re.findall(r"<tr><td data-value=\"(\w+)\">(.*?)</tr>", page, re.S))
    assert list(rows) == sorted(path.parent.name for path in saved.glob("*/manifest.json"))
    outcomes = pd.read_csv(saved / "glyphs/tables/findings.csv")["outcome"].value_counts()
    counted = re.findall(r"<td data-name=[^>]+>(\d+)</td>", rows["glyphs"])[:4]
    assert counted == [str(outcomes.get(word, 0)) for word in OUTCOMES]


def test_the_command_takes_a_study_or_the_index(made, capsys):
    main(["--index"])
    assert "results/report/index.html" in capsys.readouterr().out
    with pytest.raises(UserError, match="--seeds and --recipes are of a study"):
        main(["--index", "--seeds", "1"])
    with pytest.raises(SystemExit):
        main(["--index", "--study", "glyphs"])


# --- in a browser -----------------------------------------------------------------------------------

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
why = "no Chromium here (Debian: apt-get install chromium)"
in_a_browser = pytest.mark.skipif(not BROWSER, reason=why)

# What a person does, and what is seen then, written as JSON at the end of the page.
USE = """
const found = {};
const one = (what, of = document) => of.querySelector(what);
const all = (what, of = document) => [...of.querySelectorAll(what)];
const until = async (made) => { while (!made()) await new Promise((done) => setTimeout(done, 20)); };
const use = async () => {
  await until(() => one("g.curve"));
  const names = () => all("g.curve").map((each) => each.getAttribute("aria-label").split(".")[0]);
  found.curves = names();
  one("[name=method][value=mrl_e]").click();
  found.without = names();
  one("[data-choose=none]").click();
  one("[name=method][value=mrl]").click();
  const marker = all("g.curve path").at(-1).getBoundingClientRect();
  const at = { clientX: marker.x + marker.width / 2, clientY: marker.y + marker.height / 2 };
  one("#plot svg").dispatchEvent(new PointerEvent("pointermove", at));
  found.said = one("#plot output").textContent;
  const choose = (list, value) => {
    one(`[name=${list}]`).value = value;
    one(`[name=${list}]`).dispatchEvent(new Event("change", { bubbles: true }));
  };
  choose("task", "retrieval");
  choose("place", 1);
  choose("seed", 1);
  found.offered = all("[name=method]").filter((box) => box.offsetParent).map((box) => box.value);
  found.seed_1 = one("g.curve").getAttribute("aria-label");
  choose("task", "knn");
  found.knn = all("#plot .axis").map((each) => each.textContent);
  const differences = () => all(".ledger td[data-name=difference]").map((cell) => Number(cell.dataset.value));
  one(".ledger th:nth-child(3) button").click();
  found.up = differences();
  one(".ledger th:nth-child(3) button").click();
  found.down = differences();
  const details = one("#figure-linear details");
  details.open = true;
  await until(() => one("tbody tr", details));
  found.columns = all("th", details).map((head) => head.textContent);
  const value = found.columns.indexOf("value") + 1;
  one(`th:nth-child(${value}) button`, details).click();
  found.first = one(`tbody td:nth-child(${value})`, details).title;
  one("input", details).value = "mrl_e probe_top1";
  one("input", details).dispatchEvent(new Event("input"));
  found.rows = one("[role=status]", details).textContent;
  const [saved, named] = [[], []];
  URL.createObjectURL = (blob) => (saved.push(blob), "#");
  HTMLAnchorElement.prototype.click = function () { named.push(this.download); };
  one(".save", details).click();
  found.saved = [named[0], await saved[0].text()];
  const loaded = performance.getEntriesByType("resource").map((each) => each.name);
  found.requests = loaded.filter((name) => !/^(data|blob):/.test(name));
  found.wider = document.documentElement.scrollWidth - innerWidth;
};
use().catch((error) => console.error(error)).then(() => {
  const text = JSON.stringify(found);
  document.body.append(Object.assign(document.createElement("pre"), { id: "found", textContent: text }));
});
"""


def opened(page, script, folder, *pictures):
    """(what the script finds, what the console says) of a page opened from disk with a script in it."""
    path = folder / "opened.html"
    path.write_text(page.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += ["--disable-background-networking", f"--user-data-dir={folder}/profile"]
    command += ["--window-size=390,900", "--virtual-time-budget=5000", "--dump-dom", *pictures]
    done = subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=600)
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return found and json.loads(html.unescape(found[1])), said


@in_a_browser
def test_it_opens_from_disk_on_a_phone_without_an_error_or_a_request_and_can_be_used(made, tmp_path):
    _, layout, page = made
    pictures = [f"--screenshot={tmp_path}/shot.png", f"--print-to-pdf={tmp_path}/page.pdf"]
    found, said = opened(page, USE, tmp_path, *pictures)
    assert said == [] and found["requests"] == []
    # A method is toggled; a value pointed at, the last of the one curve that is left; sizes in between.
    assert found["curves"] == ["MRL", "MRL-E", "FF"] and found["without"] == ["MRL", "FF"]
    table = pd.read_csv(layout.table("linear"))
    last = table.query("metric == 'top1' and method == 'mrl' and dim == 16")
    value, low, high, n = over_seeds(last)[["value", "low", "high", "n"]].iloc[0]
    assert found["said"] == f"MRL at 16: {value:.1f} [{low:.1f}, {high:.1f}], n = {n:.0f}"
    assert found["offered"] == ["mrl", "mrl_e", "fixed_feature"]
    where = "metric == 'map@10' and method == 'mrl' and split == 'query' and seed == 1 and dim == 2"
    single = 100 * pd.read_csv(layout.table("retrieval")).query(where)["value"].item()
    assert found["seed_1"].startswith(f"MRL. 2: {single:.1f} [")
    assert "1-NN accuracy (%)" in found["knn"] and {"3", "12"} <= {*found["knn"]}
    # Tables are sorted, searched and saved.
    assert found["up"] == sorted(found["up"]) == found["down"][::-1] and len(found["up"]) == 5
    assert set(found["columns"]) == {name for name in table if table[name].nunique(dropna=False) > 1}
    assert float(found["first"]) == table["value"].min()
    assert found["rows"] == "8 of 8 rows"
    assert found["saved"] == ["synthetic-linear.csv", layout.table("linear").read_text()]
    # It is as wide as the phone, and can be printed.
    assert found["wider"] <= 0
    with Image.open(tmp_path / "shot.png") as shot:
        assert shot.size == (390, 900) and len(shot.convert("RGB").getcolors(10**6)) > 10
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


@in_a_browser
def test_what_would_ask_a_network_is_forbidden_and_seen(made, tmp_path):
    image = "Object.assign(new Image(), { src: 'https://example.invalid/a.png' })"
    said = "".join(opened(made[2], f"document.body.append({image}); lost();", tmp_path)[1])
    assert "Content Security Policy" in said and "lost is not defined" in said


def test_nothing_in_a_page_points_outside(made):
    outside = r"""(?:src|href|action|poster)=["']?(?!data:|#)[^"'\s>]+|url\((?!#)|@import|fetch\("""
    assert re.findall(outside, made[2]) == []
    assert "default-src 'none'" in made[2]
