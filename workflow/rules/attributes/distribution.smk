# Distributions: samples of which a share was wanted of each work unit, beside unguided ones. They are drawn, described and
# swept as any mode is; here they are compared, before real images of that share and before all.
# in:  descriptions of the samples, of the unguided ones, and of the splits controls and reference
# out: <results>/attributes/evaluation/{target}.distribution.csv, <results>/tables/attributes_distribution.csv

COMPARED = ["unguided", "distribution"]
DISTRIBUTION_RESULTS = [
    "<results>/tables/attributes_distribution.csv",
    "<results>/figures/attributes_sheet_distribution.png",
]


rule evaluate_distribution:
    """Compare samples of which a share was wanted with unguided ones: the share found, and distances."""
    input:
        methods=expand("<results>/attributes/descriptions/{method}/{{target}}.safetensors", method=COMPARED),
        reference=described("real{own}/reference"),
        reference_images=images_of("reference"),
        controls=described("real{own}/controls"),
        controls_images=images_of("controls"),
    output:
        "<results>/attributes/evaluation/{target}.distribution.csv",
    log:
        "<logs>/evaluate_distribution/{target}.log",
    benchmark:
        "<benchmarks>/evaluate_distribution/{target}.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    params:
        settings=settings("evaluation"),
        target=lambda wildcards: target_of(wildcards).model_dump_json(),
        data_set=DATA,
        kind=CONFIG.report.kind,
        descriptions=subpath(input.reference, ancestor=2),
        real=subpath(input.reference, parent=True),
        methods=COMPARED,
        code=code("evaluate_distribution.py", env="evaluation"),
    shell:
        "python workflow/scripts/evaluate_distribution.py --settings {params.settings:q} --target {params.target:q}"
        " --data-set {params.data_set:q} --kind {params.kind:q} --descriptions {params.descriptions:q}"
        " --real {params.real:q} --methods {params.methods:q} --reference {input.reference_images:q}"
        " --controls {input.controls_images:q} --output {output:q} 2> {log:q}"


rule make_distribution_table:
    """Join the rows of all wanted shares into one table."""
    input:
        expand("<results>/attributes/evaluation/{target}.distribution.csv", target=SHARED),
    output:
        report(
            "<results>/tables/attributes_distribution.csv",
            caption="../../report/attributes_distribution.rst",
            category="Attributes",
            labels={"what": "wanted shares", "kind": "table"},
        ),
    log:
        "<logs>/make_distribution_table.log",
    benchmark:
        "<benchmarks>/make_distribution_table.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    params:
        code=code("join_csv.py", env="evaluation"),
    shell:
        "python workflow/scripts/join_csv.py --parts {input:q} --output {output:q} 2> {log:q}"
