"""1-NN accuracy against representation size (paper, Figure 3); `knn_others`: methods beyond the paper's."""

from analysis.plotting.against_size import by_recipe

TABLES = ("knn",)
INPUTS = ("data",)
ARGUMENT = ("", "others")


def draw(drawing):
    """Left: the paper's methods, recipe by recipe, at trained sizes. Right: the paper's own curves."""
    over = "classes" if drawing.study.tasks["knn"]["sampled"] == "classes" else "test items"
    return by_recipe(drawing, drawing.table("knn", metric="top1", trained=True), "knn", over)
