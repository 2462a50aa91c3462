"""1-NN accuracy against representation size, all methods (paper, Figure 3)."""

from analysis.plotting import recipe_panels

TABLES = ("knn",)
INPUTS = ("data",)


def draw(drawing):
    """Left: the study, recipe by recipe, at trained sizes. Right: the paper's own curves."""
    sampled = drawing.study.tasks["knn"]["sampled"]
    over = "classes" if sampled == "classes" else "test items"
    table = drawing.table("knn", metric="top1", trained=True)
    return recipe_panels(drawing, table, "knn", over)
