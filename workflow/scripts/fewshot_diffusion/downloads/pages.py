"""Web pages that servers send in place of a file: what they say, and Google Drive's, which asks before a download."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

_BEGINNINGS = (b"<!doctype html", b"<html", b"<head", b"<script", b"<!--")


def is_page(kind: str, beginning: bytes) -> bool:
    """Tell whether a body is a web page, by the server's word for its kind or by its first bytes."""
    return kind.startswith(("text/html", "application/xhtml")) or beginning.lstrip().lower().startswith(_BEGINNINGS)


@dataclass
class Page:
    """What a page shows.

    Attributes:
        title: Its title, printable, short.
        text: All of its text, lower case.
        action: Where its form leads; empty without one that asks to confirm.
        fields: What the form sends.
    """

    title: str = ""
    text: str = ""
    action: str = ""
    fields: dict[str, str] = field(default_factory=dict)


def read_page(body: bytes) -> Page:
    """Return what a page shows, whatever its bytes are."""
    reader = _Reader()
    reader.feed(body.decode("utf-8", "replace"))
    page = reader.page
    page.title = "".join(character for character in " ".join(page.title.split()) if character.isprintable())[:80]
    if "confirm" not in page.fields:
        page.action = ""
    return page


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self._in_title = tag == "title"
        if tag == "form" and not self.page.action:
            self.page.action = found.get("action") or ""
        if tag == "input" and found.get("name"):
            self.page.fields[str(found["name"])] = found.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        self._in_title = False

    def handle_data(self, data: str) -> None:
        self.page.text += data.lower()
        if self._in_title:
            self.page.title += data
