rule add_method:
    """Check a new method and write the study that it is part of."""
    input:
        data=LAYOUT.data / "manifest.json",
        method=new_code,
        code=[
            "analysis/compare/own_methods.py",
            "analysis/compare/adapters/folder.py",
            "analysis/compare/adapters/vectors.py",
        ],
    output:
        f"{COMPARED}/study.yaml",
    log:
        f"results/logs/{STUDY.name}/add_method-{{method}}.log",
    conda:
        "../../environment.yml"
    params:
        given=lambda w: (
            json.dumps(config["method"])
            if isinstance(config["method"], dict)
            else config["method"]
        ),
        settings=lambda w: settings(added(w.method).config),
        study=lambda w: STUDY_ARGUMENT,
        seeds=lambda w: seeds_argument(added(w.method)),
    shell:
        "python -m analysis.compare.own_methods add {params.study} --name {wildcards.method}"
        " --method {params.given:q} --out {output:q} {params.seeds} 2>&1 | tee {log:q}"


rule embed_saved:
    """Embed every split with a frozen network, for methods on frozen embeddings."""
    input:
        data=LAYOUT.data / "manifest.json",
        saved=LAYOUT.saved / "manifest.json",
        code=lambda w: embedding_code(STUDY.methods[w.source]),
    output:
        LAYOUT.embeddings("saved_{source}", "{seed}") / "meta.json",
        LAYOUT.embeddings("saved_{source}", "{seed}") / "classifiers.npz",
    log:
        f"results/logs/{STUDY.name}/embed-saved_{{source}}-{{seed}}.log",
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        gpu=GPU,
    params:
        study=lambda w: STUDY_ARGUMENT,
    shell:
        "python -m analysis.compare.own_methods embed {params.study} --source {wildcards.source}"
        " --seed {wildcards.seed} --threads {threads} 2>&1 | tee {log:q}"


rule compare:
    """Judge a new method against the saved baselines."""
    input:
        new_outcomes,
        study=f"{COMPARED}/study.yaml",
        saved=LAYOUT.saved / "manifest.json",
        code=lambda w: [
            *evaluating_code("analysis/compare/__main__.py", STUDY.itemised),
            *TEMPLATES,
        ],
    output:
        page=f"{COMPARED}.md",
        html=f"{COMPARED}.html",
        table=f"{COMPARED}.csv",
        figure=f"{COMPARED}.png",
    log:
        f"results/logs/{STUDY.name}/compare-{{method}}.log",
    conda:
        "../../environment.yml"
    params:
        against=f"--against {' '.join(AGAINST)}" if AGAINST else "",
    shell:
        "python -m analysis.compare --study {input.study:q} --method {wildcards.method} --out {output.page:q}"
        " {params.against} 2>&1 | tee {log:q}"


rule save_baselines:
    """Freeze the finished study into results/saved/. A target of its own: nothing else asks for it."""
    input:
        TABLES,
        saved_outcomes,
    log:
        f"results/logs/{STUDY.name}/save_baselines.log",
    conda:
        "../../environment.yml"
    params:
        study=lambda w: STUDY_ARGUMENT,
        seeds=SEEDS_ARGUMENT,
    shell:
        "python -m analysis.saved freeze {params.study} {params.seeds} 2>&1 | tee {log:q}"
