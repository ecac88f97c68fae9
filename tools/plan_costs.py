"""Say what the jobs of a plan (standard input: `snakemake --dry-run`) cost before they start: FLOPs, hours, disk."""

import sys
from pathlib import Path

import pandas as pd

from fewshot_diffusion import cli
from fewshot_diffusion.planning.costs import Throughput, cost_table, downloads, planned_jobs, uncounted, write_table
from fewshot_diffusion.planning.runs import counted_runs, read_configuration


def plan_costs(
    overlays: list[Path] | None = None,
    tflops: float = 312,
    utilisation: float = 0.3,
    output: Path | None = None,
) -> None:
    """Print one row per stage, then what is fetched.

    Args:
        overlays: Configuration files that the plan was made with, behind the default.
        tflops: Peak of one GPU, 10^12 FLOPs a second; the default is NVIDIA's figure for dense bfloat16 on an A100.
        utilisation: Share of the peak that jobs reach, 0..1; the default is a guess of ours.
        output: Table to write, CSV.
    """
    jobs, (config, runs) = planned_jobs(sys.stdin.read()), read_configuration(overlays or [])
    if not jobs:
        print("Nothing is left to do.")
        return
    throughput = Throughput(tflops, utilisation)
    table = cost_table(jobs, counted_runs(runs), throughput)
    if output:
        write_table(table, output)
    said = [f"At {tflops:g} TFLOP/s and {utilisation:.0%} of them; images as before lossless compression:"]
    print(*said, _printed(table), sep="\n")
    print(f"Not counted, since no network that counts runs in them: {', '.join(uncounted(jobs))}.")
    for whole in (one.data.name for one in runs if one.data.splits.reference_of_all):
        print(f"{whole}: the reference is all labelled images, whose number is known when they are there: not counted.")
    for config_of in runs:
        if config_of.classes and any(job.rule == "sample_classes" for job in jobs):
            print(
                f"{config_of.data.name}: sample_classes as if the filter kept every sample; "
                f"at most {config_of.classes.filter.max_attempts} times that."
            )
    for file, size in downloads(jobs, config.downloads).items():
        print(f"Fetches {file}: {'size not known' if size is None else f'{size / 1e6:,.0f} MB'}")


def _printed(table: pd.DataFrame) -> str:
    kept = table[(table["pflop"] > 0) | (table["disk_gb"] > 0)]
    numbers = ["jobs", "pflop", "gpu_hours", "disk_gb"]
    sums = kept.groupby("data_set", sort=False)[numbers].sum().reset_index().assign(stage="(all)")
    total = kept[numbers].sum().to_frame().T.assign(data_set="(all)", stage="(all)").astype({"jobs": int})
    shown = pd.concat([kept, sums, *([total] if len(sums) > 1 else [])])
    text: str = shown.to_string(index=False, float_format=lambda number: f"{number:,.3g}")
    return text


if __name__ == "__main__":
    cli.run(plan_costs)
