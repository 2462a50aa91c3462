"""One page for a study: what it found, every figure, the tables behind them, costs and conditions."""

import json
from collections.abc import Iterable, Iterator, Sequence

import pandas as pd
import yaml
from matplotlib.markers import MarkerStyle

from analysis import answers
from analysis.evaluations.cost import BYTES_PER_NUMBER
from analysis.findings.evidence import with_interval
from analysis.findings.page import about, last_doubling, not_tested, told, trained_once
from analysis.findings.rules import OUTCOMES
from analysis.metrics import metric_in_table
from analysis.plotting import Drawing, as_shown, over_seeds
from analysis.report.html import as_webp, packed, render
from analysis.run import COLUMNS
from suite import files
from suite.contracts import EVALUATION, FIGURE
from suite.errors import UserError
from suite.layout import Layout, command
from suite.study import PAPER_METHODS, TUNED, Study

LIMIT = 10_000_000
"""Bytes of a page. Tables that would take more are named with their place instead, the largest first."""

CURVES = ("linear", "knn", "retrieval", "judged_retrieval", "masked_lm", "zero_shot", "text_retrieval")
"""Evaluations whose values against size are drawn as curves to choose from."""

FIRST = "map@10"  # shown at first where an evaluation has it: what the paper judges retrieval by

DASHES = {"-": "", "--": "7 3", ":": "2 3", "-.": "7 3 2 3"}
DRAWING = "MLQC"  # SVG's letters of matplotlib's codes 1 to 4
MEAN = -1  # in place of a seed


def page(study: Study, layout: Layout) -> str:
    """The page of a finished study, as HTML. Raises UserError naming a table or figure that is missing."""
    drawing, tables = Drawing(study, layout), tables_of(study, layout)
    figures = [figure(study, layout, name) for name in study.figures]
    metas = [
        files.read_json(layout.embeddings(method.name, seed) / "meta.json")
        for method in study.methods.values()
        for seed in method.seeds
    ]
    ledgers = {task: table for task, table in tables.items() if "finding" in table and len(table)}
    drawn = {task: tables[task] for task in CURVES if task in tables}
    taken = sum(len(each["data"]) for each in figures)
    whole = {task: packed(layout.table(task).read_bytes()) for task in tables}
    return render(
        "study.html",
        title=study.title,
        name=study.name,
        ledgers=[ledger(table) for table in ledgers.values()],
        differences=differences(drawing, tables),
        margin=study.margin,
        answers=answers.answers(tables["answers"]) if "answers" in tables else {},
        about_answers=answers.about(tables["answers"]) if "answers" in tables else "",
        curves=packed(json.dumps(curves(drawn)).encode()) if drawn else "",
        tasks={task: EVALUATION.facts(task).WORD or task.replace("_", " ") for task in drawn},
        methods={name: looks(drawing, name) for name in shown_in(study, drawn)},
        figures=figures,
        tables=fitting(whole, LIMIT - taken),
        lengths={task: len(table) for task, table in tables.items()},
        places={task: layout.table(task) for task in tables},
        costs=costs(drawing, tables["cost"]) if "cost" in tables else None,
        conditions=list(conditions(study, metas, files.read_json(layout.data / "manifest.json"))),
        settings=yaml.safe_dump(study.config, sort_keys=False, allow_unicode=True, width=100),
        not_evaluated=[name for name in EVALUATION.names() if name not in study.tasks],
    )


def tables_of(study: Study, layout: Layout) -> dict[str, pd.DataFrame]:
    """Every table of the study by its evaluation."""
    return {task: files.read_table(layout.table(task), low_memory=False) for task in study.tasks}


# --- the answer -----------------------------------------------------------------------------------


def ledger(table: pd.DataFrame) -> dict:
    """What a findings table comes to: the answer in a paragraph, counts, decided claims, a row for each."""
    tested = table[table["outcome"] != "not tested"]
    rows = [
        {
            "claim": f"{row.claim} ({row.metric})",
            "outcome": row.outcome,
            "told": told(row),
            "value": row.value,
            "interval": with_interval(row),
            "paper": None if pd.isna(row.paper) else row.paper,
            "numbers": row.numbers,
        }
        for row in tested.itertuples()
    ]
    return {
        "answer": answer(table),
        "counts": counts(table),
        "claims": {
            outcome: [f"{row['claim']}: {row['interval']}" for row in rows if row["outcome"] == outcome]
            for outcome in ("contradicted", "shown")
        },
        "rows": rows,
        "about": about(table),
        "not_tested": not_tested(table),
    }


def counts(table: pd.DataFrame) -> dict[str, int]:
    """How many claims came out how."""
    return {outcome: int((table["outcome"] == outcome).sum()) for outcome in OUTCOMES}


