# The page for a browser: real, unguided and guided images side by side, the judge's word, and the table's row. No part of
# `all`: `snakemake explorer`, or with every lambda of the sweep, whose samples are then drawn, `snakemake explorer_sweep`.
# in:  what common.smk names, workflow/report/explorer.html
# out: <results>/explorer.html, <results>/explorer_sweep.html

CREDITS = {"avatars": "ToonHead by Johan Melin, CC BY 4.0 (creativecommons.org/licenses/by/4.0), drawn with DiceBear."}


# An input function would say so, too, at greater length.
if not EXPLORED and {"explorer", "explorer_sweep"} & set(sys.argv):
    raise WorkflowError(
        "explorer: shows attributes that some mode steers, and masks; found neither in the configuration."
    )


rule make_explorer:
    """Write the page: real, unguided and guided images side by side, the judge's word, and the table's row."""
    input:
        **EXPLORED,
        template=BASE / "workflow" / "report" / "explorer.html",
    output:
        report(
            "<results>/explorer{sweep}.html",
            caption="../../report/explorer.rst",
            category="Overview",
            labels={"what": "page to look through", "kind": "page"},
        ),
    log:
        "<logs>/make_explorer{sweep}.log",
    benchmark:
        "<benchmarks>/make_explorer{sweep}.tsv"
    wildcard_constraints:
        sweep="|_sweep",
    conda:
        "../../../envs/figures.yaml"
    params:
        data_set=DATA,
        credit=CREDITS.get(CONFIG.data.kind, ""),
        attributes=attributes_options,
        masks=masks_options,
        code=code("make_explorer.py", env="figures"),
    shell:
        "python workflow/scripts/make_explorer.py --data-set {params.data_set:q} --credit {params.credit:q}"
        " {params.attributes:q} {params.masks:q} --template {input.template:q} --output {output:q} 2> {log:q}"


rule explorer:
    """A page for a browser: every class, mode and seed side by side, with the judge's word."""
    input:
        "<results>/explorer.html",


rule explorer_sweep:
    """The same page, with every lambda of the sweep of attributes."""
    input:
        "<results>/explorer_sweep.html",
