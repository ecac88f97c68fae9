# The network of the extractor `semantic`: it names every option of the avatars, and its features make distances.
# in:  <results>/images/ of the splits judge, which it is trained on, and controls, which it is judged on
# out: <results>/images/{split}_options.parquet: what the generator picked, recomputed from the ids
#      <results>/judges/semantic/, <results>/tables/semantic.csv


rule make_options:
    """Write what the generator picks for the images of one split: the labels of all that is drawn."""
    output:
        "<results>/images/{split}_options.parquet",
    log:
        "<logs>/make_options/{split}.log",
    benchmark:
        "<benchmarks>/make_options/{split}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        settings=CONFIG.data.dataset([]).model_dump_json(),
        positions=positions,
        code=code("make_options.py", env="data"),
    shell:
        "python workflow/scripts/make_options.py --settings {params.settings:q} --positions {params.positions:q}"
        " --output {output:q} 2> {log:q}"


rule train_semantic_network:
    """Train the network that names every option, on images that nothing is steered or tuned by."""
    input:
        images="<results>/images/judge.parquet",
        options="<results>/images/judge_options.parquet",
    output:
        config="<results>/judges/semantic/config.json",
        weights="<results>/judges/semantic/<weights>",
    log:
        "<logs>/train_semantic_network.log",
    benchmark:
        "<benchmarks>/train_semantic_network.tsv"
    conda:
        "../../envs/classifiers.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("semantic"),
        folder=subpath(output.weights, parent=True),
        code=code("train_semantic_network.py", env="classifiers"),
    shell:
        "python workflow/scripts/train_semantic_network.py --settings {params.settings:q} --images {input.images:q}"
        " --options {input.options:q} --output {params.folder:q} 2> {log:q}"


rule judge_semantic_network:
    """Make the table of what the network behind the distances can tell, on held-out images."""
    input:
        weights="<results>/judges/semantic/<weights>",
        images="<results>/images/controls.parquet",
        options="<results>/images/controls_options.parquet",
    output:
        report(
            "<results>/tables/semantic.csv",
            caption="../report/semantic.rst",
            category="Extractors",
            labels={"what": "options named", "kind": "table"},
        ),
    log:
        "<logs>/judge_semantic_network.log",
    benchmark:
        "<benchmarks>/judge_semantic_network.tsv"
    conda:
        "../../envs/classifiers.yaml"
    resources:
        gpu=1,
    params:
        data_set=DATA,
        weights=subpath(input.weights, parent=True),
        code=code("judge_semantic_network.py", env="classifiers"),
    shell:
        "python workflow/scripts/judge_semantic_network.py --data-set {params.data_set:q} --weights {params.weights:q}"
        " --images {input.images:q} --options {input.options:q} --output {output:q} 2> {log:q}"