def answer(table: pd.DataFrame) -> str:
    """The paragraph at the top, in Markdown: counts, what could have been told, what limits the outcomes."""
    found, detectable = counts(table), table[table["outcome"] == "undecided"]["detectable"]
    said = (
        f"Of {len(table)} claims of the paper about this kind of data this study **shows {found['shown']}** "
        f"and **contradicts {found['contradicted']}**; **{found['undecided']} are undecided** and "
        f"{found['not tested']} could not be tested."
    )
    if len(detectable):
        least, most = 100 * detectable.min(), 100 * detectable.max()
        said += (
            f" Undecided does not mean equal: differences below {least:.1f} to {most:.1f} points, claim by "
            "claim, cannot be told from none by these items and trainings."
        )
    return " ".join(filter(None, (said, last_doubling(table), trained_once(table))))


def differences(drawing: Drawing, tables: dict[str, pd.DataFrame]) -> dict | None:
    """MRL − FF at every size: `rows` by size with a cell for each outcome, which `columns` names with its n.

    From the table of paired differences; None where the study or that table has no such pair.
    """
    table = tables.get("paired", pd.DataFrame(columns=["method", "baseline", "dim"]))
    pair = (table["method"] == "mrl") & (table["baseline"] == "fixed_feature") & (table["dim"] > 0)
    rows = table[pair].sort_values("dim", kind="stable")
    if rows.empty:
        return None
    outcomes = list(dict.fromkeys(rows["outcome"]))
    cells = {(row.dim, row.outcome): f"{with_interval(row)}, {row.verdict}" for row in rows.itertuples()}
    return {
        "pair": " − ".join(map(drawing.label, ("mrl", "fixed_feature"))),
        "columns": [(name_of(name), int(rows[rows["outcome"] == name]["n"].max())) for name in outcomes],
        "rows": {dim: [cells.get((dim, name), "") for name in outcomes] for dim in rows["dim"].unique()},
    }


# --- curves ---------------------------------------------------------------------------------------


def curves(tables: dict[str, pd.DataFrame]) -> dict:
    """By evaluation: `metrics` (axis labels), `places` (splits, and what else there is), `methods`, `rows`.

    A row is [metric, place, method, seed, dim, value, low, high, n]: the first three are positions in those
    lists, the seed of the mean over trainings is MEAN, and values are as they are shown. Its interval is
    that of `over_seeds`.
    """
    found = {}
    for task, table in tables.items():
        table = table.dropna(subset=["low", "high"])
        if "renormalised" in table:  # the usual way; the other one is a question of `answers`
            table = table[table["renormalised"]]
        table = table[table["dim"] > 0].assign(place=place(table))
        means = over_seeds(table, ["method", "dim", "place"]).assign(seed=MEAN)
        both = pd.concat([means, as_shown(table)] if table["seed"].nunique() > 1 else [means])
        lists = {key: list(dict.fromkeys(table[key])) for key in ("metric", "place", "method")}
        lists["metric"].sort(key=lambda name: name != FIRST)
        both = both.assign(**{key: both[key].map(names.index) for key, names in lists.items()})
        columns = ["metric", "place", "method", "seed", "dim", "value", "low", "high", "n"]
        found[task] = {
            "metrics": [metric_in_table(name, task).axis for name in lists["metric"]],
            "places": lists["place"],
            "methods": lists["method"],
            "rows": [list(row) for row in both[columns].round(3).itertuples(index=False)],
        }
    return found


def place(table: pd.DataFrame) -> pd.Series:
    """What rows of a table are about beside metric and method: the split, and its other columns of words."""
    more = [name for name in table if name not in COLUMNS and isinstance(table[name].dtype, pd.StringDtype)]
    words = table["split"].fillna("")
    for name in more:
        words = words + ", " + table[name].fillna("")
    return words


def name_of(task: str) -> str:
    """An evaluation's name for people."""
    return EVALUATION.facts(task).NAME or task.replace("_", " ")


def shown_in(study: Study, tables: dict[str, pd.DataFrame]) -> list[str]:
    """Methods of the study that some of these tables have."""
    there = {name for table in tables.values() for name in table["method"]}
    return [name for name in study.methods if name in there]


def looks(drawing: Drawing, method: str) -> dict:
    """How a method is drawn, in words of SVG, and whether it is the paper's: its curve is there at first."""
    look, dash = drawing.look(method), ""
    if isinstance(look["linestyle"], str):
        dash = DASHES[look["linestyle"]]
    else:  # matplotlib's (offset, lengths), or "solid" by another name
        dash = " ".join(f"{2 * length:g}" for length in look["linestyle"][1])
    return {
        "label": drawing.label(method).strip("\u200b"),
        "color": look["color"],
        "dash": dash,
        "marker": marker(look["marker"]),
        "paper": method.removesuffix(f"_{TUNED}") in PAPER_METHODS,
    }


def marker(name: str | None) -> str:
    """A marker of matplotlib as an SVG path, one unit wide; empty for none.

    >>> marker("s")
    'M-0.5 0.5 L0.5 0.5 L0.5 -0.5 L-0.5 -0.5 Z'
    """
    style = MarkerStyle(name or "")
    path = style.get_path().transformed(style.get_transform())
    parts = []
    for points, code in path.iter_segments(simplify=False):
        pairs = points.reshape(-1, 2) * (1, -1) + 0.0  # SVG's y goes down; no −0
        numbers = " ".join(f"{x:.3g} {y:.3g}" for x, y in pairs)
        parts.append(DRAWING[code - 1] + numbers if code <= len(DRAWING) else "Z")
    return " ".join(parts)


