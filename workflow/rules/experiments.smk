# Experiments: one data set and what is configured of it.
# in:  the configuration
# out: rules of the data set, and of each experiment, which ends in a rule of its name: it asks for table and figures

# What extractors read that rules make: downloads, and a network that rules train.
EXTRACTORS = [*CONFIG.extractor_files, *(["<results>/judges/semantic/<weights>"] if CONFIG.reads_semantic else [])]


include: "splits.smk"
include: "data.smk"
include: "denoiser.smk"


if CONFIG.denoiser.latent:

    include: "latent.smk"


if CONFIG.data.is_drawn:

    include: "semantic.smk"


if CONFIG.generative_baselines:

    include: "baselines.smk"


if CONFIG.attributes:

    include: "attributes/common.smk"
    include: "judges.smk"
    include: "attributes/heads.smk"
    include: "attributes/sample.smk"
    include: "attributes/clean_image.smk"
    include: "attributes/baselines.smk"

    if CONFIG.attributes.baselines:

        include: "attributes/generative_pool.smk"
        include: "attributes/generative.smk"
        include: "attributes/generative_samples.smk"
        include: "attributes/generative_report.smk"
    include: "attributes/describe.smk"
    include: "attributes/evaluate.smk"
    include: "attributes/distribution.smk"
    include: "attributes/sweep.smk"
    include: "attributes/labels.smk"
    include: "attributes/labels_report.smk"
    include: "attributes/figures.smk"


if CONFIG.masks:

    include: "masks/common.smk"
    include: "masks/guides.smk"
    include: "masks/sample.smk"

    if CONFIG.masks.baselines:

        include: "masks/decoders.smk"
        include: "masks/baselines.smk"
    include: "masks/evaluate.smk"
    include: "masks/noise.smk"
    include: "masks/figures.smk"


if CONFIG.classes:

    include: "classes/common.smk"
    include: "classes/generator.smk"
    include: "classes/filter.smk"
    include: "classes/cells.smk"
    include: "classes/figures.smk"

    if CONFIG.classes.filters:

        include: "classes/filters.smk"


include: "explorer/common.smk"


if STEERED_CLASSES:

    include: "explorer/attributes.smk"


if CONFIG.masks:

    include: "explorer/masks.smk"


include: "explorer/page.smk"


EVERYTHING = [getattr(rules, name).input for name in CONFIG.experiments]

if CONFIG.masks and CONFIG.masks.guided:

    include: "figures.smk"

    EVERYTHING.append(rules.draw_strip.output)


if CONFIG.reads_semantic:
    EVERYTHING.append(rules.judge_semantic_network.output)


include: "crate/common.smk"
include: "crate/archive.smk"
