# What the page reads of each experiment, and how its job is told.
# in:  the configuration
# out: EXPLORED, name -> files; and the options of both experiments

EXPLORED = {}
STEERED_CLASSES = bool(CONFIG.attributes and CONFIG.attributes.modes)

if STEERED_CLASSES:

    # Of naive, the images are real ones.
    OTHERS = [method for method in METHODS if method not in SHOWN and (CONFIG.report.show_real or method != "naive")]
    COMPARED = list(dict.fromkeys(["unguided", *MODES, *OTHERS]))
    CANDIDATES = {mode: list(CONFIG.attributes.sweep.scales_of(mode)) for mode in MODES}
    EXPLORED |= {
        "descriptions": expand(
            "<results>/attributes/descriptions/{method}/{target}.safetensors", method=COMPARED, target=TARGETS
        ),
        "real": [
            f"<results>/attributes/descriptions/real{own(target.attribute)}/controls.safetensors"
            for target in CONFIG.attributes.targets
            if CONFIG.report.show_real
        ],
        "table": "<results>/tables/attributes.csv",
        "shares": "<results>/tables/attributes_judge.csv",
        "swept": lambda wildcards: swept_descriptions() if wildcards.sweep else [],
    }

if CONFIG.masks:

    FOLLOWED = [  # of the main preset and number of pairs; unguided samples have learned from none
        (method, preset, shots)
        for method, preset, shots in CONFIG.masks.rows
        if preset == CONFIG.masks.preset and shots in (0, CONFIG.masks.shots)
    ]
    EXPLORED |= {
        "masks": "<results>/images/controls_masks.parquet",
        "samples": [f"<results>/masks/samples/{method}/{preset}/{shots}.parquet" for method, preset, shots in FOLLOWED],
        "found": [
            f"<results>/explorer/masks/{method}/{preset}/{shots}.safetensors" for method, preset, shots in FOLLOWED
        ],
        "masks_table": "<results>/tables/masks.csv",
        "masks_real": "<results>/images/controls.parquet" if CONFIG.report.show_real else [],
    }


def swept_descriptions():
    return [
        f"<results>/explorer/sweep/{mode}/{target}/{scale}.safetensors"
        for mode, scales in CANDIDATES.items()
        for target in TARGETS
        for scale in scales
    ]


def attributes_options(wildcards, input):
    if not STEERED_CLASSES:
        return []
    options = ["--targets", *(target.model_dump_json() for target in CONFIG.attributes.targets)]
    options += ["--descriptions", str(Path(input.descriptions[0]).parents[1])]
    options += ["--table", input.table, "--shares", input.shares]
    for name, values in (("--modes", MODES), ("--others", OTHERS), ("--real", input.real)):
        options += [name, *values] if values else []
    if input.swept:
        scales = [f"{mode}={','.join(names)}" for mode, names in CANDIDATES.items()]
        options += ["--swept", str(Path(input.swept[0]).parents[2]), "--scales", *scales]
    return options


def masks_options(wildcards, input):
    if not CONFIG.masks:
        return []
    methods, pairs = [method for method, _, _ in FOLLOWED], [str(shots) for _, _, shots in FOLLOWED]
    options = ["--followers", *methods, "--pairs", *pairs, "--preset", CONFIG.masks.preset]
    options += ["--wanted", str(CONFIG.masks.masks), "--masks", input.masks, "--masks-table", input.masks_table]
    options += ["--samples", *input.samples, "--found", *input.found]
    return options + (["--masks-real", input.masks_real] if input.masks_real else [])
