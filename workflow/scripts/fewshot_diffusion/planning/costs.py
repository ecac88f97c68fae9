"""What is left of a plan costs: jobs as Snakemake lists them, FLOPs, GPU-hours, downloads and disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from re import findall

import pandas as pd

from ..config.downloads import DownloadsConfig
from . import attributes, baselines, classes, latents, mask_baselines, masks, own, work
from .work import Run

JOBS = {
    **work.JOBS,
    **latents.JOBS,
    **attributes.JOBS,
    **baselines.JOBS,
    **masks.JOBS,
    **mask_baselines.JOBS,
    **classes.JOBS,
    **own.JOBS,
}
"""Rule -> what a job of it costs. Rules that are not here pass nothing through a network, or too little to count."""

COLUMNS = ["data_set", "stage", "jobs", "pflop", "gpu_hours", "disk_gb"]


@dataclass(frozen=True)
class Job:
    """A planned job, by the name of its benchmark.

    Attributes:
        data_set: Whose it is.
        rule: What its benchmarks are named after.
        wildcards: Which one it is.
    """

    data_set: str
    rule: str
    wildcards: tuple[str, ...] = ()


@dataclass(frozen=True)
class Throughput:
    """How quickly a GPU works.

    Attributes:
        tflops: Its peak in the precision that is used, 10^12 FLOPs a second.
        utilisation: The share of it that jobs reach, 0..1.
    """

    tflops: float
    utilisation: float

    def hours(self, flops: float) -> float:
        """Return how long it takes, GPU-hours."""
        return flops / (self.tflops * 1e12 * self.utilisation) / 3600


def planned_jobs(plan: str) -> list[Job]:
    """Return every job in the output of ``snakemake --dry-run`` that has a benchmark, which all but targets have."""
    paths = [path.removesuffix(".tsv").split("/")[1:] for path in findall(r"benchmark: (\S+)", plan)]
    return [Job(data_set, rule, tuple(wildcards)) for data_set, rule, *wildcards in paths]


def cost_table(jobs: Sequence[Job], runs: Mapping[str, Run], throughput: Throughput) -> pd.DataFrame:
    """Return one row per data set and stage, in the order of the plan's first jobs; what is fetched is no stage.

    Args:
        jobs: What is planned.
        runs: Data set -> how its jobs are counted.
        throughput: Of the GPUs.
    """
    rows = [_row(job, runs[job.data_set]) for job in jobs if job.data_set in runs]
    stages = pd.DataFrame(rows, columns=["data_set", "stage", "jobs", "flops", "size"])
    found = stages.groupby(["data_set", "stage"], sort=False).sum().reset_index()
    found["pflop"], found["disk_gb"] = found["flops"] / 1e15, found["size"] / 1e9
    found["gpu_hours"] = found["flops"].map(throughput.hours)
    return found[COLUMNS]


def uncounted(jobs: Sequence[Job]) -> list[str]:
    """Return the stages of a plan whose FLOPs are not counted, by name."""
    return sorted({job.rule for job in jobs} - set(JOBS) - {"download"})


def downloads(jobs: Sequence[Job], settings: DownloadsConfig) -> dict[str, int | None]:
    """Return what a plan fetches: file -> its bytes, None where the artefact does not say."""
    fetched = [job.wildcards[0] for job in jobs if job.rule == "download"]
    return {f"{name}/{settings.artefacts[name].file}": settings.artefacts[name].size for name in sorted(fetched)}


def write_table(table: pd.DataFrame, output: Path) -> None:
    """Write a table as CSV."""
    table.round(6).to_csv(output, index=False)


def _row(job: Job, run: Run) -> tuple[str, str, int, float, float]:
    found = JOBS[job.rule](run, *job.wildcards) if job.rule in JOBS else work.Work()
    return job.data_set, job.rule, 1, found.flops, found.size
