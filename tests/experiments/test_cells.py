"""A run has a cell of the paper where nothing but the seed and the execution differs from it, and says what does."""

import json
import shutil

import pytest

from experiments import cells
from experiments.config import load
from experiments.data.assets import EMBEDDED, Source
from experiments.errors import UserError
from experiments.recipes import CONFIGS
from tests.handmade import PRINTED

TASKS = {"table2_glue": "glue_rte", "table3_e2e": "e2e", "table4_instruct": "instruct", "table5_vit": "vit_cars"}
ROWS = [(TASKS[key], row) for key in TASKS for row in PRINTED[key] if row.method in ("fourierft", "adapter_drop")]


def configured(*overrides):
    return load(*overrides)


@pytest.mark.parametrize(("task", "row"), ROWS, ids=lambda part: getattr(part, "title", part))
def test_the_suite_s_own_configuration_of_a_printed_row_is_its_cell(task, row):
    sizes = [f"method.{key}={value}" for key, value in row.settings.items()]
    chosen = (f"task={task}", f"model={row.model}", f"method={row.method}", *sizes)
    number, column = {"glue_rte": (2, "/rte"), "e2e": (3, ""), "instruct": (4, ""), "vit_cars": (5, "/cars")}[task]
    assert cells.cell(configured(*chosen)) == (f"table{number}/{row.model}/{row.method}{column}", "")


@pytest.mark.parametrize(
    "change",
    [
        ("seed=11111",),
        ("train.device=cpu", "train.attention=eager", "train.accumulation=4", "train.checkpointing=true"),
        ("train.eval_batch_size=8", "recipe.trials=4", "tracking=off"),
        ("recipe=roberta_base/fourierft_script",),  # which says of RTE what the paper says
    ],
)
def test_seed_and_execution_leave_the_cell(change):
    assert cells.cell(configured("+exp=glue_rte", *change)) == ("table2/roberta_base/fourierft/rte", "")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (["recipe.lr=0.1"], "recipe.lr=0.1, not 0.09"),
        (["recipe.max_length=128"], "recipe.max_length=128, not 512"),
        (["train=cpu"], "train.group_by_length=True, not False, train.precision=bf16, not fp32"),
        (["train.max_steps=2"], "train.max_steps=2, not None"),
        (["method.n=500"], "method.n=500, not 1000"),
        (["method.entries=grid"], "method.entries=grid, not None"),
        (["method.init=zeros"], "method.init=zeros, not normal"),
        (["model.dropout=0.0"], "model.dropout=0.0, not None"),
        (["model.attention=[key]"], "model.attention=['key'], not ['query', 'value']"),
        (["task.rows.train=100"], "task.rows.train=100, not 2490"),
        (["task.inputs=[sentence1]"], "task.inputs=['sentence1'], not ['sentence1', 'sentence2']"),
        (["method=dora"], "Table 2 has no dora on roberta_base"),
        (["model.hub=distilbert/distilbert-base-uncased"], "Table 2 has no fourierft on distilbert_base_uncased"),
        (["model.local=mine"], "Table 2 has no fourierft on mine"),
    ],
    ids=lambda part: part[0] if isinstance(part, list) else "",
)
def test_whatever_else_differs_has_none_and_is_said(change, why):
    assert cells.cell(configured("+exp=glue_rte", *change)) == (None, why)


def test_a_set_that_the_paper_leaves_out_has_none():
    rates = ["recipe.lr=0.1", "recipe.head_lr=1", "recipe.epochs=1", "method.scale=1"]
    assert cells.cell(configured("+exp=glue_qqp", *rates)) == (None, "the paper has no glue_qqp")


def test_the_recipe_of_the_script_is_not_the_paper_s_where_it_differs():
    script = configured("+exp=glue_mrpc", "recipe=roberta_base/fourierft_script")
    assert cells.cell(script) == (None, "method.scale=151.0, not 141.0")


