"""Progress of long work, by a clock that moves when the test says so."""

import io
import re
from collections.abc import Callable
from itertools import pairwise

import pytest
from tqdm import TMonitor

from fewshot_diffusion.progress import Progress


class Clock:
    """Far in the future, so that tqdm's own thread, which watches the real time, has nothing to do."""

    now = 4e9

    def __call__(self) -> float:
        return self.now


class OneRound:
    """An event of tqdm's thread that lets it look around once."""

    waits = 0

    def wait(self, seconds: float) -> None:
        self.waits += 1

    def is_set(self) -> bool:
        return self.waits > 1

    def set(self) -> None:
        pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("tqdm.std.time", clock)
    return clock


def iterate(clock: Clock, steps: int, seconds: float) -> None:
    for _ in Progress(range(steps), desc="sampling", unit="unit"):
        clock.now += seconds


def update(clock: Clock, steps: int, seconds: float) -> None:
    with Progress(total=steps, desc="sampling", unit="unit") as bar:
        for _ in range(steps):
            clock.now += seconds
            bar.update()


def seconds_of(clock_time: str) -> int:
    """Return the seconds of ``[h:]mm:ss``."""
    total = 0
    for part in clock_time.split(":"):
        total = 60 * total + int(part)
    return total


def lines_of(text: str) -> list[tuple[int, int, int, str]]:
    """Return done, total, elapsed seconds and remaining time of each line; what is no such line fails."""
    found = [re.match(r"sampling: .*\| (\d+)/(\d+) \[([\d:]+)<([\d:?]+), ", line) for line in text.splitlines() if line]
    assert all(found), text
    return [(int(m[1]), int(m[2]), seconds_of(m[3]), m[4]) for m in found if m]


@pytest.mark.parametrize("work", [iterate, update])
@pytest.mark.parametrize(("steps", "seconds"), [(8000, 0.125), (100, 7.0), (5, 90.0), (100, 0.01)])
def test_a_log_gets_its_start_its_end_and_one_line_a_minute(
    clock: Clock, capsys: pytest.CaptureFixture[str], work: Callable[..., None], steps: int, seconds: float
) -> None:
    work(clock, steps, seconds)
    log = capsys.readouterr().err
    assert "\r" not in log
    lines = lines_of(log)
    assert lines[0] == (0, steps, 0, "?")
    assert lines[-1] == (steps, steps, int(steps * seconds), "00:00")
    times = [elapsed for _, _, elapsed, _ in lines[:-1]]
    assert all(60 <= after - before <= 60 + seconds for before, after in pairwise(times))
    assert steps * seconds - times[-1] <= 60 + seconds


def test_the_last_line_of_work_that_fails_says_how_far_it_came(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail_half_way() -> None:
        for number in Progress(range(5, -5, -1), desc="sampling", unit="unit"):
            clock.now += 1 / number

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert lines_of(capsys.readouterr().err)[-1][:2] == (5, 10)


def test_work_that_becomes_slow_still_has_a_line_a_minute(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread of tqdm's looks after it, every ten seconds: here when the test says so."""
    monkeypatch.setattr(TMonitor, "_test", {"time": clock, "Event": OneRound})
    with Progress(total=9000, desc="sampling", unit="unit") as bar:
        for _ in range(6000):
            clock.now += 0.01
            bar.update()
        capsys.readouterr()
        clock.now += 59
        TMonitor(Progress, 10).join()
        assert not capsys.readouterr().err
        clock.now += 1
        TMonitor(Progress, 10).join()
        assert lines_of(capsys.readouterr().err) == [(6000, 9000, 120, "00:30")]


def test_a_terminal_gets_one_line_drawn_again_every_half_second(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", screen)
    iterate(clock, 1200, 0.125)
    *states, last = screen.getvalue().split("\r")[1:]
    assert last.endswith("\n") and "1200/1200" in last
    assert "".join(states).count("\n") == 0
    assert len(states) == pytest.approx(1200 * 0.125 / 0.5, abs=2)
