"""Where models and data are looked for, and what a wrong folder or file gets."""

import json
import shutil

import datasets
import pytest

from experiments import cells
from experiments.data.assets import EMBEDDED, Assets, find_model
from experiments.errors import UserError
from experiments.pipeline import MissingAssets, find, run
from experiments.tasks import glue

FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


@pytest.fixture
def folder(tmp_path):
    """An assets folder with a model called roberta-base and a small RTE."""
    root = tmp_path / "assets"
    shutil.copytree(EMBEDDED / "roberta", root / "models" / "roberta-base")
    write(root, "train")
    write(root, "validation")
    return root


def write(root, split, rows=40, **columns):
    data = {
        "sentence1": [f"the cat {i} sleeps" for i in range(rows)],
        "sentence2": [f"a cat {i} sleeps" for i in range(rows)],
        "label": [i % 2 for i in range(rows)],
        "idx": list(range(rows)),
    }
    data = {key: value for key, value in {**data, **columns}.items() if value is not None}
    file = root / "datasets" / "glue" / "rte" / f"{split}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict(data).to_parquet(file)
    return file


@pytest.fixture
def local(make, folder):
    """A run of the paper's model from that folder."""
    return lambda *more: make(
        *("+exp=glue_rte", "model=roberta_base", f"assets.root={folder}", "train.max_steps=1", "recipe.max_length=32"),
        *("method.n=10", *more),
    )


def test_a_folder_is_used_and_part_of_the_data_is_not_the_paper_s_scale(local):
    done = run(local())
    assert (done.model.source, done.dataset.source) == ("local", "local")
    assert done.dataset.rows == {"train": 40, "validation": 40}
    assert done.scale == "small"
    with pytest.raises(UserError, match=r"scale=paper: roberta_base on glue_rte .* is of scale small"):
        run(local("scale=paper"))


def test_another_repository_never_gets_the_folder_of_the_paper_s_model(local, folder):
    config = local("model.hub=x/other", "assets.hub=false")
    with pytest.raises(MissingAssets, match=r"model x/other \(locally: models/other/\)"):
        find(config)
    shutil.copytree(EMBEDDED / "roberta", folder / "models" / "other")
    weights, _ = find(config)
    assert (weights.name, weights.id) == ("other", "other") and config.record_path.parts[-3:-1] == (
        "other",
        "fourierft",
    )


def test_a_run_says_why_it_has_no_cell_of_the_paper(make, folder, monkeypatch, capsys):
    def standing(*more):
        config = make("+exp=glue_rte", "model=roberta_base", f"assets.root={folder}", *more)
        found = cells.standing(config, *find(config))
        return *found, capsys.readouterr().out.partition(": ")[2].strip()

    monkeypatch.setattr(glue.GlueTask, "is_whole", lambda *_: True)
    assert standing()[:2] == ("small", None) and "config.json: hidden_size=128, not 768" in standing()[2]
    monkeypatch.setattr(cells, "other_shape", lambda *_: "")
    assert standing() == ("paper", "table2/roberta_base/fourierft/rte", "")
    assert standing("recipe.lr=0.1") == ("paper", None, "no cell of the paper (recipe.lr=0.1, not 0.09)")
    monkeypatch.setattr(glue.GlueTask, "is_whole", lambda *_: False)
    assert standing() == ("small", None, "no cell of the paper (glue/rte is not the whole of glue_rte)")


def test_missing_assets_name_what_and_how(make):
    with pytest.raises(MissingAssets) as caught:
        find(make("+exp=glue_rte", "model=roberta_large", "assets.root=null", "assets.hub=false"))
    for word in ("FacebookAI/roberta-large", "models/roberta-large/", "datasets/glue/rte/", "assets.root", "HF_HOME"):
        assert word in str(caught.value)


def test_an_empty_root_is_none(make):
    assert make("+exp=glue_rte", "assets.root=''").assets.root is None


def test_a_root_that_is_no_folder_is_refused_and_a_tilde_is_the_home_folder(make, folder, monkeypatch):
    """Wherever a person names a folder: a run that took another one for none would be the miniature's."""
    (folder / "file").touch()
    for wrong in ("nowhere", "file", "~/nowhere"):
        monkeypatch.setenv("FOURIERFT_ASSETS", f"{folder}/{wrong}" if wrong[0] != "~" else wrong)
        with pytest.raises(UserError, match=rf"assets\.root=.*{wrong}: there is no such folder; name one with models/"):
            make("+exp=glue_rte")
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("FOURIERFT_ASSETS", "~/assets")
    config = make("+exp=glue_rte", "model=roberta_base", "runs='~/runs'", "record.dir='~/records'")
    assert find(config)[0].source == "local" and config.assets.root == folder
    assert config.assets.made == config.runs / "models" == folder.parent / "runs" / "models"
    assert config.record.dir == folder.parent / "records"


