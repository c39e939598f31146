"""What is read of a model's folder: whole files alone, and no weight drawn at random but a new head's."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForImageClassification, AutoModelForSequenceClassification

from experiments.data.assets import EMBEDDED
from experiments.errors import UserError
from experiments.models import pretrained

KINDS = {
    "roberta": (AutoModelForSequenceClassification, ["classifier"]),
    "vit": (AutoModelForImageClassification, ["classifier"]),
    "gpt2": (AutoModelForCausalLM, []),
    "llama": (AutoModelForCausalLM, []),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_weight_that_is_absent_or_of_another_size_is_named_unless_it_is_new(tmp_path, name):
    kind, new = KINDS[name]
    folder = tmp_path / name
    shutil.copytree(EMBEDDED / name, folder)
    weights = load_file(folder / "model.safetensors")
    pretrained.read_model(kind, folder, new, num_labels=7)
    own = [key for key in weights if any(part.isdigit() for part in key.split("."))]  # of the layers
    for key, tensor in ((own[0], None), (own[-1], None), (own[0], weights[own[0]][1:].clone())):
        kept = {**weights, key: tensor} if tensor is not None else {k: v for k, v in weights.items() if k != key}
        save_file(kept, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(
            UserError, match=rf"{name}: of the weights .*, 1 are absent or of another size, such as \S+\.\d+\."
        ):
            pretrained.read_model(kind, folder, new, num_labels=7)


def test_a_file_that_is_cut_anywhere_is_named(tmp_path):
    for file in sorted((EMBEDDED / "roberta").iterdir()):
        content = file.read_bytes().rstrip()
        for share in range(8):
            shutil.copytree(EMBEDDED / "roberta", tmp_path, dirs_exist_ok=True)
            (tmp_path / file.name).write_bytes(content[: share * len(content) // 8])
            with pytest.raises(UserError, match=rf"{file.name}: cannot be used .*fetch it anew"):
                pretrained.files(tmp_path)


def test_a_shard_that_is_missing_or_cut_is_named(tmp_path):
    weights = load_file(EMBEDDED / "roberta" / "model.safetensors")
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    halves = [dict(list(weights.items())[i::2]) for i in range(2)]
    (tmp_path / "config.json").write_bytes((EMBEDDED / "roberta" / "config.json").read_bytes())
    index = {"weight_map": {key: name for name, half in zip(names, halves, strict=True) for key in half}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    save_file(halves[0], tmp_path / names[0], {"format": "pt"})
    assert pretrained.files(tmp_path)[1] == [names[1]]
    save_file(halves[1], tmp_path / names[1], {"format": "pt"})
    assert pretrained.files(tmp_path)[1] == []
    with open(tmp_path / names[1], "r+b") as file:
        file.truncate(1000)
    with pytest.raises(UserError, match=rf"{names[1]}: cannot be used"):
        pretrained.files(tmp_path)
