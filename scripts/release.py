"""Build what a package index gets: the library's wheel and source in dist/, checked; nothing is uploaded.

    python -m scripts.release URL        # of the repository, as https://github.com/OWNER/NAME

Builds the last commit. An index shows the README without the repository around it, so that its links and pictures
become addresses below URL at the tag of the version, v0.1.0, which has to be pushed first.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import fourierft
from experiments.command import Command
from experiments.errors import UserError
from experiments.record import ROOT

LINK = re.compile(r"\]\((?![a-z]+:|#)([^)\s]+)\)")  # to a file of the repository


def absolute(text: str, url: str) -> str:
    """Markdown whose links to files of the repository are addresses below `url`, at the tag of the version."""

    def address(link: re.Match) -> str:
        kind = "raw" if link[1].endswith((".png", ".svg")) else "blob"
        return f"]({url}/{kind}/v{fourierft.__version__}/{link[1]})"

    return LINK.sub(address, text)


def release(options: argparse.Namespace) -> None:
    """Write OUT/*.whl and OUT/*.tar.gz. Raises UserError."""
    url = options.url.rstrip("/")
    if not re.fullmatch(r"https://[^/\s]+/\S+", url):
        raise UserError(f"{options.url!r} is no address of a repository; give it as https://github.com/OWNER/NAME")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        subprocess.run(["git", "clone", "--quiet", "--depth=1", f"file://{ROOT}", source], check=True)
        for name, change in (
            ("README.md", lambda text: absolute(text, url)),
            ("pyproject.toml", lambda text: text.replace("[project.urls]\n", f'[project.urls]\nSource = "{url}"\n')),
        ):
            path = source / name
            path.write_text(change(path.read_text("utf-8")), "utf-8")
        run("build", "--no-isolation", "--outdir", options.out.absolute(), source)
    run("twine", "check", "--strict", *sorted(options.out.glob(f"fourierft-{fourierft.__version__}*")))


def run(module: str, *words: object) -> None:
    """`python -m MODULE WORDS`. Raises UserError if it fails."""
    if subprocess.run([sys.executable, "-m", module, *map(str, words)]).returncode:
        raise UserError(f"{module} failed, as told above")


main = Command("release", __doc__, release)
main.add_argument("url", metavar="URL", help="of the repository")
main.add_argument("--out", type=Path, default=Path("dist"), help="default: %(default)s")

if __name__ == "__main__":
    sys.exit(main())
