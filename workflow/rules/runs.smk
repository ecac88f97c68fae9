# Runs: several data sets in one call, each of them this whole workflow again, as a module with its own configuration.
# in:  the overlays that `runs` names
# out: rules <run>_<rule>, and of each run the targets that it has alone: <run>_all, <run>_attributes, ...
# What is fetched is shared: those rules are of no run.

# A profile says by rules' names what jobs take; the same rules of a run take the same, unless it names them.
TAKEN = dict(workflow.resource_settings.overwrite_resources)
workflow.resource_settings.overwrite_resources = {
    f"{RUN}_{name}": taken for RUN in RUNS for name, taken in TAKEN.items()
} | TAKEN

for RUN, RAW in RUNS.items():
    PREFIX = f"{RUN}_"

    module:
        name: RUN
        snakefile:
            "../../Snakefile"
        config:
            RAW

    use rule * from RUN exclude download, extract, downloads as PREFIX*


EVERYTHING = [getattr(rules, f"{RUN}_all").input for RUN in RUNS]
