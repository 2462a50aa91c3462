"""Pages for people: one for a study, one that lists all frozen studies; the comparison's has the same look.

    python -m analysis.report --study glyphs    results/report/glyphs.html, from its tables and figures
    python -m analysis.report --index           results/report/index.html: every frozen study, every page

A page is one file: figures, tables and script lie inside it, and its content security policy forbids every
request, so that it opens from disk, without a network, for good. Templates are jinja2, which comes with
Snakemake; all of them extend base.html.

The curves that can be chosen from are a hundred lines of our own (page.js): SVG, made from a table. Weighed
against them were Altair, whose bundle takes 0.9 MB of every page and 84 MB of the environment, and Plotly,
whose Python package has only the whole bundle, 4.8 MB a page: half of what a page may take, for lines with
bars. Both draw legends that a keyboard does not reach; here methods are check boxes, choices are lists, and
every curve is one stop of the tab key, with its values as its label. What is to be kept up is a function
without dependencies, tested in a browser (tests/test_report.py). A second kind of interactive picture would
be the reason to change to Altair.
"""
