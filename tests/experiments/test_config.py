"""Every configuration composes and is typed; every wrong one is refused with the key, the value and what is allowed."""

import itertools

import pytest
import yaml

from experiments import cells
from experiments.composing import composed, expand
from experiments.config import load, parse
from experiments.errors import UserError
from tests.conftest import ROOT

SETS = ("cola", "mrpc", "qnli", "rte", "sst2", "stsb")
MODELS = ("roberta_base", "roberta_large", "roberta_mini")
THEIRS = ("full", "bitfit", "adapter_houlsby", "adapter_pfeiffer", "adapter_drop", "lora", "dylora", "adalora")
OTHERS = ("fourierft", "head_only", "c3a", "dora", "loha", "lokr", "lora_xs", "oft", "randlora", "shira", "unilora")
OTHERS += ("vera", "waveft")
TABLE9 = {  # lr, head_lr, scale, epochs, max_length, batch size, transcribed from the paper a second time
    ("roberta_base", "stsb"): (0.09, 0.009, 84, 60, 512, 32),
    ("roberta_base", "rte"): (0.09, 0.011, 110, 90, 512, 32),
    ("roberta_base", "mrpc"): (0.05, 0.006, 141, 30, 512, 32),
    ("roberta_base", "cola"): (0.12, 0.008, 49, 100, 512, 32),
    ("roberta_base", "sst2"): (0.05, 0.006, 140, 40, 512, 32),
    ("roberta_base", "qnli"): (0.01, 0.001, 29, 40, 512, 32),
    ("roberta_large", "stsb"): (0.07, 0.001, 121, 30, 512, 32),
    ("roberta_large", "rte"): (0.08, 0.005, 90, 60, 512, 32),
    ("roberta_large", "mrpc"): (0.06, 0.001, 120, 30, 512, 32),
    ("roberta_large", "cola"): (0.043, 0.011, 120, 80, 256, 128),
    ("roberta_large", "sst2"): (0.043, 0.001, 99, 10, 128, 32),
    ("roberta_large", "qnli"): (0.06, 0.005, 69, 30, 512, 32),
}

IMAGE_SETS = ("cifar", "cifar100", "pets", "cars", "dtd", "eurosat", "fgvc", "resisc45")
VITS = ("vit_base", "vit_large", "vit_base_timm", "vit_large_timm", "vit_mini")
TABLE12 = {  # lr, head_lr, weight decay, transcribed from the paper a second time
    "pets": (0.3, 1e-3, 8e-4),
    "cars": (0.3, 1e-3, 4e-5),
    "cifar": (0.3, 1e-3, 9e-5),
    "dtd": (0.3, 1e-3, 7e-5),
    "eurosat": (0.2, 8e-4, 3e-4),
    "fgvc": (0.3, 1e-3, 7e-5),
    "resisc45": (0.3, 1e-3, 3e-4),
    "cifar100": (0.2, 7e-4, 1e-4),
}
TABLE8 = {  # images to train on, to choose the epoch, to test; classes
    "pets": (3312, 368, 3669, 37),
    "cars": (7329, 815, 8041, 196),
    "cifar": (45000, 5000, 10000, 10),
    "dtd": (4060, 452, 1128, 47),
    "eurosat": (16200, 5400, 5400, 10),
    "fgvc": (3000, 334, 3333, 100),
    "resisc45": (18900, 6300, 6300, 45),
    "cifar100": (45000, 5000, 10000, 100),
}


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_every_set_of_images_is_table_8_and_its_recipe_table_12(make, name):
    config = make(f"+exp=vit_{name}", "model=vit_base")
    task, recipe, method = config.task, config.recipe, config.method
    assert (*(task.rows[split] for split in ("train", "validation", "test")), task.classes) == TABLE8[name]
    assert (recipe.lr, recipe.head_lr, recipe.weight_decay) == pytest.approx(TABLE12[name])
    assert (method.n, method.scale, method.entry_seed, method.init) == (3000, 300.0, 2024, "normal")
    assert (recipe.epochs, recipe.batch_size, recipe.schedule, recipe.warmup_ratio) == (10, 200, "linear", 0.0)
    assert recipe.max_grad_norm == 1.0, "the Trainer's own, which the official script leaves as it is"
    key = "cifar10" if name == "cifar" else name
    assert (config.exp, cells.cell(config), config.seed) == (f"vit_{name}", (f"table5/vit_base/fourierft/{key}", ""), 7)


