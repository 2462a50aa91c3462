"""The page of a comparison, as Markdown and as one HTML file that opens without a network.

The page is a list of blocks, which both forms are written from: `markdown` here, HTML by the template
comparison.html of analysis/report. Text may hold **bold** and `code`; everything else is taken as it is.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis.answers import listed
from analysis.compare.judge import Verdicts
from analysis.compare.saved import SavedRun
from analysis.evaluations.cost import costs
from analysis.findings.evidence import signed
from analysis.plotting import (
    headline,
    legend_below,
    look,
    metric_of,
    new_figure,
    size_axis,
    use_style,
    whiskers,
)
from analysis.report.html import number, render
from analysis.run import Items
from analysis.statistics import OF_NETWORKS, VERDICTS
from suite.files import write_aside
from suite.study import Study

SIGNS = {"better": "▲", "worse": "▼", "equivalent": "=", "undecided": "?"} | dict(zip(OF_NETWORKS, "△▽≈"))


@dataclass(frozen=True)
class Block:
    """A part of the page: a heading of a level above 0, a table with columns, a list, a picture, or text.

    The first column of a table is left-aligned, the others right-aligned. name: where the picture lies beside
    the Markdown page; the text says what it shows.
    """

    text: str = ""
    level: int = 0
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    items: Sequence[str] = ()
    picture: bytes = b""
    name: str = ""


# --- what is said ---------------------------------------------------------------------------------


def blocks(verdicts: Verdicts, study: Study, png: bytes, name: str) -> Iterator[Block]:
    """The whole page. png: the picture, which lies under `name` beside the Markdown page."""
    new, margin = verdicts.new, f"{100 * verdicts.margin:g}"
    yield Block(title(verdicts, study), level=1)
    if any(what.main for what in verdicts.items):
        yield count_table(verdicts)
        yield Block(
            f"Sizes of each verdict: {', '.join(f'{SIGNS[word]} {word}' for word in used(verdicts))}."
        )
    yield Block(answer(verdicts))
    if len(verdicts.areas):
        yield area_table(verdicts, verdicts.areas)
        yield Block(
            "The primary endpoint: the normalised area under the curve against log₂ size, its mean height; "
            "difference to each baseline, and the new method's own over the sizes that both have."
        )
    if len(verdicts.largest):
        yield area_table(verdicts, verdicts.largest)
        yield Block(
            "Each at its own largest size, where the two differ: an item of the larger one takes more bytes."
        )
    yield Block(f"{new.label} and the saved baselines against size", picture=png, name=name)
    yield Block("Differences", level=2)
    yield Block(
        "Size by size, secondary: new − baseline in points on the same test items, with its 95 % interval. "
        "p is Holm-adjusted over the sizes of one row (the family). **▲** better, **▼** worse: p ≤ 0.05. "
        f"**=** equivalent: the difference lies inside ±{margin} points (two one-sided tests, p ≤ 0.05). "
        f"**?** undecided: neither, so it may be 0 and it may be larger than {margin} points. △ higher, ▽ "
        f"lower, ≈ alike: the same of {these(verdicts)}, where one side was "
        f"{'made' if verdicts.ready else 'trained'} once."
    )
    for what in verdicts.items:
        rows = where(verdicts.differences, what)
        if len(rows):
            yield Block(what.name, level=3)
            yield difference_table(rows, verdicts)
            yield Block(power(rows))
    yield Block("Cost", level=2)
    yield cost_table(verdicts)
    if verdicts.ready:
        yield Block(
            "Of maps alone: what made the vectors is not known here. Fitting counts gradient steps; a "
            "decomposition takes next to nothing."
        )
    else:
        yield Block(
            "Training counts every network that serves the sizes, for one seed; fitting is on frozen "
            "embeddings and includes linear probes. An item takes 4 bytes a dimension, so it costs the same "
            "at equal size."
        )
    yield Block("What could not be compared", level=2)
    yield Block(items=left_out(verdicts.refused) or ["Everything was compared."])
    yield Block("Conditions", level=2)
    yield Block(items=condition_items(verdicts, study))


def title(verdicts: Verdicts, study: Study) -> str:
    return f"{verdicts.new.label}, judged on {study.title}"


def these(verdicts: Verdicts) -> str:
    """What a verdict is about where one side was made once."""
    return "these vectors" if verdicts.ready else "these networks"


def answer(verdicts: Verdicts) -> str:
    """The verdict in one paragraph."""
    new, main = verdicts.new, [what for what in verdicts.items if what.main]
    sentences = []
    for base in verdicts.baselines:
        its = verdicts.differences.query("baseline == @base.name")
        rows = pd.concat([where(its, what).assign(on=what.name) for what in main])
        if len(rows):
            sentences.append(f"Against **{base.label}** {sentence(rows, these(verdicts))}")
    if not sentences:
        return f"{new.label} shares none of the main tasks with the baselines; see the tables below."
    return f"**{new.label}**, over {listed([what.name for what in main])}. " + " ".join(sentences)


def used(verdicts: Verdicts) -> list[str]:
    """Words of the verdicts that the page has, the best first."""
    found = set(verdicts.differences["verdict"])
    return [word for word in (*VERDICTS[:3], *OF_NETWORKS, VERDICTS[3]) if word in found]


def count_table(verdicts: Verdicts) -> Block:
    """A row per baseline, a column per main task: at how many sizes the new method is what."""
    main = [what for what in verdicts.items if what.main]
    lines = []
    for base in verdicts.baselines:
        its = verdicts.differences.query("baseline == @base.name")
        counts = [where(its, what)["verdict"].value_counts() for what in main]
        cells = [
            " ".join(f"{SIGNS[word]} {each[word]}" for word in used(verdicts) if word in each)
            for each in counts
        ]
        lines.append([f"against {base.label}", *(cell or "—" for cell in cells)])
    return Block(columns=["", *(what.name for what in main)], rows=lines)


def left_out(refused: Sequence[tuple[str, str]]) -> list[str]:
    """What could not be compared, a line for each reason."""
    reasons: dict[str, list[str]] = {}
    for what, why in refused:
        reasons.setdefault(why, []).append(what)
    return [f"{'; '.join(dict.fromkeys(named))}: {why}." for why, named in reasons.items()]


def sentence(rows: pd.DataFrame, about: str) -> str:
    """What the tests against one baseline come to. about: see `these`."""
    counts = rows["verdict"].value_counts()
    total, about = len(rows), f" ({about})" if (rows["scope"] == "networks").any() else ""
    same = (rows["discordant"] == 0).all()
    if same:
        return f"it is identical on every item in all {total} comparisons{about}."
    if len(counts) == 1 and counts.index[0] != "undecided":
        return f"it is {counts.index[0]} in all {total} comparisons ({extremes(rows)}){about}."
    words = [*VERDICTS[:3], *OF_NETWORKS, VERDICTS[3]]
    parts = [f"{name} in {counts[name]}" for name in words if name in counts]
    notable = [
        f"{name} on " + listed([f"{on} at {sizes(part)}" for on, part in found.groupby("on", sort=False)])
        for name in (*VERDICTS[:2], *OF_NETWORKS[:2])
        if len(found := rows[rows["verdict"] == name])
    ]
    text = f"it is {listed(parts)} of {total} comparisons{about}"
    return text + (f": {'; '.join(notable)} ({extremes(rows)})." if notable else ".")


def extremes(rows: pd.DataFrame) -> str:
    """The range of the differences."""
    low, high = rows["difference"].min(), rows["difference"].max()
    return f"differences from {signed(low)} to {signed(high)} points"


def sizes(rows: pd.DataFrame) -> str:
    return ", ".join(str(m) for m in rows["dim"])


def where(table: pd.DataFrame, what: Items) -> pd.DataFrame:
    """Rows of one metric."""
    return table[
        (table["task"] == what.task) & (table["split"] == what.split) & (table["metric"] == what.metric)
    ]


def difference_table(rows: pd.DataFrame, verdicts: Verdicts) -> Block:
    """The new method's own values, then one row of differences per baseline; one column per size."""
    dims = sorted(rows["dim"].unique())
    labels = {base.name: base.label for base in verdicts.baselines}
    own = rows.drop_duplicates("dim").set_index("dim")["new"]
    lines = [[metric_of(rows).axis, *(f"{100 * own[m]:.1f}" for m in dims)]]
    for name, part in rows.groupby("baseline", sort=False):
        cells = {row.dim: cell(row) for row in part.itertuples()}
        lines.append([f"− {labels[name]}", *(cells.get(m, "—") for m in dims)])
    return Block(columns=["size", *map(str, dims)], rows=lines)


