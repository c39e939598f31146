"""The hub's route, against a stand-in: models and data in every form that its repositories have, errors, the cache."""

import io
import shutil
import socket
import time
from pathlib import Path

import datasets
import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM

from experiments.data import hub
from experiments.data.assets import EMBEDDED, find_model, read_split
from experiments.errors import UserError
from experiments.models.pretrained import CONVERSION
from tests.hub import StandIn, commit

MODEL = "FacebookAI/roberta-base"
CONVERTED = "refs/convert/parquet"


@pytest.fixture
def offline(monkeypatch):
    """offline() takes the hub away; the cache is left."""

    def offline():
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        hub.answers.cache_clear()

    return offline


@pytest.fixture
def model(make):
    """model() looks for the paper's RoBERTa-base."""
    config = make("+exp=glue_rte", "model=roberta_base", "assets.root=null")
    return lambda: find_model(config.model, config.assets)


@pytest.fixture
def data(make):
    """data("vit_dtd", ...)() looks for the data of an experiment."""

    def data(exp, *more):
        config = make(f"+exp={exp}", "assets.root=null", *more)
        return lambda: config.task.find(config.assets, mini=False)

    return data


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def parquet(rows: dict) -> bytes:
    table = io.BytesIO()
    datasets.Dataset.from_dict(rows).to_parquet(table)
    return table.getvalue()


def test_a_model_is_fetched_once_and_is_the_same_from_the_cache(stand_in, offline, model):
    files = contents(EMBEDDED / "roberta")
    stand_in.repositories["models", MODEL] = {"main": {**files, "pytorch_model.bin": b"x", "README.md": b"x"}}
    found = model()
    assert (found.source, found.id, found.revision) == (
        "hub",
        MODEL,
        commit(stand_in.repositories["models", MODEL]["main"]),
    )
    assert {name: path.read_bytes() for name, path in found.files.items()} == files
    stand_in.asked.clear()
    assert model() == found and not stand_in.asked
    offline()
    assert model() == found and model().identity() == found.identity()


def test_weights_in_several_files_are_fetched_whole(stand_in, offline, model, tmp_path):
    AutoModelForMaskedLM.from_pretrained(EMBEDDED / "roberta").save_pretrained(tmp_path / "a", max_shard_size="400KB")
    stand_in.repositories["models", MODEL] = {"main": contents(tmp_path / "a")}
    shards = sorted(path.name for path in (tmp_path / "a").glob("model-*"))
    found = model()
    assert len(shards) > 1 and sorted(found.files) == ["config.json", *shards, "model.safetensors.index.json"]
    (tmp_path / "cache" / "models--FacebookAI--roberta-base" / "snapshots" / found.revision / shards[-1]).unlink()
    offline()
    assert model() is None, "a part of a model is none"


def test_pickles_are_named_on_the_hub_in_the_cache_and_in_a_folder(
    stand_in, offline, model, make, tmp_path, monkeypatch
):
    """And what the error says to do makes the same weights of them."""
    folder = tmp_path / "root" / "models" / "roberta-base"
    shutil.copytree(EMBEDDED / "roberta", folder)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    config = make("+exp=glue_rte", "model=roberta_base", f"assets.root={tmp_path}/root")
    stand_in.repositories["models", MODEL] = {"main": contents(folder)}
    with pytest.raises(
        UserError, match=r"on the hub has no model\.safetensors, but pytorch_model\.bin: pickles"
    ) as on_hub:
        model()
    assert CONVERSION in str(on_hub.value) and "<assets.root>/models/roberta-base" in str(on_hub.value)
    huggingface_hub.hf_hub_download(MODEL, "pytorch_model.bin")
    offline()
    with pytest.raises(UserError, match=r"has no model\.safetensors, but pytorch_model\.bin: pickles"):
        model()
    with pytest.raises(UserError, match=r"roberta-base: lacks model\.safetensors, but pytorch_model\.bin: pickles"):
        find_model(config.model, config.assets)
    monkeypatch.chdir(folder)
    exec(CONVERSION.partition('"')[2].rpartition('"')[0])
    converted = load_file(find_model(config.model, config.assets).files["model.safetensors"])
    assert converted.keys() == weights.keys() and all(torch.equal(converted[name], weights[name]) for name in weights)


def test_what_the_hub_refuses_or_fails_to_send_is_told(stand_in, model):
    """Never the miniature without a word; and what did arrive is not lost."""
    with pytest.raises(
        UserError, match=r"(?s)roberta-base on the hub: .*Repository Not Found.*; log in, ask for access"
    ):
        model()
    stand_in.repositories["models", MODEL] = {"main": contents(EMBEDDED / "roberta")}
    for broken in (r"^GET /$|/api/", "/tree/", "HEAD .*safetensors", "GET .*safetensors"):
        stand_in.broken = broken
        hub.answers.cache_clear()
        with pytest.raises(UserError, match=r"(?s)roberta-base on the hub: .*; log in, .*try again, or put the files"):
            model()
    stand_in.broken = None
    stand_in.gated.add(MODEL)
    with pytest.raises(UserError, match=r"(?s)roberta-base on the hub: .*gated repo.*; log in, ask for access"):
        model()
    stand_in.gated.clear()
    stand_in.cut.add("model.safetensors")
    with pytest.raises(UserError, match=r"(?s)roberta-base on the hub: .*try again, or put the files"):
        model()
    stand_in.cut.clear()
    assert model().files["model.safetensors"].read_bytes() == (EMBEDDED / "roberta" / "model.safetensors").read_bytes()


