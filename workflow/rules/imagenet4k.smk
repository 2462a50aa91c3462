IMAGENET4K_CHECK = config.get("imagenet4k_check")


rule build_imagenet4k:
    """Choose and draw ImageNet-4K from ImageNet-21K: database.csv, query.csv and what was refused."""
    input:
        code=lambda w: modules.closure("splits/imagenet4k.py"),
    output:
        "results/imagenet4k/manifest.json",
    log:
        "results/logs/imagenet4k.log",
    conda:
        "../../environment.yml"
    threads: cores() if IMAGENET4K_CHECK else 1
    params:
        images=imagenet21k,
        outside=lambda w: settings(imagenet21k_outside(w)),
        rule=config.get("imagenet4k_rule", "published"),
        check=f"--check-images {IMAGENET4K_CHECK}" if IMAGENET4K_CHECK else "",
    shell:
        "python -m splits.imagenet4k --images {params.images:q} --out results/imagenet4k --rule {params.rule:q}"
        " {params.check} --threads {threads} 2>&1 | tee {log:q}"
