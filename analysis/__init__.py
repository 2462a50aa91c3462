"""What a representation is worth; the commands in the order in which a study needs them.

    measure       raw outcomes per test item, of one method: python -m analysis.measure
    measures/     a file for each: predict, neighbours, reranking, …
    tabulate      one tidy table from them: python -m analysis.tabulate
    evaluations/  a file for each, which reads like its protocol (docs/protocols.md)
    draw          one figure from the tables: python -m analysis.draw
    figures/      a file for each
    findings      the paper's claims, by rule; as Markdown: python -m analysis.findings
    compare/      a new method against frozen baselines: python -m analysis.compare; saved: freezes them

Outcomes are saved once, so that a new k or a new statistic needs no new forward pass or search. Beneath:

    run           one method and seed while it is evaluated, and the columns of every table
    metrics, statistics, plotting    values per item, intervals and tests, the look of figures
    search/       exact neighbours of all prefixes in one pass
    benchmark/    speed and memory of all this: python -m analysis.benchmark
"""
