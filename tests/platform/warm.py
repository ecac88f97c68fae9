"""Scripts and snakemake itself in processes forked from one that has imported everything.

An interruption then costs a second instead of half a minute of imports, and a random moment falls into the work. The
command lines, the rules, the scripts, the files and the signals are the real ones; only the imports are shared.
"""

import contextlib
import importlib
import json
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "workflow" / "scripts"
KILLED = 128 + signal.SIGKILL
PATIENCE = 3600  # seconds: low priority on a busy machine may mean minutes without a step

# What rules call as `python`: it hands its command line and streams over, and waits for the exit status.
CLIENT = f"""#!{sys.executable} -IS
import json, os, signal, socket, sys
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)  # the job gets them, too, and decides
connection = socket.socket(socket.AF_UNIX)
connection.connect(os.environ["WARM_SOCKET"])
asked = dict(argv=sys.argv[1:], cwd=os.getcwd(), env=dict(os.environ), group=os.getpgid(0))
asked = json.dumps(asked).encode()
socket.send_fds(connection, [len(asked).to_bytes(4, "big")], [0, 1, 2])
connection.sendall(asked)
status = connection.recv(1)
sys.exit(status[0] if status else {KILLED})
"""


# --- what asks ------------------------------------------------------------------------------------------------------


class Warm:
    """Runs forked from a process that has imported everything."""

    def __init__(self, folder: Path, variables: Mapping[str, str] = MappingProxyType({})) -> None:
        self.folder = folder
        environment = plain_environment(Path(sys.executable).parent) | variables
        self._server = subprocess.Popen([sys.executable, str(Path(__file__).resolve()), str(folder)], env=environment)
        wait_until(lambda: (folder / "socket").exists() or self._server.poll() is not None)

    def start(self, tree: Path, output: int, command: Sequence[str]) -> "Run":
        environment = plain_environment(self.folder / "bin") | {"WARM_SOCKET": str(self.folder / "socket")}
        connection = ask(self.folder, list(command), tree, environment, output)
        group = int.from_bytes(connection.recv(4), "big")

        def status() -> int:
            with connection:
                said = connection.recv(1)
            return said[0] if said else KILLED

        return Run(group, status)

    def close(self) -> None:
        self._server.kill()
        self._server.wait()


@contextlib.contextmanager
def warm_run(tree: Path, command: Sequence[str], log: Path) -> Iterator[Callable[[], int]]:
    """Start Snakemake in a tree with shared imports; yields what waits for its exit status. It speaks into ``log``."""
    with tempfile.TemporaryDirectory() as name:
        runner = Warm(Path(name) / "warm")
        try:
            with log.open("w") as file:
                run = runner.start(tree, file.fileno(), command)
            yield run.status
        finally:
            runner.close()


@dataclass(frozen=True)
class Run:
    """A started command: its process group, and how to wait for its exit status."""

    group: int
    status: Callable[[], int]

    def members(self) -> Iterator[tuple[int, str]]:
        """Yield the process ids and names of the group."""
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                name, _, rest = path.read_text().partition("(")[2].rpartition(")")
                state, _, group = rest.split()[:3]
                if int(group) == self.group and state not in "ZX":
                    yield int(path.parent.name), name

    def jobs(self) -> list[int]:
        """Return the processes of scripts."""
        return [process for process, name in self.members() if name == "job"]

    def is_over(self) -> bool:
        """Return whether the command itself has ended; a job of it may live on."""
        return self.group not in [process for process, _ in self.members()]


def ask(folder: Path, argv: list[str], cwd: Path, env: dict[str, str], output: int) -> socket.socket:
    """Start a command in a process group of its own; the connection gives its status, or ends without one."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(folder / "socket"))
    asked = json.dumps({"argv": argv, "cwd": str(cwd), "env": env, "group": 0}).encode()
    with Path(os.devnull).open() as nothing:
        socket.send_fds(connection, [len(asked).to_bytes(4, "big")], [nothing.fileno(), output, output])
    connection.sendall(asked)
    return connection


def plain_environment(first: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "SNAKEMAKE"))}
    return kept | {"PATH": f"{first}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}


def wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing happened within {PATIENCE} s")
        time.sleep(0.01)


# --- what serves ----------------------------------------------------------------------------------------------------


def preload() -> None:
    """Import what the jobs import; no tensor is computed, so no thread is started before the fork."""
    sys.path.insert(0, str(SCRIPTS))
    for path in sorted((SCRIPTS / "fewshot_diffusion").rglob("*.py")):
        name = ".".join(path.relative_to(SCRIPTS).with_suffix("").parts).removesuffix(".__init__")
        importlib.import_module(name)
    importlib.import_module("snakemake.cli")


def serve(folder: Path) -> None:
    """Fork a process for every command that comes; runs until it is killed."""
    preload()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here
    client = folder / "bin" / "python"
    client.parent.mkdir(parents=True)
    client.write_text(CLIENT)
    client.chmod(0o755)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(folder / "coming"))
    listening.listen()
    (folder / "coming").rename(folder / "socket")  # it is there when it listens
    while True:
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            _work(connection)
        connection.close()


def _work(connection: socket.socket) -> None:
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        size, streams, _, _ = socket.recv_fds(connection, 4, 3)
        asked = json.loads(_receive(connection, int.from_bytes(size, "big")))
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.setpgid(0, asked["group"])
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["env"])
        status = _run(asked["argv"], connection if asked["group"] == 0 else None)
        connection.sendall(bytes([status]))
    finally:
        os._exit(status)


def _receive(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size and (part := connection.recv(size - len(found))):
        found += part
    return found


def _run(argv: list[str], starter: socket.socket | None) -> int:
    # This project's own modules are those of the tree that runs, as the digests of its code say.
    sys.path.remove(str(SCRIPTS))
    for name in [name for name in sys.modules if name.partition(".")[0] == "fewshot_diffusion"]:
        del sys.modules[name]
    try:
        if starter:
            from snakemake.cli import main

            sys.executable = shutil.which("python") or sys.executable  # jobs run with Snakemake's own: the client
            starter.sendall(os.getpid().to_bytes(4, "big"))
            main(argv)
        else:
            Path("/proc/self/comm").write_text("job")  # how interruptions find it
            sys.argv = argv
            sys.path.insert(0, str(Path(argv[0]).resolve().parent))
            runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:
            pass
    return 0


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
