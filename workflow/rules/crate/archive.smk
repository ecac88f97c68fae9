# The deposit: what the report shows of `all`, with its captions, beside the workflow. No part of `all`: `snakemake crate`.
# in:  every table and figure of the experiments
# out: <results>/crate.zip


rule make_crate:
    """Pack tables and figures, and the workflow that made them, into one RO-Crate to deposit."""
    input:
        lambda wildcards: [product["path"] for product in products(wildcards)],
    output:
        "<results>/crate.zip",
    log:
        "<logs>/make_crate.log",
    benchmark:
        "<benchmarks>/make_crate.tsv"
    conda:
        "../../../envs/crate.yaml"
    params:
        data_set=DATA,
        credit=CREDITS.get(CONFIG.data.kind, ""),
        pictures=PICTURE_LICENCES.get(CONFIG.data.kind, ""),
        settings=CONFIG.model_dump_json(exclude={"downloads"}),
        snakemake=version("snakemake"),
        products=lambda wildcards: [json.dumps(product) for product in products(wildcards)],
        workflow=BASE,
        files=lambda wildcards: workflow_digest(BASE),
        code=code("make_crate.py", env="crate"),
    shell:
        "python workflow/scripts/make_crate.py --data-set {params.data_set:q} --credit {params.credit:q}"
        " --pictures {params.pictures:q} --settings {params.settings:q} --snakemake {params.snakemake:q} --products {params.products:q}"
        " --workflow {params.workflow:q} --output {output:q} 2> {log:q}"


rule crate:
    """One file to deposit: tables and figures, what they show, and the workflow that made them."""
    input:
        "<results>/crate.zip",
