"""Scripts and snakemake itself in processes forked from one that has imported everything.

An interruption then costs a second instead of half a minute of imports, and a random moment falls into the work. The
command lines, the rules, the scripts, the files and the signals are the real ones; only the imports are shared.
"""

import importlib
import json
import os
import runpy
import signal
import socket
import sys
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "workflow" / "scripts"
KILLED = 128 + signal.SIGKILL

# What rules find as `python`: it hands its command line and streams over, and waits for the exit status.
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


def ask(folder: Path, argv: list[str], cwd: Path, env: dict[str, str], output: int) -> socket.socket:
    """Start a command in a process group of its own; the connection gives its status, or ends without one."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(folder / "socket"))
    asked = json.dumps({"argv": argv, "cwd": str(cwd), "env": env, "group": 0}).encode()
    with open(os.devnull) as nothing:
        socket.send_fds(connection, [len(asked).to_bytes(4, "big")], [nothing.fileno(), output, output])
    connection.sendall(asked)
    return connection


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
