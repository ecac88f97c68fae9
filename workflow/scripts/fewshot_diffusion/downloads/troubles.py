"""What goes wrong with a transfer, in words: each kind its own, and whether another try may help."""

import errno
import http.client
import socket
from collections.abc import Iterator

import requests
import urllib3.exceptions

from ..config.downloads import HUB
from .pages import Page


class Trouble(Exception):
    """One address did not give the file.

    Attributes:
        again: Whether the same address may give it on another try.
        wait: Seconds that the server asks to wait first.
    """

    def __init__(self, what: str, again: bool = False, wait: float = 0) -> None:
        """Say what is wrong."""
        super().__init__(what)
        self.again, self.wait = again, wait


def of_status(response: requests.Response, url: str) -> Trouble:
    """Return what a status other than 200 and 206 means."""
    code = response.status_code
    wait = _seconds(response.headers.get("Retry-After", ""))
    asked = f", and asks to wait {wait:g} s" if wait else ""
    if code in (401, 403):
        return Trouble(f"access is denied ({code}): {_key_of(url)}")
    if code in (404, 410):
        return Trouble(f"there is no such file ({code}): it was moved or withdrawn")
    if code == 416:
        return Trouble("the part that is here is no beginning of the file there (416): it starts over", again=True)
    if code == 429:
        return Trouble(f"too many requests for the server (429){asked}", again=True, wait=wait)
    if code >= 500:
        return Trouble(f"the server is out of order ({code}){asked}", again=True, wait=wait)
    return Trouble(f"the server answers with status {code}, expected the file (200)")


def _key_of(url: str) -> str:
    if hub := HUB.fullmatch(url):
        return f"accept the terms on https://huggingface.co/{hub[1]}, and set HF_TOKEN to a token of your account"
    return "the file is not public, or no longer"


def _seconds(text: str) -> float:
    return float(text) if text.isdecimal() else 0.0  # the other form, a date, is for clocks that agree


def of_page(page: Page, url: str) -> Trouble:
    """Return what a web page in place of the file means."""
    if "quota" in page.title.lower() or "too many users" in page.text:
        return Trouble(f"the file's quota is used up ({page.title!r}): it can be had again within 24 hours")
    if "sign in" in page.title.lower() or "log in" in page.title.lower():
        return Trouble(f"found a login page ({page.title!r}): the file is not public")
    return Trouble(f"found a web page in place of the file ({page.title or 'without a title'!r})")


def of_exception(error: Exception, timeout: float) -> Trouble:
    """Return what an error of the connection means; of several, the innermost that is known."""
    causes = list(_causes(error))
    for kind, what, again in _CONNECTION:
        if found := next((cause for cause in causes if isinstance(cause, kind)), None):
            return Trouble(what.format(error=_short(found), timeout=timeout), again)
    return Trouble(f"the connection failed ({_short(causes[-1])})", again=True)


_CONNECTION: tuple[tuple[type[BaseException], str, bool], ...] = (
    (requests.TooManyRedirects, "it redirects in a circle", False),
    (requests.exceptions.InvalidSchema, "{error}", False),
    (requests.exceptions.SSLError, "the server cannot prove who it is: TLS failed ({error})", False),
    (requests.exceptions.ProxyError, "the proxy of this machine cannot be reached, or refuses ({error})", True),
    (socket.gaierror, "no host of this name is known: it is gone, or this machine has no network", True),
    (ConnectionRefusedError, "the host refuses connections", True),
    (ConnectionResetError, "the connection was reset", True),
    (requests.exceptions.Timeout, "nothing came within {timeout:g} s", True),
    (urllib3.exceptions.TimeoutError, "nothing came within {timeout:g} s", True),
    (urllib3.exceptions.IncompleteRead, "it broke off before its end ({error})", True),
    (http.client.IncompleteRead, "it broke off before its end ({error})", True),
    (requests.exceptions.InvalidURL, "the address is not valid ({error})", False),
)
"""In this order: requests wraps the errors of the layers below in its own."""


def of_disk(error: OSError, needed: int | None) -> Trouble | None:
    """Return the trouble if the disk is full; what is here is kept."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return None
    return Trouble(f"the disk is full ({error.strerror}); {needed or 'an unknown number of'} bytes are still to come")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from: as causes, contexts, reasons or first arguments."""
    waiting, seen = [error], set[int]()
    while waiting:
        found = waiting.pop(0)
        if id(found) not in seen:
            seen.add(id(found))
            yield found
            inner = [found.__cause__, found.__context__, getattr(found, "reason", None), *found.args]
            waiting += [one for one in inner if isinstance(one, BaseException)]


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 160 else f"{text[:160]}..."
