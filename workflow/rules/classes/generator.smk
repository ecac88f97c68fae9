# Generator: the denoiser, fine-tuned with labels, and the filtered images that it draws of every class.
# in:  <results>/denoiser/, the first images of every class of <results>/images/class_train.parquet, the filter
# out: <results>/classes/generator/ (with classes.source store it is there already: `make restore`),
#      <results>/classes/generated/{scatteritem}.parquet
# One generated set serves all ratios: 1x is its prefix; finished work units in checkpoints/ make 3x extend 1x.

CLASSES = CONFIG.classes


scattergather:
    generated=CLASSES.sampling.shards,


# Now, since the shards of all runs are counted under one name.
GENERATED = gather.generated("<results>/classes/generated/{scatteritem}.parquet")


if CLASSES.source == "train":

    rule train_generator:
        """Fine-tune the unconditional denoiser as class-conditional; the same command starts, resumes and repeats."""
        input:
            images="<results>/images/class_train.parquet",
            denoiser="<results>/denoiser/<weights>",
        output:
            config="<results>/classes/generator/config.json",
            weights="<results>/classes/generator/<weights>",
        log:
            "<logs>/train_generator.log",
        benchmark:
            "<benchmarks>/train_generator.tsv"
        conda:
            "../../../envs/diffusion.yaml"
        threads: CLASSES.conditional.cpu_threads
        resources:
            gpu=1,
        params:
            settings=settings("classes.conditional"),
            per_class=CLASSES.train_per_class,
            denoiser=subpath(input.denoiser, parent=True),
            folder=subpath(output.weights, parent=True),
            code=code("train_generator.py", env="diffusion"),
        shell:
            "python workflow/scripts/train_generator.py --settings {params.settings:q} --images {input.images:q}"
            " --per-class {params.per_class:q} --denoiser {params.denoiser:q} --checkpoints checkpoints/generator"
            " --output {params.folder:q} 2> {log:q}"


rule sample_classes:
    """Draw and filter images of a share of the classes."""
    input:
        denoiser="<results>/denoiser/<weights>",
        generator="<results>/classes/generator/<weights>",
        filter="<results>/classes/filter/<weights>",
    output:
        "<results>/classes/generated/{scatteritem}.parquet",
    log:
        "<logs>/sample_classes/{scatteritem}.log",
    benchmark:
        "<benchmarks>/sample_classes/{scatteritem}.tsv"
    conda:
        "../../../envs/diffusion.yaml"
    threads: CLASSES.sampling.cpu_threads
    resources:
        gpu=1,
    params:
        settings=settings("classes.sampling"),
        wanted=CLASSES.train_per_class * CLASSES.max_ratio,
        max_attempts=CLASSES.filter.max_attempts,
        threshold=CLASSES.filter.threshold,
        denoiser=subpath(input.denoiser, parent=True),
        generator=subpath(input.generator, parent=True),
        filter=subpath(input.filter, parent=True),
        code=code("sample_classes.py", env="diffusion"),
    shell:
        "python workflow/scripts/sample_classes.py --settings {params.settings:q} --wanted {params.wanted:q}"
        " --max-attempts {params.max_attempts:q} --threshold {params.threshold:q} --denoiser {params.denoiser:q}"
        " --generator {params.generator:q} --filter {params.filter:q} --shard {wildcards.scatteritem:q}"
        " --checkpoints checkpoints/classes/{params.code:q} --output {output:q} 2> {log:q}"
