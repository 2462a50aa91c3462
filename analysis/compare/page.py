"""The page of a comparison, as Markdown and as one HTML file that opens without a network.

The page is a list of blocks (heading, paragraph, list, table, picture), each a pair: in Markdown and in HTML.
Text may hold **bold** and `code`; everything else is taken as it is.
"""

import base64
import html
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis.compare.judge import Verdicts
from analysis.compare.saved import SavedRun
from analysis.evaluations.cost import costs
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
from analysis.run import Items
from analysis.statistics import OF_NETWORKS, VERDICTS
from suite.files import write_aside
from suite.study import Study

SIGNS = {"better": "▲", "worse": "▼", "equivalent": "=", "undecided": "?"} | dict(zip(OF_NETWORKS, "△▽≈"))


# --- what is said ---------------------------------------------------------------------------------


def blocks(verdicts: Verdicts, study: Study, png: bytes, name: str) -> Iterator[tuple[str, str]]:
    """The whole page. png: the picture, which lies under `name` beside the Markdown page."""
    new, margin = verdicts.new, f"{100 * verdicts.margin:g}"
    yield heading(1, title(verdicts, study))
    if any(what.main for what in verdicts.items):
        yield count_table(verdicts)
        yield paragraph(
            f"Sizes of each verdict: {', '.join(f'{SIGNS[word]} {word}' for word in used(verdicts))}."
        )
    yield paragraph(answer(verdicts))
    if len(verdicts.areas):
        yield area_table(verdicts)
        yield paragraph(
            "The primary endpoint: the normalised area under the curve against log₂ size, its mean height; "
            "difference to each baseline, and the new method's own over the sizes that both have."
        )
    yield picture(f"{new.label} and the saved baselines against size", png, name)
    yield heading(2, "Differences")
    yield paragraph(
        "Size by size, secondary: new − baseline in points on the same test items, with its 95 % interval. "
        "p is Holm-adjusted over the sizes of one row (the family). **▲** better, **▼** worse: p ≤ 0.05. "
        f"**=** equivalent: the difference lies inside ±{margin} points (two one-sided tests, p ≤ 0.05). "
        f"**?** undecided: neither, so it may be 0 and it may be larger than {margin} points. △ higher, ▽ "
        "lower, ≈ alike: the same of these networks, where one side was trained once."
    )
    for what in verdicts.items:
        rows = where(verdicts.differences, what)
        if len(rows):
            yield heading(3, what.name)
            yield difference_table(rows, verdicts)
            yield paragraph(power(rows))
    yield heading(2, "Cost")
    yield cost_table(verdicts)
    yield paragraph(
        "Training counts every network that serves the sizes, for one seed; fitting is on frozen embeddings "
        "and includes linear probes. An item takes 4 bytes a dimension, so it costs the same at equal size."
    )
    yield heading(2, "What could not be compared")
    yield bullets(left_out(verdicts.refused) or ["Everything was compared."])
    yield heading(2, "Conditions")
    yield bullets(condition_items(verdicts, study))


def title(verdicts: Verdicts, study: Study) -> str:
    return f"{verdicts.new.label}, judged on {study.title}"


def answer(verdicts: Verdicts) -> str:
    """The verdict in one paragraph."""
    new, main = verdicts.new, [what for what in verdicts.items if what.main]
    sentences = []
    for base in verdicts.baselines:
        its = verdicts.differences.query("baseline == @base.name")
        rows = pd.concat([where(its, what).assign(on=what.name) for what in main])
        if len(rows):
            sentences.append(f"Against **{base.label}** {sentence(rows)}")
    if not sentences:
        return f"{new.label} shares none of the main tasks with the baselines; see the tables below."
    return f"**{new.label}**, over {listed([what.name for what in main])}. " + " ".join(sentences)


def used(verdicts: Verdicts) -> list[str]:
    """Words of the verdicts that the page has, the best first."""
    found = set(verdicts.differences["verdict"])
    return [word for word in (*VERDICTS[:3], *OF_NETWORKS, VERDICTS[3]) if word in found]


def count_table(verdicts: Verdicts) -> tuple[str, str]:
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
    return table(["", *(what.name for what in main)], lines)


