"""What each method trains, counts, and reports as delta_W; and the two learning rates."""

import copy
from types import SimpleNamespace

import peft
import pytest
import torch
from safetensors import safe_open
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    TrainingArguments,
)

import fourierft
from experiments import pipeline
from experiments.errors import UserError
from experiments.measure.memory import saved_for_backward
from experiments.measure.rank import analyse
from experiments.methods.trained import check_kept, count, stored, stored_sha256
from experiments.training import FineTuner, arguments
from tests.conftest import ROOT

ATTENTION, HEAD = ("query", "value"), ("classifier",)
D, LAYERS = 16, 2
MATRICES = 2 * LAYERS
BOTTLENECK = 2 * D * 3 + 3 + D  # of width 3: both weights, both biases
PEFT_METHODS = ("c3a", "dora", "loha", "lokr", "oft", "randlora", "shira", "unilora", "vera", "waveft")
FIT = {"c3a": ["method.settings.block_size=8"], "oft": ["method.settings.oft_block_size=8"]}  # settings for d=16
FIT |= {"randlora": ["method.settings.r=4"], "vera": ["method.settings.r=4"], "fourierft": ["method.n=20"]}
FIT |= {"waveft": ["method.settings.n_frequency=20"], "adapter_drop": ["method.drop=1"], "lora_xs": ["method.r=3"]}


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=50,
        hidden_size=D,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=20,
        num_labels=2,
    )
    return RobertaForSequenceClassification(config)


@pytest.fixture
def gpt2():
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=D, n_layer=LAYERS, n_head=2, n_positions=20)).eval()


def method(make, name, *more):
    return make("+exp=glue_rte", f"method={name}", *FIT.get(name, []), *more).method


