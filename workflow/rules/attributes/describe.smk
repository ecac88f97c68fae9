# Descriptions: every image set is reduced once to features of each extractor, the judge's opinion, and what it cost.
# in:  images of the splits controls and reference, all sample sets, the judge
# out: <results>/attributes/descriptions/


rule describe_images:
    """Describe the real images of a split: features and the judge's opinion."""
    input:
        images="<results>/images/{split}{own}.parquet",
        judge="<results>/judges/judge{own}/<weights>",
        extractors=EXTRACTORS,
    output:
        "<results>/attributes/descriptions/real{own}/{split}.safetensors",
    log:
        "<logs>/describe/real{own}/{split}.log",
    benchmark:
        "<benchmarks>/describe/real{own}/{split}.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("evaluation"),
        judge=subpath(input.judge, parent=True),
        code=code("describe_images.py", env="evaluation"),
    shell:
        "python workflow/scripts/describe_images.py --settings {params.settings:q} --images {input.images:q}"
        " --judge {params.judge:q} --output {output:q} 2> {log:q}"


rule describe_samples:
    """Describe the samples of one class and mode: features, the judge's opinion, and what they cost."""
    input:
        samples=gather.guided("<results>/attributes/samples/{{mode}}/{{target}}/{scatteritem}.parquet"),
        timings=gather.guided("<results>/attributes/samples/{{mode}}/{{target}}/{scatteritem}.timing.json"),
        judge=judge_of("judge"),
        extractors=EXTRACTORS,
    output:
        "<results>/attributes/descriptions/{mode}/{target}.safetensors",
    log:
        "<logs>/describe/{mode}/{target}.log",
    benchmark:
        "<benchmarks>/describe/{mode}/{target}.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("evaluation"),
        attribute=wanted_attribute,
        value=wanted_value,
        guidance_scale=guidance_scale,
        judge=subpath(input.judge, parent=True),
        code=code("describe_samples.py", env="evaluation"),
    shell:
        "python workflow/scripts/describe_samples.py --settings {params.settings:q} --method {wildcards.mode:q}"
        " --attribute {params.attribute:q} --value {params.value:q} --guidance-scale {params.guidance_scale:q}"
        " --samples {input.samples:q} --judge {params.judge:q} --output {output:q} 2> {log:q}"


rule describe_pool:
    """Describe the unguided pool: features, the judge's opinion, and what it cost."""
    input:
        samples=gather.pool("<results>/attributes/samples/unguided/pool/{scatteritem}.parquet"),
        timings=gather.pool("<results>/attributes/samples/unguided/pool/{scatteritem}.timing.json"),
        judge="<results>/judges/judge{own}/<weights>",
        extractors=EXTRACTORS,
    output:
        "<results>/attributes/descriptions/pool{own}.safetensors",
    log:
        "<logs>/describe/pool{own}.log",
    benchmark:
        "<benchmarks>/describe/pool{own}.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("evaluation"),
        judge=subpath(input.judge, parent=True),
        code=code("describe_samples.py", env="evaluation"),
    shell:
        "python workflow/scripts/describe_samples.py --settings {params.settings:q} --method unguided"
        " --samples {input.samples:q} --judge {params.judge:q} --output {output:q} 2> {log:q}"
