# Cells: classifiers on real and generated images, and their table. Which cells there are: classes/cells.py.
# in:  <results>/images/{class_train,class_test}.parquet, <results>/classes/generated/
# out: <results>/classes/cells/{architecture}/{mixing}/{ratio}_{control}.csv, <results>/tables/classes.csv,
#      and the first architecture's table alone, <results>/classes/first_architecture.csv

from fewshot_diffusion.classes.cells import CONTROLS, MIXING, NO_CONTROL, cells_of


wildcard_constraints:
    architecture="|".join(recipe.name for recipe in CLASSES.architectures),
    mixing="|".join(MIXING),
    ratio="|".join(map(str, CLASSES.generated_ratios)),
    control="|".join([NO_CONTROL, *CONTROLS]),


rule train_cell:
    """Train one cell of Table 2, once per seed, and test it."""
    input:
        real="<results>/images/class_train.parquet",
        test="<results>/images/class_test.parquet",
        generated=generated_images,
    output:
        "<results>/classes/cells/{architecture}/{mixing}/{ratio}_{control}.csv",
    log:
        "<logs>/train_cell/{architecture}/{mixing}/{ratio}_{control}.log",
    benchmark:
        "<benchmarks>/train_cell/{architecture}/{mixing}/{ratio}_{control}.tsv"
    conda:
        "../../../envs/classifiers.yaml"
    resources:
        gpu=1,
    params:
        settings=CLASSES.model_dump_json(exclude={"filters"}),  # which concern no cell
        data_set=DATA,
        code=code("train_cell.py", env="classifiers"),
    shell:
        "python workflow/scripts/train_cell.py --settings {params.settings:q} --data-set {params.data_set:q}"
        " --architecture {wildcards.architecture:q} --mixing {wildcards.mixing:q} --ratio {wildcards.ratio:q}"
        " --control {wildcards.control:q} --real {input.real:q} --test {input.test:q}"
        " --generated {input.generated:q} --checkpoints checkpoints/classes/{params.code:q} --output {output:q}"
        " 2> {log:q}"


rule make_classes_table:
    """Join the cells of Table 2 and put the paper's numbers beside them."""
    input:
        published=CONFIG.report.published or [],
        cells=cell_files(CLASSES.architectures),
    output:
        report(
            "<results>/tables/classes.csv",
            caption="../../report/classes.rst",
            category="Classes",
            labels={"what": "accuracy of classifiers", "kind": "table"},
        ),
    log:
        "<logs>/make_classes_table.log",
    benchmark:
        "<benchmarks>/make_classes_table.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    params:
        settings=settings("report"),
        code=code("make_classes_table.py", env="evaluation"),
    shell:
        "python workflow/scripts/make_classes_table.py --settings {params.settings:q} --cells {input.cells:q}"
        " --output {output:q} 2> {log:q}"


use rule make_classes_table as make_first_architecture_table with:
    input:
        published=CONFIG.report.published or [],
        cells=cell_files(CLASSES.architectures[:1]),
    output:
        "<results>/classes/first_architecture.csv",
    log:
        "<logs>/make_first_architecture_table.log",
    benchmark:
        "<benchmarks>/make_first_architecture_table.tsv"