def test_no_name_of_a_repository_is_told(stand_in, make):
    config = make("+exp=glue_rte", "model=roberta_base", "model.hub=a/b/c", "assets.root=null")
    with pytest.raises(UserError, match=r"a/b/c on the hub: Repo id must be"):
        find_model(config.model, config.assets)


def one(split: str, folder: str = "data/", ending: str = "") -> str:
    return f"{folder}{split}-00000-of-00001{ending}.parquet"


def several(split: str, count: int) -> list[str]:
    return [f"data/{split}-{i:05}-of-{count:05}-{i}a7c.parquet" for i in range(count)]


# As the pages of these repositories show them, or showed them once: configs/task/ says which.
REPOSITORIES = {
    "e2e_gpt2_medium": {
        "tuetschek/e2e_nlg": {
            "main": ["README.md", "e2e_nlg.py"],
            CONVERTED: [f"default/{split}/0000.parquet" for split in ("train", "validation", "test")],
        }
    },
    "vit_dtd": {
        "cansa/Describable-Textures-Dataset-DTD": {
            "main": ["images/banded/banded_0002.jpg", "images/woven/woven_0001.jpg"],
            CONVERTED: ["default/train/0000.parquet", "default/train/0001.parquet"],
        }
    },
    "glue_rte": {"nyu-mll/glue": {"main": [one(s, f"{n}/") for n in ("rte", "cola") for s in ("train", "validation")]}},
    "metamath": {
        "meta-math/MetaMathQA": {"main": ["MetaMathQA-395K.json"]},
        "openai/gsm8k": {"main": [one(s, f"{name}/") for name in ("main", "socratic") for s in ("train", "test")]},
    },
    "instruct": {"tatsu-lab/alpaca": {"main": [one("train", ending="-a09b74b3ef9c3b56")]}},
    "vit_cifar": {"uoft-cs/cifar10": {"main": [one(split, "plain_text/") for split in ("train", "test")]}},
    "vit_cifar100": {"uoft-cs/cifar100": {"main": [one(split, "cifar100/") for split in ("train", "test")]}},
    "vit_pets": {"timm/oxford-iiit-pet": {"main": [one(split) for split in ("train", "test")]}},
    "vit_eurosat": {"timm/eurosat-rgb": {"main": [one(split) for split in ("train", "validation", "test")]}},
    "vit_resisc45": {"timm/resisc45": {"main": [one(split) for split in ("train", "validation", "test")]}},
    "vit_cars": {
        "Multimodal-Fatima/StanfordCars_train": {"main": several("train", 3)},
        "Multimodal-Fatima/StanfordCars_test": {"main": several("test", 3)},
    },
    "vit_fgvc": {
        "Multimodal-Fatima/FGVC_Aircraft_train": {"main": several("train", 2)},
        "Multimodal-Fatima/FGVC_Aircraft_test": {"main": several("test", 2)},
    },
}  # fmt: skip


def publish(stand_in: StandIn, repositories: dict[str, dict[str, list[str]]]) -> None:
    for repo, branches in repositories.items():
        named = {branch: {path: f"{repo} {path}".encode() for path in paths} for branch, paths in branches.items()}
        stand_in.repositories["datasets", repo] = named


@pytest.mark.parametrize("exp", sorted(REPOSITORIES))
def test_every_data_set_that_is_named_is_found_and_is_the_same_from_the_cache(stand_in, offline, data, exp):
    publish(stand_in, REPOSITORIES[exp])
    find = data(exp, *(["task.benches=[]"] if exp == "instruct" else []))
    found = find()
    used = [branches[list(branches)[-1]] for branches in REPOSITORIES[exp].values()]
    wanted = {path for paths in used for path in paths if "cola" not in path and "socratic" not in path}
    assert {path.read_bytes().decode().split()[1] for path in found.files.values()} == wanted
    assert found.source == "hub"
    offline()
    assert find() == found and find().identity() == found.identity()


