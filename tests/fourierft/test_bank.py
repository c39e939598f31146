"""A bank: each row of a batch is computed as by the model with that row's adapter merged, whatever the others are."""

import copy
import random
from concurrent.futures import ThreadPoolExecutor

import peft
import pytest
import torch
from comparing import moved, relative_error
from torch import nn

import fourierft
from fourierft import Algorithm, Bank, Entries, FourierConfig, FourierError, reference
from fourierft.plan import make_plan

NAMES = ("anna", "ben", "carl", "dora")
ROWS = ["ben", None, "anna", "carl", "anna"]
CONFIG = FourierConfig(n=30, scale=15.0, targets=("query", "value"), head=("classifier",), task_type="SEQ_CLS")
GPT2 = FourierConfig(n=30, scale=2.5, targets=("c_attn:q,v", "c_proj"))
LLAMA = FourierConfig(n=20, scale=15.0, targets=("q_proj", "v_proj"))


@pytest.fixture
def llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    def make() -> nn.Module:
        torch.manual_seed(5)
        config = LlamaConfig(
            vocab_size=60,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=48,
            max_position_embeddings=64,
            initializer_range=0.2,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=2,
        )
        return LlamaForCausalLM(config).eval()

    return make


@pytest.fixture
def adapters(tmp_path):
    """adapters(make, config): the folder of four adapters for the model, each with a head of its own."""

    def write(make, config=CONFIG, names=NAMES, folder=tmp_path / "adapters"):
        for k, name in enumerate(names):
            model = make()
            torch.manual_seed(100 + k)
            fourierft.save(moved(fourierft.adapt(model, config), by=0.3), folder / name)
        return folder

    return write


@pytest.fixture
def batch():
    return torch.randint(4, 60, (len(ROWS), 9), generator=torch.Generator().manual_seed(6))


def merged(model, folder, name):
    return model if name is None else fourierft.merge(fourierft.load(model, folder / name))


@torch.no_grad()
def one_by_one(make, folder, names, batch):
    return torch.cat([merged(make(), folder, name)(row[None]).logits for name, row in zip(names, batch, strict=True)])


@torch.no_grad()
def together(bank, names, batch):
    with bank.rows(names):
        return bank.model(batch).logits


def near(actual, expected, tolerance=1e-5):
    assert relative_error(actual, expected) < tolerance


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("entries", ["random", "grid"])
@pytest.mark.parametrize("kind", ["roberta", "gpt2", "llama"])
def test_every_row_equals_the_model_with_its_adapter_merged(kind, entries, compiled, request, adapters, batch):
    make = request.getfixturevalue(kind)
    config = {"roberta": CONFIG, "gpt2": GPT2, "llama": LLAMA}[kind]
    folder = adapters(make, FourierConfig(**(vars(config) | {"entries": entries})))
    bank = Bank.over(make(), folder)
    for layer in fourierft.fourier_layers(bank.model).values():
        layer.algorithm = Algorithm(compiled=compiled)
    expected = one_by_one(make, folder, ROWS, batch)
    near(together(bank, ROWS, batch), expected)
    assert relative_error(make()(batch).logits[[0, 2, 3, 4]], expected[[0, 2, 3, 4]]) > 0.1


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("entries", ["random", "grid"])
@pytest.mark.parametrize("shape", [(48, 40), (39, 24)])  # the second is not for C
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_product_with_coefficients_of_each_row(shape, entries, compiled, dtype):
    positions = Entries(36, 7, kind=entries)
    plan, weight, bias = make_plan(shape, torch.device("cpu"), positions), torch.randn(shape), torch.randn(shape[0])
    for rows, repeats, tokens in ((1, 1, 1), (5, 1, 1), (3, 2, 7), (11, 1, 3), (2, 1, 40)):
        x, spectra = torch.randn(rows * repeats, tokens, shape[1]).to(dtype), torch.randn(rows, 36)
        layer = weight.to(dtype), bias.to(dtype)
        y = fourierft.fourier_linear(x, *layer, spectra, plan, 20.0, Algorithm(compiled=compiled))
        for one, inputs, c in zip(y.chunk(rows), x.chunk(rows), spectra, strict=True):
            delta = reference.delta_weight(c.double(), positions.sample(shape), shape, 20.0)
            near(
                one,
                nn.functional.linear(inputs.double(), layer[0].double() + delta, layer[1].double()),
                1e-5 if dtype == torch.float32 else 3 * 2**-9,
            )


