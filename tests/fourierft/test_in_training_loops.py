"""The layer keeps its promises in the loops people train it in: autocast, scalers, compilers, several processes."""

import gc
import itertools

import pytest
import torch
from comparing import relative_error
from torch import distributed, nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

import fourierft
from fourierft import Entries, FourierConfig, FourierLinear, function, reference

FORWARD, GRADIENT = ("fft", "tokens"), ("fft", "tokens")
NARROW = (torch.bfloat16, torch.float16)


def network(dtype=torch.float32, **algorithm):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(24, 36), nn.Tanh(), nn.Linear(36, 24)).to(dtype)
    return fourierft.use(fourierft.adapt(model, FourierConfig(20, 5.0, ("0", "2"))), **algorithm)


def spectra(model):
    return [layer.fourierft_spectrum for layer in fourierft.fourier_layers(model).values()]


def outputs_and_grads(function, model, x, autocast=None):
    """y, dx and the gradients of the coefficients, of the sum of squares of y = function(x)."""
    x = x.detach().requires_grad_()
    with torch.autocast("cpu", autocast, enabled=autocast is not None):
        y = function(x)
    return y.detach(), *torch.autograd.grad(y.float().square().sum(), (x, *spectra(model)))


# Compiled -----------------------------------------------------------------------------------------------------------


def assert_compiled_equals_eager(backend, autocast, tolerance, **algorithm):
    """In one graph, for four batch sizes; returns how many graphs it took."""
    torch.compiler.reset()
    model = network(**algorithm)
    graphs = []

    def counted(graph, inputs):
        graphs.append(graph)
        return torch._dynamo.lookup_backend(backend)(graph, inputs)

    compiled = torch.compile(model, fullgraph=True, backend=counted)
    for tokens in (7, 9, 11, 13):
        x = torch.randn(tokens, 24)
        ours = outputs_and_grads(compiled, model, x, autocast)
        for actual, exact in zip(ours, outputs_and_grads(model, model, x, autocast), strict=True):
            assert actual.dtype == exact.dtype and relative_error(actual, exact) <= tolerance
    return len(graphs)


# The two choices are independent code: each value once here, the other pairs among the slow tests.
QUICK = [("fft", "fft"), ("tokens", "tokens")]
SLOW = [pytest.param(*p, marks=pytest.mark.slow) for p in itertools.product(FORWARD, GRADIENT) if p not in QUICK]


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
@pytest.mark.parametrize(("forward", "gradient"), QUICK + SLOW)
def test_compiled_it_is_one_graph_and_a_second_for_all_other_batch_sizes(forward, gradient, autocast):
    """fullgraph=True raises at a graph break. A number that the first graph fixes, the second leaves free."""
    assert assert_compiled_equals_eager("aot_eager", autocast, 1e-6, forward=forward, gradient=gradient) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("forward", "gradient", "autocast"), [("fft", "fft", None), ("tokens", "tokens", torch.bfloat16)]
)
@pytest.mark.filterwarnings("ignore:Torchinductor does not support code generation for complex operators")
def test_inductor_compiles_it(forward, gradient, autocast):
    tolerance = 1e-5 if autocast is None else 2e-2  # it keeps in float32 what autocast rounds between two operators
    assert assert_compiled_equals_eager("inductor", autocast, tolerance, forward=forward, gradient=gradient) == 2


@pytest.mark.parametrize("change", [torch.relu_, lambda y: y.add_(1)])
def test_an_output_may_be_changed_in_place(change):
    """As nn.Linear's, by ReLU(inplace=True) or by +=: autograd refuses that to a view made in a custom function."""
    layer, x = network()[0], torch.randn(5, 24)
    results = []
    for y in (layer(x), layer(x).clone()):
        y = change(y)
        results.append((y, torch.autograd.grad(y.square().sum(), layer.fourierft_spectrum)[0]))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


# Scaled, checkpointed -----------------------------------------------------------------------------------------------


def network_loss(model, x):
    return model(x).float().square().mean()


