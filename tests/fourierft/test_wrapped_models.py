"""A model inside a wrapper of torch's, or held by another model, is found; its paths are those of the model alone."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import distributed, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

import fourierft
from fourierft import FourierConfig, FourierError

CONFIG = FourierConfig(20, 3.0, ("query", "value"), ("classifier",))
FILES = ("adapter_config.json", "adapter_model.safetensors")


def contents(folder):
    """All that is in the two files; the order of the metadata is by chance."""
    with safe_open(folder / FILES[1], "pt") as file:
        return (folder / FILES[0]).read_text(), file.metadata(), file.keys()


class Holder(nn.Module):
    def __init__(self, **models):
        super().__init__()
        for name, model in models.items():
            setattr(self, name, model)
        self.output = nn.Linear(3, 3)


def compiled_inside(model):
    model["attention"] = torch.compile(model["attention"], backend="eager")
    return model


def checkpointed_inside(model):
    model["attention"]["value"] = checkpoint_wrapper(model["attention"]["value"])
    return model


WRAPPERS = {
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "compiled inside": compiled_inside,
    "checkpointed inside": checkpointed_inside,
    "data parallel": DataParallel,
    "ddp": DistributedDataParallel,
    "fsdp": lambda model: FullyShardedDataParallel(model, use_orig_params=True, device_id=torch.device("cpu")),
    "average": AveragedModel,
    "average of compiled": lambda model: AveragedModel(torch.compile(model, backend="eager")),
    "in sequence": lambda model: nn.Sequential(model, nn.Linear(3, 3)),
    "held": lambda model: Holder(encoder=model),
}


@pytest.fixture(scope="module", autouse=True)
def one_process():
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore:FSDP:UserWarning")
@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_wrapped_model_is_saved_loaded_and_counted_as_the_model_itself(wrap, block, tmp_path):
    model = fourierft.adapt(block(), CONFIG)
    fourierft.save(model, tmp_path / "plain")
    deltas = fourierft.delta_weights(model)
    wrapped = wrap(model)
    fourierft.save(wrapped, tmp_path / "wrapped")
    assert contents(tmp_path / "wrapped") == contents(tmp_path / "plain")

    layers = fourierft.fourier_layers(wrapped)
    with torch.no_grad():
        for layer in layers.values():
            layer.fourierft_spectrum.zero_()
    assert fourierft.load(wrapped, tmp_path / "plain") is wrapped
    found = fourierft.delta_weights(wrapped)
    assert list(found) == list(layers) == list(deltas) == ["attention.query", "attention.value"]
    assert all(torch.equal(found[path], deltas[path]) for path in deltas)
    assert fourierft.count(wrapped).adapter == 40
    fourierft.unmerge(fourierft.merge(fourierft.use(wrapped, memory="keep")))
    assert all(layer.algorithm.memory == "keep" and not layer.merged for layer in layers.values())


def test_a_plain_compiled_model_is_adapted_under_its_own_paths(block, tmp_path):
    fourierft.save(fourierft.adapt(torch.compile(block(), backend="eager"), CONFIG), tmp_path)
    fourierft.load(torch.compile(block(), backend="eager"), tmp_path)
    assert list(fourierft.fourier_layers(fourierft.load(block(), tmp_path))) == ["attention.query", "attention.value"]


def test_keys_of_a_compiled_model_in_an_older_file_are_read(block, tmp_path):
    model = fourierft.adapt(block(), CONFIG)
    fourierft.save(model, tmp_path)
    tensors = load_file(tmp_path / FILES[1])
    older = {key.replace("model.attention", "model._orig_mod.attention"): tensor for key, tensor in tensors.items()}
    save_file(older, tmp_path / FILES[1])
    other = fourierft.load(block(), tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(other.parameters(), model.parameters(), strict=True))


@pytest.mark.parametrize("wrap", [DistributedDataParallel, DataParallel, AveragedModel])
def test_a_plain_model_is_adapted_before_it_is_wrapped(wrap, block):
    model = wrap(block())
    with pytest.raises(FourierError, match=rf"inside a {wrap.__name__}: adapt, or load into, its \.module"):
        fourierft.adapt(model, CONFIG)
    assert not fourierft.fourier_layers(model)


def test_a_layer_that_is_compiled_by_itself_is_refused(block):
    model = block()
    model["attention"]["query"] = torch.compile(model["attention"]["query"], backend="eager")
    with pytest.raises(FourierError, match=r"attention\.query is compiled by itself"):
        fourierft.adapt(model, CONFIG)


def test_what_holds_no_one_adapted_model_is_refused_with_what_to_give(block, tmp_path):
    model, other = fourierft.adapt(block(), CONFIG), fourierft.adapt(block(), CONFIG)
    fourierft.save(model, tmp_path)
    for wrong, count in ((model["attention"], 0), (Holder(query=model, document=other), 2)):
        for function in (fourierft.save, fourierft.load):
            with pytest.raises(FourierError, match=rf"but {count} models in it are configured: give the one"):
                function(wrong, tmp_path)
    assert len(fourierft.delta_weights(Holder(query=model, document=other))) == 4


def test_a_model_on_meta_is_refused_and_unchanged(block, tmp_path):
    fourierft.save(fourierft.adapt(block(), CONFIG), tmp_path)
    for model in (block().to("meta"), fourierft.adapt(block().to("meta"), CONFIG)):
        layers = list(fourierft.fourier_layers(model))
        with pytest.raises(FourierError, match=r"attention\.query\.\w+ is on the meta device"):
            fourierft.load(model, tmp_path)
        assert list(fourierft.fourier_layers(model)) == layers
    with pytest.raises(FourierError, match=r"attention\.query\.fourierft_spectrum is on the meta device"):
        fourierft.save(model, tmp_path)
