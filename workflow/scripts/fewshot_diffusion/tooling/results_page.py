"""The page of results and the README's overview, as Markdown: every number in them comes from a committed table."""

import re
import textwrap
from pathlib import Path

import pandas as pd

from ..storage.tables import read_csv, read_source_csv
from . import claims
from . import results_texts as texts
from .claim_rows import CLAIM_COLUMNS, claims_view
from .curves import filters_section, labels_section, noise_section
from .neighbours import neighbours_beside_unguided, neighbours_section
from .readme import (
    attributes_section,
    baselines_section,
    classes_section,
    distribution_section,
    extractors_section,
    masks_section,
    to_markdown,
)

HOME = "avatars64"
"""The data set whose tables the overview is about."""

REFINED = "avatars64_refined"
"""The same cartoons by a denoiser that was trained on."""

FACES = "celebahq32"
"""The real faces whose Table 1 stands beside it."""

OBJECTS = "tinyimagenet20"
"""The photographs of objects whose Table 2 stands beside it."""

LATENT = "avatars64_latent"
"""The one that is drawn by a latent diffusion."""


def overview(results: Path, published: Path) -> str:
    """Return the README's first table: what the paper says of each experiment, what we measure, and whether it holds.

    Args:
        results: Folder that holds the data sets' tables.
        published: The paper's numbers.
    """
    paper = read_source_csv(published, "item", "data_set", "row", "method", "metric", "value")
    tables = results / HOME / "tables"
    rows = {
        "[attributes](docs/results.md#attributes) from 50 + 50 labels": _attributes_row(results, paper),
        "[masks](docs/results.md#masks) from 20 image-mask pairs": _masks_row(tables),
        "[classes](docs/results.md#classes): classifiers on generated images": _classes_row(tables, paper),
    }
    columns = ["what the paper says", "what we measure", "does it hold", "command"]
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return to_markdown(frame.rename_axis("experiment"))


def results_page(results: Path) -> str:
    """Return the page of results, whole."""
    parts = [_claims_part(results), _attributes_part(results), _masks_part(results), _classes_part(results)]
    return "\n\n".join([texts.HEAD, *parts]) + "\n"


def costs(benchmarks: Path, rules: Path) -> str:
    """Return the README's table of what each experiment's jobs took on the data set of the overview.

    Args:
        benchmarks: Gathered benchmarks, CSV.
        rules: Folder of the rule files: a job is of the experiment whose folder has its rule.
    """
    measured = read_csv(benchmarks, "data_set", "step", "jobs", "seconds_total", "max_rss_mb")
    measured = measured[measured["data_set"] == HOME]
    steps = measured["step"].str.split("/").str[0]
    sweeps = measured["step"].str.contains("sweep|choose")
    rows = {}
    for experiment in ("attributes", "masks", "classes"):
        texts = "".join(path.read_text() for path in sorted((rules / experiment).glob("*.smk")))
        own = steps.isin(re.findall(r'"<benchmarks>/(\w+)', texts))
        rows[f"`{experiment}`"] = _cost(measured[own & ~sweeps])
        if f"rule {experiment}_sweep:" in texts:
            rows[f"`{experiment}_sweep`"] = _cost(measured[own & sweeps])
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=["jobs", "minutes in all", "memory of the largest"])
    return to_markdown(frame.rename_axis("target"))


def _cost(steps: pd.DataFrame) -> list[str]:
    if steps.empty:
        return ["not timed", "", ""]
    minutes, gigabytes = steps["seconds_total"].sum() / 60, steps["max_rss_mb"].max() / 1000
    return [f"{steps['jobs'].sum():.0f}", f"{minutes:.0f}", f"{gigabytes:.1f} GB"]


def _attributes_row(results: Path, paper: pd.DataFrame) -> list[str]:
    rows = paper[(paper["item"] == "table1") & (paper["metric"] == "fid")]
    fid = rows.pivot_table(index="row", columns="method", values="value")
    better = int((fid["ours"] < fid["ddim_i"]).sum())
    said = f"FID {claims.spread(fid['ours'], '.1f')} on CelebA-64, below DDIM-I's on {better} of {len(fid)} rows"
    shares, holds = [], []
    for what, data_set in (("cartoons", HOME), ("real faces", FACES)):
        tables = results / data_set / "tables"
        judged = read_csv(tables / "attributes_judge.csv")
        kernel = claims.kernel_rows(read_csv(tables / "attributes.csv"))
        steered, plain = (
            claims.spread(100 * judged.loc[judged["method"] == method, "judge_accuracy"], ".0f")
            for method in ("exact", "unguided")
        )
        shares.append(f"{what} {steered} %, unguided {plain} %")
        above = claims.compare(judged, "exact", "unguided")["above"]
        nearer = claims.beside_unguided(kernel, "exact")
        beside = claims.compare(kernel, "exact", "ddim_i")["below"]
        holds.append(
            f"{what}: steering on {above} of {sum(nearer.values())} rows; nearer to the class than unguided, in pairs, "
            f"on {nearer['below']}, than DDIM-I on {beside}"
        )
    found = f"share in which an independent judge finds the wanted class: {'; '.join(shares)}"
    return [said, found, ". ".join(holds), "`snakemake --cores 8 attributes`"]


