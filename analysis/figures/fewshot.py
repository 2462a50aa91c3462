"""Few-shot accuracy against size, a colour per number of labelled items (paper, appendix G)."""

from analysis.plotting import (
    headline,
    legend_below,
    metric_of,
    new_figure,
    over_seeds,
    shades,
    size_axis,
    whiskers,
)

TABLES = ("fewshot",)
INPUTS = ("data",)
STYLES = {  # what is drawn, and how; of a study without these, its first two methods
    "mrl": {"marker": "o", "linestyle": "-"},
    "fixed_feature": {"marker": "D", "linestyle": "--"},
}


def draw(drawing):
    """One panel: MRL solid, a network per size dashed; else the first method solid, the second dashed."""
    figure, axes = new_figure(width=5.6, height=4)
    table = drawing.table("fewshot", metric="top1")
    split, there = table["split"].iloc[0], table["method"].unique()
    styles = {name: look for name, look in STYLES.items() if name in there}
    styles = styles or dict(zip(there, STYLES.values()))
    table = over_seeds(table, ("method", "shots", "dim"))
    colors = dict(zip(sorted(table["shots"].unique()), shades(table["shots"].nunique())))
    for (method, shots), rows in table[table["method"].isin(list(styles))].groupby(["method", "shots"]):
        look = styles[method] | {"color": colors[shots], "elinewidth": 0.8}
        axes.errorbar(rows["dim"], rows["value"], yerr=whiskers(rows), **look)
    for method in styles:
        axes.plot([], [], color="#444444", label=drawing.label(method), **styles[method])
    for shots, color in colors.items():
        axes.plot([], [], color=color, label=f"n = {shots}")
    short = set(styles) <= set(STYLES)  # so are their names
    legend_below(figure, axes, columns=len(styles) + len(colors) if short else len(colors))
    size_axis(axes, table["dim"])
    axes.set_ylabel(metric_of(table).axis)
    conditions = drawing.conditions(split, bars="95 % over classes")
    chosen = "train, all of val" if split == "val" else f"{split}, the rest"
    headline(figure, f"{conditions}\nn labelled items per class are chosen from {chosen} is the test")
    return figure
