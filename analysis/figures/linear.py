"""Linear classification against representation size, all methods (paper, Figure 2)."""

from analysis.plotting import recipe_panels

TABLES = ("linear",)
INPUTS = ("data",)


def draw(drawing):
    """Left: the study, recipe by recipe. Right: the paper's own curves."""
    return recipe_panels(drawing, drawing.table("linear", metric="top1"), "linear")