def _masks_row(tables: Path) -> list[str]:
    rows = claims.main_rows(read_csv(tables / "masks.csv"))
    miou = rows["miou"]
    heads = ", ".join(f"`{method}` {miou[method]:.2f}" for method in claims.STEERED if method in miou)
    found = (
        f"mIoU by an independent segmenter: unguided {miou['unguided']:.2f}, {heads}, a clean-image network "
        f"{miou['clean_image']:.2f}, ControlNet {miou['controlnet']:.2f}; real images {rows['miou_real'].iloc[0]:.2f}"
    )
    holds = (
        f"samples follow masks: {claims.ahead_of(rows, 'unguided')}; ahead of the clean-image network: "
        f"{claims.ahead_of(rows, 'clean_image')}; of ControlNet: {claims.ahead_of(rows, 'controlnet')}"
    )
    if (noise := tables / "masks_noise.csv").is_file():
        places = list(claims.noise_places(read_csv(noise)).values())
        ahead = f"{places.count('ahead of')} of {len(places)} levels"
        holds += f"; as a finder of masks in real images and in their estimates from noise: ahead of it at {ahead}"
    return ["samples follow masks, baselines fail (pictures alone)", found, holds, "`snakemake --cores 8 masks`"]


def _classes_row(tables: Path, paper: pd.DataFrame) -> list[str]:
    table = read_csv(tables / "classes.csv")
    top1 = claims.main_accuracy(table)["top1_mean"]
    most = int(top1.index.get_level_values("generated_ratio").max())
    real, mixed = top1["none", 0], top1["none", most]
    found = (
        f"top-1 of {table['architecture'].iloc[0]}: real images {real:.1f} %, with {most}x generated ones {mixed:.1f} %"
    )
    if claims.has_equal_updates(table):
        holds = f"at equal updates: {_yes(mixed > real)}"
    else:
        matched = top1["matched_updates", 0]
        found += f"; real images alone, with as many updates, {matched:.1f} %"
        holds = f"at equal epochs: {_yes(mixed > real)}; at equal updates: {_yes(mixed > matched)}"
    said = f"3x generated images add {_published_gain(paper):.1f} points on average"
    return [said, found, holds, "`snakemake --cores 8 classes`"]


def _published_gain(paper: pd.DataFrame) -> float:
    """Return what 3x generated images add in the paper's Table 2, mean over its rows, points."""
    rows = paper[paper["item"] == "table2"]
    cell = rows["row"].str.extract(r"(?P<cell>.*);generated_ratio=(?P<ratio>\d)")
    wide = cell.assign(value=rows["value"]).pivot_table(index="cell", columns="ratio", values="value")
    return float((wide["3"] - wide["0"]).mean())


def _claims_part(results: Path) -> str:
    table = read_csv(results / "tables" / "claims.csv", *CLAIM_COLUMNS).fillna({"note": ""})
    return "\n\n".join(["## Claims", texts.CLAIMS, to_markdown(claims_view(table))])