def scaled_step(scale):
    """A step of SGD under float16 autocast and a GradScaler: the model after it, float32's gradients, the scaler."""
    model, x = network(), torch.randn(64, 24)
    optimizer = torch.optim.SGD(spectra(model), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    with torch.autocast("cpu", torch.float16):
        loss = model(x).float().square().mean()
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    wanted = torch.autograd.grad(network_loss(plain := network(), x), spectra(plain))
    return model, wanted, scaler


def test_a_gradient_scaler_gives_the_gradients_of_float32():
    model, wanted, scaler = scaled_step(2.0**10)
    assert scaler.get_scale() == 2.0**10
    for spectrum, exact in zip(spectra(model), wanted, strict=True):
        assert spectrum.grad.dtype == torch.float32
        assert 0 < relative_error(spectrum.grad, exact) < 3 * 2**-12  # the unit roundoff of float16, a few times


def test_a_gradient_scaler_skips_the_step_of_an_infinite_gradient():
    """The scaled gradient overflows float16 on its way into the layer: the coefficients must get to see that."""
    model, _, scaler = scaled_step(2.0**40)
    assert not all(spectrum.grad.isfinite().all() for spectrum in spectra(model))
    assert all(torch.equal(a, b) for a, b in zip(spectra(model), spectra(network()), strict=True))
    assert scaler.get_scale() == 2.0**39


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("forward", FORWARD)
def test_checkpointing_under_autocast_changes_nothing_and_keeps_no_cast(forward, use_reentrant):
    model, x = network(forward=forward), torch.randn(5, 24)
    plain = outputs_and_grads(model, model, x, torch.bfloat16)
    kept = []

    def checkpointed(x):
        y = checkpoint(model, x, use_reentrant=use_reentrant)
        kept.append(function._last_cast[2]())  # of the input of a layer inside, None if it is gone
        return y

    inputs = x.clone().requires_grad_()  # .grad and not autograd.grad, which a reentrant checkpoint refuses
    with torch.autocast("cpu", torch.bfloat16):
        y = checkpointed(inputs)
    y.float().square().sum().backward()
    again = y.detach(), inputs.grad, *(spectrum.grad for spectrum in spectra(model))
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))
    assert kept == [None]


# Several processes --------------------------------------------------------------------------------------------------

SHARDED = {
    "float32": (torch.float32, MixedPrecisionPolicy()),
    "a bfloat16 base": (torch.bfloat16, MixedPrecisionPolicy()),
    "mixed precision": (torch.float32, MixedPrecisionPolicy(param_dtype=torch.bfloat16)),
}


def rows_of(rank, dtype=torch.float32):
    return torch.randn(6, 24, generator=torch.Generator().manual_seed(rank)).to(dtype)


