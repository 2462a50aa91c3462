"""Linear classification against representation size (paper, Figure 2); `linear_others`: methods beyond it."""

from analysis.plotting.against_size import by_recipe

TABLES = ("linear",)
INPUTS = ("data",)
ARGUMENT = ("", "others")


def draw(drawing):
    """Left: the paper's methods, recipe by recipe. Right: the paper's own curves."""
    return by_recipe(drawing, drawing.table("linear", metric="top1"), "linear")
