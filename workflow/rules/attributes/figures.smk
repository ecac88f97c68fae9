# Figures: what people look at, drawn from descriptions alone; and the target of the whole experiment.
# in:  <results>/attributes/descriptions/, <results>/tables/attributes.csv and attributes_judge.csv
# out: <results>/figures/{attributes,attributes_cost}.{png,pdf}, <results>/figures/attributes_sheet_{method}.png
#      results/tables/celeba_fid.csv, a copy of the configured data set's table, unless it is of another data set

PAPERS_TABLE = "results/tables/celeba_fid.csv"
OWNER = data_set_of(Path(PAPERS_TABLE))

# An input function would say so, too, at greater length.
if OWNER not in (None, DATA) and PAPERS_TABLE in sys.argv:
    refuse_papers_table()

SHOWN = [method for method in METHODS if method in ("unguided", *MODES)]  # the same seeds


rule draw_attributes_figure:
    """Draw real, unguided and guided images of every class, the same seeds side by side."""
    input:
        methods=expand("<results>/attributes/descriptions/{method}/{target}.safetensors", method=SHOWN, target=TARGETS),
        real=[
            f"<results>/attributes/descriptions/real{own(target.attribute)}/controls.safetensors"
            for target in CONFIG.attributes.targets
        ],
        shares="<results>/tables/attributes_judge.csv",
    output:
        report(
            "<results>/figures/attributes.png",
            caption="../../report/attributes.rst",
            category="Attributes",
            labels={"what": "samples of every class", "kind": "figure"},
        ),
        "<results>/figures/attributes.pdf",
    log:
        "<logs>/draw_attributes_figure.log",
    benchmark:
        "<benchmarks>/draw_attributes_figure.tsv"
    conda:
        "../../../envs/figures.yaml"
    params:
        targets=[target.model_dump_json() for target in CONFIG.attributes.targets],
        methods=SHOWN,
        show_real=CONFIG.report.show_real,
        descriptions=lambda wildcards, input: Path(input.real[0]).parents[1],
        code=code("draw_attributes_figure.py", env="figures"),
    shell:
        "python workflow/scripts/draw_attributes_figure.py --targets {params.targets:q} --methods {params.methods:q}"
        " --show-real {params.show_real:q} --descriptions {params.descriptions:q} --real {input.real:q}"
        " --shares {input.shares:q} --output {output:q} 2> {log:q}"


rule draw_attributes_cost_figure:
    """Draw distance and judge's share of every method against what its samples cost."""
    input:
        table="<results>/tables/attributes.csv",
        shares="<results>/tables/attributes_judge.csv",
    output:
        report(
            "<results>/figures/attributes_cost.png",
            caption="../../report/attributes_cost.rst",
            category="Attributes",
            labels={"what": "methods by cost", "kind": "figure"},
        ),
        "<results>/figures/attributes_cost.pdf",
    log:
        "<logs>/draw_attributes_cost_figure.log",
    benchmark:
        "<benchmarks>/draw_attributes_cost_figure.tsv"
    conda:
        "../../../envs/figures.yaml"
    params:
        code=code("draw_attributes_cost_figure.py", env="figures"),
    shell:
        "python workflow/scripts/draw_attributes_cost_figure.py --table {input.table:q} --shares {input.shares:q}"
        " --output {output:q} 2> {log:q}"


rule draw_sheet:
    """Write a contact sheet of one method: the first samples of each set, none left out."""
    input:
        images=sheet_sources,
        shares="<results>/tables/attributes_judge.csv",
    output:
        report(
            "<results>/figures/attributes_sheet_{method}.png",
            caption="../../report/attributes_sheet.rst",
            category="Attributes",
            labels={"what": "contact sheet, {method}", "kind": "figure"},
        ),
    log:
        "<logs>/draw_sheet/{method}.log",
    benchmark:
        "<benchmarks>/draw_sheet/{method}.tsv"
    wildcard_constraints:
        method="|".join(["unguided", *KNOWN_MODES]),
    conda:
        "../../../envs/figures.yaml"
    params:
        rows=lambda wildcards: 4 if wildcards.method == "unguided" else 1,
        labels=sheet_labels,
        code=code("draw_sheet.py", env="figures"),
    shell:
        "python workflow/scripts/draw_sheet.py --images {input.images:q} --rows {params.rows:q} --output {output:q}"
        " --labels {params.labels:q} --shares {input.shares:q} 2> {log:q}"


rule celeba_fid:
    """Copy the table of attributes to the place where the paper's commands look for it."""
    input:
        table_to_copy,
    output:
        PAPERS_TABLE,
    log:
        "<logs>/celeba_fid.log",
    conda:
        "../../../envs/evaluation.yaml"
    shell:
        "cp {input:q} {output:q} 2> {log:q}"


rule attributes:
    """Table 1: samples with a wanted attribute; its tables and figures."""
    input:
        "<results>/tables/attributes.csv",
        PAPERS_TABLE if OWNER in (None, DATA) else [],
        "<results>/tables/attributes_judge.csv",
        "<results>/figures/attributes.png",
        "<results>/figures/attributes_cost.png",
        expand("<results>/figures/attributes_sheet_{method}.png", method=SHOWN),
        DISTRIBUTION_RESULTS if SHARED else [],
        BASELINE_RESULTS if CONFIG.attributes.baselines else [],