def test_own_data_are_found_by_their_name_on_the_hub(stand_in, offline, make, monkeypatch, tmp_path):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    lines = "".join(f"a text of {i},{'good' if i % 2 else 'bad'}\n" for i in range(40))
    files = {"README.md": b"# Reviews", "data/train.csv": f"text,label\n{lines}".encode(), "code.py": b""}
    stand_in.repositories["datasets", "someone/reviews"] = {"main": files}
    config = make("+exp=own_text", "scale=auto", "task.data=someone/reviews", "assets.root=null")
    find = lambda: config.task.find(config.assets, mini=False)  # noqa: E731
    found = find()
    assert (found.name, found.source, found.id, found.revision) == ("reviews", "hub", "someone/reviews", commit(files))
    assert list(found.files) == ["data/train.csv"]
    assert {split: len(rows) for split, rows in config.task.load(found).items()} == {"train": 36, "validation": 4}
    telling = {"main": {"dataset_infos.json": b"{}"}, CONVERTED: {"default/train/0000.csv": files["data/train.csv"]}}
    stand_in.repositories["datasets", "someone/converted"] = telling
    converted = make("+exp=own_text", "scale=auto", "task.data=someone/converted", "assets.root=null")
    assert list(converted.task.find(converted.assets, mini=False).files) == ["default/train/0000.csv"]
    offline()
    assert find() == found
    with pytest.raises(UserError, match=r"nobody/reviews: no such file or folder, nor a data set on the hub"):
        other = make("+exp=own_text", "scale=auto", "task.data=nobody/reviews", "assets.root=null")
        other.task.find(other.assets, mini=False)


@pytest.mark.parametrize(
    ("branches", "words"),
    [
        ({"main": ["README.md"]}, "whole split train, whole split test, of.json"),
        ({"main": ["of.json", one("train")]}, "whole split test"),
        ({"main": [one("train"), one("test")]}, "of.json"),
        ({"main": several("train", 2)[:1]}, "whole split train"),
        ({"main": [*several("train", 2), "data/train-00000-of-00002-ffff.parquet"]}, "whole split train"),
        ({"main": [one("pretrain"), one("train", "a/"), one("train", "b/")]}, "whole split train"),
        ({"main": [], CONVERTED: ["default/partial-train/0000.parquet"]}, "whole split train"),
        ({"main": [], CONVERTED: ["a/train/0000.parquet", "b/train/0000.parquet"]}, "whole split train"),
        ({"main": [], CONVERTED: ["default/train/0001.parquet"]}, "whole split train"),
    ],
)
def test_a_part_of_a_set_and_what_is_there_twice_are_refused(stand_in, branches, words):
    publish(stand_in, {"some/set": branches})
    with pytest.raises(UserError, match=f"some/set on the hub has no {words}.* put the files under assets.root"):
        hub.splits("some/set", {"train": "", "test": "", "of": "of.json"}, ask=True)


def test_an_interrupted_download_is_not_the_set(stand_in, offline, data, tmp_path):
    publish(stand_in, REPOSITORIES["vit_dtd"])
    stand_in.cut.add("default/train/0001.parquet")
    find = data("vit_dtd")
    with pytest.raises(UserError, match="DTD on the hub: "):
        find()
    assert [path.name for path in (tmp_path / "cache").rglob("*.parquet")] == ["0000.parquet"]
    offline()
    assert find() is None


def test_rows_of_a_text_set_in_several_files_are_all_read_in_order(stand_in, data):
    texts = [[f"name[{i}]", f"name[{i + 1}]"] for i in (0, 2, 4)]
    files = {
        f"data/{split}-{i:05}-of-00003.parquet": parquet({"meaning_representation": part, "human_reference": part})
        for split in ("train", "validation", "test")
        for i, part in enumerate(texts)
    }
    stand_in.repositories["datasets", "tuetschek/e2e_nlg"] = {"main": files}
    found = data("e2e_gpt2_medium")()
    assert read_split(found, "train", ["human_reference"])["human_reference"][:] == [f"name[{i}]" for i in range(6)]
    assert found.where("train") == "tuetschek/e2e_nlg, train"


def test_a_folder_of_images_is_read_as_the_hub_converted_it(stand_in, data, make):
    def part(colours):
        pictures = []
        for colour in colours:
            png = io.BytesIO()
            Image.new("RGB", (4, 4), (colour, 0, 0)).save(png, "PNG")
            pictures.append({"bytes": png.getvalue(), "path": None})
        rows = {"image": pictures, "label": [colour % 2 for colour in colours]}
        names = datasets.ClassLabel(names=["banded", "woven"])
        table = io.BytesIO()
        features = datasets.Features({"image": datasets.Image(), "label": names})
        datasets.Dataset.from_dict(rows, features=features).to_parquet(table)
        return table.getvalue()

    converted = {f"default/train/000{i}.parquet": part(range(10 * i, 10 * i + 10)) for i in range(2)}
    main = {"images/banded/banded_0002.jpg": b"x"}
    stand_in.repositories["datasets", "cansa/Describable-Textures-Dataset-DTD"] = {"main": main, CONVERTED: converted}
    found = data("vit_dtd")()
    assert found.revision == commit(converted)
    splits = make("+exp=vit_dtd", "task.classes=2").task.read(found)
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 14, "validation": 2, "test": 4}
    assert splits["test"].features["label"].names == ["banded", "woven"]


def test_the_hub_is_given_up_in_time(monkeypatch):
    """A name server that never answers must not hold up a run."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "PATIENCE", 0.3)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3) or [])
    hub.answers.cache_clear()
    started = time.monotonic()
    assert not hub.answers()
    assert time.monotonic() - started < 2
    hub.answers.cache_clear()
