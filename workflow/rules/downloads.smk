# Downloads: public files, each fetched once, verified, and unpacked where that is asked for.
# in:  the network, or <downloads.have>/<file>
# out: downloads/<artefact>/<file>, and downloads/<artefact>/<folder>.csv, the list of the files in <folder>/
# What has come is kept in checkpoints/downloads/<artefact>/, from where the same command goes on. Digests that are not
# public are recorded in config/downloads/<artefact>.json when a file first comes: commit these.

import re

RECORDS = BASE / "config" / "downloads"


wildcard_constraints:
    artefact="|".join(CONFIG.downloads.chosen),


rule downloads:
    """Every wanted artefact."""
    input:
        CONFIG.downloads.files(),


rule download:
    """Fetch one public file; what it must be is known by its digest, not by the code or the mirror that brings it."""
    output:
        "downloads/{artefact}/{file}",
    log:
        "<logs>/download/{artefact}/{file}.log",
    benchmark:
        "<benchmarks>/download/{artefact}/{file}.tsv"
    wildcard_constraints:
        file="|".join(re.escape(artefact.file) for artefact in CONFIG.downloads.chosen.values()),
    # A cluster's nodes often have no way out.
    localrule: True
    conda:
        "../../envs/download.yaml"
    params:
        identity=lambda wildcards: CONFIG.downloads.artefacts[wildcards.artefact].identity,
        # A function of the output, so that Snakemake does not record it: another mirror makes nothing stale.
        settings=lambda wildcards, output: CONFIG.downloads.job(wildcards.artefact).model_dump_json(),
    shell:
        "python workflow/scripts/download_file.py --settings {params.settings:q} --checkpoints checkpoints/downloads"
        " --records {RECORDS:q} --output {output:q} 2> {log:q}"


rule extract:
    """Unpack an archive, whole or not at all."""
    input:
        lambda wildcards: f"downloads/{wildcards.artefact}/{CONFIG.downloads.artefacts[wildcards.artefact].file}",
    output:
        "downloads/{artefact}/{folder}.csv",
    log:
        "<logs>/extract/{artefact}/{folder}.log",
    benchmark:
        "<benchmarks>/extract/{artefact}/{folder}.tsv"
    wildcard_constraints:
        folder="|".join(one.extract.folder for one in CONFIG.downloads.chosen.values() if one.extract),
    conda:
        "../../envs/download.yaml"
    params:
        settings=lambda wildcards: CONFIG.downloads.artefacts[wildcards.artefact].extract.model_dump_json(),
        code=code("extract_archive.py", env="download"),
    shell:
        "python workflow/scripts/extract_archive.py --settings {params.settings:q} --archive {input:q}"
        " --listing {output:q} 2> {log:q}"
