"""One file from one address, by HTTP: it goes on where it broke off, and starts over if the file has changed.

requests does it: of what ``requirements.lock`` has, it alone knows redirects, cookies, proxies, .netrc and time limits,
and gives the bytes as they come. A download must go on within a file, by Range and If-Range: pooch cannot,
huggingface_hub does so for the hub alone, gdown for Google Drive alone, and Snakemake's storage plugins begin anew.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter

from ..config.downloads import DRIVE, LOOPBACK
from ..progress import Progress
from .addresses import headers_of, web_address
from .pages import is_page, read_page
from .part import Part
from .troubles import Trouble, of_disk, of_exception, of_page, of_status

CHUNK = 2**15  # bytes: what a kill loses
PAGE = 2**17  # bytes of a web page that are read
REDIRECTS = 10


class Transfer:
    """The connection to one address.

    Attributes:
        url: The address, as configured.
        timeout: Seconds without a byte until the server is dead.
    """

    def __init__(self, url: str, timeout: float) -> None:
        """Open no connection yet."""
        self.url, self.timeout = url, timeout
        self._session = requests.Session()
        self._session.max_redirects = REDIRECTS
        for scheme in ("", "http://", "https://"):
            self._session.mount(scheme, _Guarded())

    def fetch(self, part: Part, size: int | None, known: bool) -> None:
        """Load what is missing of a file.

        Args:
            part: What is here of it.
            size: Bytes that it must have.
            known: Whether a digest is known: it decides where a server cannot say if the file is still the same.

        Raises:
            Trouble: Says why the file is not here yet.
        """
        about = part.about()
        same = about.get("url") == self.url and (about.get("validator") or known)
        if not same:
            part.drop()
        total = size or about.get("total")
        if same and part.size == total:
            return
        try:
            with self._open(_range(part.size, about) if same else {}) as response:
                self._receive(response, part, size)
        except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError) as error:
            raise of_exception(error, self.timeout) from error

    @contextmanager
    def _open(self, headers: dict[str, str]) -> Iterator[requests.Response]:
        """Ask for the file; Google Drive may send a page first, whose form must be sent back."""
        with self._get(web_address(self.url), headers) as response:
            if not (DRIVE.fullmatch(self.url) and response.ok and is_page(_kind(response), b"")):
                yield response
                return
            page = read_page(_read(response, PAGE))
            if not page.action:
                raise of_page(page, self.url)
            action = urljoin(response.url, page.action)
        with self._get(action, headers, page.fields) as response:
            yield response

    def _get(self, address: str, headers: dict[str, str], fields: dict[str, str] | None = None) -> requests.Response:
        headers = headers_of(self.url) | headers
        return self._session.get(address, params=fields, headers=headers, stream=True, timeout=self.timeout)

    def _receive(self, response: requests.Response, part: Part, size: int | None) -> None:
        if response.status_code not in (200, 206):
            if response.status_code == 416:
                part.drop()
            raise of_status(response, self.url)
        start, total = _place(response)
        first = _read(response, CHUNK)
        if start == 0 and is_page(_kind(response), first[:512]):
            raise of_page(read_page(first + _read(response, PAGE)), self.url)
        if None not in (size, total) and size != total:
            raise Trouble(f"found a file of {total} bytes there, expected {size}")
        if response.status_code == 200:
            part.begin(self.url, _validator(response), total)
        elif start != part.size:
            part.drop()
            raise Trouble(f"the server goes on at byte {start}, where it was not asked to", again=True)
        self._append(response, first, part, size or total)

    def _append(self, response: requests.Response, first: bytes, part: Part, total: int | None) -> None:
        free, missing = shutil.disk_usage(part.path.parent).free, total and total - part.size
        if missing and missing > free:
            raise Trouble(f"the disk is full: {missing} bytes are still to come, {free} are free")
        name = part.path.name.removesuffix(".part")
        bar = Progress(total=total, initial=part.size, unit="B", unit_scale=True, desc=name)
        try:
            with bar, part.path.open("ab") as file:
                chunk = first
                while chunk:
                    file.write(chunk)
                    file.flush()  # what has come survives a kill
                    bar.update(len(chunk))
                    if total is not None and bar.n > total:
                        raise Trouble(f"more bytes came than the {total} that the file has")
                    chunk = _read(response, CHUNK)
        except OSError as error:
            raise of_disk(error, total and total - part.size) or error from error
        if total is not None and part.size < total:
            raise Trouble(f"it broke off after {part.size} of {total} bytes", again=True)
        if not part.size:
            raise Trouble("the file there is empty")


class _Guarded(HTTPAdapter):
    """Speaks plain HTTP with this machine alone, wherever a redirect or a form leads."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        parts = urlsplit(request.url or "")
        if parts.scheme != "https" and parts.hostname not in LOOPBACK:
            raise requests.exceptions.InvalidSchema(f"it leads to {request.url}, which is not encrypted")
        return super().send(request, *args, **kwargs)


def _range(start: int, about: dict[str, Any]) -> dict[str, str]:
    """Return the headers that ask for the rest, or for all of it if the file is another by now."""
    if not start:
        return {}
    validator = about.get("validator")
    return {"Range": f"bytes={start}-", **({"If-Range": str(validator)} if validator else {})}


def _validator(response: requests.Response) -> str:
    """Return what tells this version of a file from others: a weak ETag does not, to the byte."""
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


def _place(response: requests.Response) -> tuple[int, int | None]:
    """Return where in the file a body begins, and how long the file is, if that is said."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if response.status_code == 206:
        return (int(found[1]), int(found[2]) if found[2] != "*" else None) if found else (-1, None)
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _kind(response: requests.Response) -> str:
    return response.headers.get("Content-Type", "").lower()


def _read(response: requests.Response, size: int) -> bytes:
    """Return at most ``size`` bytes as they were sent; empty at the end."""
    data: bytes = response.raw.read(size, decode_content=False)
    return data
