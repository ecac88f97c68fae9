# Evaluation: every image set is described once (features, judgements); distances and shares follow from that.
# in:  images of the splits controls and reference, all sample sets, the judge
# out: <results>/attributes/{descriptions,evaluation}/, <results>/tables/attributes.csv and attributes_judge.csv


rule describe_images:
    """Describe the real images of a split: features and the judge's opinion."""
    input:
        images="<results>/images/{split}{own}.parquet",
        judge="<results>/judges/judge{own}/<weights>",
        extractors=CONFIG.extractor_files,
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
        extractors=CONFIG.extractor_files,
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
        extractors=CONFIG.extractor_files,
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


rule evaluate_attributes:
    """Compare all methods with one class: distances, and the judge's shares."""
    input:
        methods=expand("<results>/attributes/descriptions/{method}/{{target}}.safetensors", method=METHODS),
        reference=described("real{own}/reference"),
        reference_images=images_of("reference"),
        controls=described("real{own}/controls"),
        controls_images=images_of("controls"),
    output:
        distances="<results>/attributes/evaluation/{target}.distances.csv",
        judge="<results>/attributes/evaluation/{target}.judge.csv",
    log:
        "<logs>/evaluate_attributes/{target}.log",
    benchmark:
        "<benchmarks>/evaluate_attributes/{target}.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    params:
        settings=settings("evaluation"),
        target=lambda wildcards: target_of(wildcards).model_dump_json(),
        data_set=DATA,
        descriptions=subpath(input.reference, ancestor=2),
        real=subpath(input.reference, parent=True),
        methods=METHODS,
        training_images=[CONFIG.training_images(method) for method in METHODS],
        code=code("evaluate_attributes.py", env="evaluation"),
    shell:
        "python workflow/scripts/evaluate_attributes.py --settings {params.settings:q} --target {params.target:q}"
        " --data-set {params.data_set:q} --descriptions {params.descriptions:q} --real {params.real:q}"
        " --methods {params.methods:q} --training-images {params.training_images:q}"
        " --reference {input.reference_images:q} --controls {input.controls_images:q}"
        " --distances {output.distances:q} --shares {output.judge:q} 2> {log:q}"


rule make_attributes_table:
    """Join the rows of all classes into the tables that people read, with the paper's numbers beside them."""
    input:
        distances=expand("<results>/attributes/evaluation/{target}.distances.csv", target=TARGETS),
        judge=expand("<results>/attributes/evaluation/{target}.judge.csv", target=TARGETS),
        published=CONFIG.report.published or [],
    output:
        distances=report(
            "<results>/tables/attributes.csv",
            caption="../../report/attributes_table.rst",
            category="Attributes",
            labels={"what": "distances", "kind": "table"},
        ),
        judge=report(
            "<results>/tables/attributes_judge.csv",
            caption="../../report/attributes_judge.rst",
            category="Attributes",
            labels={"what": "the judge's shares", "kind": "table"},
        ),
    log:
        "<logs>/make_attributes_table.log",
    benchmark:
        "<benchmarks>/make_attributes_table.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    params:
        settings=settings("report"),
        code=code("make_attributes_table.py", env="evaluation"),
    shell:
        "python workflow/scripts/make_attributes_table.py --settings {params.settings:q}"
        " --distances {input.distances:q} --shares {input.judge:q} --output {output.distances:q}"
        " --judge-output {output.judge:q} 2> {log:q}"