def disturb(model):
    """Move every trained parameter outside the head, as training would."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "classifier" not in name:
                parameter.add_(0.3 * torch.randn_like(parameter))


@pytest.mark.parametrize(
    ("name", "settings", "adapter"),
    [
        ("fourierft", ["method.n=20"], MATRICES * 20),
        ("lora", ["method.r=3"], MATRICES * 2 * D * 3),
        ("dylora", ["method.r=3"], MATRICES * 2 * D * 3),
        ("adalora", ["method.init_r=5", "method.r=3"], MATRICES * (2 * D * 5 + 5)),
        ("adapter_houlsby", ["method.r=3"], 2 * LAYERS * BOTTLENECK),
        ("adapter_pfeiffer", ["method.r=3"], LAYERS * BOTTLENECK),
        ("adapter_drop", ["method.r=3", "method.drop=1"], (LAYERS - 1) * BOTTLENECK),
        # embeddings (50 + 20 + 2) D + norm; a layer: 4 D^2 + 2 * 32 D, biases 4 D + 32 + D, two norms
        ("full", [], 72 * D + 2 * D + LAYERS * (4 * D * D + 64 * D + 4 * D + 32 + D + 4 * D)),
        ("bitfit", [], D + LAYERS * (4 * D + 32 + D + 2 * D)),
        ("head_only", [], 0),
        ("vera", ["method.settings.r=4"], MATRICES * (D + 4)),
        ("lora_xs", ["method.r=3"], MATRICES * 3 * 3),
        ("unilora", ["method.settings.theta_d_length=50"], 50),
        ("waveft", ["method.settings.n_frequency=20"], MATRICES * 20),
        ("c3a", ["method.settings.block_size=8"], MATRICES * D * D // 8),
        ("shira", ["method.settings.r=1"], MATRICES * 2 * D),
        ("dora", ["method.settings.r=3"], MATRICES * (2 * D * 3 + D)),
    ],
)
def test_exact_counts(make, model, name, settings, adapter):
    whole = sum(p.numel() for p in model.parameters())
    adapted = method(make, name, *settings).adapt(model, ATTENTION, HEAD)
    found = count(adapted, HEAD)
    head = D * D + D + 2 * D + 2
    added = 0 if name in ("full", "bitfit", "head_only") else adapter
    counters = MATRICES if name == "adalora" else 0  # peft's frozen ranks, one a matrix
    copy_of_head = head if isinstance(adapted, peft.PeftModel) else 0  # the untrained one, kept beside the trained
    assert found == {
        "adapter": adapter,
        "head": head,
        "total": whole + added + counters + copy_of_head,
        "adapter_bytes": 4 * adapter,
    }
    if name == "fourierft":
        theirs = fourierft.count(adapted)
        assert (theirs.adapter, theirs.head, theirs.total) == (found["adapter"], found["head"], found["total"])


@pytest.mark.parametrize(
    "name", ["fourierft", "lora", "lora_xs", "dylora", "adapter_houlsby", "full", "bitfit", "head_only", *PEFT_METHODS]
)
def test_stored_is_what_was_trained_and_the_files_that_hold_it(make, model, name, tmp_path):
    adapter = method(make, name)
    adapted = adapter.adapt(model, ATTENTION, HEAD)
    adapter.save(adapted, tmp_path)
    found, trained = stored(tmp_path), count(adapted, HEAD)
    positions = 2 * trained["adapter"] if name == "shira" else 0  # row and column, which peft stores with each value
    assert found["stored_values"] == trained["adapter"] + trained["head"] + positions
    needed = [path for path in tmp_path.iterdir() if path.name != "README.md"]  # peft's card of the model
    assert {path.suffix for path in needed} <= {".safetensors", ".json"}
    assert found["stored_bytes"] == sum(path.stat().st_size for path in needed) > 4 * found["stored_values"]


@pytest.mark.parametrize("name", ["fourierft", "lora", "bitfit"])
def test_the_digest_is_of_what_was_stored_and_of_nothing_else(make, model, name, tmp_path):
    adapter = method(make, name)
    adapted = adapter.adapt(model, ATTENTION, HEAD)
    adapter.save(adapted, tmp_path)
    adapter.save(adapted, tmp_path / "again")
    assert stored_sha256(tmp_path) == stored_sha256(tmp_path / "again")
    (file,) = tmp_path.glob("*.safetensors")
    if name == "fourierft":
        with safe_open(file, "pt") as opened:
            assert opened.metadata()["sha256"] == stored_sha256(tmp_path)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert stored_sha256(tmp_path) != stored_sha256(tmp_path / "again")


@pytest.mark.parametrize("name", ["fourierft", "lora", "lora_xs", "dylora", "adalora", "full", *PEFT_METHODS])
def test_delta_w_is_what_changed_the_output(make, model, name):
    """The plain model with delta_W added to its weights gives the tuned model's output."""
    plain = copy.deepcopy(model)
    chosen = method(make, name)
    tuned = chosen.adapt(model, ATTENTION, HEAD)
    if name == "full":  # all of it changes; what is reported are the matrices that the others adapt
        for parameter_name, parameter in tuned.named_parameters():
            parameter.requires_grad = parameter_name.endswith(("query.weight", "value.weight"))
    disturb(tuned)
    deltas = dict(chosen.delta_weights(tuned))
    assert len(deltas) == MATRICES and all(delta.shape == (D, D) for delta in deltas.values())
    ids = torch.randint(3, 50, (4, 9))
    with torch.no_grad():
        before = plain.eval()(ids).logits
        for path, delta in deltas.items():
            assert delta.dtype == torch.float32 and delta.abs().max() > 1e-3
            plain.get_submodule(path).weight.add_(delta)
    assert torch.allclose(plain(ids).logits, tuned.eval()(ids).logits, atol=1e-5)
    assert not torch.allclose(plain(ids).logits, before, atol=1e-5)


def act(adapter, x, activation):
    return activation(x @ adapter.down.weight.T + adapter.down.bias) @ adapter.up.weight.T + adapter.up.bias


def test_houlsby_sits_before_both_residual_sums_with_swish(make, model):
    tuned = method(make, "adapter_houlsby").adapt(model, ATTENTION, HEAD).eval()
    disturb(tuned)
    for block in (tuned.roberta.encoder.layer[0].attention.output, tuned.roberta.encoder.layer[1].output):
        hidden, x = torch.randn(3, 5, block.dense.in_features), torch.randn(3, 5, D)
        h = block.dense(hidden)
        expected = block.LayerNorm(x + h + act(block.dropout.adapter, h, lambda z: z * torch.sigmoid(z)))
        assert torch.allclose(block(hidden, x), expected, atol=1e-6)


