"""A server on this machine that answers as badly as the path asks for, and keeps what was asked."""

import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

CONTENT = np.random.default_rng(0).bytes(2**22)
FORM = '<html><title>Virus scan warning</title><form id="download-form" action="{}" method="get">{}</form></html>'
FIELDS = "".join(f'<input type="hidden" name="{name}" value="{name[::-1]}">' for name in ("id", "confirm", "uuid"))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        self.close_connection = True
        name, *words = self.path.partition("?")[0].strip("/").split("/")
        getattr(self, f"do_{name}")(*words)

    def log_message(self, *_: Any) -> None:
        pass

    def head(self, status: int, length: int | None = None, **headers: object) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": length, "Connection": "close", **headers}.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def write(self, data: bytes) -> None:
        try:
            self.wfile.write(data)
            self.server.sent += len(data)
        except OSError:
            pass  # the other side has gone

    def do_file(self, *words: str, limit: int | None = None, pause: float = 0, tag: bool = True) -> None:
        """The file, from where it is asked for if it has not changed since."""
        data, version, start = self.server.content, f'"{hash(self.server.content)}"', 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and self.headers.get("If-Range", version) == version and "whole" not in words:
            start = int(asked[1])
        if start >= len(data):
            return self.do_status("416")
        place = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        self.head(206 if start else 200, len(data) - start, ETag=version if tag else None, **place)
        stop = len(data) if limit is None else min(len(data), start + limit)
        for at in range(start, stop, 2**15):
            self.write(data[at : min(stop, at + 2**15)])
            time.sleep(pause)

    def do_breaks(self, size: str, *words: str) -> None:
        self.do_file(*words, limit=int(size), tag="untagged" not in words)

    def do_slow(self, *_: str) -> None:
        self.do_file(pause=0.004)

    def do_status(self, code: str, retry: str | None = None, *_: str) -> None:
        self.head(int(code), 0, Retry_After=retry)

    def do_flaky(self, code: str, *_: str) -> None:
        self.do_status(code, "0") if len(self.server.asked) < 3 else self.do_file()

    def do_page(self, title: str, kind: str = "text/html", *_: str) -> None:
        body = f"<!DOCTYPE html><html><head><title>{title.replace('_', ' ')}</title></head>".encode()
        self.head(200, len(body), Content_Type=kind.replace("-", "/"))
        self.write(body)

    def do_to(self, *_: str) -> None:
        self.head(302, 0, Location=self.path.partition("?")[2])

    def do_loop(self, *_: str) -> None:
        self.head(302, 0, Location=self.path)

    def do_reset(self, *_: str) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def do_silent(self, *_: str) -> None:
        time.sleep(0.5)

    def do_length(self, *_: str) -> None:
        self.head(200, len(self.server.content) + 7)
        self.write(self.server.content)

    def do_endless(self, *_: str) -> None:
        self.head(200)
        self.write(self.server.content + b"more")

    def do_short(self, *_: str) -> None:
        self.head(200)
        self.write(self.server.content[:4096])

    def do_wrong(self, *_: str) -> None:
        self.head(200, len(self.server.other))
        self.write(self.server.other)

    def do_empty(self, *_: str) -> None:
        self.head(200, 0)

    def do_chunks(self, *_: str) -> None:
        self.head(200, Transfer_Encoding="chunked")
        self.write(b"1000\r\n" + self.server.content[: 2**12] + b"\r\n1000\r\nabc")

    def do_download(self, *_: str) -> None:
        """Google Drive: a page with a form first, unless that was sent back."""
        if "confirm=mrifnoc&uuid=diuu" in self.path:
            return self.do_file()
        if "id=used" in self.path:
            return self.do_page("Google_Drive_-_Quota_used")
        body = FORM.format("/download", FIELDS).encode()
        self.head(200, len(body), Content_Type="text/html; charset=utf-8")
        self.write(body)

    def do_google(self, *words: str) -> None:
        """The hub: a redirect to where the bytes are."""
        if "gated" in words:
            return self.do_status("403")
        self.head(302, 0, Location=f"http://localhost:{self.server.server_port}/file")


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.other, self.sent = CONTENT, b"", 0
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def loopback_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name but this machine's is looked up."""
    known: Callable[..., Any] = socket.getaddrinfo

    def lookup(host: str, *arguments: Any, **options: Any) -> Any:
        if host not in ("127.0.0.1", "localhost"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
