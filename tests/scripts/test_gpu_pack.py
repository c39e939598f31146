"""make gpu-pack: what goes into the folder, what the machine brings itself, and what cannot be packed. No network."""

import json
import os
import subprocess
import sys
from importlib import metadata

import pytest
from packaging.requirements import Requirement

from scripts import gpu_pack
from scripts.gpu_pack import needed, pinned
from tests.conftest import ROOT

CONSTRAINTS = """\
# a comment
A==1.0
b-x==2.0 ; python_full_version < '3.12'
b-x==2.5 ; python_full_version >= '3.12'
windows==9 ; sys_platform == 'win32'
torch==3.0
extra==4.0
torchvision==3.0
"""
NEEDS = {
    "a": ["b_x>=2", "torch>=2.11", 'windows; sys_platform == "win32"', 'extra; extra == "more"'],
    "b-x": ["a"],
    "extra": [],
    "torchvision": ["torch==3.0"],
}


@pytest.fixture
def packages(monkeypatch):
    """What is installed here, and what it needs."""

    def requires(name):
        if name not in NEEDS:
            raise metadata.PackageNotFoundError(name)
        return NEEDS[name]

    monkeypatch.setattr(gpu_pack.metadata, "requires", requires)


def wanted(root, there=gpu_pack.THERE, python="3.12"):
    return needed([Requirement(root)], there, pinned(CONSTRAINTS, python), python)


def test_everything_that_a_package_needs_is_packed_in_the_version_of_that_python(packages):
    assert wanted("a") == ["a==1.0", "b-x==2.5"]
    assert wanted("a", python="3.11") == ["a==1.0", "b-x==2.0"]
    assert wanted("A[more]") == ["a==1.0", "b-x==2.5", "extra==4.0"]


def test_what_is_there_is_left_out_if_it_is_new_enough(packages):
    there = gpu_pack.installed("b.x==2.1rc1+local\ntorch==2.11.0+cu130\n-e /a/path\nother @ file:///x\n")
    assert there == {"b-x": "2.1rc1+local", "torch": "2.11.0+cu130"}
    assert wanted("a", there) == ["a==1.0"]
    assert wanted("a", there | {"b-x": "1.9"}) == ["a==1.0", "b-x==2.5"]


def test_torch_is_never_packed(packages):
    with pytest.raises(gpu_pack.UserError, match=r"torch is 2\.3, and torch>=2\.11 is needed"):
        wanted("a", {"torch": "2.3"})
    with pytest.raises(gpu_pack.UserError, match="torch is missing"):
        wanted("a", {"b-x": "2.0"})
    with pytest.raises(gpu_pack.UserError, match="torchvision is missing"):
        wanted("torchvision", {"torch": "2.11"})


def test_a_package_without_a_pin_or_that_is_not_here_is_named(packages):
    with pytest.raises(gpu_pack.UserError, match="unheard-of has no version"):
        wanted("unheard-of")
    pins = pinned(CONSTRAINTS + "unheard-of==1\n", "3.12")
    with pytest.raises(gpu_pack.UserError, match="unheard-of is not installed here"):
        needed([Requirement("unheard-of")], {}, pins, "3.12")


HIDE = """\
import json, sys
from importlib.machinery import PathFinder

hidden = set(json.loads(sys.argv[1]))


class Others:
    find_distributions = PathFinder.find_distributions

    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name.split(".")[0] in hidden else PathFinder.find_spec(name, path, target)


sys.meta_path = [Others if finder is PathFinder else finder for finder in sys.meta_path]
import scripts.gpu, scripts.micro, scripts.bench, scripts.study, experiments.pipeline, tests.conftest
"""


