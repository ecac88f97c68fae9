# Evaluation: every image set is described once (features, judgements); distances and shares follow from that.
# in:  images of the splits controls and reference, all sample sets, the judge, DDIM-I's decisions
# out: results/{data}/descriptions/, results/{data}/evaluation/{target}.*.csv, results/tables/*.csv


rule describe_split:
    input:
        images="results/{data}/images/{split}.safetensors",
        records="results/{data}/images/{split}.parquet",
        judge=weights("results/{data}/judges/judge"),
    output:
        "results/{data}/descriptions/{split}.safetensors",
    log:
        "logs/{data}/describe/{split}.log",
    benchmark:
        "benchmarks/{data}/describe/{split}.tsv"
    conda:
        "../../envs/evaluation.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("evaluation"),
        judge=option_of("judge"),
        code=code("describe_split.py", env="evaluation"),
    shell:
        "python workflow/scripts/describe_split.py --settings {params.settings:q} --images {input.images:q}"
        " {params.judge:q} --output {output:q} --code {params.code:q} 2> {log:q}"


rule describe_guided:
    input:
        samples=gather.guided("results/{{data}}/samples/{{mode}}/{{target}}/{scatteritem}.safetensors"),
        judge=weights("results/{data}/judges/judge"),
    output:
        "results/{data}/descriptions/samples/{mode}/{target}.safetensors",
    log:
        "logs/{data}/describe/{mode}/{target}.log",
    benchmark:
        "benchmarks/{data}/describe/{mode}/{target}.tsv"
    conda:
        "../../envs/evaluation.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("evaluation"),
        judge=folder_of("judge"),
        code=code("describe_samples.py", env="evaluation"),
    shell:
        "python workflow/scripts/describe_samples.py --settings {params.settings:q} --samples {input.samples:q}"
        " --judge {params.judge:q} --output {output:q} --code {params.code:q} 2> {log:q}"


use rule describe_guided as describe_unguided with:
    input:
        samples=gather.unguided("results/{{data}}/samples/unguided/all/{scatteritem}.safetensors"),
        judge=weights("results/{data}/judges/judge"),
    output:
        "results/{data}/descriptions/samples/unguided/all.safetensors",
    log:
        "logs/{data}/describe/unguided/all.log",
    benchmark:
        "benchmarks/{data}/describe/unguided/all.tsv"


rule evaluate:
    input:
        reference="results/{data}/descriptions/reference.safetensors",
        reference_records="results/{data}/images/reference.parquet",
        controls="results/{data}/descriptions/controls.safetensors",
        controls_records="results/{data}/images/controls.parquet",
        unguided="results/{data}/descriptions/samples/unguided/all.safetensors",
        exact="results/{data}/descriptions/samples/exact/{target}.safetensors",
        readout="results/{data}/descriptions/samples/readout/{target}.safetensors",
        rejection="results/{data}/rejection/{target}.parquet",
        unguided_timing=gather.unguided("results/{{data}}/samples/unguided/all/{scatteritem}.timing.json"),
        exact_timing=gather.guided("results/{{data}}/samples/exact/{{target}}/{scatteritem}.timing.json"),
        readout_timing=gather.guided("results/{{data}}/samples/readout/{{target}}/{scatteritem}.timing.json"),
    output:
        distances="results/{data}/evaluation/{target}.distances.csv",
        accuracy="results/{data}/evaluation/{target}.accuracy.csv",
    log:
        "logs/{data}/evaluate/{target}.log",
    benchmark:
        "benchmarks/{data}/evaluate/{target}.tsv"
    conda:
        "../../envs/evaluation.yaml"
    params:
        settings=settings("evaluation"),
        target=target_json,
        code=code("evaluate.py", env="evaluation"),
    shell:
        "python workflow/scripts/evaluate.py --settings {params.settings:q} --target {params.target:q}"
        " --data-set {wildcards.data:q} --reference {input.reference:q}"
        " --reference-records {input.reference_records:q} --controls {input.controls:q}"
        " --controls-records {input.controls_records:q} --unguided {input.unguided:q} --exact {input.exact:q}"
        " --readout {input.readout:q} --unguided-timing {input.unguided_timing:q}"
        " --exact-timing {input.exact_timing:q} --readout-timing {input.readout_timing:q}"
        " --rejection {input.rejection:q} --distances {output.distances:q} --accuracy {output.accuracy:q}"
        " --code {params.code:q} 2> {log:q}"


rule make_tables:
    input:
        distances=expand("results/{data}/evaluation/{target}.distances.csv", data=DATA, target=TARGETS),
        accuracies=expand("results/{data}/evaluation/{target}.accuracy.csv", data=DATA, target=TARGETS),
        published=CONFIG.outputs.published or [],
    output:
        table=report(f"results/tables/{CONFIG.outputs.fid_table}.csv", caption="../report/fid.rst", category="Tables"),
        accuracy=report(
            f"results/tables/{CONFIG.outputs.accuracy_table}.csv", caption="../report/accuracy.rst", category="Tables"
        ),
    log:
        f"logs/{DATA}/make_tables.log",
    benchmark:
        f"benchmarks/{DATA}/make_tables.tsv"
    conda:
        "../../envs/evaluation.yaml"
    params:
        kind=CONFIG.outputs.kind,
        stands_for=["--stands-for", CONFIG.outputs.stands_for] if CONFIG.outputs.stands_for else [],
        code=code("make_tables.py", env="evaluation"),
    shell:
        "python workflow/scripts/make_tables.py --distances {input.distances:q} --accuracies {input.accuracies:q}"
        " --published {input.published:q} --kind {params.kind:q} {params.stands_for:q} --table {output.table:q}"
        " --accuracy-table {output.accuracy:q} --code {params.code:q} 2> {log:q}"


rule score_sweep:
    input:
        samples=expand("results/{{data}}/sweep/{{mode}}/{{target}}/{scale}.safetensors", scale=SCALES),
        judge=weights("results/{data}/judges/tuning_judge"),
    output:
        "results/{data}/sweep/{mode}/{target}.csv",
    log:
        "logs/{data}/score_sweep/{mode}/{target}.log",
    benchmark:
        "benchmarks/{data}/score_sweep/{mode}/{target}.tsv"
    conda:
        "../../envs/evaluation.yaml"
    params:
        settings=settings("tuning"),
        target=target_json,
        judge=folder_of("judge"),
        code=code("score_sweep.py", env="evaluation"),
    shell:
        "python workflow/scripts/score_sweep.py --settings {params.settings:q} --target {params.target:q}"
        " --data-set {wildcards.data:q} --mode {wildcards.mode:q} --judge {params.judge:q}"
        " --samples {input.samples:q} --output {output:q} --code {params.code:q} 2> {log:q}"


rule make_sweep_table:
    input:
        expand("results/{data}/sweep/{mode}/{target}.csv", data=DATA, mode=MODES, target=TARGETS),
    output:
        report(f"results/tables/{CONFIG.outputs.sweep_table}.csv", caption="../report/sweep.rst", category="Tables"),
    log:
        f"logs/{DATA}/make_sweep_table.log",
    benchmark:
        f"benchmarks/{DATA}/make_sweep_table.tsv"
    conda:
        "../../envs/evaluation.yaml"
    params:
        code=code("join_csv.py", env="evaluation"),
    shell:
        "python workflow/scripts/join_csv.py --parts {input:q} --output {output:q} --code {params.code:q} 2> {log:q}"
