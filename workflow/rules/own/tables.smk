# Tables of one's own model: a judge of each attribute that has labels to spare, and of masks that have pairs to spare.
# in:  <results>/own/images/, <results>/own/samples/
# out: <results>/own/judges/{attribute}/, <results>/own/table.csv
#      <results>/own/judges/masks/, <results>/own/images/wanted_masks.parquet, <results>/own/masks_table.csv


rule train_own_judge:
    """Train the judge of an attribute on labelled images that its head has not learned from."""
    input:
        "<results>/own/images/labelled.parquet",
    output:
        config="<results>/own/judges/{attribute}/config.json",
        weights="<results>/own/judges/{attribute}/<weights>",
        accuracy="<results>/own/judges/{attribute}/accuracy.json",
    log:
        "<logs>/train_own_judge/{attribute}.log",
    benchmark:
        "<benchmarks>/train_own_judge/{attribute}.tsv"
    conda:
        "../../../envs/own.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("own.table.judge"),
        shots=CONFIG.own.shots,
        folder=subpath(output.weights, parent=True),
        code=code("train_own_judge.py", env="own"),
    shell:
        "python workflow/scripts/train_own_judge.py --settings {params.settings:q} --images {input:q}"
        " --attribute {wildcards.attribute:q} --shots {params.shots:q} --output {params.folder:q} 2> {log:q}"


rule make_own_table:
    """Write the share of samples that show each measured attribute, by its judge."""
    input:
        judges=expand("<results>/own/judges/{attribute}/<weights>", attribute=OWN.judged),
        samples=expand("<results>/own/samples/{attribute}.parquet", attribute=OWN.judged),
        unguided="<results>/own/samples/unguided.parquet",
    output:
        "<results>/own/table.csv",
    log:
        "<logs>/make_own_table.log",
    benchmark:
        "<benchmarks>/make_own_table.tsv"
    conda:
        "../../../envs/own.yaml"
    params:
        data=DATA,
        titles=[OWN.titles[attribute] for attribute in OWN.judged],
        judges=lambda wildcards, input: [Path(judge).parent for judge in input.judges],
        code=code("make_own_table.py", env="own"),
    shell:
        "python workflow/scripts/make_own_table.py --data-set {params.data:q} --titles {params.titles:q}"
        " --judges {params.judges:q} --samples {input.samples:q} --unguided {input.unguided:q} --output {output:q}"
        " 2> {log:q}"


rule select_own_masks:
    """Write the wanted masks: those of the pairs that neither the head nor the segmenter learns from."""
    input:
        images="<results>/own/images/masked.parquet",
        masks=MASKS,
    output:
        "<results>/own/images/wanted_masks.parquet",
    log:
        "<logs>/select_own_masks.log",
    benchmark:
        "<benchmarks>/select_own_masks.tsv"
    conda:
        "../../../envs/own.yaml"
    params:
        shots=CONFIG.own.shots,
        code=code("select_own_masks.py", env="own"),
    shell:
        "python workflow/scripts/select_own_masks.py --images {input.images:q} --masks {input.masks:q}"
        " --shots {params.shots:q} --output {output:q} 2> {log:q}"


rule train_own_segmenter:
    """Train the judge of masks on pairs that the head has not learned from."""
    input:
        images="<results>/own/images/masked.parquet",
        masks=MASKS,
    output:
        config="<results>/own/judges/masks/config.json",
        weights="<results>/own/judges/masks/<weights>",
        accuracy="<results>/own/judges/masks/accuracy.json",
    log:
        "<logs>/train_own_segmenter.log",
    benchmark:
        "<benchmarks>/train_own_segmenter.tsv"
    conda:
        "../../../envs/own.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("own.table.judge"),
        shots=CONFIG.own.shots,
        flip=CONFIG.own.flip,
        folder=subpath(output.weights, parent=True),
        code=code("train_own_segmenter.py", env="own"),
    shell:
        "python workflow/scripts/train_own_segmenter.py --settings {params.settings:q} --images {input.images:q}"
        " --masks {input.masks:q} --shots {params.shots:q} --flip {params.flip:q} --output {params.folder:q} 2> {log:q}"


rule make_own_masks_table:
    """Write how well samples follow the wanted masks, by the segmenter."""
    input:
        masks=WANTED,
        judge="<results>/own/judges/masks/<weights>",
        samples="<results>/own/samples/masks.parquet",
        unguided="<results>/own/samples/unguided.parquet",
    output:
        "<results>/own/masks_table.csv",
    log:
        "<logs>/make_own_masks_table.log",
    benchmark:
        "<benchmarks>/make_own_masks_table.tsv"
    conda:
        "../../../envs/own.yaml"
    params:
        data=DATA,
        judge=subpath(input.judge, parent=True),
        code=code("make_own_masks_table.py", env="own"),
    shell:
        "python workflow/scripts/make_own_masks_table.py --data-set {params.data:q} --masks {input.masks:q}"
        " --judge {params.judge:q} --samples {input.samples:q} --unguided {input.unguided:q} --output {output:q}"
        " 2> {log:q}"