def test_the_stages_need_nothing_that_is_not_packed():
    """They are imported where every other package is hidden."""
    python = f"3.{sys.version_info.minor}"
    pins = pinned((ROOT / "constraints.txt").read_text(), python)
    packed = {one.split("==")[0] for one in needed(gpu_pack.own_roots(), gpu_pack.THERE, pins, python)}
    assert not packed & gpu_pack.THERE.keys() and "triton" not in packed
    brought, left = set(), list(gpu_pack.THERE)
    while left:  # torch, torchvision, and what they need
        name = gpu_pack.canonicalize_name(left.pop())
        if name not in brought:
            brought.add(name)
            left += [one.name for one in gpu_pack._needs(name, ["all"], python)] if name in pins else []
    modules = metadata.packages_distributions()
    kept = packed | brought | {"fourierft", "setuptools", "packaging"}
    hidden = [m for m, names in modules.items() if not {gpu_pack.canonicalize_name(name) for name in names} & kept]
    assert {"openai", "nltk", "bitsandbytes", "timm", "wandb"} <= {*hidden}
    command = [sys.executable, "-c", HIDE, json.dumps([name for name in hidden if not name.startswith("_")])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A small project at a commit, with a file that is not in it, in place of this one; no wheel is fetched."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "constraints.txt").write_text("a==1\n")
    (root / "kept.txt").write_text("as committed")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "A commit"]):
        author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *author, *words], cwd=root, check=True)
    (root / "kept.txt").write_text("changed")
    (root / "new.txt").write_text("")
    monkeypatch.setattr(gpu_pack, "ROOT", root)
    monkeypatch.setattr(gpu_pack, "own_roots", lambda: [])
    monkeypatch.setattr(gpu_pack, "fetch", lambda packages, python, wheels: wheels.mkdir())
    return root


def head(root):
    return subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True).stdout.strip()


def test_the_folder_is_the_commit_stamped_and_is_made_anew(project, tmp_path, capsys):
    out = tmp_path / "pack"
    for _ in range(2):
        assert gpu_pack.main(["--out", str(out)]) == 0
        assert {path.name for path in (out / "project").iterdir()} == {"constraints.txt", "kept.txt", "COMMIT"}
        assert (out / "project" / "kept.txt").read_text() == "as committed"
        assert (out / "project" / "COMMIT").read_text() == f"{head(project)} clean\n"
        (out / "project" / "left.txt").write_text("")
    printed = capsys.readouterr().out
    assert "not committed stay behind: 2 files" in printed and "There: bash pack/run.sh" in printed


def test_models_and_data_go_along_if_they_are_all_there(project, tmp_path, capsys):
    for name in gpu_pack.ASSETS:
        assert gpu_pack.main(["--out", str(tmp_path / "pack"), "--assets", str(tmp_path / "assets")]) == 2
        assert f"no {name}" in capsys.readouterr().err and not (tmp_path / "pack").exists()
        (tmp_path / "assets" / name).mkdir(parents=True)
        (tmp_path / "assets" / name / "file").write_text(name)
    assert gpu_pack.main(["--out", str(tmp_path / "pack"), "--assets", str(tmp_path / "assets")]) == 0
    assert all((tmp_path / "pack" / "assets" / name / "file").read_text() == name for name in gpu_pack.ASSETS)


def test_no_other_folder_is_removed_and_no_list_is_guessed(project, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    assert gpu_pack.main(["--out", str(tmp_path / "mine")]) == 2
    assert "no such pack" in capsys.readouterr().err and (tmp_path / "mine").exists()
    assert gpu_pack.main(["--out", str(tmp_path / "pack"), "--there", str(tmp_path / "none")]) == 2
    assert "--there" in capsys.readouterr().err


def test_there_it_installs_once_and_passes_its_options_on(tmp_path):
    """With a python3 that notes what it is asked for."""
    pack, notes = tmp_path / "a pack", tmp_path / "notes"
    (pack / "project").mkdir(parents=True)
    (pack / "wheels").mkdir()
    (pack / "wheels" / "a.whl").write_text("")
    (pack / "run.sh").write_text(gpu_pack.RUN)
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python3"
    python.write_text(f'#!/bin/sh\necho "$PWD|$PYTHONPATH|$*" >> "{notes}"\n[ "$2" != pip ] || mkdir -p part\n')
    python.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    for options in (["--small"], ["run.py", "seed=1"]):
        subprocess.run(["bash", pack / "run.sh", *options], env=environment, check=True)
    asked = [line.split("|") for line in notes.read_text().splitlines()]
    assert [words for _, _, words in asked][1:] == ["-m scripts.gpu --small", "run.py seed=1"]
    assert "--no-index" in asked[0][2] and asked[0][2].endswith("wheels/a.whl")
    assert {tuple(where) for *where, _ in asked[1:]} == {(f"{pack}/project", f"{pack}/site-packages")}
