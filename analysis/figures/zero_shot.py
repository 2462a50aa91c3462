"""Zero-shot classification against size: classes never trained on, and the trained ones (paper, Figure 3)."""

from analysis.plotting import curves, headline, legend_below, new_figure

TABLES = ("zero_shot",)
INPUTS = ("data",)
TITLES = {"unseen": "{n} classes never trained on", "seen": "{n} trained classes, by name"}


def draw(drawing):
    """Left unseen classes, right seen ones; the dashed line is chance."""
    table = drawing.table("zero_shot", metric="top1")
    sides = [classes for classes in TITLES if (table["classes"] == classes).any()]
    figure, panels = new_figure(len(sides), height=3.2, squeeze=False)
    for axes, classes in zip(panels[0], sides):
        some = table[table["classes"] == classes]
        curves(drawing, axes, some, drawing.shown("zero_shot"))
        candidates = some["candidates"].iloc[0]
        axes.axhline(100 / candidates, color="#666666", linestyle="--", linewidth=0.8)
        axes.annotate(
            f"chance {100 / candidates:.2g} %",
            (1, 100 / candidates),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            fontsize=6,
        )
        axes.set_ylim(bottom=0)
        axes.set_title(f"{TITLES[classes].format(n=candidates)}, {some['n'].iloc[0]:,} images")
    legend_below(figure, panels[0, 0])
    headline(figure, drawing.conditions(None, bars="95 % over classes"))
    return figure