def left_out(refused: Sequence[tuple[str, str]]) -> list[str]:
    """What could not be compared, a line for each reason."""
    reasons: dict[str, list[str]] = {}
    for what, why in refused:
        reasons.setdefault(why, []).append(what)
    return [f"{'; '.join(dict.fromkeys(named))}: {why}." for why, named in reasons.items()]


def sentence(rows: pd.DataFrame) -> str:
    """What the tests against one baseline come to."""
    counts = rows["verdict"].value_counts()
    total, these = len(rows), " (these networks)" if (rows["scope"] == "networks").any() else ""
    same = (rows["discordant"] == 0).all()
    if same:
        return f"it is identical on every item in all {total} comparisons{these}."
    if len(counts) == 1 and counts.index[0] != "undecided":
        return f"it is {counts.index[0]} in all {total} comparisons ({extremes(rows)}){these}."
    words = [*VERDICTS[:3], *OF_NETWORKS, VERDICTS[3]]
    parts = [f"{name} in {counts[name]}" for name in words if name in counts]
    notable = [
        f"{name} on " + listed([f"{on} at {sizes(part)}" for on, part in found.groupby("on", sort=False)])
        for name in (*VERDICTS[:2], *OF_NETWORKS[:2])
        if len(found := rows[rows["verdict"] == name])
    ]
    text = f"it is {listed(parts)} of {total} comparisons{these}"
    return text + (f": {'; '.join(notable)} ({extremes(rows)})." if notable else ".")


def extremes(rows: pd.DataFrame) -> str:
    """The range of the differences."""
    low, high = 100 * rows["difference"].min(), 100 * rows["difference"].max()
    return f"differences from {low:+.1f} to {high:+.1f} points"


def sizes(rows: pd.DataFrame) -> str:
    return ", ".join(str(m) for m in rows["dim"])


def listed(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1]))) if parts else ""


def where(table: pd.DataFrame, what: Items) -> pd.DataFrame:
    """Rows of one metric."""
    return table[
        (table["task"] == what.task) & (table["split"] == what.split) & (table["metric"] == what.metric)
    ]


def difference_table(rows: pd.DataFrame, verdicts: Verdicts) -> tuple[str, str]:
    """The new method's own values, then one row of differences per baseline; one column per size."""
    dims = sorted(rows["dim"].unique())
    labels = {base.name: base.label for base in verdicts.baselines}
    own = rows.drop_duplicates("dim").set_index("dim")["new"]
    lines = [[metric_of(rows).axis, *(f"{100 * own[m]:.1f}" for m in dims)]]
    for name, part in rows.groupby("baseline", sort=False):
        cells = {row.dim: cell(row) for row in part.itertuples()}
        lines.append([f"− {labels[name]}", *(cells.get(m, "—") for m in dims)])
    return table(["size", *map(str, dims)], lines)


def cell(row) -> str:
    """A difference with interval, p and verdict."""
    if row.discordant == 0:
        return "identical on every item"
    p = "p < 0.001" if row.p_holm < 0.001 else f"p = {row.p_holm:.3f}"
    return f"{SIGNS[row.verdict]} {points(row)}, {p}"


def points(row) -> str:
    """Difference and interval in points."""
    return f"{100 * row.difference:+.1f} [{100 * row.low:+.1f}, {100 * row.high:+.1f}]"


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


def area_table(verdicts: Verdicts) -> tuple[str, str]:
    """One row per metric, one column per baseline."""
    labels = {base.name: base.label for base in verdicts.baselines}
    lines = []
    for what in verdicts.items:
        rows = where(verdicts.areas, what)
        if len(rows):
            # Of new and baseline over the sizes that both have.
            cells = {
                row.baseline: f"{SIGNS[row.verdict]} {points(row)}, of {100 * row.new:.1f} ({row.sizes})"
                for row in rows.itertuples()
            }
            lines.append([what.name, *(cells.get(name, "—") for name in labels)])
    return table(["", *(f"− {label}" for label in labels.values())], lines)


def cost_table(verdicts: Verdicts) -> tuple[str, str]:
    """Costs of the first seed of every method, as in the table of costs."""
    methods = [verdicts.new, *verdicts.baselines]
    runs = [next(iter(each.runs.values())) for each in methods]
    columns = [cost_lines(run) for run in runs]
    lines = [[name, *(column[name] for column in columns)] for name in columns[0]]
    for key, value in runs[0].cost.get("stated", {}).items():
        lines.append([f"{key} (stated)", str(value), *["—"] * len(verdicts.baselines)])
    return table(["", *(each.label for each in methods)], lines)