def test_positions_and_n_of_each_matrix_in_float64(adapters, roberta, batch):
    def make():
        return roberta().double()

    folder = adapters(make, FourierConfig(**(vars(CONFIG) | {"shared_entries": False, "n_pattern": {"value": 12}})))
    near(together(Bank.over(make(), folder), ROWS, batch), one_by_one(make, folder, ROWS, batch), 1e-12)


@pytest.mark.parametrize("entries", ["random", "grid"])
def test_generation_with_beams_and_a_cache(llama, adapters, batch, entries):
    folder = adapters(llama, FourierConfig(**(vars(LLAMA) | {"entries": entries})))
    bank = Bank.over(llama(), folder)
    options = dict(num_beams=3, max_new_tokens=6, output_scores=True, return_dict_in_generate=True)
    with bank.rows(ROWS):
        mixed = bank.model.generate(batch, **options)
    for k, name in enumerate(ROWS):
        alone = merged(llama(), folder, name).generate(batch[k : k + 1], **options)
        length = alone.sequences.shape[1]
        assert torch.equal(mixed.sequences[k, :length], alone.sequences[0])
        near(mixed.sequences_scores[k], alone.sequences_scores[0])


def test_outside_of_rows_the_model_is_the_plain_one(roberta, gpt2, adapters, batch):
    for make, config in ((roberta, CONFIG), (gpt2, GPT2)):
        plain = make()
        bank = Bank(copy.deepcopy(plain), config)
        assert bank.model.state_dict().keys() == plain.state_dict().keys()
        assert torch.equal(bank.model(batch).logits, plain(batch).logits)
        assert torch.equal(together(bank, [None] * len(ROWS), batch), plain(batch).logits)
        assert not any(parameter.requires_grad for parameter in bank.model.parameters())


def test_adapters_come_go_and_displace_one_another(roberta, adapters, batch):
    folder = adapters(roberta)
    bank, dice = Bank(roberta(), CONFIG, capacity=3), random.Random(0)
    alone = {name: one_by_one(roberta, folder, [name] * 2, batch[:2]) for name in (*NAMES, None)}
    displaced = 0
    for _ in range(60):
        name = dice.choice(NAMES)
        if name in bank.names and dice.random() < 0.3:
            bank.remove(name)
            assert name not in bank.held
        elif name not in bank.names:
            bank.add(name, folder / name)
        chosen = dice.sample([*bank.names, None], k=min(len(bank.names) + 1, 2))
        before = bank.held
        logits = together(bank, chosen, batch[: len(chosen)])
        for k, one in enumerate(chosen):
            near(logits[k], alone[one][k])
        displaced += len(set(before) - set(bank.held))
        assert len(bank.held) <= 3 and set(chosen) <= {*bank.held, None}
    assert displaced > 3


def test_a_name_stands_for_rows_in_succession_where_the_batch_is_a_multiple(roberta, adapters, batch):
    bank = Bank.over(roberta(), adapters(roberta))
    each = together(bank, ["ben", "ben", None, None], batch[:4])
    near(together(bank, ["ben", None], batch[:4]), each)


def test_the_least_recently_named_is_displaced(roberta, adapters):
    bank = Bank.over(roberta(), adapters(roberta), capacity=2)
    for names, held in ((["anna", "ben"], "anna ben"), (["anna"], "ben anna"), (["carl"], "anna carl")):
        with bank.rows(names):
            assert bank.held == tuple(held.split())
    size = bank.nbytes
    with bank.rows(["ben", "dora"]):
        assert bank.held == ("ben", "dora")
    assert bank.nbytes == size == 3 * 4 * sum(torch.Size(shape).numel() for shape in bank.shapes.values())


def test_without_a_capacity_all_that_were_named_stay(roberta, adapters, batch):
    folder = adapters(roberta)
    bank = Bank.over(roberta(), folder)
    for name in NAMES:
        with bank.rows([name]):
            pass
    assert bank.held == NAMES
    near(together(bank, ROWS, batch), one_by_one(roberta, folder, ROWS, batch))


@pytest.mark.parametrize(("capacity", "what"), [(1, "stack"), (None, "stack"), (None, "cat")])
def test_where_the_device_has_no_room_no_name_gets_the_numbers_of_another(roberta, adapters, batch, capacity, what):
    folder = adapters(roberta)
    bank = Bank.over(roberta(), folder, capacity=capacity)
    together(bank, ["anna"], batch[:1])
    with pytest.MonkeyPatch.context() as patch, pytest.raises(torch.OutOfMemoryError):
        patch.setattr(bank, "row", lambda name: torch.zeros(sum(bank._sizes)))  # which uses torch.cat itself
        patch.setattr(torch, what, fail)
        together(bank, ["ben"], batch[:1])
    for name in ("ben", "anna"):
        near(together(bank, [name], batch[:1]), one_by_one(roberta, folder, [name], batch[:1]))