@pytest.mark.parametrize(("name", "without"), [("adapter_pfeiffer", 0), ("adapter_drop", 1)])
def test_pfeiffer_reads_the_norm_which_serves_again_with_relu(make, model, name, without):
    tuned = method(make, name).adapt(model, ATTENTION, HEAD).eval()
    disturb(tuned)
    for index, layer in enumerate(tuned.roberta.encoder.layer):
        block = layer.output
        hidden, x = torch.randn(3, 5, 32), torch.randn(3, 5, D)
        s = block.dense(hidden) + x
        norm = nn.functional.layer_norm(s, (D,), block.LayerNorm.weight, block.LayerNorm.bias, block.LayerNorm.eps)
        if index >= without:
            s = s + act(block.LayerNorm.adapter, norm, torch.relu)
            norm = nn.functional.layer_norm(s, (D,), block.LayerNorm.weight, block.LayerNorm.bias, block.LayerNorm.eps)
        assert torch.allclose(block(hidden, x), norm, atol=1e-6)
        assert "dropout.adapter" not in "".join(dict(layer.named_parameters()))


def test_adapter_lin_sits_behind_each_layer_and_a_norm_of_its_own(make, gpt2):
    plain = copy.deepcopy(gpt2)
    chosen = make("+exp=glue_rte", "method=adapter_lin", "recipe=roberta_mini/full", "method.r=3").method
    tuned = chosen.adapt(gpt2, ("c_attn:q,v",), ())
    assert count(tuned, ())["adapter"] == LAYERS * (BOTTLENECK + 2 * D)
    disturb(tuned)
    h = torch.randn(2, 6, D)
    block, adapter = tuned.transformer.h[1], tuned.transformer.h[1].adapter
    y = plain.transformer.h[1](h)
    norm = nn.functional.layer_norm(y, (D,), adapter.norm.weight, adapter.norm.bias)
    assert torch.allclose(block(h), y + act(adapter, norm, torch.relu), atol=1e-6)


@pytest.mark.parametrize("name", ["adapter_houlsby", "adapter_pfeiffer", "adapter_drop"])
def test_adapters_start_near_the_identity(make, model, name):
    ids = torch.randint(3, 50, (4, 9))
    before = model.eval()(ids).logits
    tuned = method(make, name).adapt(model, ATTENTION, HEAD).eval()
    assert torch.allclose(tuned(ids).logits, before, atol=1e-4) and not torch.equal(tuned(ids).logits, before)


def test_backward_stops_at_the_lowest_adapter(make, model):
    tuned = method(make, "adapter_drop").adapt(model, ATTENTION, HEAD)
    lowest, upper = (tuned.roberta.encoder.layer[i] for i in range(2))
    seen = {}
    for name, layer in (("lowest", lowest), ("upper", upper)):
        layer.register_forward_hook(lambda module, inputs, y, name=name: seen.update({name: y.requires_grad}))
    tuned(torch.randint(3, 50, (2, 5)))
    assert seen == {"lowest": False, "upper": True}
    with pytest.raises(UserError, match=r"method\.drop=2: the model has 2 layers"):
        method(make, "adapter_drop", "method.drop=2").adapt(model, ATTENTION, HEAD)


def test_an_adapter_names_the_models_it_knows(make, gpt2, model):
    with pytest.raises(UserError, match=r"adapter_pfeiffer: no place known in a gpt2 model, only in bert, roberta"):
        method(make, "adapter_pfeiffer").adapt(gpt2, ("c_attn:q,v",), ())
    assert count(method(make, "adapter_houlsby", "method.r=3").adapt(gpt2, (), ()), ())["adapter"] == 4 * BOTTLENECK


@pytest.mark.parametrize("name", ["lora", "dylora"])
def test_on_a_fused_projection_q_and_v_have_pairs_of_their_own_and_k_stays(make, gpt2, name):
    plain = copy.deepcopy(gpt2)
    chosen = method(make, name, "method.r=3")
    tuned = chosen.adapt(gpt2, ("c_attn:q,v",), ()).eval()
    assert count(tuned, ())["adapter"] == LAYERS * 2 * 2 * D * 3
    disturb(tuned)
    deltas = dict(chosen.delta_weights(tuned))
    assert [path for path in deltas] == [f"transformer.h.{i}.attn.c_attn:{part}" for i in range(2) for part in "qv"]
    with torch.no_grad():
        for i, block in enumerate(plain.transformer.h):
            for part, column in (("q", 0), ("v", 2 * D)):
                delta = deltas[f"transformer.h.{i}.attn.c_attn:{part}"]
                assert torch.linalg.matrix_rank(delta) == 3
                block.attn.c_attn.weight[:, column : column + D] += delta.T
    ids = torch.randint(0, 50, (2, 7))
    assert torch.allclose(plain(ids).logits, tuned(ids).logits, atol=1e-5)