def cell(row) -> str:
    """A difference with interval, p and verdict."""
    if row.discordant == 0:
        return "identical on every item"
    p = "p < 0.001" if row.p_holm < 0.001 else f"p = {row.p_holm:.3f}"
    return f"{SIGNS[row.verdict]} {points(row)}, {p}"


def points(row) -> str:
    """Difference and interval in points."""
    return f"{signed(row.difference)} [{signed(row.low)}, {signed(row.high)}]"


def power(rows: pd.DataFrame) -> str:
    """What these items and trainings could have shown."""
    tests = {
        "seeds": "t tests over items and trainings",
        "mcnemar": "exact McNemar tests",
        "bootstrap": "paired bootstrap",
    }
    named = listed([text for name, text in tests.items() if name in set(rows["test"])])
    smallest = 100 * rows["detectable"].median()
    return (
        f"n = {int(rows['n'].iloc[0]):,} items; {named}. At one size, before Holm's adjustment, a difference "
        f"of {smallest:.1f} points (the median here) would have been found with 80 % power."
    )


def area_table(verdicts: Verdicts, table: pd.DataFrame) -> Block:
    """One row per metric, one column per baseline, of the areas or of the largest sizes."""
    labels = {base.name: base.label for base in verdicts.baselines}
    lines = []
    for what in verdicts.items:
        rows = where(table, what)
        if len(rows):
            # Of new and baseline over the sizes that both have.
            cells = {
                row.baseline: f"{SIGNS[row.verdict]} {points(row)}, of {100 * row.new:.1f} ({row.sizes})"
                for row in rows.itertuples()
            }
            lines.append([what.name, *(cells.get(name, "—") for name in labels)])
    return Block(columns=["", *(f"− {label}" for label in labels.values())], rows=lines)