def fail(*arguments):
    raise torch.OutOfMemoryError("no room")


def test_a_bank_that_grew_in_inference_mode_works_outside_of_it(roberta, adapters, batch):
    folder = adapters(roberta)
    with torch.inference_mode():
        bank = Bank.over(roberta(), folder)
        for name in ("anna", "ben"):  # the table grows to one row, then to three, of which one is free
            together(bank, [name], batch[:1])
    near(together(bank, ["carl"], batch[:1]), one_by_one(roberta, folder, ["carl"], batch[:1]))


def test_rows_inside_of_rows_end_where_they_began(roberta, adapters, batch):
    bank = Bank.over(roberta(), adapters(roberta), capacity=3)
    expected = together(bank, ROWS, batch)
    with torch.no_grad(), bank.rows(ROWS):
        together(bank, ["dora"] * len(ROWS), batch)  # displaces one of them
        bank.remove("anna")
        assert torch.equal(bank.model(batch).logits, expected)


def test_another_thread_is_refused_while_one_is_inside(roberta, adapters, batch):
    bank = Bank.over(roberta(), adapters(roberta))
    expected = together(bank, ["anna"], batch[:1])

    def other(*names):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(together, bank, names, batch[:1]).result()

    with bank.rows(["anna"]), torch.no_grad():
        with pytest.raises(FourierError, match=r"another thread is inside of `rows`.*a lock around"):
            other("ben")
        assert torch.equal(bank.model(batch[:1]).logits, expected)
        with bank.rows(["ben"]), pytest.raises(FourierError, match="another thread"):
            other("ben")
    near(other("anna"), expected)


@pytest.mark.parametrize("entries", ["random", "grid"])
@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_in_bfloat16_a_change_below_half_a_digit_is_kept_in_the_mean(adapters, entries, dtype):
    def make():
        torch.manual_seed(7)
        return nn.Sequential(nn.Linear(64, 64)).bfloat16()

    config = FourierConfig(n=40, scale=0.3, targets=("0",), init="zeros", entries=entries)
    folder, x = adapters(make, config, ["anna"]), torch.randn(400, 64).bfloat16()
    layer = fourierft.load(make(), folder / "anna")[0]
    plain = nn.functional.linear(x.double(), layer.weight.double(), layer.bias.double())
    change = x.double() @ layer.delta_weight().double().t()
    assert relative_error(plain + change, plain) < 2**-9
    bank = Bank(make(), config, dtype=dtype)
    bank.add("anna", folder / "anna")
    with torch.no_grad(), bank.rows(["anna", None] * 200):
        y = bank.model(x)
    assert y.dtype == torch.bfloat16
    near(y[::2], (plain + change)[::2], 2**-8)
    near(y[1::2], plain[1::2], 2**-8)
    kept = ((y - plain)[::2] * change[::2]).sum() / change[::2].square().sum()
    assert float(kept) == pytest.approx(1, abs=0.25)


def test_over_four_bits(adapters, tmp_path):
    pytest.importorskip("bitsandbytes")
    from bitsandbytes.nn import Linear4bit

    def make():
        torch.manual_seed(8)
        base, model = nn.Linear(64, 64), nn.Module()
        model.query = Linear4bit(64, 64, quant_type="nf4")
        model.query.load_state_dict(base.state_dict())
        model.forward = lambda x: model.query(x)
        return model.requires_grad_(False).to("cpu")

    config = FourierConfig(n=30, scale=15.0, targets=("query",))
    folder, x = adapters(make, config), torch.randn(len(ROWS), 3, 64)
    bank = Bank.over(make(), folder)
    assert torch.equal(bank.model.query(x), make().query(x))
    with torch.no_grad(), bank.rows(ROWS):
        mixed = bank.model.query(x)
    for k, name in enumerate(ROWS):
        layer = make() if name is None else fourierft.load(make(), folder / name)
        near(mixed[k], layer.query(x[k : k + 1])[0].detach())


