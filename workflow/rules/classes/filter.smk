# Filter: a head on the denoiser's activations that keeps a generated image if it shows its class; what it does, and
# what an independent judge says of it.
# in:  <results>/denoiser/, <results>/images/{class_train,class_test,judge}.parquet, <results>/classes/generated/
# out: <results>/classes/{features.safetensors,filter/,judge/}, <results>/tables/classes_{acceptance,calibration}.csv


rule extract_class_features:
    """Cache the activations that the filter reads, of the real images and of their mirror images."""
    input:
        images="<results>/images/class_train.parquet",
        denoiser="<results>/denoiser/<weights>",
    output:
        "<results>/classes/features.safetensors",
    log:
        "<logs>/extract_class_features.log",
    benchmark:
        "<benchmarks>/extract_class_features.tsv"
    conda:
        "../../../envs/diffusion.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("classes.filter"),
        per_class=CLASSES.train_per_class,
        denoiser=subpath(input.denoiser, parent=True),
        code=code("extract_class_features.py", env="diffusion"),
    shell:
        "python workflow/scripts/extract_class_features.py --settings {params.settings:q} --images {input.images:q}"
        " --per-class {params.per_class:q} --denoiser {params.denoiser:q} --output {output:q} 2> {log:q}"


rule train_class_filter:
    """Train the filter's head on cached activations."""
    input:
        "<results>/classes/features.safetensors",
    output:
        config="<results>/classes/filter/config.json",
        weights="<results>/classes/filter/<weights>",
    log:
        "<logs>/train_class_filter.log",
    benchmark:
        "<benchmarks>/train_class_filter.tsv"
    conda:
        "../../../envs/diffusion.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("classes.filter"),
        folder=subpath(output.weights, parent=True),
        code=code("train_class_filter.py", env="diffusion"),
    shell:
        "python workflow/scripts/train_class_filter.py --settings {params.settings:q} --features {input:q}"
        " --output {params.folder:q} 2> {log:q}"


rule train_class_judge:
    """Train the independent judge of classes on a split of its own."""
    input:
        "<results>/images/judge.parquet",
    output:
        config="<results>/classes/judge/config.json",
        weights="<results>/classes/judge/<weights>",
    log:
        "<logs>/train_class_judge.log",
    benchmark:
        "<benchmarks>/train_class_judge.tsv"
    conda:
        "../../../envs/classifiers.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("classes.judge"),
        folder=subpath(output.weights, parent=True),
        code=code("train_class_judge.py", env="classifiers"),
    shell:
        "python workflow/scripts/train_class_judge.py --settings {params.settings:q} --images {input:q}"
        " --output {params.folder:q} 2> {log:q}"


rule evaluate_filter:
    """Measure what the filter keeps, what an independent judge says of it, and how reliable it is on real images."""
    input:
        generated=gather.generated("<results>/classes/generated/{scatteritem}.parquet"),
        test="<results>/images/class_test.parquet",
        denoiser="<results>/denoiser/<weights>",
        filter="<results>/classes/filter/<weights>",
        judge="<results>/classes/judge/<weights>",
    output:
        acceptance=report(
            "<results>/tables/classes_acceptance.csv",
            caption="../../report/classes_acceptance.rst",
            category="Classes",
            labels={"what": "what the filter keeps", "kind": "table"},
        ),
        calibration=report(
            "<results>/tables/classes_calibration.csv",
            caption="../../report/classes_calibration.rst",
            category="Classes",
            labels={"what": "reliability of the filter", "kind": "table"},
        ),
    log:
        "<logs>/evaluate_filter.log",
    benchmark:
        "<benchmarks>/evaluate_filter.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    resources:
        gpu=1,
    params:
        data_set=DATA,
        threshold=CLASSES.filter.threshold,
        denoiser=subpath(input.denoiser, parent=True),
        filter=subpath(input.filter, parent=True),
        judge=subpath(input.judge, parent=True),
        code=code("evaluate_filter.py", env="evaluation"),
    shell:
        "python workflow/scripts/evaluate_filter.py --data-set {params.data_set:q} --threshold {params.threshold:q}"
        " --generated {input.generated:q} --test {input.test:q} --denoiser {params.denoiser:q}"
        " --filter {params.filter:q} --judge {params.judge:q} --acceptance {output.acceptance:q}"
        " --calibration {output.calibration:q} 2> {log:q}"
