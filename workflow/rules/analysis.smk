rule measure:
    """Save raw outcomes per test item of one method: predictions, neighbour ids, …"""
    input:
        data=LAYOUT.data / "manifest.json",
        embeddings=LAYOUT.embeddings("{method}", "{seed}") / "meta.json",
        classifiers=LAYOUT.embeddings("{method}", "{seed}") / "classifiers.npz",
        study=new_study,
        before=measured_before,
        # Statistics are of the tables: a new one needs no new search.
        code=lambda w: modules.closure("analysis/measure.py", MEASURE.path(w.measure)),
    output:
        LAYOUT.outcomes("{method}", "{seed}", "{measure}"),
    log:
        f"results/logs/{STUDY.name}/measure-{{measure}}-{{method}}-{{seed}}.log",
    conda:
        "../../environment.yml"
    # All of them where a job that runs beside it would spoil what is timed.
    threads: lambda w: cores() if MEASURE.facts(w.measure).ALONE else 1
    resources:
        gpu=lambda w: GPU if MEASURE.facts(w.measure).SEARCHES else 0,
    params:
        settings=lambda w: settings(STUDY.measure_options(w.measure)),
        study=study_argument,
    shell:
        "python -m analysis.measure {params.study} --measure {wildcards.measure}"
        " --method {wildcards.method} --seed {wildcards.seed} 2>&1 | tee {log:q}"


rule tabulate:
    """Score raw outcomes into one tidy table: every method and seed of one evaluation."""
    input:
        table_inputs,
        data=LAYOUT.data / "manifest.json",
        code=lambda w: evaluating_code(
            "analysis/tabulate.py", [w.task, *STUDY.reads(w.task)]
        ),
    output:
        LAYOUT.table("{task}"),
    log:
        f"results/logs/{STUDY.name}/tabulate-{{task}}.log",
    conda:
        "../../environment.yml"
    params:
        settings=lambda w: settings([STUDY.tasks[w.task], STUDY.margin]),
        study=lambda w: STUDY_ARGUMENT,
        seeds=SEEDS_ARGUMENT,
    shell:
        "python -m analysis.tabulate {params.study} --task {wildcards.task} {params.seeds}"
        " 2>&1 | tee {log:q}"


rule draw:
    """Draw one figure from the tables."""
    input:
        figure_inputs,
        code=lambda w: modules.closure("analysis/draw.py", FIGURE.path(drawn_by(w))),
    output:
        png=report(
            LAYOUT.figure("{figure}"),
            caption="../report/figure.rst",
            category=STUDY.name,
            labels={"figure": "{figure}"},
        ),
        pdf=LAYOUT.figure("{figure}", "pdf"),
    log:
        f"results/logs/{STUDY.name}/draw-{{figure}}.log",
    conda:
        "../../environment.yml"
    params:
        settings=lambda w: settings(
            [
                STUDY.title,
                STUDY.nesting,
                [(m.name, m.label, m.group) for m in STUDY.methods.values()],
            ]
        ),
        caption=lambda w: FIGURE.summary(drawn_by(w)),
        study=lambda w: STUDY_ARGUMENT,
        seeds=SEEDS_ARGUMENT,
    shell:
        "SOURCE_DATE_EPOCH=0 python -m analysis.draw {params.study} --figure {wildcards.figure}"
        " {params.seeds} 2>&1 | tee {log:q}"


rule page:
    """Put tables, figures and conditions of the study into one page that opens offline."""
    input:
        reported,
        TABLES,
        data=LAYOUT.data / "manifest.json",
        code=[*modules.closure("analysis/report/__main__.py"), *TEMPLATES],
    output:
        LAYOUT.report,
    log:
        f"results/logs/{STUDY.name}/page.log",
    conda:
        "../../environment.yml"
    params:
        settings=lambda w: settings(STUDY.config),
        captions=lambda w: [
            FIGURE.summary(STUDY.figure_module(name)[0]) for name in STUDY.figures
        ],
        study=lambda w: STUDY_ARGUMENT,
        seeds=SEEDS_ARGUMENT,
    shell:
        "python -m analysis.report {params.study} {params.seeds} 2>&1 | tee {log:q}"
