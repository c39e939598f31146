"""Upload a run's adapter to the Hugging Face hub.

    python -m scripts.push runs/<exp>/<model>/<method>/<run>/best user/name [--private]

What the run wrote for the hub goes there in one commit: the adapter, its tokenizer or image processor, and the model
card, README.md, in which USER/NAME becomes the repository's name. A repository that is not there is made. Texts that
the model wrote (*.jsonl) stay here. The card states no licence: add it before, or on the hub.

Exit code 2 for a folder that is no adapter of a run, a base model that nobody else has, or where the hub refuses.
"""

import argparse
import json
import sys
from pathlib import Path

import huggingface_hub
from huggingface_hub import CommitOperationAdd, HfApi

from experiments.card import ADAPTER, CARD, HERE
from experiments.command import Command
from experiments.data.hub import asking
from experiments.errors import UserError

NEEDED = (ADAPTER, "adapter_model.safetensors", CARD)


def push(folder: Path, name: str, private: bool = False) -> str:
    """Upload the adapter in `folder` to the repository `name`; returns the address of the commit.

    Raises UserError for a folder that is no adapter of a run, a base model that is a folder of this machine, without a
    log-in, and where the hub refuses.
    """
    check(folder)
    if huggingface_hub.get_token() is None:
        raise UserError("not logged in to the hub: `hf auth login`, or HF_TOKEN=... with a token that may write")
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".jsonl")
    contents: dict[str, bytes | Path] = {path.relative_to(folder).as_posix(): path for path in files}
    contents[CARD] = (folder / CARD).read_text(encoding="utf-8").replace(HERE, name).encode()
    added = [CommitOperationAdd(path, content) for path, content in sorted(contents.items())]
    with asking(name, "log in with a token that may write there, check the name, or try again"):
        api = HfApi()
        api.create_repo(name, private=private, exist_ok=True)
        return api.create_commit(name, added, commit_message="Upload an adapter").commit_url


def check(folder: Path) -> None:
    """Raises UserError unless the folder holds the adapter of a run, over a base model that others can have."""
    if missing := [name for name in NEEDED if not (folder / name).is_file()]:
        remedy = "give the folder of a run's adapter, runs/<exp>/<model>/<method>/<run>/best"
        raise UserError(f"{folder}: lacks {', '.join(missing)}; {remedy}")
    try:
        base = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{folder / ADAPTER}: names no base model ({error!r}); write the adapter again") from error
    if not base or Path(base).is_absolute():
        remedy = f"publish that model, and put its name into {ADAPTER} and {CARD}"
        raise UserError(f"{folder}: nobody else has its base model, {base or 'which has no name'}; {remedy}")


def work(options: argparse.Namespace) -> None:
    """Upload and tell where. Raises UserError."""
    print(f"uploaded: {push(options.folder, options.name, options.private)}")


main = Command("push", __doc__, work)
main.add_argument("folder", type=Path, help="of the adapter: best or last in the folder of a run")
main.add_argument("name", help="of the repository, user/name")
main.add_argument("--private", action="store_true", help="make the repository private, if it is made")

if __name__ == "__main__":
    sys.exit(main())
