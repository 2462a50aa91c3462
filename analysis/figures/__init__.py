"""Figures, one file each: TABLES names the tables it reads, INPUTS what else, draw(drawing) → Figure.

INPUTS may hold "data", "logs" (of every network), and "outcomes" (of the measures in MEASURES).
"""
