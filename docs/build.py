# ruff: noqa: INP001 - a script beside the pages, not a module of a package.
"""Build the docs site and fail on whatever a reader would stumble over.

Run by ``make docs`` and ``make check``::

    python docs/build.py

The exit code is 1 when the navigation and the pages on disk differ, when the site generator
prints a warning or an error, when a built page links to a page or heading that does not exist, or
when a built page loads something from another host.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
SITE = ROOT / "site"
CONFIG = ROOT / "zensical.toml"

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_TROUBLE = re.compile(r"\b(?:warning|error|traceback)\b", re.IGNORECASE)
_MARKDOWN_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PLACES = {"a": "href", "link": "href", "script": "src", "img": "src", "iframe": "src"}
_NOT_LOADED = {"a"}


class _Page(HTMLParser):
    """What a built page links to, loads and offers as a target."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.targets: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element's id and its address."""
        values = dict(attrs)
        if anchor := values.get("id"):
            self.targets.add(anchor)
        if address := values.get(_PLACES.get(tag, "")):
            self.links.append(address)
            if tag not in _NOT_LOADED:
                self.loads.append(address)


def main() -> int:
    """Build, check, and return the exit code."""
    faults = [*_navigation_faults(), *_root_faults(), *_build_faults()]
    if not faults:
        faults = list(_site_faults())
    for fault in faults:
        print(f"docs: {fault}", file=sys.stderr)  # noqa: T201 - a script tells its caller
    return 1 if faults else 0


def _navigation_faults() -> Iterator[str]:
    """Compare the navigation with the pages on disk, decisions included."""
    config = tomllib.loads(CONFIG.read_text(encoding="utf-8"))["project"]
    listed = list(_listed(config["nav"]))
    present = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    for page in sorted(set(listed) - present):
        yield f"{CONFIG.name} lists docs/{page}, which does not exist."
    for page in sorted(present - set(listed)):
        yield f"docs/{page} is not in the navigation of {CONFIG.name}."
    for page in sorted({page for page in listed if listed.count(page) > 1}):
        yield f"{CONFIG.name} lists docs/{page} twice."


def _listed(entry: object) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, list):
        for item in entry:
            yield from _listed(item)
    elif isinstance(entry, dict):
        for item in entry.values():
            yield from _listed(item)


def _root_faults() -> Iterator[str]:
    """Follow the links of the pages outside the site: README, CONTRIBUTING and so on."""
    for page in sorted(ROOT.glob("*.md")):
        for address in _MARKDOWN_LINK.findall(page.read_text(encoding="utf-8")):
            path = unquote(urlsplit(address).path)
            if path and not _is_external(address) and not (ROOT / path).exists():
                yield f"{page.name} links to {address}, which does not exist."


def _build_faults() -> Iterator[str]:
    """Build from nothing, so that no page of an earlier build answers for a missing one."""
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(  # noqa: S603 - a fixed command of this environment
        [*command, "--config-file", str(CONFIG)],
        cwd=ROOT,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    output = _COLOUR.sub("", done.stdout)
    if done.returncode != 0 or _TROUBLE.search(output):
        yield f"the build ended with exit code {done.returncode} and said:\n{output}"


def _site_faults() -> Iterator[str]:
    """Follow every link of every built page."""
    pages = {path: _Page(path) for path in sorted(SITE.rglob("*.html"))}
    if SITE / "index.html" not in pages:
        yield "the build left no site/index.html."
    for path, page in pages.items():
        if path.name == "404.html":  # Served from any depth, so its links are absolute.
            continue
        name = path.relative_to(SITE).as_posix()
        for address in page.links:
            if not _is_external(address) and (fault := _link_fault(path, address, pages)):
                yield f"site/{name} links to {address}, {fault}."
        for address in page.loads:
            if _is_external(address) and not address.startswith("data:"):
                yield f"site/{name} loads {address} from another host."


def _is_external(address: str) -> bool:
    parts = urlsplit(address)
    return bool(parts.scheme or parts.netloc)


def _link_fault(path: Path, address: str, pages: dict[Path, _Page]) -> str | None:
    parts = urlsplit(address)
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return "which does not exist"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].targets:
        return "where there is no such heading"
    return None


if __name__ == "__main__":
    sys.exit(main())