def test_files_of_peft_come_in_and_go_out(roberta, adapters, batch, tmp_path):
    theirs, name = roberta(), "ours"
    settings = dict(n_frequency=30, scaling=15.0, target_modules=["query", "value"], task_type="SEQ_CLS")
    wrapped = moved(peft.get_peft_model(theirs, peft.FourierFTConfig(**settings)).eval(), by=0.3)
    wrapped.save_pretrained(tmp_path / "peft")
    expected = wrapped(batch).logits.detach()
    bank = Bank.over(roberta(), tmp_path, capacity=1)
    assert bank.names == ("peft",)
    near(together(bank, ["peft"] * len(batch), batch), expected)
    bank.save("peft", tmp_path / name)
    again = peft.PeftModel.from_pretrained(roberta(), tmp_path / name).eval()
    near(again(batch).logits.detach(), expected)
    assert fourierft.load(roberta(), tmp_path / name)  # with a digest that holds


def test_a_packed_file_holds_the_same(roberta, adapters, batch, tmp_path):
    folder, file = adapters(roberta), tmp_path / "all.safetensors"
    seen = []
    bank = Bank.over(roberta(), folder, progress=lambda items: (seen.append(item.name) or item for item in items))
    assert tuple(seen) == bank.names == NAMES
    bank.pack(file)
    packed = Bank.over(roberta(), file, capacity=3)
    assert packed.names == NAMES and packed.config == bank.config
    assert torch.equal(together(packed, ROWS, batch), together(bank, ROWS, batch))
    with torch.device("meta"):  # the default device is not asked
        assert torch.equal(packed.row("ben"), bank.row("ben"))

    content = bytearray(file.read_bytes())
    content[-32 * len(NAMES) - 1] ^= 1  # the last number of the last adapter
    file.write_bytes(content)
    damaged = Bank.over(roberta(), file, capacity=3)
    together(damaged, ROWS, batch)
    with pytest.raises(FourierError, match=r"is damaged: 'dora' does not have its digest"), damaged.rows(["dora"]):
        pass
    assert damaged.held == ("ben", "anna", "carl")
    for whole, broken, problem in (
        (b'[\\"anna', b',\\"anna', "damaged metadata"),
        (b', \\"dora\\"', b" " * 10, "other names"),
    ):
        file.write_bytes(content.replace(whole, broken))
        with pytest.raises(FourierError, match=f"{problem}.*: pack it again"):
            damaged.add_all(file)
    file.write_bytes(content[:-100])
    with pytest.raises(FourierError, match="is not a whole safetensors file"):
        damaged.add_all(file)
    with pytest.raises(FourierError, match=r"is not a file of packed adapters: give one that Bank\.pack wrote"):
        damaged.add_all(folder / "anna" / "adapter_model.safetensors")


OTHERS = {
    "n is 31, not 30": {"n": 31},
    "entry_seed is 777, not 2024": {"entry_seed": 777},
    "scale is 16.0, not 15.0": {"scale": 16.0},
    r"targets is \['query'\], not \['query', 'value'\]": {"targets": ("query",)},
    r"head is \[\], not \['classifier'\]": {"head": ()},
    "basis is 'dct', not 'fourier'": {"basis": "dct"},
    "entries is 'grid', not 'random'": {"entries": "grid"},
    r"band is \(3, 5\), not None": {"band": (3, 5)},
}


@pytest.fixture
def bank(roberta, adapters):
    """A bank of two that holds both, and would notice a change."""
    bank = Bank.over(roberta(), adapters(roberta, names=NAMES[:2]), capacity=2)
    with bank.rows(NAMES[:2]):
        pass
    before = bank._table.clone()
    yield bank
    assert bank.names == tuple(sorted(bank.held)) == NAMES[:2] and torch.equal(bank._table, before)


@pytest.mark.parametrize("problem", OTHERS)
def test_an_adapter_of_another_configuration_is_refused(problem, bank, roberta, adapters, tmp_path):
    config = FourierConfig(**(vars(CONFIG) | OTHERS[problem]))
    folder = adapters(roberta, config, ["other"], tmp_path / "others")
    adapters(roberta, CONFIG, ["good"], tmp_path / "others")
    with pytest.raises(FourierError, match=f"other.* does not fit the bank: {problem}; make another bank"):
        bank.add("other", folder / "other")
    with pytest.raises(FourierError, match=problem):
        bank.add_all(folder)  # of which one is good


