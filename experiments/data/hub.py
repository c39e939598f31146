"""The Hugging Face hub and its cache: the files of a model, and those of the splits of data."""

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

PATIENCE = 5.0  # seconds that the hub has to answer, after which a run continues without it
REMEDY = "log in, ask for access, try again, or put the files under assets.root"
CONVERTED = "refs/convert/parquet"  # the branch in which the hub keeps a repository converted to parquet


def snapshots(repo: str, repo_type: str, patterns: Sequence[str], ask: bool, *branches: str) -> Iterator[Path]:
    """Folders with the files of a repository that match `patterns`: of its main branch, then of each of `branches` that
    it has; first from the cache, then, with `ask` and if the hub answers, from the hub.

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
    """The files of each split, complete and from one commit; None where they are not cached and the hub is not asked.

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
    """All files of a split in a snapshot, in order; none where one is missing or there are two of one."""
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
def asking(repo: str, remedy: str = REMEDY) -> Iterator[None]:
    """A context in which errors of the hub and of the network become a UserError."""
    try:
        yield
    except (HTTPError, OSError, HFValidationError) as error:
        raise UserError(f"{repo} on the hub: {error}; {remedy}") from error


@functools.cache
def answers() -> bool:
    """Whether the hub answers within PATIENCE seconds, even with an error; decided once per process."""
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return False
    answered: list[bool] = []

    def ask() -> None:
        try:
            urllib.request.urlopen(huggingface_hub.constants.ENDPOINT, timeout=PATIENCE).close()
        except urllib.error.HTTPError:
            pass  # the first request for a file reports what is wrong
        except OSError:
            return
        answered.append(True)

    # A thread, because name resolution can take longer than any time-out that a client can set.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return bool(answered)