def test_full_reports_the_parts_of_a_fused_projection(make, gpt2):
    chosen = method(make, "full")
    tuned = chosen.adapt(gpt2, ("c_attn:q,v",), ())
    with torch.no_grad():
        tuned.transformer.h[0].attn.c_attn.weight[1, 2] += 5.0  # in 1, out 2: of q
    deltas = dict(chosen.delta_weights(tuned))
    assert len(deltas) == MATRICES
    assert deltas["transformer.h.0.attn.c_attn:q"][2, 1] == pytest.approx(5.0)
    assert sum(delta.count_nonzero().item() for delta in deltas.values()) == 1


def test_lora_all_adapts_every_linear_layer_but_the_output_s(make, gpt2):
    tuned = make("+exp=glue_rte", "method=lora_all", "recipe=roberta_mini/lora", "method.r=2").method.adapt(
        gpt2, ("c_attn:q,v",), ()
    )
    layer = (D + 3 * D) + (D + D) + (D + 4 * D) + (4 * D + D)
    assert count(tuned, ())["adapter"] == LAYERS * 2 * layer


@pytest.mark.parametrize("frozen", [False, True])
def test_dylora_trains_the_drawn_rank_alone(make, model, frozen):
    """b rows of A and b columns of B have a gradient, at scale alpha / b; row and column b alone where frozen."""
    tuned = (
        method(make, "dylora", "method.r=4", "method.alpha=8", f"method.frozen={frozen}")
        .adapt(model, ATTENTION, HEAD)
        .train()
    )
    disturb(tuned)
    layer = tuned.roberta.encoder.layer[0].attention.self.query
    x = torch.randn(5, D)
    for b in (1, 3, 4):
        layer.rank = b
        A, B = layer.lora_A[0], layer.lora_B[0]
        A.grad = B.grad = None
        y = layer(x)
        assert torch.allclose(y, layer.base(x) + 8 / b * x @ A[:b].T @ B[:, :b].T, atol=1e-5)
        y.square().sum().backward()
        trained = [i for i in range(4) if A.grad[i].any()]
        assert trained == [i for i in range(4) if B.grad[:, i].any()] == ([b - 1] if frozen else list(range(b)))
    assert torch.allclose(layer.eval()(x), layer.base(x) + 8 / 4 * x @ A.T @ B.T, atol=1e-5)


def test_coefficients_that_will_not_train_are_told_once_before_the_first_step(make, model, tmp_path):
    chosen = method(make, "fourierft")
    unused = chosen.adapt(model, ATTENTION, HEAD).roberta.encoder.layer[1].attention.self.value
    unused.forward = lambda x: nn.functional.linear(x, unused.weight)
    settings = TrainingArguments(tmp_path, max_steps=3, use_cpu=True, save_strategy="no", report_to="none")
    rows = [{"input_ids": torch.arange(2, 7), "labels": 0}] * 8
    trainer = FineTuner(
        model, settings, train_dataset=rows, callbacks=chosen.callbacks(), head=HEAD, lr=0.1, head_lr=0.1
    )
    with pytest.warns(UserWarning, match=r"no gradient reached .* \S+1\.attention\.self\.value: they do") as told:
        trainer.train()
    assert sum("no gradient" in str(warning.message) for warning in told) == 1


def test_dylora_draws_every_rank_by_seed_and_step(make, model):
    chosen = method(make, "dylora", "method.r=4")
    tuned = chosen.adapt(model, ATTENTION, HEAD)
    [callback] = chosen.callbacks()
    layers = [layer.attention.self for layer in tuned.roberta.encoder.layer]

    class At:  # the part of the Trainer's state and arguments that is read
        def __init__(self, seed, step):
            self.seed, self.global_step = seed, step

    def draws(seed):
        ranks = []
        for step in range(200):
            callback.on_step_begin(At(seed, step), At(seed, step), None, model=tuned)
            assert len({getattr(layer, name).rank for layer in layers for name in ATTENTION}) == 1
            ranks.append(layers[0].query.rank)
        return ranks

    first = draws(0)
    assert first == draws(0) != draws(1)
    assert all(30 < first.count(b) < 70 for b in (1, 2, 3, 4)), "uniform: 50 of 200 each"


