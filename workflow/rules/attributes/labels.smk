# The curve of labels: heads of fewer and more labelled images, of several draws, steer by the row's guidance_scale.
# {number} images have the attribute, as many have not.
# in:  <results>/denoiser/, <results>/images/shots.parquet
# out: <results>/attributes/labels/{shots,features,heads,samples}/

CURVE = CONFIG.attributes.labels


wildcard_constraints:
    number=r"\d+",
    draw=r"\d+",


use rule draw_attribute_shots as draw_attribute_shots_labels with:
    output:
        "<results>/attributes/labels/shots/{attribute}/{number}/{draw}.csv",
    log:
        "<logs>/draw_attribute_shots/labels/{attribute}/{number}/{draw}.log",
    benchmark:
        "<benchmarks>/draw_attribute_shots/labels/{attribute}/{number}/{draw}.tsv"
    params:
        settings=curve_head,
        own=lambda wildcards, input: ["--own", input.own] if input.own else [],
        code=code("draw_attribute_shots.py", env="data"),


use rule extract_attribute_features as extract_attribute_features_labels with:
    input:
        denoiser="<results>/denoiser/<weights>",
        shots="<results>/attributes/labels/shots/{attribute}/{number}/{draw}.csv",
        pool=images_of("shots"),
    output:
        "<results>/attributes/labels/features/{mode}/{attribute}/{number}/{draw}.safetensors",
    log:
        "<logs>/extract_attribute_features/labels/{mode}/{attribute}/{number}/{draw}.log",
    benchmark:
        "<benchmarks>/extract_attribute_features/labels/{mode}/{attribute}/{number}/{draw}.tsv"
    params:
        settings=curve_head,
        own_labels=has_own_shots,
        denoiser=subpath(input.denoiser, parent=True),
        code=code("extract_attribute_features.py", env="diffusion"),


use rule train_attribute_head as train_attribute_head_labels with:
    input:
        "<results>/attributes/labels/features/{mode}/{attribute}/{number}/{draw}.safetensors",
    output:
        config="<results>/attributes/labels/heads/{mode}/{attribute}/{number}/{draw}/config.json",
        weights="<results>/attributes/labels/heads/{mode}/{attribute}/{number}/{draw}/<weights>",
    log:
        "<logs>/train_attribute_head/labels/{mode}/{attribute}/{number}/{draw}.log",
    benchmark:
        "<benchmarks>/train_attribute_head/labels/{mode}/{attribute}/{number}/{draw}.tsv"
    params:
        settings=curve_head,
        folder=subpath(output.weights, parent=True),
        code=code("train_attribute_head.py", env="diffusion"),


use rule sample_attributes as sample_attributes_labels with:
    input:
        denoiser="<results>/denoiser/<weights>",
        head=curve_weights,
    output:
        samples="<results>/attributes/labels/samples/{mode}/{target}/{number}/{draw}.parquet",
        timing="<results>/attributes/labels/samples/{mode}/{target}/{number}/{draw}.timing.json",
    log:
        "<logs>/sample_attributes/labels/{mode}/{target}/{number}/{draw}.log",
    benchmark:
        "<benchmarks>/sample_attributes/labels/{mode}/{target}/{number}/{draw}.tsv"
    params:
        settings=settings("sampling"),
        denoiser=subpath(input.denoiser, parent=True),
        head=subpath(input.head, parent=True),
        attribute=wanted_attribute,
        value=wanted_value,
        guidance_scale=guidance_scale,
        first_seed=CONFIG.sampling.first_seed,
        units=CURVE.units,
        shard="1-of-1",
        code=code("sample_attributes.py", env="diffusion"),