@pytest.mark.parametrize("model", VITS)
def test_every_vit_has_the_methods_of_table_5(make, model):
    for method in ("head_only", "full", "lora", "fourierft"):
        config = make("+exp=vit_cifar", f"model={model}", f"method={method}")
        assert (config.model.name, config.method.name) == (model, method)
        assert config.recipe.source and getattr(config.method, "r", 16) == 16


@pytest.mark.parametrize("exp", sorted(path.stem for path in (ROOT / "configs/exp").glob("vit_*.yaml")))
def test_every_image_experiment_has_a_target_and_those_of_the_small_model_a_recipe(make, exp):
    sets = (ROOT / "Makefile").read_text().partition("\nVIT := ")[2].partition("\n")[0].split()
    assert exp.removeprefix("vit_") in sets
    if exp in ("vit_cifar", "vit_dtd_10", "vit_pets_3"):
        config = make(f"+exp={exp}", "model=vit_tiny")
        assert (config.model.scale, config.method.n, config.recipe.weight_decay) == ("small", 750, 1e-4)


def test_the_recipe_by_the_rule_on_the_small_model_keeps_all_but_rate_and_scale(make):
    names = ("fourierft", "fourierft_rule")
    usual, rule = (make("+exp=vit_dtd_10", "model=vit_tiny", f"recipe=vit_tiny/{name}") for name in names)
    assert rule.differences(usual) == {"method.scale": ("auto", 18.75), "recipe.lr": (0.1, 0.086)}
    assert (usual.recipe.trials, rule.recipe.trials) == (6, None), "its rate was not searched"


@pytest.fixture(scope="module")
def tasks():
    """The task of every GLUE set, composed."""
    return [composed("config", f"+exp=glue_{name}").task for name in SETS]


@pytest.mark.parametrize(("model", "method"), list(itertools.product(MODELS, THEIRS + OTHERS)))
def test_every_cell_composes(tasks, model, method):
    """One composition a recipe: the cells of its table are all in it, and the task says which one is read."""
    asked = composed("config", "+exp=glue_rte", f"model={model}", f"method={method}")
    for name, task in zip(SETS, tasks, strict=True):
        asked.task, asked.exp = task, task.name
        config = parse(asked)
        assert (config.task.set, config.model.name, config.method.name) == (name, model, method)
        assert config.recipe.source and config.recipe.lr and config.recipe.epochs


def test_every_method_has_a_recipe_on_every_model():
    """But those for other architectures: GPT-2's adapter and the names of LoRA on LLaMA."""
    methods = {file.stem for file in (ROOT / "configs/method").glob("*.yaml")}
    assert methods == {*THEIRS, *OTHERS, "adapter_lin", "lora_qv", "lora_all"}


def test_a_recipe_s_row_is_its_task_s_and_the_command_comes_first(make):
    lora = [make(f"+exp=glue_{name}", "model=roberta_base", "method=lora") for name in ("rte", "mrpc")]
    assert [(one.recipe.lr, one.recipe.epochs, one.recipe.batch_size) for one in lora] == [
        (5e-4, 80, 32),
        (4e-4, 30, 16),
    ]
    assert make("+exp=glue_rte", "model=roberta_base", "method=lora", "recipe.lr=0.1").recipe.lr == 0.1


