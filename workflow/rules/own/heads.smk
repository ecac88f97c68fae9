# Heads of one's own model: labels and masks are read once, the denoiser is asked once, all choices are made on that.
# in:  images, labels.csv, masks, the model
# out: <results>/own/images/, <results>/own/features.safetensors,
#      <results>/own/heads/{subject}/, <results>/own/reports/{subject}.json, <results>/own/curves/{subject}.csv
#      <results>/own/learning_curve.{png,pdf}, <results>/own/report.csv


rule read_own_images:
    """Read the labelled images, at the size of the model's."""
    output:
        "<results>/own/images/labelled.parquet",
    log:
        "<logs>/read_own_images.log",
    benchmark:
        "<benchmarks>/read_own_images.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        settings=settings("own.source"),
        image_size=OWN.image_size,
        contents=CONTENTS.get("labels", ""),
        code=code("read_own_images.py", env="data"),
    shell:
        "python workflow/scripts/read_own_images.py --settings {params.settings:q} --image-size {params.image_size:q}"
        " --contents {params.contents:q} --output {output:q} 2> {log:q}"


rule read_own_masks:
    """Read the images that have masks, and these."""
    output:
        images="<results>/own/images/masked.parquet",
        masks=MASKS,
    log:
        "<logs>/read_own_masks.log",
    benchmark:
        "<benchmarks>/read_own_masks.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        settings=settings("own.source"),
        image_size=OWN.image_size,
        contents=CONTENTS.get("masked", ""),
        code=code("read_own_masks.py", env="data"),
    shell:
        "python workflow/scripts/read_own_masks.py --settings {params.settings:q} --image-size {params.image_size:q}"
        " --contents {params.contents:q} --images {output.images:q} --masks {output.masks:q} 2> {log:q}"


rule extract_own_features:
    """Cache what heads may read of the labelled images: one pass serves all modules and attributes."""
    input:
        images="<results>/own/images/labelled.parquet",
        model=OWN.model.files,
    output:
        "<results>/own/features.safetensors",
    log:
        "<logs>/extract_own_features.log",
    benchmark:
        "<benchmarks>/extract_own_features.tsv"
    conda:
        "../../../envs/own.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("own.learning"),
        model=CONFIG.own.model,
        code=code("extract_own_features.py", env="own"),
    shell:
        "python workflow/scripts/extract_own_features.py --settings {params.settings:q} --images {input.images:q}"
        " --model {params.model:q} --output {output:q} 2> {log:q}"


rule fit_own_attribute:
    """Fit the head of one attribute, at the module that predicts its shots best, and its learning curve."""
    input:
        images="<results>/own/images/labelled.parquet",
        features="<results>/own/features.safetensors",
    output:
        config="<results>/own/heads/{attribute}/config.json",
        weights="<results>/own/heads/{attribute}/<weights>",
        report="<results>/own/reports/{attribute}.json",
        curve="<results>/own/curves/{attribute}.csv",
    log:
        "<logs>/fit_own_attribute/{attribute}.log",
    benchmark:
        "<benchmarks>/fit_own_attribute/{attribute}.tsv"
    conda:
        "../../../envs/own.yaml"
    params:
        settings=settings("own.learning"),
        title=title_of,
        head=subpath(output.weights, parent=True),
        code=code("fit_own_attribute.py", env="own"),
    shell:
        "python workflow/scripts/fit_own_attribute.py --settings {params.settings:q}"
        " --attribute {wildcards.attribute:q} --title {params.title:q} --images {input.images:q}"
        " --features {input.features:q} --head {params.head:q} --report {output.report:q} --curve {output.curve:q}"
        " 2> {log:q}"


rule fit_own_masks:
    """Fit the head of masks, at the modules that find other pairs' masks best, and its learning curve."""
    input:
        images="<results>/own/images/masked.parquet",
        masks=MASKS,
        model=OWN.model.files,
    output:
        config="<results>/own/heads/masks/config.json",
        weights="<results>/own/heads/masks/<weights>",
        report="<results>/own/reports/masks.json",
        curve="<results>/own/curves/masks.csv",
    log:
        "<logs>/fit_own_masks.log",
    benchmark:
        "<benchmarks>/fit_own_masks.tsv"
    conda:
        "../../../envs/own.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("own.learning"),
        model=CONFIG.own.model,
        head=subpath(output.weights, parent=True),
        code=code("fit_own_masks.py", env="own"),
    shell:
        "python workflow/scripts/fit_own_masks.py --settings {params.settings:q} --images {input.images:q}"
        " --masks {input.masks:q} --model {params.model:q} --head {params.head:q} --report {output.report:q}"
        " --curve {output.curve:q} 2> {log:q}"


rule draw_own_curve:
    """Draw learning curves, and say what was chosen and what more labels are worth."""
    input:
        reports=expand("<results>/own/reports/{subject}.json", subject=OWN.subjects),
        curves=expand("<results>/own/curves/{subject}.csv", subject=OWN.subjects),
    output:
        figures=["<results>/own/learning_curve.png", "<results>/own/learning_curve.pdf"],
        report="<results>/own/report.csv",
    log:
        "<logs>/draw_own_curve.log",
    benchmark:
        "<benchmarks>/draw_own_curve.tsv"
    conda:
        "../../../envs/figures.yaml"
    params:
        code=code("draw_own_curve.py", env="figures"),
    shell:
        "python workflow/scripts/draw_own_curve.py --reports {input.reports:q} --curves {input.curves:q}"
        " --report {output.report:q} --output {output.figures:q} 2> {log:q}"
