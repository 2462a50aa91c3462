"""Figures, one file each: TABLES names the tables it reads, INPUTS what else, draw(drawing) → Figure.

INPUTS may hold "data", "logs" (of every network), and "outcomes" (of the measures in MEASURES).
ARGUMENT = "split" where the name of a split follows in the figure's name.
"""
