# Figures: what people look at, drawn from descriptions alone.
# in:  results/{data}/descriptions/
# out: results/figures/


rule draw_attributes_figure:
    input:
        controls=[f"results/{DATA}/descriptions/controls.safetensors"],
        unguided=f"results/{DATA}/descriptions/samples/unguided/all.safetensors",
        guided=expand(
            "results/{data}/descriptions/samples/{mode}/{target}.safetensors", data=DATA, mode=MODES, target=TARGETS
        ),
    output:
        report(
            f"results/figures/{CONFIG.outputs.attributes_figure}.png",
            caption="../report/attributes.rst",
            category="Figures",
        ),
        f"results/figures/{CONFIG.outputs.attributes_figure}.pdf",
    log:
        f"logs/{DATA}/draw_attributes_figure.log",
    benchmark:
        f"benchmarks/{DATA}/draw_attributes_figure.tsv"
    conda:
        "../../envs/figures.yaml"
    params:
        targets=[target.model_dump_json() for target in CONFIG.targets],
        show_real=str(CONFIG.outputs.show_real).lower(),
        descriptions=folder_of("controls"),
        code=code("draw_attributes_figure.py", env="figures"),
    shell:
        "python workflow/scripts/draw_attributes_figure.py --targets {params.targets:q}"
        " --show-real {params.show_real:q} --descriptions {params.descriptions:q} --output {output:q}"
        " --code {params.code:q} 2> {log:q}"


rule draw_unguided_sheet:
    input:
        f"results/{DATA}/descriptions/samples/unguided/all.safetensors",
    output:
        report(
            f"results/figures/{CONFIG.outputs.sheet_prefix}_unguided.png",
            caption="../report/sheet.rst",
            category="Contact sheets",
        ),
    log:
        f"logs/{DATA}/draw_sheet/unguided.log",
    benchmark:
        f"benchmarks/{DATA}/draw_sheet/unguided.tsv"
    conda:
        "../../envs/figures.yaml"
    params:
        rows=4,
        code=code("draw_sheet.py", env="figures"),
    shell:
        "python workflow/scripts/draw_sheet.py --descriptions {input:q} --rows {params.rows:q} --output {output:q}"
        " --code {params.code:q} 2> {log:q}"


use rule draw_unguided_sheet as draw_guided_sheet with:
    input:
        expand("results/{data}/descriptions/samples/{{mode}}/{target}.safetensors", data=DATA, target=TARGETS),
    output:
        report(
            f"results/figures/{CONFIG.outputs.sheet_prefix}_{{mode}}.png",
            caption="../report/sheet.rst",
            category="Contact sheets",
        ),
    log:
        f"logs/{DATA}/draw_sheet/{{mode}}.log",
    benchmark:
        f"benchmarks/{DATA}/draw_sheet/{{mode}}.tsv"
    params:
        rows=2,
        code=code("draw_sheet.py", env="figures"),
