"""Make a folder for `make gpu` on a machine with torch and a GPU, but no network.

    python -m scripts.gpu_pack [--there FILE] [--python 3.12] [--assets FOLDER] [--out build/gpu-pack]

OUT/project is the committed project, with its commit in a file; OUT/wheels the packages that `make gpu` needs, in the
versions of constraints.txt, for Linux on x86-64. Copy OUT there; `bash gpu-pack/run.sh` does the rest, and leaves its
results in gpu-pack/project/results. --there is a file with the output of `python3 -m pip list --format=freeze` on that
machine: packages that are new enough there are left out. Without it only torch and torchvision are. --assets copies
MiniLM and STS-B from FOLDER, for `bash gpu-pack/run.sh run.py +exp=glue_stsb model=minilm_l6 tracking=off`. Needs git
and pip's package index. Exit code 2 if something is missing.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from experiments.command import Command
from experiments.errors import UserError
from experiments.record import ROOT, replace_file

# The requirements of the project that the stages import: not those for judging, tracking, or quantised bases.
ROOTS = ("accelerate", "datasets", "evaluate", "hydra-core", "matplotlib", "peft", "pillow", "pyarrow")
ROOTS += ("psutil", "pydantic", "pyyaml", "safetensors", "scikit-learn", "scipy", "transformers")
ROOTS += ("hypothesis", "pytest", "pytest-timeout")
THERE = {"torch": None, "torchvision": None}  # both must be the machine's own, since they depend on each other
SOURCE_ONLY = ("antlr4-python3-runtime",)  # without a wheel: it is built here
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(39, 16, -1)] + ["manylinux2014_x86_64"]
# For markers: CPython on Linux, x86-64.
MACHINE = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"}
MACHINE |= {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
ASSETS = ("models/minilm-l6", "datasets/glue/stsb")
# dill, which fingerprints data sets, recognises libraries by "site-packages" in their path.
RUN = """\
#!/usr/bin/env bash
# All that needs a GPU. Options: those of project/scripts/gpu.py; or run.py and its own.
set -eu
cd "$(dirname "$0")"
if [ ! -d site-packages ]; then
  rm -rf part
  python3 -m pip install --quiet --disable-pip-version-check --no-index --no-deps --target part wheels/*.whl
  mv part site-packages
fi
export PYTHONPATH="$PWD/site-packages" HF_HUB_OFFLINE=1
if [ -d assets ]; then export FOURIERFT_ASSETS="$PWD/assets"; fi
cd project
if [ "${1-}" = run.py ]; then exec python3 "$@"; fi
exec python3 -m scripts.gpu "$@"
"""


def pinned(constraints: str, python: str) -> dict[str, str]:
    """Name -> version, by the lines of constraints.txt for this version of Python."""
    lines = [line.partition("#")[0].strip() for line in constraints.splitlines()]
    requirements = [Requirement(line) for line in lines if line]
    return {
        canonicalize_name(one.name): next(iter(one.specifier)).version
        for one in requirements
        if _holds(one.marker, python)
    }


def installed(listing: str) -> dict[str, str]:
    """Name -> version, by pip's list."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)$", listing, re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def needed(
    roots: Iterable[Requirement], there: Mapping[str, str | None], pins: Mapping[str, str], python: str
) -> list[str]:
    """name==version of the roots and their dependencies, without those already there in a suitable version (None: any).

    Raises UserError if torch or torchvision is not suitable, or for a package that has no pin or is not installed here,
    where its dependencies are read.
    """
    wanted, left = {}, list(roots)
    while left:
        one = left.pop()
        name = canonicalize_name(one.name)
        has = there.get(name, "")
        if name in wanted or has is None or (has and one.specifier.contains(has, prereleases=True)):
            continue
        if name in THERE:
            raise UserError(f"--there: {name} is {has or 'missing'}, and {one} is needed: install it on that machine")
        if name not in pins:
            raise UserError(f"{name} has no version in constraints.txt for Python {python}: make that file again")
        wanted[name] = pins[name]
        left += _needs(name, one.extras, python)
    return sorted(f"{name}=={version}" for name, version in wanted.items())


def _needs(name: str, extras: Iterable[str], python: str) -> Iterator[Requirement]:
    try:
        requirements = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        raise UserError(f"{name} is not installed here, so its dependencies are unknown: make setup") from None
    for one in map(Requirement, requirements):
        if any(_holds(one.marker, python, extra) for extra in ("", *extras)):
            yield one


def _holds(marker: Marker | None, python: str, extra: str = "") -> bool:
    versions = {"python_version": python, "python_full_version": f"{python}.0"}
    return marker is None or marker.evaluate({**MACHINE, **versions, "extra": extra})


def own_roots() -> list[Requirement]:
    """The requirements of the project that the stages import."""
    required = map(Requirement, metadata.requires("fourierft") or [])
    return [Requirement(f"{one.name}{one.specifier}") for one in required if one.name in (*THERE, *ROOTS)]


def run(*command: str) -> str:
    """The output of a command. Raises UserError with its last line if it fails."""
    try:
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError as error:
        raise UserError(f"{command[0]} is needed here, and is not on the path") from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]
        raise UserError(f"{' '.join(command[:4])} ...: {last}") from error


def fetch(packages: Sequence[str], python: str, wheels: Path) -> None:
    """Fetch their wheels for Linux on x86-64. Raises UserError."""
    pip = [sys.executable, "-m", "pip"]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-deps"]
    made = [package for package in packages if package.startswith(SOURCE_ONLY)]
    ready = [package for package in packages if package not in made]
    where = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    where += [word for platform in PLATFORMS for word in ("--platform", platform)]
    wheels.mkdir()
    if ready:
        run(*pip, "download", *quiet, *where, "--dest", str(wheels), *ready)
    if made:
        run(*pip, "wheel", *quiet, "--wheel-dir", str(wheels), *made)


def copy_project(project: Path) -> str:
    """Copy the files of the current commit, and write it to the file COMMIT, for a machine without git."""
    sha = run("git", "rev-parse", "HEAD").strip()
    project.mkdir()
    archive = project.with_suffix(".tar")
    run("git", "archive", "--output", str(archive), sha)
    shutil.unpack_archive(archive, project, filter="data")
    archive.unlink()
    replace_file(project / "COMMIT", f"{sha} clean\n".encode())
    return sha


def pack(options: argparse.Namespace) -> None:
    """Make the folder, in place of an older one. Raises UserError."""
    if not re.fullmatch(r"3\.\d+", options.python):
        raise UserError(f"--python {options.python}: give a version such as 3.12")
    there, out = dict(THERE), options.out.absolute()
    if options.there:
        try:
            there = installed(options.there.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--there: {options.there} cannot be read ({error})") from error
    pins = pinned((ROOT / "constraints.txt").read_text(encoding="utf-8"), options.python)
    packages = needed(own_roots(), there, pins, options.python)
    missing = [name for name in ASSETS if options.assets and not (options.assets / name).is_dir()]
    if missing:
        raise UserError(f"--assets: {options.assets} has no {' and no '.join(missing)}")
    if out.exists() and not (out / "run.sh").exists():
        raise UserError(f"--out: {out} exists and is no such pack; name another folder or remove it")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    replace_file(out / "run.sh", RUN.encode())
    sha = copy_project(out / "project")
    fetch(packages, options.python, out / "wheels")
    for name in ASSETS if options.assets else ():
        shutil.copytree(options.assets / name, out / "assets" / name)
    if changed := run("git", "status", "--porcelain").splitlines():
        print(f"changes that are not committed stay behind: {len(changed)} files")
    print(f"commit {sha}")
    print(f"for Python {options.python} on Linux, x86-64, without: {', '.join(sorted(there))}")
    print("wheels: " + ", ".join(packages))
    parts = ", ".join(f"{path.name} {_mib(path)} MiB" for path in sorted(out.iterdir()) if path.is_dir())
    print(f"{options.out}: {_mib(out)} MiB ({parts})\nThere: bash {out.name}/run.sh")


def _mib(path: Path) -> int:
    return round(sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 2**20)


main = Command("gpu_pack", __doc__, pack)
here = f"{sys.version_info.major}.{sys.version_info.minor}"
main.add_argument("--there", type=Path, metavar="FILE", help="what pip lists there")
main.add_argument("--python", default=here, metavar="X.Y", help="the version there (default: %(default)s)")
main.add_argument("--assets", type=Path, metavar="FOLDER", help="of models/ and datasets/, to copy two from")
main.add_argument("--out", type=Path, default=Path("build/gpu-pack"), metavar="FOLDER")

if __name__ == "__main__":
    sys.exit(main())
