# Figures and targets: what people ask for.
# in:  <results>/tables/classes*.csv
# out: <results>/figures/classes.{png,pdf}


rule draw_classes_figure:
    """Draw accuracy against the ratio of generated images, what the filter does, and how reliable it is."""
    input:
        table="<results>/tables/classes.csv",
        acceptance="<results>/tables/classes_acceptance.csv",
        calibration="<results>/tables/classes_calibration.csv",
    output:
        report(
            "<results>/figures/classes.png",
            caption="../../report/classes_figure.rst",
            category="Classes",
            labels={"what": "accuracy and filter", "kind": "figure"},
        ),
        "<results>/figures/classes.pdf",
    log:
        "<logs>/draw_classes_figure.log",
    benchmark:
        "<benchmarks>/draw_classes_figure.tsv"
    conda:
        "../../../envs/figures.yaml"
    params:
        code=code("draw_classes_figure.py", env="figures"),
    shell:
        "python workflow/scripts/draw_classes_figure.py --table {input.table:q} --acceptance {input.acceptance:q}"
        " --calibration {input.calibration:q} --output {output:q} 2> {log:q}"


rule classes:
    """Experiment 3: tables and figure of classifiers on real and generated images (Table 2)."""
    input:
        "<results>/tables/classes.csv",
        "<results>/tables/classes_acceptance.csv",
        "<results>/tables/classes_calibration.csv",
        "<results>/figures/classes.png",


rule classes_first_architecture:
    """Experiment 3 for the first architecture alone, which costs the least."""
    input:
        "<results>/classes/first_architecture.csv",
        "<results>/tables/classes_acceptance.csv",
        "<results>/tables/classes_calibration.csv",
