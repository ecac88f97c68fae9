"""Sections of the README, as Markdown, from the committed tables: no number there is typed."""

from collections.abc import Callable

import pandas as pd

from ..classes.table import poster_view
from .readme import results_section, to_markdown


def mask_section(table: pd.DataFrame) -> str:
    """Return the mask tables of one data set: every method with the main number of pairs, then mIoU against pairs."""
    data_set, ceiling = table["data_set"].iloc[0], table["miou_real"].iloc[0]
    shots = int(table.loc[table["method"] == "clean_image", "shots"].iloc[0])
    main = table[table["shots"].isin([0, shots])]
    n = int(main["n"].iloc[0])
    wide = pd.DataFrame(
        {
            "mIoU": _intervals(main),
            "pixel accuracy": main["pixel_accuracy"].map("{:.3f}".format),
            "diversity": main["diversity"].map("{:.1f}".format),
            "kernel distance": main["kernel_distance"].map("{:.2f}".format),
            "forward passes": main["forwards_per_sample"].map("{:.0f}".format),
        }
    ).set_axis(pd.Index(main["method"] + ", " + main["preset"], name="method, preset"))
    curve = table[(table["shots"] > 0) & (table["preset"] == _curve_preset(table))].copy()
    curve["cell"] = curve["miou"].map("{:.3f}".format)
    pairs = curve.pivot_table(index="method", columns="shots", values="cell", aggfunc="first", sort=False).fillna("")
    caption = (
        f"{shots} pairs, n = {n}, [95 % interval over masks]; the independent segmenter's own mIoU on the real "
        f"images of these masks is {ceiling:.3f} ({data_set}):"
    )
    blocks = [f"{caption}\n\n{to_markdown(wide)}"]
    if curve["shots"].nunique() > 1:
        blocks.append(f"mIoU against the number of pairs:\n\n{to_markdown(pairs[sorted(pairs.columns)])}")
    return "\n\n".join(blocks)


def augmentation_section(table: pd.DataFrame, acceptance: pd.DataFrame) -> str:
    """Return Table 2's experiment in the poster's layout, and what the filter does."""
    ours, total = table[table["kind"] != "published"], acceptance[acceptance["class"] == "all"].iloc[0]
    first = ours.iloc[0]
    caption = (
        f"Top-1 accuracy in per cent, the mean of {first['n_classes']:.0f} classes, on {first['n_test']:.0f} real "
        f"images at {first['image_size']:.0f} pixels, ± standard deviation over seeds of the classifier; "
        f"{first['n_real']:.0f} real training images and so many times as many generated ones "
        f"({first['data_set']}, {first['kind']}):"
    )
    shares = {name: f"{100 * total[f'judge_accuracy_{name}']:.1f} %" for name in ("real", "accepted", "rejected")}
    if not total["n_drawn"] - total["n_accepted"]:
        shares["rejected"] = "none"
    filtered = (
        f"The filter kept {100 * total['acceptance_rate']:.0f} % of {total['n_drawn']:.0f} samples. An independent "
        f"judge, right on {shares['real']} of real images, finds the wanted class on {shares['accepted']} of the kept "
        f"and {shares['rejected']} of the discarded ones."
    )
    return f"{caption}\n\n{to_markdown(poster_view(table))}\n\n{filtered}"


LAYOUTS: dict[str, Callable[..., str]] = {
    "distances": results_section,
    "masks": mask_section,
    "accuracies": augmentation_section,
}


def _intervals(rows: pd.DataFrame) -> list[str]:
    bounds = rows[["miou", "ci_low", "ci_high"]].to_numpy(dtype=float)
    return [f"{value:.3f} [{low:.3f}, {high:.3f}]" for value, low, high in bounds]


def _curve_preset(table: pd.DataFrame) -> str:
    return str(table.loc[table["method"] == "controlnet", "preset"].iloc[0])
