"""Figures, one file each. The smallest whole example is knn.py.

`draw(drawing)` gives a matplotlib Figure; what it may read is in `analysis.plotting.Drawing`. The first line
of the file is its caption in the report. What has to be known before any job starts stands in constants:

TABLES    evaluations whose tables it is drawn from
INPUTS    what else it reads: "data", "logs" (of every network's training); nothing by default
MEASURES  measures whose raw outcomes it reads; none by default
ARGUMENT  what may follow the file's name in the figure's: "split" (contact_sheet_train), "method" (or
          nothing: paired, paired_mrl), "group" (methods of group ablation_spacing: ablation_spacing), or a
          list of words; nothing by default. A study with another argument is refused when it is read.

Every figure states the study, what n is and, where it has bars, what they mean (`Drawing.conditions`); axes
are named and values scaled by the metric (analysis/metrics.py). What several figures share lies in
analysis/plotting/: figures do not import each other, so that an edit of one draws that one again.
"""
