"""A browser without a window that tests drive over its own debugging pipe: real clicks and keys, no further package."""

import base64
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run", "--remote-debugging-pipe",
]  # fmt: skip


class Page:
    """A page of a browser that runs.

    Attributes:
        requests: Address of everything that the page asked for.
        troubles: What its scripts complained of.
    """

    def __init__(self, requests: int, answers: int) -> None:
        self.requests: list[str] = []
        self.troubles: list[str] = []
        self._to, self._from = os.fdopen(requests, "wb", buffering=0), os.fdopen(answers, "rb")
        self._calls, self._session, self._loaded = 0, "", False
        [page] = [each for each in self.call("Target.getTargets")["targetInfos"] if each["type"] == "page"]
        self._session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        self._to.close()
        self._from.close()

    def call(self, method: str, **parameters: Any) -> Any:
        """Return what a method of the debugging protocol returns."""
        self._calls += 1
        session = {"sessionId": self._session} if self._session else {}
        said = {"id": self._calls, "method": method, "params": parameters, **session}
        self._to.write(json.dumps(said).encode() + b"\0")
        while (message := self._read()).get("id") != self._calls:
            pass
        assert "error" not in message, message
        return message["result"]

    def _read(self) -> dict[str, Any]:
        data = bytearray()
        while not data.endswith(b"\0"):
            data += self._from.read(1) or b"{}\0"
        message: dict[str, Any] = json.loads(data[:-1])
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            case "Runtime.exceptionThrown":
                self.troubles.append(str(message["params"]["exceptionDetails"]))
            case "Page.loadEventFired":
                self._loaded = True
        return message

    def open(self, address: str) -> None:
        """Open an address, and wait until all of it is there; of a page that is, only its hash may change."""
        self._loaded = False
        anew = "loaderId" in self.call("Page.navigate", url=address)
        while anew and not self._loaded:
            self._read()

    def value(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def text(self, selector: str) -> str:
        return str(self.value(f"document.querySelector({json.dumps(selector)}).textContent"))

    def click(self, selector: str) -> None:
        """Click into the middle of an element."""
        middle = (
            "(element => { element.scrollIntoView({block: 'center'}); const box = element.getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })"
        )
        place = self.value(f"{middle}(document.querySelector({json.dumps(selector)}))")
        for kind in ("mousePressed", "mouseReleased"):
            where = {"x": place[0], "y": place[1], "button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, **where)

    def press(self, selector: str, key: str) -> None:
        """Press a key while an element has the focus."""
        self.value(f"document.querySelector({json.dumps(selector)}).focus()")
        code = {"ArrowDown": 40, "ArrowUp": 38, "Enter": 13}[key]
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def resize(self, width: int, height: int = 900) -> None:
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **screen)

    def screenshot(self, path: Path) -> None:
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """Yield a page of a browser that starts with an empty profile, and is gone afterwards."""
    assert CHROMIUM, "no browser was found"
    ends = [*os.pipe(), *os.pipe()]
    # Beyond 10: the browser reads 3 and writes 4, which may be among them.
    theirs_in, ours_out, ours_in, theirs_out = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)

    def connect() -> None:
        os.dup2(theirs_in, 3)
        os.dup2(theirs_out, 4)

    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, preexec_fn=connect, close_fds=False, process_group=0, **quiet)  # type: ignore[call-overload]
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        page = Page(ours_out, ours_in)
        yield page
        page.close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
