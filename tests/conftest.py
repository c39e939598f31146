"""What the tests share: configurations that write below a temporary folder, and the real assets if there are any."""

import gc
import io
import os
import threading
import time
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # two workers on two cores: one thread each

import torch

os.environ["HF_HUB_OFFLINE"] = "1"  # no test may depend on a network
os.environ["WANDB_MODE"] = "offline"
# Without a GPU the kernels run in Triton's interpreter. Triton reads this when it is imported: it has to come first.
os.environ["TRITON_INTERPRET"] = "0" if torch.cuda.is_available() else "1"

import pytest
from huggingface_hub import constants
from hydra import initialize_config_dir
from PIL import Image

from experiments.config import Config, load
from experiments.data import hub
from experiments.measure import mistakes, rank
from experiments.measure.sizes import Sizes
from experiments.models import generation
from experiments.record import find, replace_file
from tests.hub import StandIn

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def hydra_configs():
    """Hydra, initialised on the project's configs/."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        yield


def pytest_collection_finish():
    """What the imports of all tests made stays: a run collects garbage, and would look through it each time."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish():
    gc.unfreeze()


@pytest.fixture
def blank_pictures(monkeypatch):
    """Runs leave blank pictures, at once: test_rank and test_mistakes draw them."""
    blank = io.BytesIO()
    Image.new("L", (8, 8)).save(blank, "png")
    for module in (rank, mistakes):
        monkeypatch.setattr(module, "save", lambda figure, path: replace_file(path, blank.getvalue()))


@pytest.fixture
def make(tmp_path, blank_pictures):
    """make("+exp=glue_rte", ...) -> the typed configuration of a quick run that leaves its files in tmp_path."""

    def make(*overrides: str) -> Config:
        quick = [
            "model=roberta_mini",
            "tracking=off",
            "train.device=cpu",
            f"record.dir={tmp_path}/records",
            f"runs={tmp_path}/runs",
        ]
        chosen = {o.split("=")[0] for o in overrides}
        return load(*(o for o in quick if o.split("=")[0] not in chosen), *overrides)

    return make


@pytest.fixture
def stop_writing(monkeypatch):
    """stop_writing(3) -> the batches of texts that are written from now on, a list: at the third one is interrupted."""

    def stop_writing(at: int) -> list:
        real, calls = generation._write, []

        def stopped(*arguments):
            calls.append(arguments)
            if len(calls) == at:
                raise KeyboardInterrupt
            return real(*arguments)

        monkeypatch.setattr(generation, "_write", stopped)
        return calls

    return stop_writing


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """A hub without repositories; the cache is empty too."""
    stand_in = StandIn()
    with stand_in.server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between attempts
        hub.answers.cache_clear()
        yield stand_in
        server.shutdown()
    hub.answers.cache_clear()


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of real data and models; skips where FOURIERFT_ASSETS names none."""
    root = os.environ.get("FOURIERFT_ASSETS")
    if not root or not Path(root).is_dir():
        pytest.skip("needs FOURIERFT_ASSETS, a folder of real data and models")
    return Path(root)


@pytest.fixture(scope="session")
def recorded() -> dict[str, Sizes]:
    """Model -> what `make parameters` recorded of it, as committed in results/parameters."""
    return {sizes.model: sizes for sizes in find(ROOT / "results" / "parameters", Sizes)}
