"""The Hugging Face hub and its cache on this machine: what they have of a model, and of the splits of data."""

import functools
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import HFValidationError, HTTPError, LocalEntryNotFoundError, RevisionNotFoundError

from experiments.errors import UserError

PATIENCE = 5.0  # seconds in which the hub must answer before a run goes on without it
CONVERTED = "refs/convert/parquet"  # the branch where the hub keeps, as parquet, what a repository has in another form


def snapshots(repo: str, repo_type: str, patterns: Sequence[str], ask: bool, *branches: str) -> Iterator[Path]:
    """A folder of such files of a repository, from its main branch, then from those `branches` that it has: what the
    cache holds, then, with `ask` and where the hub answers, what the hub holds.

    Raises UserError where the hub answers with an error.
    """
    for cached in (True, False):
        if not cached and not (ask and answers()):
            return
        for branch in (None, *branches):
            folder = None
            with asking(repo), suppress(LocalEntryNotFoundError if cached else RevisionNotFoundError):
                folder = huggingface_hub.snapshot_download(
                    repo, repo_type=repo_type, revision=branch, allow_patterns=patterns, local_files_only=cached
                )
            if folder:
                yield Path(folder)


def splits(repo: str, wanted: dict[str, str], ask: bool) -> dict[str, list[Path]] | None:
    """The files of each split, whole and all from one commit; None where they are not cached and the hub is not asked.

    `wanted` maps a split to its file in the repository, or to "". Then it is <split>-<i>-of-<n>.parquet in any folder,
    or what the hub converted. Raises UserError where the hub has a split in neither form, or in part.
    """
    patterns = [f"*{split}-*-of-*.parquet" for split, file in wanted.items() if not file]
    patterns += [file or f"*/{split}/*.parquet" for split, file in wanted.items()]
    found: dict[str, list[Path]] = {}
    for folder in snapshots(repo, "dataset", patterns, ask, CONVERTED):
        found = {split: _whole(folder, split, file) for split, file in wanted.items()}
        if all(found.values()):
            return found
    if not (ask and answers()):
        return None
    lacking = ", ".join(file or f"whole split {split}" for split, file in wanted.items() if not found.get(split))
    raise UserError(
        f"{repo} on the hub has no {lacking}, nor has its branch {CONVERTED}; put the files under assets.root"
    )


def _whole(folder: Path, split: str, file: str) -> list[Path]:
    """All files of a split in a snapshot, in order; none where one is missing, or one is there twice."""
    if file:
        return [folder / file] if (folder / file).is_file() else []
    for pattern, name in ((f"**/{split}-*.parquet", split + "-{:05}-of-{:05}"), (f"*/{split}/*.parquet", "{:04}")):
        parts = sorted(folder.glob(pattern))
        if parts and all(path.stem.startswith(name.format(i, len(parts))) for i, path in enumerate(parts)):
            return parts
    return []


def revision(path: Path) -> str:
    """The commit of a file in the cache."""
    return path.parts[path.parts.index("snapshots") + 1]


@contextmanager
def asking(repo: str) -> Iterator[None]:
    """Turns the hub's errors, and those on the way to it, into a UserError."""
    try:
        yield
    except (HTTPError, OSError, HFValidationError) as error:
        remedy = "log in, ask for access, try again, or put the files under assets.root"
        raise UserError(f"{repo} on the hub: {error}; {remedy}") from error


@functools.cache
def answers() -> bool:
    """Whether the hub answers within PATIENCE seconds, be it with an error; decided once in a process."""
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return False
    answered: list[bool] = []

    def ask() -> None:
        try:
            urllib.request.urlopen(huggingface_hub.constants.ENDPOINT, timeout=PATIENCE).close()
        except urllib.error.HTTPError:
            pass  # what is wrong, the first request for a file tells
        except OSError:
            return
        answered.append(True)

    # A thread, because name resolution can outlast every time-out that a client lets us set.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return bool(answered)