def cost_table(verdicts: Verdicts) -> Block:
    """Costs of the first seed of every method, as in the table of costs."""
    methods = [verdicts.new, *verdicts.baselines]
    runs = [next(iter(each.runs.values())) for each in methods]
    lines_of = cost_lines_of_vectors if verdicts.ready else cost_lines
    columns = [lines_of(run) for run in runs]
    lines = [[name, *(column[name] for column in columns)] for name in columns[0]]
    for key, value in runs[0].cost.get("stated", {}).items():
        lines.append([f"{key} (stated)", str(value), *["—"] * len(verdicts.baselines)])
    return Block(columns=["", *(each.label for each in methods)], rows=lines)


def cost_lines(run: SavedRun) -> dict[str, str]:
    """What one run cost, for people; most of it is not known of a folder."""
    values = {(dim, name): value for dim, name, value in costs(run.cost, run.kind, run.sizes)}
    known = {
        "networks to train": values[0, "networks"],
        "training and fitting, 10⁹ MACs": 1e-9 * (values[0, "train_macs"] + values[0, "fit_macs"]),
        "MACs per image, largest size": values.get((max(run.sizes), "macs_per_image"), 0),
        "forward passes for all sizes": values[0, "forwards"],
    }
    lines = {name: "not known" if run.kind == "folder" else number(value) for name, value in known.items()}
    lines["bytes per item at each size"] = " ".join(str(values[m, "bytes_per_item"]) for m in run.sizes)
    lines["classifier parameters, all sizes"] = number(run.classifier_parameters["0"])
    return lines


def cost_lines_of_vectors(run: SavedRun) -> dict[str, str]:
    """The same of vectors that people bring, and of maps of them."""
    values = {(dim, name): value for dim, name, value in costs(run.cost, run.kind, run.sizes)}
    return {
        "fitting, 10⁹ MACs": number(1e-9 * values[0, "fit_macs"]),
        "MACs of an item's map, all sizes": number(values[0, "macs_all_sizes"]),
        "numbers to keep, all sizes": number(run.classifier_parameters["0"]),
        "bytes per item at each size": " ".join(str(values[m, "bytes_per_item"]) for m in run.sizes),
    }