def test_adalora_moves_its_budget_and_saves_what_is_left(make):
    """In the end r triplets a matrix on average are left, not the same number in each; peft reads them back."""
    settings = ["method.r=2", "method.init_r=4", "method.interval=1", "recipe.lr=0.05", "train.rows=160"]
    config = make("+exp=glue_rte", "method=adalora", *settings, "recipe.epochs=4", "recipe.batch_size=16")
    caught = {}
    save = type(config.method).save

    def keep(self, tuned, folder):
        caught[folder.name] = copy.deepcopy(tuned)
        save(self, tuned, folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(config.method), "save", keep)
        done = pipeline.run(config)
    tuned = caught["last"].eval()
    kept = [p.count_nonzero().item() for name, p in tuned.named_parameters() if "lora_E" in name]
    assert sum(kept) == 2 * len(kept) and len(set(kept)) > 1, kept
    assert done.params.adapter == len(kept) * (2 * 128 * 4 + 4)

    folder = config.runs / config.name
    weights, data = pipeline.find(config)
    plain = config.task.prepare(config.model, weights, data, config.train, config.recipe, config.seed).model
    loaded = peft.PeftModel.from_pretrained(plain, folder / "last").eval()
    stored = sum(p.numel() for name, p in loaded.named_parameters() if "lora_" in name)
    assert stored == 2 * len(kept) * (2 * 128 + 1)
    ids = torch.randint(3, 50, (2, 9))
    assert torch.allclose(loaded(ids).logits, tuned(ids).logits, atol=1e-5)


def test_adalora_saves_what_is_left_in_the_model_at_hand(make, model, tmp_path):
    """The best epoch may lie before the last masking, whose pattern peft would otherwise apply to it."""
    plain = copy.deepcopy(model)
    chosen = method(make, "adalora", "method.init_r=4")
    tuned = chosen.adapt(model, ATTENTION, HEAD)
    disturb(tuned)
    names = [name for name, _ in tuned.base_model.model.named_parameters() if "lora_E" in name]
    tuned.peft_config["default"].rank_pattern = {name: [True, False, False, False] for name in names}
    chosen.save(tuned, tmp_path)
    ids = torch.randint(3, 50, (2, 9))
    loaded = peft.PeftModel.from_pretrained(plain, tmp_path).eval()
    assert torch.allclose(loaded(ids).logits, tuned.eval()(ids).logits, atol=1e-5)


def test_delta_w_of_a_peft_method_has_its_rank_and_no_noise(make, model):
    chosen = method(make, "lora", "method.r=3")
    tuned = chosen.adapt(model, ATTENTION, HEAD)
    disturb(tuned)
    with torch.no_grad():  # small beside W, whose rounding must not count
        for name, parameter in tuned.named_parameters():
            parameter.mul_(1e-5 if "lora_B" in name else 1)
    assert {analyse(path, delta).numerical_rank for path, delta in chosen.delta_weights(tuned)} == {3}