# --- figures and tables ---------------------------------------------------------------------------


def figure(study: Study, layout: Layout, name: str) -> dict:
    """A figure with its caption, that of Snakemake's report, and the tables that it is drawn from."""
    module, _ = study.figure_module(name)
    path = layout.figure(name)
    if not path.exists():
        raise UserError(f"no figure {path}; run `{command(path)}`")
    data, width, height = as_webp(path)
    return {
        "name": name,
        "caption": FIGURE.summary(module),
        "data": data,
        "width": width,
        "height": height,
        "tables": FIGURE.facts(module).TABLES,
    }


def fitting(tables: dict[str, str], room: int) -> dict[str, str]:
    """Those that fit into so many bytes together, the smallest first."""
    kept = {}
    for task, text in sorted(tables.items(), key=lambda pair: len(pair[1])):
        room -= len(text)
        if room > 0:
            kept[task] = text
    return kept


# --- costs and conditions -------------------------------------------------------------------------

COSTS = {
    "networks": "networks to train",
    "train": "training and fitting, 10⁹ MACs",
    "parameters": "parameters, all networks",
    "macs_per_image": "MACs per image, largest size",
    "macs_all_sizes": "MACs per image, all sizes",
    "forwards": "forward passes for all sizes",
}


def costs(drawing: Drawing, table: pd.DataFrame) -> dict:
    """Means over seeds of what every method costs: column names, and rows (label, values)."""
    means = table[table["dim"] == 0].groupby(["method", "metric"])["value"].mean().unstack()
    by_size = table[table["metric"] == "macs_per_image"].sort_values("dim")
    means["macs_per_image"] = by_size.groupby("method")["value"].last()
    means["train"] = 1e-9 * (means["train_macs"] + means["fit_macs"])
    means = means.reindex(drawing.shown("cost"))[list(COSTS)].fillna(0)
    return {
        "columns": list(COSTS.values()),
        "rows": [(drawing.label(name), list(values)) for name, values in means.iterrows()],
        "bytes": BYTES_PER_NUMBER,
    }


def conditions(study: Study, metas: Sequence[dict], data: dict) -> Iterator[tuple[str, str]]:
    """(what, value): code, machine, seeds, data, as the runs note them; what differs stands side by side."""
    made = [meta["provenance"] for meta in metas]

    def listed(values: Iterable[str]) -> str:
        return ", ".join(sorted(set(map(str, values))))

    dates = sorted(each["date"][:10] for each in made)
    versions = ((name, version) for each in made for name, version in each["libraries"].items())
    yield "Commit", listed(f"`{each['commit']}`" for each in made)
    yield "Computed", " to ".join(dict.fromkeys((dates[0], dates[-1])))
    yield "Machine", listed(f"{each['machine']}, {each['cores']} cores, {each['device']}" for each in made)
    yield "Versions", f"Python {listed(each['python'] for each in made)}, " + listed(map(" ".join, versions))
    fewer = any(method.seeds != study.seeds for method in study.methods.values())
    yield "Seeds", ", ".join(map(str, study.seeds)) + "; of some methods fewer" * fewer
    yield "Sizes", f"M = {', '.join(map(str, study.nesting))}; d = {study.dim}"
    if study.backbone:  # else nothing is trained: the embeddings came ready
        yield "Network", in_a_line(study.backbone)
        yield "Trained by", in_a_line(study.training)
        networks = trained(metas)
        hours = sum(net["train_seconds"] for net in networks.values()) / 3600
        yield "Trainings", f"{len(networks)}, {hours:.1f} hours in all"
    classes = f", {data['seen_classes']} classes seen and {data['unseen_classes']} unseen"
    yield (
        "Data",
        f"{data['source']}, checksum `{data['checksum'][:12]}`" + classes * bool(data["seen_classes"]),
    )
    yield "Items", ", ".join(f"{name} {facts['n']:,}" for name, facts in data["splits"].items())
    reason = study.config.get("margin", {}).get("reason", "the suite's own")
    yield "Margin", f"± {100 * study.margin:g} points: {reason}"


def in_a_line(settings: dict) -> str:
    """A section of a study's file.

    >>> in_a_line({"name": "small_resnet", "widths": [16, 32]})
    'name: small_resnet, widths: [16, 32]'
    """
    text = yaml.safe_dump(settings, sort_keys=False, default_flow_style=True, width=float("inf"))
    return text.strip().removeprefix("{").removesuffix("}")


def trained(metas: Sequence[dict]) -> dict[tuple[str, int], dict]:
    """Every network that was trained, once, by name and seed: fitted methods carry that of their source."""
    return {(net["network"], meta["seed"]): net for meta in metas for net in meta["cost"]["networks"]}