def condition_items(verdicts: Verdicts, study: Study) -> list[str]:
    """Data, seeds, versions, and the notes."""
    manifest, split = verdicts.saved.manifest, verdicts.saved.learned
    items = [
        f"Data: {study.name}, checksum of {split} `{manifest['data']['splits'][split]['sha256'][:12]}`; "
        f"protocol {manifest['protocol']}.",
        f"Baselines: frozen from commit `{manifest['commit']}` on {manifest['date'][:10]} "
        f"({manifest['machine']}), seeds {', '.join(map(str, manifest['seeds']))}; none was run again.",
        *(seeds_of(base.label, *verdicts.seeds[base.name]) for base in verdicts.baselines),
        f"New method: {_versions(next(iter(verdicts.new.runs.values())).provenance)}.",
        f"The page makes {len(verdicts.areas)} comparisons of areas and {len(verdicts.differences)} of "
        "single sizes. p is adjusted over the sizes of one row, not over tasks and baselines: up to one row "
        "in twenty shows a difference that is not there.",
    ]
    return items + verdicts.notes


def seeds_of(label: str, mine: Sequence[int], its: Sequence[int]) -> str:
    """Which trainings were compared."""
    ours, theirs = (", ".join(map(str, seeds)) for seeds in (mine, its))
    return (
        f"Seeds compared with {label}: {ours}."
        if ours == theirs
        else (f"Seeds compared with {label}: {ours}; its own: {theirs}.")
    )


def _versions(made_with: dict) -> str:
    libraries = ", ".join(f"{name} {made_with['libraries'][name]}" for name in ("torch", "numpy"))
    return f"commit `{made_with['commit']}`, {made_with['date'][:10]}, {made_with['machine']}, {libraries}"


# --- the picture ----------------------------------------------------------------------------------


def draw(verdicts: Verdicts) -> Figure:
    """A panel per main task: the new method's curve, heavy, and the baselines'."""
    use_style()
    drawn = [what for what in verdicts.items if what.main and len(where(verdicts.curves, what))]
    width = max(4.6, 2.6 * len(drawn) + 0.6)  # in which two labels stand side by side
    figure, axes = new_figure(columns=len(drawn), width=width, height=2.9, squeeze=False)
    for panel, what in zip(axes[0], drawn):
        rows = where(verdicts.curves, what)
        for place, each in enumerate([*verdicts.baselines, verdicts.new]):
            mine = rows[rows["method"] == each.name].sort_values("dim")
            style = look(each.name, place) if each is not verdicts.new else NEW
            mine = mine.assign(**{end: 100 * mine[end] for end in ("value", "low", "high")})
            bars = {"yerr": whiskers(mine), "elinewidth": 0.8}
            panel.errorbar(mine["dim"], mine["value"], label=each.label, **bars, **style)
        size_axis(panel, rows["dim"])
        panel.tick_params(axis="x", rotation=45)
        panel.set_title(what.name)
        panel.set_ylabel(metric_of(rows).axis)
    headline(figure, f"bars: 95 % over test items{'' if verdicts.ready else ' and trainings'}")
    legend_below(figure, axes[0][0], min(2 * len(drawn), 6, 1 + len(verdicts.baselines)))
    return figure


NEW = {"color": "black", "marker": "*", "linestyle": "-", "linewidth": 2.0, "markersize": 7, "zorder": 5}


# --- the two forms --------------------------------------------------------------------------------


def write(verdicts: Verdicts, study: Study, path: Path) -> None:
    """Write the page to `path` (.md), and .html and .png beside it; the HTML loads nothing."""
    drawn = io.BytesIO()
    draw(verdicts).savefig(drawn, format="png", metadata={"Software": None})
    png = drawn.getvalue()
    page = list(blocks(verdicts, study, png, path.with_suffix(".png").name))
    text = "\n\n".join(map(markdown, page)) + "\n"
    html = render("comparison.html", title=title(verdicts, study), blocks=page)
    for suffix, content in ((".md", text.encode()), (".html", html.encode()), (".png", png)):
        with write_aside(path.with_suffix(suffix)) as aside:
            aside.write_bytes(content)


def markdown(block: Block) -> str:
    """A block as Markdown."""
    if block.columns:
        ruler = [":--", *["--:"] * (len(block.columns) - 1)]
        lines = [[cell.replace("|", "\\|") for cell in line] for line in (block.columns, ruler, *block.rows)]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)
    if block.items:
        return "\n".join(f"- {each}" for each in block.items)
    if block.picture:
        return f"![{block.text}]({block.name})"
    return f"{'#' * block.level} {block.text}" if block.level else block.text
