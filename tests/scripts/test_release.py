"""What a package index gets: the library alone, one version, and a README whose links lead to the repository."""

import re
import subprocess
import sys
import zipfile

import yaml

import fourierft
from scripts.release import absolute, main
from tests.conftest import ROOT

URL = "https://example.org/owner/name"


def test_the_wheel_holds_the_library_alone(tmp_path):
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", f"file://{ROOT}", source], check=True)
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", tmp_path]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, source], check=True)
    wheel = zipfile.ZipFile(tmp_path / f"fourierft-{fourierft.__version__}-py3-none-any.whl")
    library = {name for name in wheel.namelist() if ".dist-info/" not in name}
    there = (ROOT / "fourierft").iterdir()
    assert library == {f"fourierft/{path.name}" for path in there if path.suffix in (".py", ".c") or path.stem == "py"}


def test_one_version_stands_everywhere():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == fourierft.__version__
    assert f"\n## {fourierft.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_links_and_pictures_lead_to_the_repository_at_the_version_s_tag():
    text = absolute("[a](docs/a.md#b) ![c](c.png) [![d](d.png)](e.md) [f](https://f.org) [g](#g)", URL)
    tag = f"v{fourierft.__version__}"
    assert f"[a]({URL}/blob/{tag}/docs/a.md#b) ![c]({URL}/raw/{tag}/c.png)" in text
    assert f"[![d]({URL}/raw/{tag}/d.png)]({URL}/blob/{tag}/e.md)" in text
    assert "[f](https://f.org) [g](#g)" in text
    readme = absolute((ROOT / "README.md").read_text(), URL)
    assert not [link for link in re.findall(r"\]\(([^)\s]+)\)", readme) if not re.match(r"https?:|#", link)]


def test_an_address_that_is_none_is_refused(capsys):
    assert main(["github.com/owner/name"]) == 2
    assert "https://github.com/OWNER/NAME" in capsys.readouterr().err