@pytest.mark.parametrize(("cell", "values"), TABLE9.items(), ids=str)
def test_the_paper_s_recipes_are_table_9(make, cell, values):
    config = make(f"+exp=glue_{cell[1]}", f"model={cell[0]}")
    recipe, method = config.recipe, config.method
    found = (recipe.lr, recipe.head_lr, method.scale, recipe.epochs, recipe.max_length, recipe.batch_size)
    assert found == pytest.approx(values)
    assert (method.n, method.entry_seed, recipe.warmup_ratio, recipe.schedule) == (1000, 2024, 0.06, "linear")
    assert (method.init, recipe.weight_decay, recipe.max_grad_norm) == ("normal", 0.0, 0.0)


def test_the_official_script_is_one_override_away(make):
    paper = make("+exp=glue_qnli", "model=roberta_base")
    script = make("+exp=glue_qnli", "model=roberta_base", "recipe=roberta_base/fourierft_script")
    assert (paper.recipe.lr, script.recipe.lr) == (0.01, 0.1)
    assert paper.hash != script.hash


@pytest.mark.parametrize(
    "file", sorted((ROOT / "configs/recipe").glob("*/*.yaml")), ids=lambda p: f"{p.parent.name}/{p.stem}"
)
def test_every_recipe_says_where_it_comes_from(file):
    assert file.read_text().startswith("# @package _global_\n# "), "a recipe opens with what it is"
    assert yaml.safe_load(file.read_text())


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["+exp=glue_rte", "train.acumulation=2"], ["train.acumulation", "did you mean train.accumulation?"]),
        (["+exp=glue_rte", "+train.acumulation=2"], ["train.acumulation", "did you mean train.accumulation?"]),
        (["+exp=glue_rte", "+method.rank=2"], ["method.rank", "no such key", "entry_seed"]),
        (["+exp=glue_rte", "+sed=2"], ["sed", "did you mean seed?"]),
        (["+exp=glue_rte", "method=lorra"], ["method=lorra", "did you mean lora?", "head_only"]),
        (["+exp=glue_rte", "model=roberta_bas"], ["model=roberta_bas", "did you mean roberta_base?"]),
        (["+exp=glue_rtt"], ["exp=glue_rtt", "did you mean glue_rte?"]),
        (["+exp=glue_rte", "method=adapter_lin"], ["configs/recipe/roberta_base/adapter_lin.yaml"]),
        (["+exp=glue_qnli", "model=minilm_l6"], ["recipe.lr has no value", "this task"]),
        ([], ["no experiment chosen", "+exp=glue_rte"]),
        (["+exp=glue_rte", "method.n=0"], ["method.n=0", "greater than 0"]),
        (["+exp=glue_rte", "method.n=many"], ["method.n=many", "integer"]),
        (["+exp=glue_rte", "recipe.lr=-1"], ["recipe.lr=-1", "greater than 0"]),
        (["+exp=glue_rte", "recipe.warmup_ratio=1.5"], ["recipe.warmup_ratio=1.5", "less than 1"]),
        (["+exp=glue_rte", "method.scale=inf"], ["method.scale=inf", "finite"]),
        (["+exp=glue_rte", "scale=papr"], ["scale=papr", "'paper'"]),
        (["+exp=glue_rte", "task.family=gluee"], ["task.family=gluee", "'glue', 'images'"]),
        (["+exp=vit_cifar", "task.unreadable=maybe"], ["task.unreadable=maybe", "'skip'"]),
        (["+exp=vit_cifar", "+task.flipp=true"], ["task.flipp", "did you mean task.flip?", "split_seed"]),
        (["+exp=vit_cifar", "task.test_share=1.5"], ["task.test_share=1.5", "less than 1"]),
        (["+exp=vit_cifar", "method=dora"], ["configs/recipe/vit_base/dora.yaml", "fourierft, full, head_only, lora"]),
        (
            ["+exp=glue_rte", "model=vit_base"],
            ["glue_rte is a task of text, and vit_base a model of images"],
        ),
        (["+exp=glue_rte", "model=vit_base", "method=head_only"], ["a model of images"]),
        (["+exp=vit_cifar", "model=minilm_l6"], ["vit_cifar is a task of images, and minilm_l6 a model of text"]),
        (["+exp=glue_rte", "seed=0", "1", "2"], ["1: no KEY=VALUE", "commas", "-m seed=0,1,2"]),
        (["+exp=glue_rte", "seed=0,", "1"], ["1: no KEY=VALUE", "-m seed=0,1"]),
        (["glue_rte"], ["did you mean exp=glue_rte?"]),
        (["+exp=glue_rte", "train.device=cuda:1"], ["train.device=cuda:1", "CUDA_VISIBLE_DEVICES=1"]),
        (["+exp=glue_rte", "recipe.epochs='???'"], ["recipe.epochs has no value"]),
        (["+exp=instruct"], ["model.hub has no value"]),
        (["+exp=instruct_llama2_7b", "task.wording.next_turn='{answer}'"], ["task.wording.next_turn", "{instruction}"]),
        (["+exp=instruct_llama2_7b", "task.base=2bit"], ["task.base=2bit", "'4bit'"]),
    ],
)
def test_a_wrong_command_is_one_clear_message(overrides, words):
    with pytest.raises(UserError) as caught:
        load(*overrides)
    message = str(caught.value)
    assert all(word in message for word in words), message


