rule train:
    """Train one network. Its settings are a parameter: nothing else retrains it."""
    input:
        data=LAYOUT.data / "manifest.json",
        study=new_study,
        start=starting_point,
        code=lambda w: training_code(STUDY, method_of(w)),
    output:
        LAYOUT.network("{network}", "{seed}") / "meta.json",
        LAYOUT.network("{network}", "{seed}") / "checkpoint.pt",
        LAYOUT.network("{network}", "{seed}") / "log.csv",
    log:
        f"results/logs/{STUDY.name}/train-{{network}}-{{seed}}.log",
    conda:
        "../../environment.yml"
    threads: STUDY.training.get("threads", 1)
    resources:
        gpu=GPU,
    params:
        settings=lambda w: trained_with(study_of(method_of(w).name), w.network),
        study=study_argument,
    shell:
        "python -m baselines.train {params.study} --network {wildcards.network}"
        " --seed {wildcards.seed} --processes {resources.gpu} 2>&1 | tee {log:q}"


rule embed:
    """Embed every split with one method; fitted methods start from another run's embeddings."""
    input:
        data=LAYOUT.data / "manifest.json",
        study=new_study,
        start=embedded_from,
        new=new_code,
        code=lambda w: embedding_code(method_of(w)),
    output:
        LAYOUT.embeddings("{method}", "{seed}") / "meta.json",
        LAYOUT.embeddings("{method}", "{seed}") / "classifiers.npz",
    log:
        f"results/logs/{STUDY.name}/embed-{{method}}-{{seed}}.log",
    conda:
        "../../environment.yml"
    # Jobs of a study run side by side; a new method has the cores to itself.
    threads: lambda w: 1 if w.method in STUDY.methods else 2
    resources:
        gpu=GPU,
    params:
        settings=lambda w: settings(
            [
                STUDY.dim,
                method_of(w).nesting,
                method_of(w).options,
                *([] if study_of(w.method).classifies(w.method) else ["no probes"]),
                *embedded_outside(w),
            ]
        ),
        study=study_argument,
    shell:
        "python -m baselines.embed {params.study} --method {wildcards.method}"
        " --seed {wildcards.seed} --threads {threads} 2>&1 | tee {log:q}"