def test_an_adapter_of_another_model_or_half_a_one_is_refused(bank, roberta, adapters, tmp_path):
    folder = adapters(lambda: roberta(num_labels=3), CONFIG, ["wide"], tmp_path / "others") / "wide"
    with pytest.raises(FourierError, match=r"out_proj\.\w+ has shape \(3,.* the model \(2,"):
        bank.add("wide", folder)
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(FourierError, match="is not a whole safetensors file"):
        bank.add("wide", folder)
    with pytest.raises(FourierError, match=r"nowhere.* does not exist"):
        bank.add("wide", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FourierError, match=r"empty has no folder with an adapter_config\.json"):
        bank.add_all(tmp_path / "empty")


def test_an_adapter_that_is_damaged_on_the_disk_is_refused_when_it_is_named(bank, roberta, adapters, tmp_path):
    folder = adapters(roberta, CONFIG, ["bad"], tmp_path / "others") / "bad"
    weights = folder / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    bank.add("bad", folder)
    with pytest.raises(FourierError, match="is damaged: its tensors do not have the digest"), bank.rows(["bad"]):
        pass
    bank.remove("bad")


def test_names_that_do_not_fit(bank, adapters, roberta, batch, tmp_path):
    with pytest.raises(FourierError, match="'ana' is no adapter of this bank, which has 2, the nearest are anna"):
        together(bank, ["ana", None], batch[:2])
    with pytest.raises(FourierError, match="'zz' is no adapter of this bank, which has 2"):
        bank.remove("zz")
    with pytest.raises(FourierError, match="'anna' is in the bank already"):
        bank.add("anna", adapters(roberta, names=["anna"], folder=tmp_path / "more") / "anna")
    with pytest.raises(FourierError, match="name='' is not possible"):
        bank.add("", tmp_path / "more" / "anna")
    for names in ([], "anna"):
        with pytest.raises(FourierError, match=r"names=.* is not possible: give a list with a name or None"):
            together(bank, names, batch)
    with pytest.raises(
        FourierError, match=r"2 names do not fit the batch: .*query\S* gets a tensor of shape \(5, 9, 32\)"
    ):
        together(bank, ["anna", None], batch)
    bank.add("carl", adapters(roberta, names=["carl"], folder=tmp_path / "more") / "carl")
    with pytest.raises(FourierError, match=r"3 adapters are named at once, anna, ben, carl, \.\.\., but capacity=2"):
        together(bank, ["anna", "ben", "carl"], batch[:3])
    bank.remove("carl")


def test_what_a_bank_is_not_for(bank, roberta, tmp_path):
    folder = tmp_path / "adapters" / "anna"
    for function in (fourierft.merge, lambda model: fourierft.save(model, folder), lambda m: fourierft.load(m, folder)):
        with pytest.raises(FourierError, match=r"has a fourierft\.Bank, which adds and saves its adapters"):
            function(bank.model)
    with pytest.raises(FourierError, match="is adapted already"):
        Bank(bank.model, CONFIG)
    query = bank.model.roberta.encoder.layer[0].attention.self.query
    with pytest.raises(FourierError, match="does not train"), bank.rows(["anna"]):
        query(torch.randn(1, 3, 32, requires_grad=True))
    with pytest.raises(FourierError, match="rows of a nested tensor"), bank.rows(["anna"]):
        query(torch.nested.nested_tensor([torch.randn(3, 32)]))


def test_experts_whose_tokens_are_not_in_the_order_of_the_rows_are_refused():
    model = nn.ModuleDict({"experts": nn.ModuleList([nn.Linear(8, 8)])})
    with pytest.raises(FourierError, match=r"experts\.0 gets the tokens that its router chose"):
        Bank(model, FourierConfig(n=4, scale=1.0, targets=("0",)))


@pytest.mark.parametrize(
    ("settings", "options", "problem"),
    [
        ({"scale": "auto"}, {}, "scale='auto' is not possible: give the number in the files"),
        ({"basis": "dct"}, {}, "basis='dct' is not possible"),
        ({"targets": ("qery",)}, {}, "'qery' matches no module, the nearest are"),
        ({}, {"capacity": 0}, "capacity=0 is not possible: give an integer of at least 1, or None"),
        ({}, {"dtype": torch.int8}, "dtype=torch.int8 is not possible"),
    ],
)
def test_a_bank_that_cannot_be_leaves_the_model_plain(roberta, settings, options, problem):
    model = roberta()
    with pytest.raises(FourierError, match=problem):
        Bank(model, FourierConfig(**(vars(CONFIG) | settings)), **options)
    assert not fourierft.fourier_layers(model) and all(p.requires_grad for p in model.parameters())
