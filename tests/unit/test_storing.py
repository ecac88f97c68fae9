"""Which products are stored, and what DVC is told."""

import pytest
import yaml

from fewshot_diffusion.tooling.records import StoreError
from fewshot_diffusion.tooling.storing import chosen_products, read_summary, stage_text

HEADER = "output_file\tdate\trule\tlog-file(s)\tstatus\tplan"
SAMPLES = "results/a/samples/exact/Blond/1-of-1.safetensors"


def line(path: str, status: str = "ok", plan: str = "no update") -> str:
    return "\t".join((path, "Mon Nov 23 2026", "rule", "-", status, plan))


def chosen(*lines: str) -> tuple[list[str], list[str]]:
    return chosen_products(read_summary("\n".join(["Building DAG of jobs...", HEADER, *lines])))


def test_pixels_that_are_quickly_drawn_again_are_left_out_even_if_missing() -> None:
    judge, records = "results/a/images/judge.safetensors", "results/a/images/controls.parquet"
    found = chosen(line(SAMPLES), line(judge, "missing"), line(records), line("results/tables/x.csv"))
    assert found == ([records, SAMPLES, "results/tables/x.csv"], [judge])


def test_the_pool_of_shots_is_stored_since_the_denoiser_depends_on_it() -> None:
    pool = "results/a/images/shots.safetensors"
    assert chosen(line(pool)) == ([pool], [])


@pytest.mark.parametrize(("status", "plan"), [("missing", "no update"), ("params changed", "update pending")])
def test_an_unfinished_run_is_refused(status: str, plan: str) -> None:
    with pytest.raises(StoreError, match=SAMPLES):
        chosen(line("results/tables/x.csv"), line(SAMPLES, status, plan))


def test_an_empty_summary_is_refused() -> None:
    with pytest.raises(StoreError, match="lists no product"):
        read_summary(HEADER)


def test_dvc_gets_what_git_does_not_have() -> None:
    stage = yaml.safe_load(stage_text(["results/figures/x.png", SAMPLES, "results/tables/x.csv"], "run"))
    assert stage["stages"]["demo"]["outs"] == [SAMPLES]
    assert stage["stages"]["demo"]["frozen"] is True
