# Evaluation: distances and shares follow from descriptions alone.
# in:  <results>/attributes/descriptions/, attributes of the splits controls and reference
# out: <results>/attributes/evaluation/, <results>/tables/attributes.csv and attributes_judge.csv


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
