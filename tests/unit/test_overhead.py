"""How the share of orchestration is counted."""

import json
from pathlib import Path

import overhead


def test_spans_that_overlap_count_once() -> None:
    assert overhead.covered([(5, 6), (0, 2), (1, 3), (1, 1.5)]) == 4
    assert overhead.covered([]) == 0


def test_a_job_of_two_outputs_is_one_job_and_restored_ones_are_none(tmp_path: Path) -> None:
    command = "python workflow/scripts/sample.py --output a"
    for name, shellcmd, start in (
        ("a", command, 3.0),
        ("b", command, 3.0),
        ("c", command + "c", 0.0),
        ("d", None, 1.0),
    ):
        record = {"shellcmd": shellcmd, "starttime": start, "endtime": start + 2}
        (tmp_path / name).write_text(json.dumps(record))
    assert overhead.jobs_of(tmp_path) == {("workflow/scripts/sample.py", command): (3.0, 5.0)}