def test_lora_xs_moves_each_weight_within_its_leading_singular_vectors(make, model):
    chosen = method(make, "lora_xs", "method.r=2", "method.alpha=3")
    plain = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tuned = chosen.adapt(model, ATTENTION, HEAD)
    disturb(tuned)
    for path, delta in chosen.delta_weights(tuned):
        left, values, right = torch.linalg.svd(plain[f"{path}.weight"])
        core = left[:, :2].T @ delta @ right[:2].T / values[:2, None]
        torch.testing.assert_close(core, 1.5 * tuned.get_submodule(path).core.detach(), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close((left[:, :2] * values[:2]) @ core @ right[:2], delta, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["lora", "adalora", *PEFT_METHODS])
def test_peft_reads_back_what_is_saved(make, model, name, tmp_path):
    plain = copy.deepcopy(model)
    chosen = method(make, name)
    tuned = chosen.adapt(model, ATTENTION, HEAD)
    disturb(tuned)
    chosen.save(tuned, tmp_path)
    loaded = peft.PeftModel.from_pretrained(plain, tmp_path).eval()
    ids = torch.randint(3, 50, (2, 9))
    assert torch.allclose(loaded(ids).logits, tuned.eval()(ids).logits, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("vera", ["+method.settings.rank=3"], r"method\.settings=.*: no setting rank in VERA; it has .*\br\b"),
        ("vera", ["method.tuner=VERRA"], r"method\.tuner=VERRA: peft has no such tuner .*VERA"),
        ("vera", ["method.tuner=PREFIX_TUNING"], r"method\.tuner=PREFIX_TUNING: peft has no such tuner"),
        ("adalora", ["method.final=1.5"], r"method\.final=1\.5: .*less than 1"),
        ("dylora", ["method.r=0"], r"method\.r=0: .*greater than 0"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_runs(make, name, settings, words):
    with pytest.raises(UserError, match=words):
        method(make, name, *settings).check()


def test_what_peft_refuses_is_said_with_the_method(make, model, gpt2):
    with pytest.raises(UserError, match=r"method=c3a: peft refuses these settings \(.*block"):
        method(make, "c3a", "method.settings.block_size=7").adapt(model, ATTENTION, HEAD)
    with pytest.raises(
        UserError, match=r"method=vera: peft cannot adapt a part of a fused projection, such as c_attn:q"
    ):
        method(make, "vera").adapt(gpt2, ("c_attn:q,v",), ())
    with pytest.raises(UserError, match=r"method=lora_xs: a part of a fused projection, such as c_attn:q"):
        method(make, "lora_xs").adapt(gpt2, ("c_attn:q,v",), ())
    with pytest.raises(UserError, match=r"method\.r=17: a weight of shape \(16, 16\) has 16 at most"):
        method(make, "lora_xs", "method.r=17").adapt(model, ATTENTION, HEAD)
    with pytest.raises(UserError, match=r"model\.attention=c_atn: GPT2LMHeadModel has no linear layer of that name"):
        method(make, "dylora").adapt(gpt2, ("c_atn",), ())


@pytest.mark.parametrize("file", sorted((ROOT / "configs/recipe/roberta_mini").glob("*.yaml")), ids=lambda p: p.stem)
def test_two_steps_of_every_method_on_the_miniature(make, file):
    """From the configuration to the record: what trains has moved, the rest has not, and the adapter is on disk."""
    done = pipeline.run(make("+exp=glue_stsb", f"method={file.stem}", "+debug=smoke"))
    assert done.status == "ok" and done.cost.steps == 2 and done.method == file.stem
    assert done.params.head > 0 and (done.params.adapter > 0) == (file.stem != "head_only")


def test_head_and_adapter_have_rates_of_their_own_and_norms_no_decay(make, model, tmp_path):
    config = make("+exp=glue_rte", "method=full", "recipe.weight_decay=0.1", "recipe.lr=0.01", "recipe.head_lr=0.002")
    adapted = config.method.adapt(model, ATTENTION, HEAD)
    trainer = FineTuner(
        model=adapted,
        args=arguments(config, SimpleNamespace(direction="max", lengths=True), tmp_path),
        eval_dataset=[],
        head=HEAD,
        lr=config.recipe.lr,
        head_lr=config.recipe.head_lr,
    )
    groups = trainer.create_optimizer().param_groups
    names = {id(p): name for name, p in adapted.named_parameters()}
    assert {(g["name"], g["lr"], g["weight_decay"]) for g in groups} == {
        ("adapter", 0.01, 0.1),
        ("adapter", 0.01, 0.0),
        ("head", 0.002, 0.1),
        ("head", 0.002, 0.0),
    }
    placed = [(names[id(p)], g) for g in groups for p in g["params"]]
    assert sorted(name for name, _ in placed) == sorted(name for name, p in adapted.named_parameters())
    for name, group in placed:
        assert (group["name"] == "head") == name.startswith("classifier")
        assert (group["weight_decay"] == 0) == (name.endswith("bias") or "LayerNorm" in name)


def test_saved_for_backward_counts_each_storage_once_and_no_parameter():
    layer = torch.nn.Linear(8, 4)
    x = torch.randn(3, 8)
    # A linear layer saves x (and its weight, a parameter); squaring saves y.
    assert saved_for_backward(layer, lambda: (layer(x) ** 2).sum()) == 4 * (3 * 8 + 3 * 4)
    frozen = torch.nn.Linear(8, 4).requires_grad_(False)
    state = torch.get_rng_state()
    assert saved_for_backward(frozen, lambda: torch.nn.functional.dropout(frozen(x), 0.5).sum()) == 0
    assert torch.equal(torch.get_rng_state(), state)


def test_running_statistics_which_no_adapter_keeps_are_refused():
    check_kept(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False)))
    with pytest.raises(UserError, match=r"^1 is a BatchNorm1d: .* take a model without batch norm"):
        check_kept(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)))
