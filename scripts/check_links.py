"""Find links of a built site that lead nowhere, and what it loads from other hosts."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """Ids of a page's elements, what it links to, and what of that a browser loads by itself."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.ids.add(value)
            if name in ("href", "src") and value:
                self.links.add(value)
                if name == "src" or tag == "link":
                    self.loaded.add(value)


def broken_links(site: Path) -> list[str]:
    """One line for each link inside the site whose target is missing.

    Args:
        site: folder of HTML files. Addresses of other hosts are not checked.
    """
    pages = _pages(site)
    broken: list[str] = []
    for path, page in pages.items():
        if path.name == "404.html":  # served for any address, so its links are absolute
            continue
        for link in sorted(page.links):
            address = urlsplit(link)
            if address.scheme or address.netloc:
                continue
            target = path
            if address.path:
                target = (path.parent / unquote(address.path)).resolve()
            known = pages.get(target)
            missing = not target.exists()
            if known is not None and address.fragment:
                missing = unquote(address.fragment) not in known.ids
            if missing:
                broken.append(f"{path.relative_to(site)}: {link}")
    return broken


def remote_resources(site: Path) -> list[str]:
    """One line for each script, style or picture that a page loads from another host."""
    return [
        f"{path.relative_to(site)}: {link}"
        for path, page in _pages(site).items()
        for link in sorted(page.loaded)
        if urlsplit(link).netloc
    ]


def _pages(site: Path) -> dict[Path, _Page]:
    return {path: _Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
