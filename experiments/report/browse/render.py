"""The page: one file that needs no server, no network and no library.

What comes of records is data in it: JSON that its script shows as text, never markup or code. A policy in the page lets
nothing run but that script.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from experiments.paper.printed import PaperRow
from experiments.record import Record
from experiments.report.browse.rows import compact, content
from experiments.report.summary import answer
from experiments.report.verdicts import Claim

FILES = Path(__file__).parent
SCRIPTS = ("view", "charts", "plot", "panel", "start")


def render(
    claims: Sequence[Claim],
    folders: Mapping[Path, Sequence[Record]],
    paper: Mapping[str, Sequence[PaperRow]],
    printed: Path,
    place: Path,
) -> str:
    """The page. folders: records by their folder. paper: the printed rows by table key, read from the folder `printed`.
    place: the page's folder, where its links start."""
    answers = [(answer(claim, claim.verdict), answer(claim, claim.small_scale)) for claim in claims]
    script, style = "\n".join(_file(f"{name}.js") for name in SCRIPTS), _file("page.css")
    environment = {"autoescape": True, "undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    return (
        Environment(loader=FileSystemLoader(FILES), **environment)
        .get_template("page.html")
        .render(
            claims=zip(claims, answers, strict=True),
            counts=[f"{count} {said}" for said, count in sorted(Counter(said for said, _ in answers).items())],
            sentences=[[one for one in claim.measured if isinstance(one, str)] for claim in claims],
            data=Markup(compact(content(folders, paper, printed, place)).replace("<", "\\u003c")),
            script=Markup(script),
            style=Markup(style),
            hashes={"script": _digest(script), "style": _digest(style)},
        )
    )


def _file(name: str) -> str:
    return (FILES / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """As a Content-Security-Policy names the one script or style that it allows."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