@pytest.mark.parametrize("model", ["vit_base", "vit_large"])
def test_the_recipe_by_the_rule_is_no_cell_of_the_paper(model):
    rule = configured("+exp=vit_cars", f"model={model}", "recipe=vit_base/fourierft_rule")
    assert cells.cell(rule) == (None, "method.scale=auto, not 300.0, recipe.lr=0.1, not 0.3")


def test_of_two_printed_sizes_the_nearer_is_told():
    for n in (3000, 10000):
        larger_rate = configured("+exp=vit_cars", f"method.n={n}", "recipe.lr=0.5")
        assert cells.cell(larger_rate) == (None, "recipe.lr=0.5, not 0.3")


def test_the_user_s_own_defaults_are_not_the_paper_s(tmp_path, monkeypatch):
    """configs/local is composed into a run, never into the cell that it is compared with."""
    from experiments import composing as module

    asked = []
    monkeypatch.setattr(module, "CONFIGS", tmp_path)
    monkeypatch.setattr(module, "_composed", lambda _, words: asked.append(words))
    module.suite("task=glue_rte")
    (tmp_path / "local").mkdir()
    module.suite("task=glue_rte")
    assert asked == [["task=glue_rte"], ["local=none", "task=glue_rte"]]
    assert "optional local: default" in (CONFIGS / "config.yaml").read_text()


def test_another_model_in_the_folder_of_the_paper_s_is_told_by_its_shape(tmp_path):
    file = tmp_path / "config.json"
    weights = Source("roberta_base", "local", "roberta-base", {"config.json": file})
    shape = {"model_type": "roberta", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
    config = configured("+exp=glue_rte")
    file.write_text(json.dumps(shape))
    assert cells.other_shape(config, weights) == ""
    file.write_text(json.dumps(shape | {"num_hidden_layers": 6}))
    assert cells.other_shape(config, weights) == f"{file}: num_hidden_layers=6, not 12"
    for damaged in ("{", "3", "[1]"):
        file.write_text(damaged)
        with pytest.raises(UserError, match="not readable JSON"):
            cells.other_shape(config, weights)
    shutil.copy(EMBEDDED / "gpt2" / "config.json", file)
    assert f"{file}: model_type=gpt2, not roberta" in cells.other_shape(config, weights)
    gpt2 = configured("+exp=e2e_gpt2_medium")
    assert f"{file}: n_embd=" in cells.other_shape(gpt2, weights), "by the names that its own kind has"


@pytest.mark.parametrize(
    ("overrides", "known"),
    [
        (["+exp=glue_rte"], ("roberta_base", "roberta-base", "paper")),
        (
            ["+exp=glue_rte", "model.hub=distilbert/distilbert-base-uncased"],
            ("distilbert_base_uncased", "distilbert-base-uncased", "small"),
        ),
        (["+exp=glue_rte", "model.hub=x/roberta-base"], ("x_roberta_base", "x/roberta-base", "small")),
        (["+exp=glue_rte", "model.hub=x/roberta-large"], ("x_roberta_large", "x/roberta-large", "small")),
        (["+exp=glue_rte", "model.local=mine"], ("mine", "mine", "small")),
        (["+exp=glue_rte", "model.name=mine", "model.hub=a/b"], ("mine", "b", "small")),
        (["+exp=glue_stsb", "model=minilm_l6", "model.hub=a/b"], ("b", "b", "small")),
        (["+exp=glue_stsb", "model=minilm_l6", "model.scale=paper"], ("minilm_l6", "minilm-l6", "small")),
        (["+exp=instruct_llama2_7b"], ("llama2_7b", "Llama-2-7b-hf", "paper")),
        (["+exp=instruct_llama2_7b", "model.hub=x/Llama-2-7b-hf"], ("x_llama_2_7b_hf", "x/Llama-2-7b-hf", "small")),
        (["+exp=instruct", "model.hub=Qwen/Qwen2.5-7B"], ("qwen2_5_7b", "Qwen2.5-7B", "small")),
    ],
    ids=str,
)
def test_a_model_s_name_folder_and_scale_follow_from_its_repository(overrides, known):
    model = configured(*overrides).model
    assert (model.name, model.local, model.scale) == known
