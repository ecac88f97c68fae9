"""From the addresses of the configuration to those of the web."""

import os
from urllib.parse import quote

from ..config.downloads import DRIVE, HUB

ENDPOINTS = {
    "hf": os.environ.get("HF_ENDPOINT", "https://huggingface.co"),  # the hub's own variable, for its mirrors
    "gdrive": "https://drive.usercontent.google.com",
}


def web_address(url: str) -> str:
    """Return where a file is fetched from."""
    if hub := HUB.fullmatch(url):
        repository, revision, path = hub.groups()
        return f"{ENDPOINTS['hf']}/{repository}/resolve/{quote(revision, safe='')}/{quote(path)}"
    if drive := DRIVE.fullmatch(url):
        return f"{ENDPOINTS['gdrive']}/download?id={drive[1]}&export=download"
    return url


def page_address(url: str) -> str:
    """Return what a person opens in a browser to fetch the same file by hand."""
    drive = DRIVE.fullmatch(url)
    return f"https://drive.google.com/file/d/{drive[1]}/view" if drive else web_address(url)


def headers_of(url: str) -> dict[str, str]:
    """Return the headers of a request: bytes as they are stored, and the hub's token if there is one."""
    # A token is sent to the hub alone: requests drops it when another host is redirected to.
    token = os.environ.get("HF_TOKEN") if HUB.fullmatch(url) else None
    return {"Accept-Encoding": "identity", **({"Authorization": f"Bearer {token}"} if token else {})}
