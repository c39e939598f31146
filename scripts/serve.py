"""Try many adapters over one model: a server of OpenAI's protocol, in which `model` names the adapter.

    python -m scripts.serve --model meta-llama/Llama-3.2-1B --adapters adapters/

    curl localhost:8000/v1/completions -H 'Content-Type: application/json' \\
        -d '{"model": "anna", "prompt": "Once upon a time", "max_tokens": 40}'

This is a demonstration: a loop of this project's own over transformers' models, which writes waiting requests together
whatever their adapters, and nothing more. To serve users, write LoRA with fourierft.to_lora and take vLLM.

--adapters is a folder of the folders of adapters, whose names they have here, or one file that Bank.pack wrote. The
model's own name, that of its folder or on the hub, asks for no adapter. There are GET /v1/models and /health, POST
/v1/completions and /v1/chat/completions, streamed or not. A chat is worded by the tokenizer's template; where it has
none, as Alpaca's instructions are, which is how this project trains on instructions.

Ends with exit code 130 on Ctrl-C or SIGTERM, after requests that still run were refused; 2 for a wrong option or file.
"""

from __future__ import annotations

import argparse
import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from experiments import progress
from experiments.command import Command
from experiments.errors import UserError
from experiments.record import ROOT
from experiments.typed import user_path

if TYPE_CHECKING:
    from experiments.serving.server import Server

WORDING = ROOT / "configs" / "task" / "shared" / "instruct.yaml"
CHAT_FILES = ("generation_config.json", "chat_template.jinja")  # beside those that training takes from the hub
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises UserError where the address is taken or is none of this machine's."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise UserError(f"--host {host} --port {port}: {error}; give another") from None


def folder_of(model: str) -> Path:
    """The folder with a model's files: the one named, or that of the hub. Raises UserError where there is none."""
    from experiments.data import hub
    from experiments.models import pretrained

    folder = user_path(model)
    if not folder.is_dir():
        *_, folder = None, *hub.snapshots(model, "model", (*pretrained.PATTERNS, *CHAT_FILES), ask=True)
        if folder is None:
            raise UserError(f"--model {model}: no such folder, and the hub does not answer; name a folder")
    _, missing = pretrained.files(folder)
    if missing:
        has = pretrained.pickled(path.name for path in folder.iterdir())
        raise UserError(f"--model {model}: {folder} lacks {', '.join(missing)}{has}")
    return folder


def loaded(options: argparse.Namespace) -> Server:
    """The model with its adapters, ready to answer. Raises UserError and FourierError."""
    import torch  # here: --help, and what else can be told at once, do without it
    from transformers import GenerationConfig

    from experiments.data.instructions import Wording
    from experiments.models import causal, pretrained
    from experiments.serving.engine import Engine
    from experiments.serving.server import Server
    from experiments.yaml_files import read_yaml
    from fourierft import Bank

    progress.hide_bars()
    folder = folder_of(options.model)
    name = folder.resolve().name if user_path(options.model).is_dir() else options.model
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: no CUDA device is visible; give --device cpu")
    base = options.dtype or ("fp32" if device == "cpu" else "bf16")
    tokenizer = pretrained.read_tokenizer(folder)
    model = causal.language_model(folder, "sdpa", None, base, device).to(device).eval()
    if model._is_stateful:
        raise UserError(f"--model {name}: {type(model).__name__} keeps more than keys and values; choose a transformer")
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if positions is None:
        raise UserError(f"--model {name}: its config.json has no max_position_embeddings; choose another model")
    ends = [tokenizer.eos_token_id, model.config.eos_token_id]
    if (folder / "generation_config.json").is_file():
        with pretrained.reading(folder / "generation_config.json"):
            ends.append(GenerationConfig.from_pretrained(folder, local_files_only=True).eos_token_id)
    bar = partial(tqdm, desc="adapters", disable=not progress.is_shown())
    bank = Bank.over(model, options.adapters, options.capacity, progress=bar)
    if name in bank.names:
        raise UserError(f"--adapters {options.adapters}: {name} is the model's own name; rename that adapter")
    several = {end for each in ends for end in (each if isinstance(each, list) else [each])}
    engine = Engine(bank, tokenizer, several - {None}, options.batch, options.queue)
    return Server(name, engine, tokenizer, positions, Wording(**read_yaml(WORDING)["wording"]))


def serve(options: argparse.Namespace) -> None:
    """Answer until interrupted. Raises UserError and FourierError, and KeyboardInterrupt at the end."""
    for name in ("batch", "queue"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} {getattr(options, name)}: give 1 or more")
    with bound(options.host, options.port) as listening:
        server = loaded(options)
        if options.host not in LOOPBACK:
            print(f"serve: whoever reaches {options.host} can ask, there is no authentication", file=sys.stderr)
        host = f"[{options.host}]" if ":" in options.host else options.host
        url = f"http://{host}:{listening.getsockname()[1]}/v1"
        print(f"{server.name} and {len(server.engine.bank.names):,} adapters: {url}", flush=True)
        server.serve(listening)
    raise KeyboardInterrupt


main = Command("serve", __doc__, serve)
main.add_argument("--model", required=True, metavar="MODEL", help="its folder, or its name on the hub")
main.add_argument("--adapters", required=True, type=user_path, metavar="PLACE", help="a folder, or a packed file")
main.add_argument("--host", default="127.0.0.1", help="where to listen (default: %(default)s, this machine alone)")
main.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: %(default)s)")
main.add_argument(
    "--capacity",
    type=int,
    metavar="N",
    help="adapters on the device at most (default: all); with fewer than --batch, requests wait for places",
)
main.add_argument("--batch", type=int, default=32, metavar="N", help="answers written at once (default: %(default)s)")
main.add_argument("--queue", type=int, default=256, metavar="N", help="requests that wait, then 429 (%(default)s)")
main.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
main.add_argument("--dtype", choices=("fp32", "bf16", "4bit"), help="of the model (default: fp32; bf16 on cuda)")

if __name__ == "__main__":
    main.start()
