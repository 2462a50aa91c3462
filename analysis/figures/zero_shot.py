"""Zero-shot classification against size: classes never trained on, and the trained ones (paper, Figure 3)."""

from analysis.plotting import curve_panels, headline, rows_by

TABLES = ("zero_shot",)
INPUTS = ("data",)
TITLES = {
    "unseen": "{candidates} classes never trained on, {n:,} images",
    "seen": "{candidates} trained classes, by name, {n:,} images",
}


def draw(drawing):
    """Left unseen classes, right seen ones; the dashed line is chance."""
    sides = rows_by(drawing.table("zero_shot", metric="top1"), "classes", TITLES)
    shown = [(TITLES[classes].format(**rows.iloc[0]), rows) for classes, rows in sides.items()]
    figure, panels = curve_panels(drawing, "zero_shot", shown, height=3.2)
    where = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom"}
    for axes, rows in zip(panels, sides.values()):
        chance = 100 / rows["candidates"].iloc[0]
        axes.axhline(chance, color="#666666", linestyle="--", linewidth=0.8)
        axes.annotate(f"chance {chance:.2g} %", (1, chance), fontsize=6, **where)
        axes.set_ylim(bottom=0)
    headline(figure, drawing.conditions(None, bars="95 % over classes"))
    return figure