def _attributes_part(results: Path) -> str:
    blocks = ["## Attributes", _picture("Real, unguided and guided images of every class", "attributes")]
    for data_set, read_it in ((HOME, texts.ATTRIBUTES), (REFINED, texts.REFINED), (FACES, texts.FACES)):
        tables = results / data_set / "tables"
        if not (tables / "attributes.csv").is_file():
            continue
        table, judged = read_csv(tables / "attributes.csv"), read_csv(tables / "attributes_judge.csv")
        kernel = claims.kernel_rows(table)
        steered = claims.in_words(claims.compare(judged, "exact", "unguided"))
        nearer = claims.in_words(claims.beside_unguided(kernel, "exact"))
        how = ", in pairs of one seed" if "minus_unguided" in kernel else ""
        others = ""
        if "ddim_i" in set(kernel["method"]):
            beside_ddim_i = claims.in_words(claims.compare(kernel, "exact", "ddim_i"))
            others = f"; beside `ddim_i`, by the rows' own intervals, {beside_ddim_i}"
        said = (
            f"`exact` beside `unguided`, share of the wanted class: {steered}. Kernel distance of `exact`: beside "
            f"`unguided`{how}, {nearer}{others}. Level means that the interval of the difference holds 0, or that the "
            "intervals overlap."
        )
        blocks += [read_it, attributes_section(table, judged)]
        guides = claims.guiding_classifier(table), claims.direct_methods(table)
        blocks.append(_paragraph(*guides, said, claims.beside_naive(table), claims.offsets(table)))
        if data_set == HOME:
            blocks.append(_picture("Distance and judge's share against what a sample costs", "attributes_cost"))
        if by_others := extractors_section(table):
            blocks += [texts.EXTRACTORS, by_others, _paragraph(claims.by_extractor(table))]
        if beside_real := neighbours_section(table):
            blocks += [texts.NEIGHBOURS, beside_real, _paragraph(neighbours_beside_unguided(table))]
        if (shares := tables / "attributes_distribution.csv").is_file():
            wanted = read_csv(shares)
            blocks += [texts.SHARES, distribution_section(wanted), _paragraph(claims.shares_reached(wanted))]
        if (curve := tables / "attributes_labels.csv").is_file():
            picture = _picture("Judge's share against the number of labels", "attributes_labels", data_set)
            blocks += [texts.LABELS, labels_section(read_csv(curve)), picture]
        if (latents := tables / "attributes_baselines.csv").is_file():
            models = read_csv(latents)
            read_it = texts.LATENTS if data_set == HOME else texts.LATENTS_OF.format(data_set)
            blocks += [read_it, baselines_section(models), _paragraph(claims.latents_beside_unguided(models))]
    return "\n\n".join([*blocks, _more("attributes_sweep", "how lambda was chosen, by another judge on other seeds")])


def _masks_part(results: Path) -> str:
    blocks = ["## Masks", _picture("Masks, their real images, and samples of each method", "masks")]
    parts = {HOME: texts.MASKS, "celebamask64": texts.FACE_MASKS}
    if (results / LATENT / "tables" / "masks.csv").is_file():
        parts[LATENT] = f"{texts.LATENT_MASKS}\n\n{_picture('The same from latents', 'masks', LATENT)}"
    for data_set, read_it in parts.items():
        tables = results / data_set / "tables"
        table, sweep = read_csv(tables / "masks.csv"), read_csv(tables / "masks_sweep.csv")
        blocks += [read_it, masks_section(table)]
        blocks.append(_paragraph(claims.direct_methods(table), claims.order_of_guides(table)))
        blocks += [texts.OPINIONS, to_markdown(claims.own_opinion(sweep))]
        if data_set == HOME:
            blocks.append(_picture("mIoU against the number of image-mask pairs", "masks_shots"))
        if (noise := tables / "masks_noise.csv").is_file():
            found, picture = read_csv(noise), _picture("What guides find by noise level", "masks_noise", data_set)
            said = [_paragraph(claims.robustness(found))] if {"exact", "clean_image"} <= set(found["method"]) else []
            blocks += [texts.NOISE, noise_section(found), *said, picture]
    return "\n\n".join([*blocks, _more("masks_sweep", "how lambda was chosen, by another segmenter")])


def _classes_part(results: Path) -> str:
    blocks = ["## Classes"]
    for data_set, read_it in ((HOME, texts.CLASSES), (OBJECTS, texts.OBJECTS)):
        tables = results / data_set / "tables"
        if not (tables / "classes.csv").is_file():
            continue
        table, acceptance = read_csv(tables / "classes.csv"), read_csv(tables / "classes_acceptance.csv")
        said = [claims.what_generated_images_add(table), claims.why_updates_matter(table)]
        length = claims.length_of_training(table)
        blocks += [read_it, classes_section(table, acceptance), _paragraph(*said, length)]
        if data_set == HOME:  # Git has no figures of the others
            blocks.append(_picture("Accuracy against the ratio of generated images; what the filter keeps", "classes"))
        if (filters := tables / "classes_filters.csv").is_file():
            blocks += [texts.FILTERS, filters_section(read_csv(filters))]
            if data_set == HOME:
                blocks.append(_picture("What filters are worth, by where they read", "classes_filters"))
    more = _more("classes_calibration", "how often the filter's head is right, against its own confidence")
    return "\n\n".join([*blocks, more])


def _picture(what: str, figure: str, data_set: str = HOME) -> str:
    return f"![{what}](../results/{data_set}/figures/{figure}.png)"


def _more(table: str, what: str) -> str:
    return f"More: [`{table}.csv`](../results/{HOME}/tables/{table}.csv), {what}."


def _paragraph(*sentences: str) -> str:
    text = " ".join(filter(None, sentences))
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"
