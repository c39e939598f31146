"""Four adapters of the miniature LLaMA that write differently, and a server of them that runs in this process."""

import asyncio
import socket
import threading
from contextlib import contextmanager

import openai
import torch
from aiohttp.web_runner import GracefulExit
from transformers import AutoModelForCausalLM

import fourierft
from experiments.data.assets import EMBEDDED

LLAMA = EMBEDDED / "llama"
NAMES = ("anna", "ben", "carla", "dora")


def plain():
    """The model without an adapter, in float32."""
    return AutoModelForCausalLM.from_pretrained(LLAMA, dtype=torch.float32).eval()


def write_adapters(folder, names=NAMES):
    """An adapter of random coefficients by each name, and `folder`."""
    config = fourierft.FourierConfig(n=40, scale=40.0, targets=("q_proj", "v_proj"), entries="grid")
    model = fourierft.adapt(plain(), config)
    for k, name in enumerate(names):
        torch.manual_seed(k)
        for layer in fourierft.fourier_layers(model).values():
            layer.reset_spectrum("normal")
        fourierft.save(model, folder / name)
    return folder


def damage(folder):
    """Changes the last number of an adapter."""
    file = folder / "adapter_model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@contextmanager
def running(server):
    """The server's URL, up to /v1, while it answers in a thread of its own."""
    loop = asyncio.new_event_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        options = {"loop": loop, "handle_signals": False}
        thread = threading.Thread(target=server.serve, args=(listening,), kwargs=options, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            loop.call_soon_threadsafe(_exit)
            thread.join(20)
            assert not thread.is_alive()


def _exit():
    raise GracefulExit  # as at a signal


def client(url):
    """OpenAI's client, which asks once."""
    # Reading the machine's certificates would take longer than all else, and there is nothing to verify.
    return openai.OpenAI(
        base_url=f"{url}/v1", api_key="none", max_retries=0, http_client=openai.DefaultHttpxClient(verify=False)
    )
