# Samples of one's own model: of the same seeds unguided and steered by each head; the pipeline that draws them anywhere.
# in:  <results>/own/heads/, the model
# out: <results>/own/samples/{subject}.parquet, <results>/own/sheet.png, <results>/own/pipeline/
#      <results>/own/judges/{attribute}/, <results>/own/table.csv where an attribute has labels to spare

SETS = ["unguided", *OWN.subjects]
LABELS = ["unguided", *OWN.titles.values(), *(["following masks"] if OWN.masked else [])]


rule sample_own:
    """Draw samples, unguided or steered by one head."""
    input:
        model=OWN.model.files,
        head=head_of,
        masks=wanted_masks,
    output:
        "<results>/own/samples/{subject}.parquet",
    log:
        "<logs>/sample_own/{subject}.log",
    benchmark:
        "<benchmarks>/sample_own/{subject}.tsv"
    conda:
        "../../../envs/own.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("own.drawing"),
        model=CONFIG.own.model,
        number=samples_of,
        steering=steering,
        code=code("sample_own.py", env="own"),
    shell:
        "python workflow/scripts/sample_own.py --settings {params.settings:q} --model {params.model:q}"
        " --number {params.number:q} {params.steering:q} --output {output:q} 2> {log:q}"


rule draw_own_sheet:
    """Write the sheet: unguided samples, and those of the same seeds steered by each head."""
    input:
        samples=expand("<results>/own/samples/{subject}.parquet", subject=SETS),
        masks=[MASKS] if OWN.masked else [],
    output:
        "<results>/own/sheet.png",
    log:
        "<logs>/draw_own_sheet.log",
    benchmark:
        "<benchmarks>/draw_own_sheet.tsv"
    conda:
        "../../../envs/figures.yaml"
    params:
        labels=LABELS,
        number=CONFIG.own.samples,
        masks=lambda wildcards, input: ["--masks", *input.masks] if input.masks else [],
        code=code("draw_own_sheet.py", env="figures"),
    shell:
        "python workflow/scripts/draw_own_sheet.py --samples {input.samples:q} --labels {params.labels:q}"
        " --number {params.number:q} {params.masks:q} --output {output:q} 2> {log:q}"


rule export_own_pipeline:
    """Write the steered pipeline, for diffusers and for everybody."""
    input:
        model=OWN.model.files,
        heads=HEADS,
    output:
        "<results>/own/pipeline/model_index.json",
        "<results>/own/pipeline/unet/config.json",
        "<results>/own/pipeline/unet/<weights>",
        "<results>/own/pipeline/scheduler/scheduler_config.json",
    log:
        "<logs>/export_own_pipeline.log",
    benchmark:
        "<benchmarks>/export_own_pipeline.tsv"
    conda:
        "../../../envs/own.yaml"
    params:
        model=CONFIG.own.model,
        heads=lambda wildcards, input: [Path(head).parent for head in input.heads],
        folder=subpath(output[0], parent=True),
        code=code("export_own_pipeline.py", env="own"),
    shell:
        "python workflow/scripts/export_own_pipeline.py --model {params.model:q} --heads {params.heads:q}"
        " --output {params.folder:q} 2> {log:q}"


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
        judges=expand("<results>/own/judges/{attribute}/<weights>", attribute=OWN.measured),
        samples=expand("<results>/own/samples/{attribute}.parquet", attribute=OWN.measured),
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
        titles=[OWN.titles[attribute] for attribute in OWN.measured],
        judges=lambda wildcards, input: [Path(judge).parent for judge in input.judges],
        code=code("make_own_table.py", env="own"),
    shell:
        "python workflow/scripts/make_own_table.py --data-set {params.data:q} --titles {params.titles:q}"
        " --judges {params.judges:q} --samples {input.samples:q} --unguided {input.unguided:q} --output {output:q}"
        " 2> {log:q}"


rule own:
    """Heads, learning curves, samples and the steered pipeline of a model of one's own; with many labels, a table."""
    input:
        EVERYTHING,
