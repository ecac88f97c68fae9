# What generative baselines are worth by themselves: unconditional distances beside the denoiser's, accuracies of the
# classifiers of latents on real images that nothing was trained on, and sheets to look at.
# in:  descriptions of unconditional samples and of the splits controls and reference, the classifiers
# out: <results>/tables/attributes_baselines.csv, <results>/figures/baselines_sheet_{baseline}.png

ATTRIBUTES = sorted({target.attribute for target in CONFIG.attributes.targets})
FIRST = own(CONFIG.attributes.targets[0].attribute)
BASELINES = CONFIG.attributes.baselines
COMPARED_MODELS = [f"pool{FIRST}", *BASELINES]
BASELINE_RESULTS = [
    "<results>/tables/attributes_baselines.csv",
    *(f"<results>/figures/baselines_sheet_{baseline}.png" for baseline in BASELINES),
]


rule score_baseline_classifier:
    """Measure a linear classifier of latents on held-out real images."""
    input:
        weights="<results>/baselines/{baseline}/<weights>",
        classifier="<results>/attributes/latents/{baseline}/classifiers/{attribute}/<weights>",
        images=images_of("controls"),
    output:
        "<results>/attributes/latents/{baseline}/scores/{attribute}.csv",
    log:
        "<logs>/score_baseline_classifier/{baseline}/{attribute}.log",
    benchmark:
        "<benchmarks>/score_baseline_classifier/{baseline}/{attribute}.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("attributes.head"),
        weights=subpath(input.weights, parent=True),
        classifier=subpath(input.classifier, parent=True),
        code=code("score_baseline_classifier.py", env="evaluation"),
    shell:
        "python workflow/scripts/score_baseline_classifier.py --settings {params.settings:q}"
        " --baseline {wildcards.baseline:q} --weights {params.weights:q} --classifier {params.classifier:q}"
        " --images {input.images:q} --output {output:q} 2> {log:q}"


rule evaluate_baselines:
    """Compare unconditional samples of all generative models; add what the classifiers of latents know."""
    input:
        models=expand("<results>/attributes/descriptions/{model}.safetensors", model=COMPARED_MODELS),
        scores=expand(
            "<results>/attributes/latents/{baseline}/scores/{attribute}.csv", baseline=BASELINES, attribute=ATTRIBUTES
        ),
        reference=f"<results>/attributes/descriptions/real{FIRST}/reference.safetensors",
        controls=f"<results>/attributes/descriptions/real{FIRST}/controls.safetensors",
    output:
        report(
            "<results>/tables/attributes_baselines.csv",
            caption="../../report/attributes_baselines.rst",
            category="Attributes",
            labels={"what": "generative baselines", "kind": "table"},
        ),
    log:
        "<logs>/evaluate_baselines.log",
    benchmark:
        "<benchmarks>/evaluate_baselines.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    params:
        settings=settings("evaluation"),
        data_set=DATA,
        kind=CONFIG.report.kind,
        training_images=[CONFIG.training_images(method) for method in ("unguided", *BASELINES)],
        code=code("evaluate_baselines.py", env="evaluation"),
    shell:
        "python workflow/scripts/evaluate_baselines.py --settings {params.settings:q} --data-set {params.data_set:q}"
        " --kind {params.kind:q} --descriptions {input.models:q} --training-images {params.training_images:q}"
        " --scores {input.scores:q} --reference {input.reference:q} --controls {input.controls:q}"
        " --output {output:q} 2> {log:q}"


rule reconstruct_images:
    """Send real images through the latent of a baseline."""
    input:
        weights="<results>/baselines/{baseline}/<weights>",
        images=f"<results>/images/controls{FIRST}.parquet",
    output:
        "<results>/attributes/reconstructions/{baseline}.parquet",
    log:
        "<logs>/reconstruct_images/{baseline}.log",
    benchmark:
        "<benchmarks>/reconstruct_images/{baseline}.tsv"
    conda:
        "../../../envs/baselines.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("sampling"),
        number=16,
        weights=subpath(input.weights, parent=True),
        code=code("reconstruct_images.py", env="baselines"),
    shell:
        "python workflow/scripts/reconstruct_images.py --settings {params.settings:q}"
        " --baseline {wildcards.baseline:q} --weights {params.weights:q} --images {input.images:q}"
        " --number {params.number:q} --output {output:q} 2> {log:q}"


rule draw_baseline_sheet:
    """Write a contact sheet of a baseline: real images where they may be shown, what their latents keep, and samples."""
    input:
        real=(
            [
                f"<results>/attributes/descriptions/real{FIRST}/controls.safetensors",
                "<results>/attributes/reconstructions/{baseline}.parquet",
            ]
            if CONFIG.report.show_real
            else []
        ),
        samples="<results>/attributes/descriptions/{baseline}.safetensors",
    output:
        report(
            "<results>/figures/baselines_sheet_{baseline}.png",
            caption="../../report/attributes_baselines.rst",
            category="Attributes",
            labels={"what": "contact sheet, {baseline}", "kind": "figure"},
        ),
    log:
        "<logs>/draw_baseline_sheet/{baseline}.log",
    benchmark:
        "<benchmarks>/draw_baseline_sheet/{baseline}.tsv"
    conda:
        "../../../envs/figures.yaml"
    params:
        labels=lambda wildcards, input: [
            *(["real", f"{wildcards.baseline} reconstructed"] if input.real else []),
            f"{wildcards.baseline} unconditional",
        ],
        code=code("draw_sheet.py", env="figures"),
    shell:
        "python workflow/scripts/draw_sheet.py --images {input.real:q} {input.samples:q} --rows 1 --output {output:q}"
        " --labels {params.labels:q} 2> {log:q}"