def three_steps(model, losses_of):
    """Losses, first gradients and final coefficients of three steps of AdamW; losses_of(model) is a list, averaged."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=0.5)
    losses, gradients = [], []
    for _ in range(3):
        parts = losses_of(model)
        (sum(parts) / len(parts)).backward()
        losses.append([part.item() for part in parts])
        gradients.append([parameter.grad.clone() for parameter in parameters])
        optimizer.step()
        optimizer.zero_grad()
    return {"losses": losses, "gradients": gradients[0], "coefficients": [p.detach() for p in parameters]}


def process(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    model = DistributedDataParallel(network())
    results = {"ddp": three_steps(model, lambda model: [network_loss(model, rows_of(rank))])}
    mesh = distributed.init_device_mesh("cpu", (2,))
    for name, (dtype, policy) in SHARDED.items():
        model = network(dtype)
        for module in (model[0], model[2], model):
            fully_shard(module, mesh=mesh, mp_policy=policy)
        result = three_steps(model, lambda model, dtype=dtype: [network_loss(model, rows_of(rank, dtype))])
        results[name] = {"losses": result["losses"], "kinds": {p.dtype for p in spectra(model)}}
        results[name]["coefficients"] = [p.full_tensor() for p in spectra(model)]
        results[name]["saved"] = saved = f"{folder}/{name} {rank}"
        fourierft.save(model, saved)
        with pytest.raises(fourierft.FourierError, match="is sharded: load before"):
            fourierft.load(model, saved)
    torch.save(results, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """What the two processes found, each on its own rows."""
    folder = tmp_path_factory.mktemp("processes")
    how = "spawn" if torch.cuda.is_available() else "fork"  # beside a GPU autograd forbids a forked backward pass
    torch.multiprocessing.start_processes(process, (folder,), nprocs=2, start_method=how)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def test_two_processes_have_the_gradients_of_the_joined_batch(both):
    joined = torch.cat([rows_of(0), rows_of(1)])
    exact = three_steps(network(), lambda model: [network_loss(model, joined)])
    for found in both:
        for ours, wanted in zip(found["ddp"]["gradients"], exact["gradients"], strict=True):
            assert relative_error(ours, wanted) < 1e-5
        for ours, wanted in zip(found["ddp"]["coefficients"], exact["coefficients"], strict=True):
            assert relative_error(ours, wanted) < 1e-4
    assert both[0]["ddp"]["losses"] != both[1]["ddp"]["losses"]  # the data did differ
    pairs = zip(both[0]["ddp"]["coefficients"], both[1]["ddp"]["coefficients"], strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", SHARDED)
def test_sharded_over_two_processes_it_trains_as_in_one(both, name):
    """The coefficients are sharded like any parameter and stay float32, beside a bfloat16 weight too.

    A mixed-precision policy rounds them to bfloat16 for the passes, as it does every parameter: their rounding, 2^-9,
    is all that it costs.
    """
    dtype, policy = SHARDED[name]

    def losses(model):
        with torch.autocast("cpu", torch.bfloat16, enabled=policy.param_dtype is not None):
            return [network_loss(model, rows_of(rank, dtype)) for rank in range(2)]

    exact = three_steps(network(dtype), losses)["losses"]
    tolerance = 5e-3 if policy.param_dtype else 1e-5
    for rank, found in enumerate(both):
        assert found[name]["kinds"] == {torch.float32}
        ours = [loss for (loss,) in found[name]["losses"]]
        assert ours == pytest.approx([step[rank] for step in exact], rel=tolerance)
        assert ours[2] < 0.9 * ours[0]


@pytest.mark.parametrize("name", SHARDED)
def test_sharded_it_is_saved_whole(both, name):
    for found in both:
        loaded = spectra(fourierft.load(network(SHARDED[name][0]), found[name]["saved"]))
        assert all(torch.equal(a, b) for a, b in zip(loaded, found[name]["coefficients"], strict=True))


# Low precision ------------------------------------------------------------------------------------------------------


def learned(forward, dtype, apply):
    """delta_W after 150 steps towards W + D, D a tenth of the spacing of bfloat16 at W, and the D itself."""
    torch.manual_seed(3)
    base = nn.Linear(64, 64, bias=False).requires_grad_(False)
    base.weight.copy_((torch.rand(64, 64) * 0.02 + 0.04) * torch.randn(64, 64).sign())  # a spacing of 2^-12 throughout
    weight = base.bfloat16().weight.float()
    layer = FourierLinear(base.to(dtype), Entries(50), scale=0.1 * 2**-12 * 64 * 64 / 5)
    layer.algorithm = fourierft.Algorithm(forward=forward)
    truth = FourierLinear(nn.Linear(64, 64), layer.entries, layer.scale)
    truth.reset_spectrum("normal")
    wanted = truth.delta_weight()
    optimizer = torch.optim.AdamW([layer.fourierft_spectrum], lr=0.05, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 150)
    for _ in range(150):
        x = torch.randn(2048, 64).bfloat16()
        target = x.float() @ (weight + wanted).t()
        error = (apply(layer, x.to(dtype)).float() - target) / wanted.std()  # or Adam's epsilon outweighs the gradient
        optimizer.zero_grad()
        error.square().mean().backward()
        optimizer.step()
        schedule.step()
    return layer.delta_weight(), wanted


def swallowing(layer, x):
    """W + delta_W in bfloat16: what the layer must not do."""
    entries = layer.entries.sample((64, 64))
    delta = reference.delta_weight(layer.fourierft_spectrum, entries, (64, 64), layer.scale)
    return nn.functional.linear(x, layer.weight + delta.bfloat16())


@pytest.mark.parametrize("forward", FORWARD)
def test_a_bfloat16_base_learns_what_a_float32_one_learns(forward):
    wide, wanted = learned(forward, torch.float32, nn.Module.__call__)
    narrow, _ = learned(forward, torch.bfloat16, nn.Module.__call__)
    assert relative_error(wide, wanted) < 0.03
    assert relative_error(narrow, wide) < 0.02


def test_a_sum_in_bfloat16_would_not_learn_it():
    """The measure of the test above: the sum stands still until delta_W is far too large."""
    swallowed, wanted = learned("fft", torch.bfloat16, swallowing)
    assert relative_error(swallowed, wanted) > 1


class Transforms(TorchDispatchMode):
    """Records the types of all that enters a Fourier transform."""

    def __init__(self):
        super().__init__()
        self.dtypes = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "_fft_" in func.name():
            self.dtypes.add(args[0].dtype)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("saved_dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("gradient", GRADIENT)
@pytest.mark.parametrize("forward", FORWARD)
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", NARROW)
def test_no_transform_sees_a_narrow_number(dtype, autocast, forward, gradient, saved_dtype):
    settings = {"forward": forward, "gradient": gradient, "saved_dtype": saved_dtype, "compiled": False}
    model = network(torch.float32 if autocast else dtype, **settings)
    x = torch.randn(5, 24, dtype=torch.float32 if autocast else dtype)
    with Transforms() as seen:
        outputs_and_grads(model, model, x, dtype if autocast else None)
    assert seen.dtypes == {torch.float32, torch.complex64}


# One cast of an input that two layers read --------------------------------------------------------------------------


def query_and_value():
    torch.manual_seed(1)
    layers = [FourierLinear(nn.Linear(40, 48).requires_grad_(False), Entries(20), 5.0) for _ in range(2)]
    for layer in layers:
        layer.reset_spectrum("normal")
    return layers


def test_a_query_and_a_value_save_one_cast_of_their_input():
    query, value = query_and_value()
    x, saved = torch.randn(2, 9, 40, requires_grad=True), []

    def pack(tensor):
        saved.append(tensor)
        return tensor

    with torch.autocast("cpu", torch.bfloat16), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        query(x), value(x)
    storages = {tensor.data_ptr(): tensor for tensor in saved}.values()
    narrow = [tensor for tensor in storages if tensor.dtype == torch.bfloat16]
    assert [tensor.shape for tensor in narrow] == [x.shape]
    assert sum(tensor.nbytes for tensor in storages if tensor.shape == x.shape) == 2 * x.numel()


@pytest.mark.parametrize("gradients", [False, True])
def test_an_input_changed_in_place_is_cast_again(gradients):
    query, value = query_and_value()
    x = torch.randn(2, 9, 40, requires_grad=gradients) * 1.0
    with torch.autocast("cpu", torch.bfloat16):
        kept = query(x)
        x.mul_(-1.0).add_(0.5)
        assert torch.equal(value(x), value(x.detach().clone()))
    assert kept.isfinite().all()


def test_another_width_is_cast_again():
    (layer, _), x, kept = query_and_value(), torch.randn(9, 40), []
    for dtype in (torch.bfloat16, torch.float16, torch.bfloat16):
        with torch.autocast("cpu", dtype):
            kept.append(layer(x))  # and with it the cast, which might be taken for the next
    assert [y.dtype for y in kept] == [torch.bfloat16, torch.float16, torch.bfloat16]


def test_another_thread_s_cast_is_never_taken(monkeypatch):
    """Which puts its own in place of the last at the worst moment: while this thread asks whose that is."""
    x, other, real = torch.randn(9, 40), torch.randn(9, 40), function.TensorWeakRef
    theirs = other.bfloat16()

    class Interrupted(real):
        def __call__(self):
            function._last_cast = real(other), other._version, real(theirs)
            return super().__call__()

    monkeypatch.setattr(function, "TensorWeakRef", Interrupted)
    kept = [function._cast(x, torch.bfloat16) for _ in range(2)]
    assert all(torch.equal(cast, x.bfloat16()) for cast in kept)


def test_a_cast_dies_with_the_graph_that_saved_it():
    (layer, _), x = query_and_value(), torch.randn(9, 40)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    source, _, cast = function._last_cast
    assert cast() is not None and source() is x
    del y
    gc.collect()
    assert cast() is None
    del x
    gc.collect()
    assert source() is None


def test_inference_mode_casts_and_leaves_training_alone():
    (layer, _), x = query_and_value(), torch.randn(9, 40)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.inference_mode():
            inside = layer(x)
            assert torch.equal(layer(x.clone()), inside)  # an inference tensor has no version to compare
        y = layer(x)
    y.float().square().sum().backward()
    assert torch.equal(y, inside) and layer.fourierft_spectrum.grad.any()
