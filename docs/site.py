"""What MkDocs makes of the pages: README.md is the first one, and what they link to outside of docs/ comes along.

A link such as ../fourierft/grid.py works where the repository is read. In the site its file becomes a page too:
Markdown as it is, code as a listing, and anything else a plain file. A link to nothing is an error of the build.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)[^)\s#]+")
LISTED = {".py": "python", ".yaml": "yaml", ".c": "c", ".toml": "toml", ".patch": "diff"}
FENCE = re.compile(r"^```(\w+) (\S+)$", re.MULTILINE)  # with the file that it belongs to


def place(path: str) -> str:
    """Where a file of the repository stands in the site, both relative to their roots."""
    if path == "README.md":
        return "index.md"
    return path.removeprefix("docs/") + (".md" if PurePosixPath(path).suffix in LISTED else "")


def linked(path: str) -> Iterator[str]:
    """The files that a page of the repository links to, relative to its root."""
    for link in LINK.findall((ROOT / path).read_text("utf-8")):
        yield posixpath.normpath(posixpath.join(posixpath.dirname(path), link))


def listing(path: str) -> str:
    """The page of a file of code, which the search leaves out."""
    about, fence = "---\nhide: [toc]\nsearch: { exclude: true }\n---\n", "~" * 6
    text = (ROOT / path).read_text("utf-8")
    return f"{about}# {path}\n\n{fence} {LISTED[PurePosixPath(path).suffix]}\n{text}\n{fence}\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add README.md and all that the pages link to, and what those link to."""
    waiting = ["README.md", *(f"docs/{file.src_uri}" for file in files.documentation_pages())]
    known = set(waiting)
    files.append(File.generated(config, place("README.md"), abs_src_path=str(ROOT / "README.md")))
    while waiting:
        for path in linked(waiting.pop()):
            if path in known or not (ROOT / path).is_file():
                continue
            known.add(path)
            if path.endswith(".md"):
                waiting.append(path)
            if PurePosixPath(path).suffix in LISTED:
                files.append(File.generated(config, place(path), content=listing(path)))
            else:
                files.append(File.generated(config, place(path), abs_src_path=str(ROOT / path)))
    config.extra["sources"] = {place(path): path for path in known if path.endswith(".md")}
    return files


def on_page_markdown(text: str, page: Page, config: MkDocsConfig, **_: object) -> str:
    """Lead the links to where the files stand in the site; the file of a listing becomes its title."""
    here = page.file.src_uri
    if here not in config.extra["sources"]:
        return text
    source = posixpath.dirname(config.extra["sources"][here])

    def there(link: re.Match) -> str:
        path = posixpath.normpath(posixpath.join(source, link[0]))
        return posixpath.relpath(place(path), posixpath.dirname(here) or ".")

    return FENCE.sub(r'```\1 title="\2"', LINK.sub(there, text))
