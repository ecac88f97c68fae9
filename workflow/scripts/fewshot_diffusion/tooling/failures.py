"""What Snakemake says of failed jobs, so that the useful line comes last and alone.

Its own account holds the command of a job twice, settings as JSON included, and ends in a sentence about the workflow.
Here, commands are left out, and that sentence gives way to what the jobs themselves said in their logs; below a plan
that is refused, there is no traceback. The standard library alone, since every snakemake call imports this.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

LAST_LINES = 15
"""How much of a log is shown that ends without a message of ours: a traceback, or what another program said."""

_COMMAND = re.compile(r"^Command '.*' (returned|died)", re.DOTALL | re.MULTILINE)
_PLACES = re.compile(r'(\n  File ".*", line \d+, in .*)+\Z')
_LAST_WORDS = "At least one job did not complete successfully."


class JobMessages(logging.Filter):
    """For Snakemake's logger: drops what is too much, remembers the logs of failed jobs, gives them the last word."""

    def __init__(self) -> None:
        super().__init__()
        self._failed: dict[str, list[Path]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Change a record of a failure; every record is kept."""
        if getattr(getattr(record, "event", None), "name", "") == "JOB_ERROR":
            self._remember(record)
        text = record.getMessage()
        # One that failed and was repeated with success is there by now.
        if _LAST_WORDS in text and (
            missing := {job: logs for job, logs in self._failed.items() if not Path(job).exists()}
        ):
            self._say(record, "\n".join(_verdict(job, logs) for job, logs in missing.items()))
        elif _COMMAND.search(text):
            self._say(record, _COMMAND.sub(r"The command \1", text))
        elif text.startswith("WorkflowError in file "):  # of a plan that is refused; the heading names the place
            self._say(record, _PLACES.sub("", text))
        return True

    def _remember(self, record: logging.LogRecord) -> None:
        about = vars(record)
        about["shellcmd"] = None
        job = next(iter(about.get("output") or []), about.get("rule_name", ""))
        self._failed[job] = [Path(path) for path in about.get("log") or []]

    @staticmethod
    def _say(record: logging.LogRecord, text: str) -> None:
        record.msg, record.args = text, None


def _verdict(job: str, logs: Sequence[Path]) -> str:
    said = [f"{job} was not made; log: {path}\n{last_message(path)}" for path in logs]
    return "\n".join(said) or f"{job} was not made; it has no log."


def last_message(log: Path) -> str:
    """Return the message that a job ended with: from its last ``error:`` on, or else its last lines."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    if not any(lines):
        return "The log is empty: the job was stopped from outside, or could not be started."
    starts = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    return "\n".join(lines[starts[-1] :] if starts else lines[-LAST_LINES:])
