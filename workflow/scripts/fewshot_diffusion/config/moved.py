"""Where the keys of earlier configurations went, for overlays that users keep."""

MOVED = {
    "targets": "attributes.targets",
    "head": "attributes.head",
    "tuning": "attributes.sweep",
    "image_classifier": "attributes.ddim_i",
    "judge": "attributes.judge",
    "segmentation": "masks",
    "classification": "classes",
    "outputs": "report; the names of tables and figures are fixed",
    "data.splits.shots": "attributes.splits.shots",
    "data.splits.pairs": "masks.splits.pairs",
    "data.splits.class_train": "classes.splits.class_train",
    "data.splits.class_test": "classes.splits.class_test",
    "sampling.units_per_target": "attributes.sets.units_per_target",
    "sampling.units_unguided": "attributes.sets.units_unguided",
    "sampling.shards_per_target": "attributes.sets.shards_per_target",
    "sampling.shards_unguided": "attributes.sets.shards_unguided",
    "masks.guidance_scales": "masks.sweep.guidance_scales",
    "masks.tuning_masks": "masks.sweep.masks",
    "masks.tolerance": "masks.sweep.tolerance",
    "classes.rejection": "classes.filter",
    "classes.sampling.guidance_scale": "classes.sampling.classifier_free_scale",
}
"""Old key -> where it is now, as it is written in messages."""
