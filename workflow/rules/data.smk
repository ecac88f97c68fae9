# Data: from the configured source to the images, attributes, classes and masks of each split.
# in:  nothing (avatars are drawn) or the images that are there: a folder or zip of them, and lists
# out: <results>/images/{split}{own}.parquet, and {split}_masks.parquet where the data have masks
#      <results>/images/{split}{own}.manifest.csv: what was read of a source, with checksums
# {own} is empty, or names an attribute that has labels and a judge of its own.


if CONFIG.data.is_drawn:

    rule make_images:
        """Draw the images of one split, with their attributes and classes."""
        output:
            "<results>/images/{split}{own}.parquet",
        log:
            "<logs>/make_images/{split}{own}.log",
        benchmark:
            "<benchmarks>/make_images/{split}{own}.tsv"
        conda:
            "../../envs/data.yaml"
        params:
            settings=dataset,
            positions=positions,
            code=code("make_images.py", env="data"),
        shell:
            "python workflow/scripts/make_images.py --settings {params.settings:q} --positions {params.positions:q}"
            " --output {output:q} 2> {log:q}"

    rule make_masks:
        """Draw the part masks of one split."""
        output:
            "<results>/images/{split}_masks.parquet",
        log:
            "<logs>/make_masks/{split}.log",
        benchmark:
            "<benchmarks>/make_masks/{split}.tsv"
        conda:
            "../../envs/data.yaml"
        params:
            settings=dataset,
            positions=positions,
            code=code("make_masks.py", env="data"),
        shell:
            "python workflow/scripts/make_masks.py --settings {params.settings:q} --positions {params.positions:q}"
            " --output {output:q} 2> {log:q}"

else:

    if PROMISED:

        rule check_source:
            """Count the images that were downloaded, and stop if there are too few for what is asked."""
            input:
                CONFIG.promised_files,
            output:
                "<results>/images/splits.csv",
            log:
                "<logs>/check_source.log",
            benchmark:
                "<benchmarks>/check_source.tsv"
            conda:
                "../../envs/data.yaml"
            params:
                settings=CONFIG.model_dump_json(),
                code=code("check_source.py", env="data"),
            shell:
                "python workflow/scripts/check_source.py --settings {params.settings:q} --output {output:q} 2> {log:q}"

    # How the images are shared out is a function of the output, so that Snakemake does not record it (in runs, a shell
    # command sees no globals). What counts of it is which images a split holds: `contents` is the digest of their
    # names, checksums and labels. So exactly the splits are stale whose images are others.
    rule read_images:
        """Read the images of one split, with their attributes and classes."""
        input:
            CHECKED,
        output:
            images="<results>/images/{split}{own}.parquet",
            listed="<results>/images/{split}{own}.manifest.csv",
        log:
            "<logs>/read_images/{split}{own}.log",
        benchmark:
            "<benchmarks>/read_images/{split}{own}.tsv"
        conda:
            "../../envs/data.yaml"
        params:
            settings=dataset,
            shares=lambda wildcards, output: SHARES,
            promised=lambda wildcards, output: PROMISED,
            contents=contents_of_images,
            attributes=attributes_of_images,
            code=code("read_images.py", env="data"),
        shell:
            "python workflow/scripts/read_images.py --settings {params.settings:q} --name {wildcards.split:q}"
            " --shares {params.shares:q} --contents {params.contents:q} --attributes {params.attributes:q}"
            " --promised {params.promised:q}"
            " --output {output.images:q} --listed {output.listed:q} 2> {log:q}"

    rule read_masks:
        """Read the part masks of one split."""
        input:
            CHECKED,
        output:
            "<results>/images/{split}_masks.parquet",
        log:
            "<logs>/read_masks/{split}.log",
        benchmark:
            "<benchmarks>/read_masks/{split}.tsv"
        conda:
            "../../envs/data.yaml"
        params:
            settings=dataset,
            shares=lambda wildcards, output: SHARES,
            promised=lambda wildcards, output: PROMISED,
            contents=contents_of_images,
            code=code("read_masks.py", env="data"),
        shell:
            "python workflow/scripts/read_masks.py --settings {params.settings:q} --name {wildcards.split:q}"
            " --shares {params.shares:q} --contents {params.contents:q} --attributes --promised {params.promised:q}"
            " --output {output:q} 2> {log:q}"
