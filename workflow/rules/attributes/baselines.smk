# Baselines: what stands for a class without guidance. naive: real images of every class; unguided: the pool as it is;
# ddim_i: what an image-space classifier of the same shots keeps of the pool. A further method is one more rule that
# writes <results>/attributes/descriptions/<method>/{target}.safetensors.
# in:  descriptions of the controls and of the pool, the pool, the shots
# out: <results>/attributes/descriptions/{naive,unguided,ddim_i}/{target}.safetensors
#      <results>/attributes/ddim_i/classifiers/{attribute}/, <results>/attributes/ddim_i/decisions/{target}.parquet

UNSELECTED = {"naive": ("real{own}/controls", "real"), "unguided": ("pool{own}", "unguided")}


rule select_images:
    """Let real images (naive) or the unguided pool, whatever they show, stand for a class."""
    input:
        lambda wildcards: described(UNSELECTED[wildcards.method][0])(wildcards),
    output:
        "<results>/attributes/descriptions/{method}/{target}.safetensors",
    log:
        "<logs>/select_images/{method}/{target}.log",
    benchmark:
        "<benchmarks>/select_images/{method}/{target}.tsv"
    wildcard_constraints:
        method="|".join(UNSELECTED),
    conda:
        "../../../envs/evaluation.yaml"
    params:
        source_method=lambda wildcards: UNSELECTED[wildcards.method][1],
        attribute=wanted_attribute,
        value=wanted_value,
        code=code("select_images.py", env="evaluation"),
    shell:
        "python workflow/scripts/select_images.py --source {input:q} --source-method {params.source_method:q}"
        " --method {wildcards.method:q} --attribute {params.attribute:q} --value {params.value:q}"
        " --output {output:q} 2> {log:q}"


rule train_ddim_i:
    """Train DDIM-I's image-space classifier on the same shots as the heads."""
    input:
        shots="<results>/attributes/shots/{attribute}.csv",
        pool=images_of("shots"),
    output:
        config="<results>/attributes/ddim_i/classifiers/{attribute}/config.json",
        weights="<results>/attributes/ddim_i/classifiers/{attribute}/<weights>",
    log:
        "<logs>/train_ddim_i/{attribute}.log",
    benchmark:
        "<benchmarks>/train_ddim_i/{attribute}.tsv"
    conda:
        "../../../envs/classifiers.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("attributes.ddim_i"),
        own_labels=has_own_shots,
        folder=subpath(output.weights, parent=True),
        code=code("train_ddim_i.py", env="classifiers"),
    shell:
        "python workflow/scripts/train_ddim_i.py --settings {params.settings:q} --attribute {wildcards.attribute:q}"
        " --shots {input.shots:q} --own-labels {params.own_labels:q} --pool {input.pool:q} --output {params.folder:q}"
        " 2> {log:q}"


rule reject_ddim_i:
    """Decide which samples of the pool DDIM-I's classifier keeps for one class."""
    input:
        classifier=ddim_i_classifier,
        samples=gather.pool("<results>/attributes/samples/unguided/pool/{scatteritem}.parquet"),
    output:
        "<results>/attributes/ddim_i/decisions/{target}.parquet",
    log:
        "<logs>/reject_ddim_i/{target}.log",
    benchmark:
        "<benchmarks>/reject_ddim_i/{target}.tsv"
    conda:
        "../../../envs/classifiers.yaml"
    params:
        classifier=subpath(input.classifier, parent=True),
        attribute=wanted_attribute,
        value=wanted_value,
        code=code("reject_ddim_i.py", env="classifiers"),
    shell:
        "python workflow/scripts/reject_ddim_i.py --classifier {params.classifier:q}"
        " --attribute {params.attribute:q} --value {params.value:q} --samples {input.samples:q}"
        " --output {output:q} 2> {log:q}"


rule select_ddim_i:
    """Let what DDIM-I keeps of the pool stand for a class."""
    input:
        source=described("pool{own}"),
        decisions="<results>/attributes/ddim_i/decisions/{target}.parquet",
    output:
        "<results>/attributes/descriptions/ddim_i/{target}.safetensors",
    log:
        "<logs>/select_images/ddim_i/{target}.log",
    benchmark:
        "<benchmarks>/select_images/ddim_i/{target}.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    params:
        attribute=wanted_attribute,
        value=wanted_value,
        code=code("select_images.py", env="evaluation"),
    shell:
        "python workflow/scripts/select_images.py --source {input.source:q} --source-method unguided --method ddim_i"
        " --attribute {params.attribute:q} --value {params.value:q} --decisions {input.decisions:q}"
        " --output {output:q} 2> {log:q}"