@pytest.mark.parametrize("extra", [["method.n=100"], ["+method.n=100"], ["+method.n=100", "+method.scale=2"]])
def test_an_unknown_key_of_a_method_is_told_by_the_method_s_own(extra):
    with pytest.raises(UserError) as caught:
        load("exp=glue_rte", "method=lora", *extra)
    assert set(str(caught.value).splitlines()[0].partition(" has ")[2].split(", ")) == {"alpha", "dropout", "r"}


def test_exp_needs_no_plus():
    assert load("exp=glue_rte", "seed=1") == load("+exp=glue_rte", "seed=1")
    assert expand(["exp=glue_rte,glue_cola", "seed=0"]) == [["+exp=glue_rte", "seed=0"], ["+exp=glue_cola", "seed=0"]]


def test_the_hash_follows_what_determines_the_result_and_nothing_else(make):
    base = make("+exp=glue_rte")
    same = ["tracking=offline", "force=true", "train.workers=2", "train.log_every=3", "assets.hub=false", "scale=mini"]
    different = ["seed=1", "method.n=7", "recipe.lr=0.5", "train.precision=bf16", "train.holdout=0.1"]
    assert {make("+exp=glue_rte", override).hash for override in same} == {base.hash}
    assert len({make("+exp=glue_rte", override).hash for override in different} | {base.hash}) == 1 + len(different)


def test_what_fourierft_can_do_since_leaves_the_hash_of_older_runs(make):
    base = make("+exp=glue_rte")
    assert set(base.result_key()["method"]) == {"name", "n", "scale", "entry_seed", "init", "shared_entries"}
    assert make("+exp=glue_rte", "method.band=null", "method.basis=fourier", "method.entries=random").hash == base.hash
    others = ("band=[100,200]", "basis=dct", "entries=grid", "n_pattern={layer.0.query:500,value:20}")
    changed = [make("+exp=glue_rte", f"method.{each}") for each in others]
    assert len({base.hash, *(config.hash for config in changed)}) == 5
    assert changed[0].method.band == (100, 200)
    assert changed[3].method.n_pattern == {"layer.0.query": 500, "value": 20}


def test_a_trial_keeps_its_record_out_of_the_results(make):
    assert make("+exp=glue_rte").record_path.parts[-5] == "records"
    assert make("+exp=glue_rte", "train.holdout=0.1").record_path.parts[-5] == "runs"


@pytest.mark.parametrize(
    "words", ["+exp=glue_rte task=glue_cola", "+exp=glue_rte task.name=x", "+exp=vit_cifar task=e2e"]
)
def test_a_run_is_in_the_column_of_its_own_task(words):
    exp = words.split()[0].partition("=")[2]
    with pytest.raises(UserError, match=f"exp={exp}: not the page of (glue_cola|x|e2e), whose runs have exp="):
        load(*words.split())