def test_an_incomplete_model_folder_is_named(local, folder):
    (folder / "models" / "roberta-base" / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"roberta-base: lacks model\.safetensors"):
        run(local())


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def edit(**changes):
    return lambda file: file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        *[(name, cut, rf"{name}: cannot be used .*fetch it anew") for name in FILES],
        ("model.safetensors", lambda file: file.write_text("<html>"), r"model\.safetensors: cannot be used"),
        ("config.json", lambda file: file.write_text("[1]"), r"config\.json: .*no JSON object"),
        ("config.json", edit(model_type="nope"), r"config\.json: .*model type `nope`"),
        ("config.json", edit(hidden_size="x"), r"config\.json: .*hidden_size"),
        ("config.json", edit(hidden_act="nope"), r"roberta-base, config\.json and weights: cannot be used .*nope"),
        ("config.json", edit(hidden_size=64), r"are absent or of another size, such as roberta\.embeddings"),
        ("config.json", edit(num_hidden_layers=9), r"are absent or of another size, such as roberta\.encoder"),
        ("config.json", edit(model_type="bert"), r"are absent or of another size, such as bert\.embeddings"),
        ("tokenizer.json", lambda file: file.write_text("{}"), r"roberta-base, tokenizer: cannot be used"),
        ("tokenizer.json", edit(model={"type": "nope"}), r"roberta-base, tokenizer: cannot be used"),
        ("tokenizer.json", lambda file: file.unlink(), r"roberta-base, tokenizer: cannot be used"),
    ],
)  # fmt: skip
def test_a_damaged_model_is_named_before_anything_is_trained(local, folder, name, damage, words):
    """And weights that do not fit config.json, which transformers would draw at random without a word."""
    damage(folder / "models" / "roberta-base" / name)
    with pytest.raises(UserError, match=f"(?s){words}"):
        run(local())


def test_a_damaged_index_of_weights_is_named(make, folder):
    place, config = folder / "models" / "roberta-base", make("+exp=glue_rte", "model=roberta_base").model
    (place / "model.safetensors").unlink()
    for content in ("{", "[]", "{}", '{"weight_map": [1]}', '{"weight_map": {"a": 1}}', '{"weight_map": {"a": ["b"]}}'):
        (place / "model.safetensors.index.json").write_text(content)
        with pytest.raises(UserError, match=r"model\.safetensors\.index\.json: cannot be used"):
            find_model(config, Assets(root=folder, made=folder / "made", hub=False))


def test_a_file_cut_short_is_named(local, folder):
    file = folder / "datasets" / "glue" / "rte" / "train.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"train\.parquet: not a readable parquet file .*cut short"):
        run(local())


def test_a_missing_split_is_named(local, folder):
    (folder / "datasets" / "glue" / "rte" / "validation.parquet").unlink()
    with pytest.raises(UserError, match=r"missing .*validation\.parquet"):
        run(local())


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"sentence2": None}, r"validation\.parquet: lacks the column sentence2; it has sentence1, label, idx"),
        ({"label": [-1] * 40}, r"validation\.parquet, row 0: label is -1, want one of 0\.\.1; use a labelled"),
        ({"label": [0, 7] * 20}, r"validation\.parquet, row 1: label is 7, want one of 0\.\.1"),
    ],
)
def test_wrong_columns_and_labels_are_named(local, folder, columns, message):
    write(folder, "validation", **columns)
    with pytest.raises(UserError, match=message):
        run(local())


def test_more_tokens_than_the_model_reads_are_refused(local):
    with pytest.raises(UserError, match=r"recipe\.max_length=600: roberta_base reads at most \d+ tokens"):
        run(local("recipe.max_length=600"))


def test_identity_follows_the_files(folder, make):
    model = make("+exp=glue_rte", "model=roberta_base").model
    place = Assets(root=folder, made=folder / "made", hub=False)
    first = find_model(model, place).identity()
    assert first["source"] == "local" and first == find_model(model, place).identity()
    with open(folder / "models" / "roberta-base" / "config.json", "a") as file:
        file.write("\n")
    assert find_model(model, place).identity()["sha256"] != first["sha256"]


def test_a_model_made_here_is_found_after_the_folder_s(folder, make):
    model = make("+exp=glue_rte", "model=roberta_base").model
    own, made = Assets(root=folder, made=folder / "made", hub=False), Assets(root=None, made=folder / "made", hub=False)
    assert find_model(model, made) is None
    (folder / "made" / "roberta-base").mkdir(parents=True)
    assert find_model(model, made) is None, "its pre-training has not ended"
    (folder / "made" / "roberta-base").rmdir()
    shutil.copytree(EMBEDDED / "roberta", folder / "made" / "roberta-base")
    places = [find_model(model, place).files["config.json"].parents[1] for place in (made, own)]
    assert places == [folder / "made", folder / "models"]


def test_a_run_is_repeated_where_its_data_changed(local, folder, capsys):
    first = run(local())
    write(folder, "train", rows=48)
    second = run(local())
    assert "the model or the data changed" in capsys.readouterr().out
    assert (first.dataset.rows["train"], second.dataset.rows["train"]) == (40, 48)
    assert first.dataset.sha256 != second.dataset.sha256 and first.config_hash == second.config_hash
