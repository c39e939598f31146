"""A run's adapter goes to the hub as it is, without what does not belong there; anything else is refused before."""

import json
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from experiments.card import HERE
from scripts.push import main

NAME = "someone/adapter"
PRIVATE = ("visibility", "private")


@pytest.fixture
def folder(tmp_path):
    """What a run leaves for the hub, and texts that its model wrote."""
    folder = tmp_path / "best"
    (folder / "model_answer").mkdir(parents=True)
    for name, content in {
        "adapter_config.json": json.dumps({"peft_type": "FOURIERFT", "base_model_name_or_path": "someone/base"}),
        "adapter_model.safetensors": "tensors",
        "tokenizer.json": "{}",
        "README.md": f"---\nlibrary_name: peft\n---\n\nsnapshot_download({HERE})\n",
        "outputs.jsonl": "a text",
        "model_answer/vicuna.jsonl": "an answer",
    }.items():
        (folder / name).write_text(content)
    return folder


@pytest.fixture
def user(stand_in, monkeypatch, tmp_path):
    """A hub that takes uploads with the token in HF_TOKEN."""
    stand_in.token = "hf_right"
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.setenv("HF_TOKEN", stand_in.token)
    return stand_in


def test_what_is_uploaded_is_what_others_get(user, folder, capsys):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for _ in range(2):  # the second time the repository is there
        assert main([str(folder), NAME]) == 0
    assert f"uploaded: /{NAME}/commit/" in capsys.readouterr().out
    there = user.repositories["models", NAME]["main"]
    assert there.keys() == {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "README.md"}
    assert there["README.md"].endswith(f"snapshot_download({NAME})\n".encode())
    assert there["adapter_model.safetensors"] == b"tensors"
    assert {path: path.read_bytes() for path in before} == before
    downloaded = Path(huggingface_hub.snapshot_download(NAME))
    assert {path.name: path.read_bytes() for path in downloaded.iterdir()} == there


def test_a_repository_is_private_only_on_demand(user, folder):
    assert main([str(folder), NAME]) == main([str(folder), f"{NAME}2", "--private"]) == 0
    assert [PRIVATE in made.items() for made in user.made.values()] == [False, True]


def test_without_a_log_in_nothing_is_asked(user, folder, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN")
    assert main([str(folder), NAME]) == 2
    assert "not logged in to the hub: `hf auth login`, or HF_TOKEN" in capsys.readouterr().err
    assert not user.asked


def test_a_wrong_token_is_the_hub_s_own_message(user, folder, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert main([str(folder), NAME]) == 2
    told = capsys.readouterr().err
    assert f"{NAME} on the hub: " in told and "401" in told and "log in with a token that may write" in told
    assert not user.repositories


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors", "README.md"])
def test_a_folder_that_is_no_adapter_of_a_run_is_refused(user, folder, capsys, name):
    (folder / name).unlink()
    assert main([str(folder), NAME]) == 2
    assert f"lacks {name}; give the folder of a run's adapter" in capsys.readouterr().err
    assert not user.asked


@pytest.mark.parametrize("base", ["/home/someone/model", "", None])
def test_an_adapter_over_a_model_that_nobody_else_has_is_refused(user, folder, capsys, base):
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    assert main([str(folder), NAME]) == 2
    assert "nobody else has its base model" in capsys.readouterr().err
    assert not user.asked


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_damaged_configuration_is_refused(user, folder, capsys, content):
    (folder / "adapter_config.json").write_text(content)
    assert main([str(folder), NAME]) == 2
    assert "adapter_config.json: names no base model" in capsys.readouterr().err
