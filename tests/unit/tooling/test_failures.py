"""What a failed job leaves on the screen: its own message, last and alone, without its command."""

import logging
from enum import Enum
from pathlib import Path

import pytest

from fewshot_diffusion.tooling.failures import LAST_LINES, JobMessages, last_message

Event = Enum("Event", ["JOB_ERROR", "JOB_INFO"])
END = "WorkflowError:\nAt least one job did not complete successfully."
PLAN = 'WorkflowError in file "a.smk", line 3'
PLACE = '\n  File "a.smk", line 3, in <module>'


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("10:00 INFO a\nerror: a.csv: no such column.\n", "error: a.csv: no such column."),
        ("error: old\n10:00 INFO again\nerror: two\nlines\n", "error: two\nlines"),
        ("Traceback\n" * 20 + "KeyError: 3\n", "\n".join(["Traceback"] * (LAST_LINES - 1) + ["KeyError: 3"])),
        ("", "The log is empty: the job was stopped from outside, or could not be started."),
    ],
)
def test_the_message_is_what_the_log_ends_with(tmp_path: Path, log: str, said: str) -> None:
    (tmp_path / "a.log").write_text(log)
    assert last_message(tmp_path / "a.log") == said


def spoken(messages: JobMessages, text: str, event: Event | None = None, **about: object) -> str:
    record = logging.makeLogRecord({"msg": text, "event": event, **about})
    assert messages.filter(record)
    assert "shellcmd" not in about or vars(record)["shellcmd"] is None
    return record.getMessage()


def test_the_last_word_is_that_of_the_jobs_whose_outputs_are_missing(tmp_path: Path) -> None:
    messages = JobMessages()
    for name in ("made", "missing"):
        (tmp_path / f"{name}.log").write_text(f"error: {name} broke\n")
        about = {"output": [str(tmp_path / name)], "log": [str(tmp_path / f"{name}.log")], "shellcmd": "python ..."}
        spoken(messages, "Error", Event.JOB_ERROR, **about)
    (tmp_path / "made").touch()  # by a second attempt
    place = tmp_path / "missing"
    assert spoken(messages, END) == f"{place} was not made; log: {place}.log\nerror: missing broke"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (END, END),
        ("Command 'x '{\n}' 2> log' returned non-zero exit status 1.", "The command returned non-zero exit status 1."),
        ("a\nCommand 'x' died with <Signals.SIGKILL: 9>.", "a\nThe command died with <Signals.SIGKILL: 9>."),
        ("Building DAG of jobs...", "Building DAG of jobs..."),
        (f"{PLAN}:\ntoo few\n  images: 3{PLACE}{PLACE}", f"{PLAN}:\ntoo few\n  images: 3"),
        (f"KeyError: 3{PLACE}", f"KeyError: 3{PLACE}"),
    ],
)  # fmt: skip
def test_commands_and_tracebacks_of_plans_are_left_out_and_everything_else_is_kept(text: str, said: str) -> None:
    assert spoken(JobMessages(), text) == said
