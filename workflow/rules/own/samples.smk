# Samples of one's own model: of the same seeds unguided and steered by each head; the pipeline that draws them anywhere.
# in:  <results>/own/heads/, the model
# out: <results>/own/samples/{subject}.parquet, <results>/own/sheet.png, <results>/own/pipeline/

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
        masks=[WANTED] if OWN.masked else [],
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


rule own:
    """Heads, learning curves, samples and the steered pipeline of a model of one's own; with many labels, a table."""
    input:
        EVERYTHING,