def cost_lines(run: SavedRun) -> dict[str, str]:
    """What one run cost, for people; most of it is not known of a folder."""
    values = {(dim, name): value for dim, name, value in costs(run.cost, run.kind, run.sizes)}
    known = {
        "networks to train": values[0, "networks"],
        "training and fitting, 10⁹ MACs": 1e-9 * (values[0, "train_macs"] + values[0, "fit_macs"]),
        "MACs per image, largest size": values.get((max(run.sizes), "macs_per_image"), 0),
        "forward passes for all sizes": values[0, "forwards"],
    }
    lines = {name: "not known" if run.kind == "folder" else _number(value) for name, value in known.items()}
    lines["bytes per item at each size"] = " ".join(str(values[m, "bytes_per_item"]) for m in run.sizes)
    lines["classifier parameters, all sizes"] = _number(run.classifier_parameters["0"])
    return lines


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}".removesuffix(".0")


def condition_items(verdicts: Verdicts, study: Study) -> list[str]:
    """Data, seeds, versions, and the notes."""
    manifest = verdicts.saved.manifest
    items = [
        f"Data: {study.name}, checksum of train `{manifest['data']['splits']['train']['sha256'][:12]}`; "
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
    figure, axes = new_figure(columns=len(drawn), width=2.6 * len(drawn) + 0.6, height=2.9, squeeze=False)
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
    headline(figure, "bars: 95 % over test items and trainings")
    legend_below(figure, axes[0][0], min(6, 1 + len(verdicts.baselines)))
    return figure


NEW = {"color": "black", "marker": "*", "linestyle": "-", "linewidth": 2.0, "markersize": 7, "zorder": 5}


# --- the two forms --------------------------------------------------------------------------------

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; font-size: 13px; display: block; overflow-x: auto }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
img { max-width: 100%; height: auto } code { background: #f3f3f3; padding: 0 .2rem }
"""


def write(verdicts: Verdicts, study: Study, path: Path) -> None:
    """Write the page to `path` (.md), and .html and .png beside it; the HTML loads nothing."""
    drawn = io.BytesIO()
    draw(verdicts).savefig(drawn, format="png", metadata={"Software": None})
    png = drawn.getvalue()
    markdown, page = zip(*blocks(verdicts, study, png, path.with_suffix(".png").name))
    body = "\n".join(page)
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title(verdicts, study))}</title>"
        f"<style>{STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )
    markdown = "\n\n".join(markdown) + "\n"
    for suffix, content in ((".md", markdown.encode()), (".html", page.encode()), (".png", png)):
        with write_aside(path.with_suffix(suffix)) as aside:
            aside.write_bytes(content)


def heading(level: int, of: str) -> tuple[str, str]:
    return f"{'#' * level} {of}", f"<h{level}>{_inline(of)}</h{level}>"


def paragraph(of: str) -> tuple[str, str]:
    return of, f"<p>{_inline(of)}</p>"


def bullets(texts: Sequence[str]) -> tuple[str, str]:
    items = "".join(f"<li>{_inline(each)}</li>" for each in texts)
    return "\n".join(f"- {each}" for each in texts), f"<ul>{items}</ul>"


def picture(caption: str, png: bytes, name: str) -> tuple[str, str]:
    data = base64.b64encode(png).decode()
    tag = f'<p><img alt="{html.escape(caption)}" src="data:image/png;base64,{data}"></p>'
    return f"![{caption}]({name})", tag


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[str, str]:
    """Cells as they are shown; the first column is left-aligned, the others right-aligned."""
    ruler = [":--", *["--:"] * (len(columns) - 1)]
    lines = [[cell.replace("|", "\\|") for cell in line] for line in (columns, ruler, *rows)]
    cells = [
        [f"<{tag}>{_inline(cell)}</{tag}>" for cell in line]
        for tag, line in (("th", columns), *(("td", row) for row in rows))
    ]
    body = "".join(f"<tr>{''.join(line)}</tr>" for line in cells)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines), f"<table>{body}</table>"


def _inline(text: str) -> str:
    """Bold and code marks as HTML, all else escaped."""
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", html.escape(text, quote=False))
    return re.sub(r"`(.+?)`", r"<code>\1</code>", text)
