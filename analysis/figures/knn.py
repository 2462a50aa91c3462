"""1-NN accuracy against representation size, all methods (paper, Figure 3)."""

from analysis.plotting import recipe_panels

TABLES = ("knn",)
INPUTS = ("data",)


def draw(drawing):
    """Left: the study, recipe by recipe, at trained sizes. Right: the paper's own curves."""
    return recipe_panels(drawing, drawing.table("knn", metric="top1", trained=True), "knn")
