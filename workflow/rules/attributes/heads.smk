# Heads: p(attribute | activations) from the denoiser's activations of 50 + 50 labelled images, computed once; and
# directions, the difference of these activations' means, which stand among them.
# in:  <results>/denoiser/, <results>/images/shots.parquet
# out: <results>/attributes/shots/{attribute}.csv
#      <results>/attributes/features/{mode}/{attribute}.safetensors
#      <results>/attributes/heads/{mode}/{attribute}/, <results>/attributes/heads/steering/{attribute}/
# Below, {target} is a row of the table (an attribute and its wanted value) and {mode} how samples are steered: by a head
# (exact, readout; direct, by that of exact), by DDIM-I's classifier (clean_image, clean_image_direct), by a direction
# (steering), or so that a share of them is of the class (distribution).

TARGETS = [target.name for target in CONFIG.attributes.targets]
SHARED = [target.name for target in CONFIG.attributes.with_share]
METHODS = CONFIG.attributes.methods
MODES = CONFIG.attributes.modes


wildcard_constraints:
    attribute="|".join(sorted({target.attribute for target in CONFIG.attributes.targets})),
    target="|".join(TARGETS),
    mode="|".join(KNOWN_MODES),


rule draw_attribute_shots:
    """Draw the labelled shots of one attribute from their pool, or take over your own."""
    input:
        pool=images_of("shots"),
        own=own_shots,
    output:
        "<results>/attributes/shots/{attribute}.csv",
    log:
        "<logs>/draw_attribute_shots/{attribute}.log",
    benchmark:
        "<benchmarks>/draw_attribute_shots/{attribute}.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        settings=settings("attributes.head"),
        own=lambda wildcards, input: ["--own", input.own] if input.own else [],
        code=code("draw_attribute_shots.py", env="data"),
    shell:
        "python workflow/scripts/draw_attribute_shots.py --settings {params.settings:q}"
        " --attribute {wildcards.attribute:q} --pool {input.pool:q} {params.own:q} --output {output:q} 2> {log:q}"


rule extract_attribute_features:
    """Cache what the head of one attribute reads: pooled denoiser activations of its shots."""
    input:
        denoiser="<results>/denoiser/<weights>",
        shots="<results>/attributes/shots/{attribute}.csv",
        pool=images_of("shots"),
    output:
        "<results>/attributes/features/{mode}/{attribute}.safetensors",
    log:
        "<logs>/extract_attribute_features/{mode}/{attribute}.log",
    benchmark:
        "<benchmarks>/extract_attribute_features/{mode}/{attribute}.tsv"
    wildcard_constraints:
        mode="exact|readout",
    conda:
        "../../../envs/diffusion.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("attributes.head"),
        own_labels=has_own_shots,
        denoiser=subpath(input.denoiser, parent=True),
        code=code("extract_attribute_features.py", env="diffusion"),
    shell:
        "python workflow/scripts/extract_attribute_features.py --settings {params.settings:q}"
        " --mode {wildcards.mode:q} --attribute {wildcards.attribute:q} --shots {input.shots:q}"
        " --own-labels {params.own_labels:q} --pool {input.pool:q} --denoiser {params.denoiser:q}"
        " --output {output:q} 2> {log:q}"


rule train_attribute_head:
    """Fit the few-shot head of one attribute on cached features."""
    input:
        "<results>/attributes/features/{mode}/{attribute}.safetensors",
    output:
        config="<results>/attributes/heads/{mode}/{attribute}/config.json",
        weights="<results>/attributes/heads/{mode}/{attribute}/<weights>",
    log:
        "<logs>/train_attribute_head/{mode}/{attribute}.log",
    benchmark:
        "<benchmarks>/train_attribute_head/{mode}/{attribute}.tsv"
    wildcard_constraints:
        mode="exact|readout",
    conda:
        "../../../envs/diffusion.yaml"
    params:
        settings=settings("attributes.head"),
        folder=subpath(output.weights, parent=True),
        code=code("train_attribute_head.py", env="diffusion"),
    shell:
        "python workflow/scripts/train_attribute_head.py --settings {params.settings:q} --mode {wildcards.mode:q}"
        " --attribute {wildcards.attribute:q} --features {input:q} --output {params.folder:q} 2> {log:q}"


rule find_attribute_direction:
    """Learn the direction of one attribute: the difference of its shots' mean activations."""
    input:
        denoiser="<results>/denoiser/<weights>",
        shots="<results>/attributes/shots/{attribute}.csv",
        pool=images_of("shots"),
    output:
        config="<results>/attributes/heads/steering/{attribute}/config.json",
        weights="<results>/attributes/heads/steering/{attribute}/<weights>",
    log:
        "<logs>/find_attribute_direction/{attribute}.log",
    benchmark:
        "<benchmarks>/find_attribute_direction/{attribute}.tsv"
    conda:
        "../../../envs/diffusion.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("attributes.head"),
        tap=CONFIG.attributes.steering_tap,
        own_labels=has_own_shots,
        denoiser=subpath(input.denoiser, parent=True),
        folder=subpath(output.weights, parent=True),
        code=code("find_attribute_direction.py", env="diffusion"),
    shell:
        "python workflow/scripts/find_attribute_direction.py --settings {params.settings:q} --tap {params.tap:q}"
        " --attribute {wildcards.attribute:q} --shots {input.shots:q} --own-labels {params.own_labels:q}"
        " --pool {input.pool:q} --denoiser {params.denoiser:q} --output {params.folder:q} 2> {log:q}"
