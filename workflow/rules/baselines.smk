rule train:
    """Train one network. Its settings are a parameter: nothing else retrains it."""
    input:
        data=LAYOUT.data / "manifest.json",
        start=starting_point,
        code=lambda w: training_code(method_of(w)),
    output:
        LAYOUT.network("{network}", "{seed}") / "meta.json",
        LAYOUT.network("{network}", "{seed}") / "checkpoint.pt",
        LAYOUT.network("{network}", "{seed}") / "log.csv",
    log:
        f"results/logs/{STUDY.name}/train-{{network}}-{{seed}}.log",
    benchmark:
        f"results/benchmarks/{STUDY.name}/train-{{network}}-{{seed}}.jsonl"
    conda:
        "../../environment.yml"
    threads: STUDY.training.get("threads", 1)
    resources:
        gpu=GPU,
    params:
        settings=lambda w: settings(STUDY.trained_with(w.network)),
        study=STUDY_ARGUMENT,
    shell:
        "python -m baselines.train {params.study} --network {wildcards.network}"
        " --seed {wildcards.seed} --processes {resources.gpu} 2>&1 | tee {log:q}"


rule embed:
    """Embed every split with one method; fitted methods start from another run's embeddings."""
    input:
        data=LAYOUT.data / "manifest.json",
        start=embedded_from,
        code=lambda w: embedding_code(STUDY.methods[w.method]),
    output:
        LAYOUT.embeddings("{method}", "{seed}") / "meta.json",
        LAYOUT.embeddings("{method}", "{seed}") / "classifiers.npz",
    log:
        f"results/logs/{STUDY.name}/embed-{{method}}-{{seed}}.log",
    benchmark:
        f"results/benchmarks/{STUDY.name}/embed-{{method}}-{{seed}}.jsonl"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=GPU,
    params:
        settings=lambda w: settings(
            [
                STUDY.dim,
                STUDY.methods[w.method].nesting,
                STUDY.methods[w.method].options,
            ]
        ),
        study=STUDY_ARGUMENT,
    shell:
        "python -m baselines.embed {params.study} --method {wildcards.method}"
        " --seed {wildcards.seed} --threads {threads} 2>&1 | tee {log:q}"
