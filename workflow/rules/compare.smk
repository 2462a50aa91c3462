rule admit_method:
    """Check a method from outside and write the study that it is part of."""
    input:
        data=LAYOUT.data / "manifest.json",
        method=new_code,
        code=["analysis/compare/own_methods.py", "analysis/compare/adapters/folder.py"],
    output:
        NEW_STUDY,
    log:
        f"results/logs/{STUDY.name}/admit-{{name}}.log",
    conda:
        "../../environment.yml"
    threads: 1
    params:
        given=lambda w: (
            json.dumps(config["method"])
            if isinstance(config["method"], dict)
            else config["method"]
        ),
        study=STUDY_ARGUMENT,
        seeds=SEEDS_ARGUMENT,
    shell:
        "python -m analysis.compare.own_methods admit {params.study} --name {wildcards.name} --method {params.given:q}"
        " --out {output:q} {params.seeds} 2>&1 | tee {log:q}"


rule embed_saved:
    """Embed every split with a frozen network, for methods on frozen embeddings."""
    input:
        data=LAYOUT.data / "manifest.json",
        saved=LAYOUT.saved / "manifest.json",
        code=lambda w: embedding_code(STUDY.methods[w.source]),
    output:
        LAYOUT.embeddings(f"{SAVED}{{source}}", "{seed}") / "meta.json",
        LAYOUT.embeddings(f"{SAVED}{{source}}", "{seed}") / "classifiers.npz",
    log:
        f"results/logs/{STUDY.name}/embed-{SAVED}{{source}}-{{seed}}.log",
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        gpu=GPU,
    params:
        study=STUDY_ARGUMENT,
    shell:
        "python -m analysis.saved embed {params.study} --source {wildcards.source} --seed {wildcards.seed}"
        " --threads {threads} 2>&1 | tee {log:q}"


rule train_method:
    """Train the networks of a new method, where it has any."""
    input:
        data=LAYOUT.data / "manifest.json",
        study=NEW_STUDY,
        method=new_code,
        code=lambda w: training_code(new_method(w)),
    output:
        touch(f"{COMPARED}/trained-{{seed}}"),
    log:
        f"results/logs/{STUDY.name}/train-{{name}}-{{seed}}.log",
    conda:
        "../../environment.yml"
    threads: STUDY.training.get("threads", 1)
    resources:
        gpu=GPU,
    params:
        networks=lambda w: " ".join(network.name for network in new_method(w).networks),
    shell:
        "for network in {params.networks}; do python -m baselines.train --study {input.study:q}"
        " --network $network --seed {wildcards.seed} || exit 1; done 2>&1 | tee {log:q}"


rule embed_method:
    """Embed every split with the new method."""
    input:
        data=LAYOUT.data / "manifest.json",
        study=NEW_STUDY,
        method=new_code,
        start=new_start,
        code=lambda w: embedding_code(new_method(w)),
    output:
        LAYOUT.embeddings("{name}", "{seed}") / "meta.json",
        LAYOUT.embeddings("{name}", "{seed}") / "classifiers.npz",
    log:
        f"results/logs/{STUDY.name}/embed-{{name}}-{{seed}}.log",
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        gpu=GPU,
    params:
        command=lambda w: (
            "analysis.compare.own_methods embed"
            if new_method(w).kind == "folder"
            else "baselines.embed --threads 2"
        ),
    shell:
        "python -m {params.command} --study {input.study:q} --method {wildcards.name} --seed {wildcards.seed}"
        " 2>&1 | tee {log:q}"


rule measure_method:
    """Save raw outcomes per test item of the new method."""
    input:
        data=LAYOUT.data / "manifest.json",
        study=NEW_STUDY,
        embeddings=LAYOUT.embeddings("{name}", "{seed}") / "meta.json",
        classifiers=LAYOUT.embeddings("{name}", "{seed}") / "classifiers.npz",
        code=measuring_code,
    output:
        LAYOUT.outcomes("{name}", "{seed}", "{measure}"),
    log:
        f"results/logs/{STUDY.name}/measure-{{measure}}-{{name}}-{{seed}}.log",
    conda:
        "../../environment.yml"
    threads: 1
    params:
        settings=lambda w: measure_settings(w),
    shell:
        "python -m analysis.measure --study {input.study:q} --measure {wildcards.measure}"
        " --method {wildcards.name} --seed {wildcards.seed} 2>&1 | tee {log:q}"


rule compare:
    """Judge a new method against the saved baselines."""
    input:
        new_outcomes,
        study=NEW_STUDY,
        saved=LAYOUT.saved / "manifest.json",
        code=modules.closure("analysis/compare/judge.py"),
    output:
        page=f"{COMPARED}.md",
        html=f"{COMPARED}.html",
        table=f"{COMPARED}.csv",
        figure=f"{COMPARED}.png",
    log:
        f"results/logs/{STUDY.name}/compare-{{name}}.log",
    conda:
        "../../environment.yml"
    threads: 1
    params:
        against=f"--against {' '.join(AGAINST)}" if AGAINST else "",
    shell:
        "python -m analysis.compare --study {input.study:q} --method {wildcards.name} --out {output.page:q}"
        " {params.against} 2>&1 | tee {log:q}"


rule save_baselines:
    """Freeze the finished study into results/saved/. A target of its own: nothing else asks for it."""
    input:
        TABLES,
        [
            [
                LAYOUT.outcomes(method, seed, measure)
                for method, measure in STUDY.measured()
                if measure in MEASURED
            ]
            for seed in STUDY.seeds
        ],
    log:
        f"results/logs/{STUDY.name}/save_baselines.log",
    conda:
        "../../environment.yml"
    threads: 1
    params:
        study=STUDY_ARGUMENT,
        seeds=SEEDS_ARGUMENT,
    shell:
        "python -m analysis.saved freeze {params.study} {params.seeds} 2>&1 | tee {log:q}"
