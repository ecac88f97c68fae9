"""SIGTERM, which schedulers send some seconds before they kill: at a time limit, at preemption, at a cancellation."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def noticing_sigterm() -> Iterator[Callable[[], bool]]:
    """Let SIGTERM set a flag instead of ending the process; yield a function that tells whether it has come.

    Work that keeps its state looks at the flag where the state is whole. Only a process's main thread receives
    signals: in another one the flag is never set, and SIGTERM does what it did before.
    """
    received = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield received.is_set
        return

    def notice(_number: int, _frame: FrameType | None) -> None:
        received.set()

    before = signal.signal(signal.SIGTERM, notice)
    try:
        yield received.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
