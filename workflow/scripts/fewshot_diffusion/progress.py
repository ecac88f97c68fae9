"""Progress of long work: a bar on a terminal, one line a minute in a log file."""

import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

LOG_INTERVAL = 60.0  # seconds


class Progress(tqdm):
    """tqdm, but off a terminal it writes whole lines, rarely: logs stay readable."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take tqdm's arguments."""
        interval = 0.5 if sys.stderr.isatty() else LOG_INTERVAL
        super().__init__(*args, mininterval=interval, maxinterval=max(10.0, interval), **kwargs)

    @staticmethod
    def status_printer(file: Any) -> Callable[[str], None]:
        """Return what writes one state of the bar."""
        if getattr(file, "isatty", bool)():
            printer: Callable[[str], None] = tqdm.status_printer(file)
            return printer

        def write_line(text: str) -> None:
            if text.strip():
                file.write(text + "\n")
                file.flush()

        return write_line
