"""A further method of the table: a name in the configuration's model, a module, a script and a rule; no other file."""

from pathlib import Path

import pytest

from support import copy_tree, overlay, planned_jobs, snakemake

MODULE = '''"""A baseline for a test."""

from pathlib import Path


def make_dummy(source: Path, output: Path) -> None:
    """Make it."""
'''
SCRIPT = '''"""Make a baseline for a test."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.baselines.dummy import make_dummy

if __name__ == "__main__":
    cli.run(make_dummy)
'''
RULE = '''

rule make_dummy:
    """Make a baseline for a test."""
    input:
        "<results>/attributes/descriptions/pool.safetensors",
    output:
        "<results>/attributes/descriptions/dummy/{target}.safetensors",
    params:
        code=code("make_dummy.py", env="evaluation"),
    shell:
        "python workflow/scripts/make_dummy.py --source {input:q} --output {output:q}"
'''


@pytest.mark.slow
def test_a_further_method_is_planned_as_a_row_of_every_class(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "tree")
    library = tree / "workflow" / "scripts" / "fewshot_diffusion"
    names, rules = library / "config" / "attributes.py", tree / "workflow" / "rules" / "attributes" / "baselines.smk"
    names.write_text(names.read_text().replace('"ddim_i", ', '"ddim_i", "dummy", ', 1))
    (library / "attributes" / "baselines" / "dummy.py").write_text(MODULE)
    (tree / "workflow" / "scripts" / "make_dummy.py").write_text(SCRIPT)
    rules.write_text(rules.read_text() + RULE)
    methods = {"methods": ["naive", "dummy"]}
    chosen = overlay(tree, "own.yaml", attributes=methods, masks=None, classes=None)
    done = snakemake(tree, "-n", "--configfile", "config/smoke.yaml", chosen, "--", "results/tables/celeba_fid.csv")
    assert done.status == 0, done.text
    planned = planned_jobs(done.text)
    assert planned["make_dummy"] == planned["evaluate_attributes"] == planned["select_images"] == 2
    assert "train_ddim_i" not in planned and "train_attribute_head" not in planned
    assert "results/smoke/attributes/descriptions/dummy/No-beard.safetensors" in done.text
