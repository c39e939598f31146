"""Adapter files damaged in any way: `load` gives what was saved, or a FourierError and the model as it was.

Files without a digest, as PEFT's, may give another function, but no other error and no model that is half changed.
"""

import copy
import json
import shutil
import struct
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors
from torch import nn

import fourierft
from fourierft import FourierConfig, FourierError

DOCUMENT, WEIGHTS = FILES = ("adapter_config.json", "adapter_model.safetensors")
# What PEFT can express, what it cannot, and an adapter of other positions whose files get among those of the others.
CONFIGS = [
    FourierConfig(9, 3.0, ("query", "qkv"), ("classifier",)),
    FourierConfig(9, 3.0, ("query", "qkv:q,v"), ("classifier",), band=(2, 3), init="zeros"),
    FourierConfig(9, 3.0, r"query|qkv", ("classifier",), entry_seed=2025, init="zeros"),
]


@cache
def network():
    torch.manual_seed(1)
    return nn.ModuleDict({"query": nn.Linear(12, 12), "qkv": nn.Linear(12, 36), "classifier": nn.Linear(36, 3)})


@cache
def saved(which, digest):
    """An adapted network, and the files of its adapter, without a digest if so asked."""
    model = fourierft.adapt(copy.deepcopy(network()), CONFIGS[which])
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    with tempfile.TemporaryDirectory() as folder:
        fourierft.save(model, folder)
        files = {name: Path(folder, name).read_bytes() for name in FILES}
        if not digest:
            files[WEIGHTS] = to_safetensors(load_file(Path(folder, WEIGHTS)))
    return model, files


# Damage: functions from the two files, as bytes or None, and those of another adapter, to what they become ------------

POSITION, NAME = st.integers(0, 10**4), st.sampled_from(FILES)


@st.composite
def flips(draw):
    name, at, bit = draw(NAME), draw(POSITION), draw(st.integers(0, 7))

    def damage(files, other):
        data = bytearray(files[name])
        data[at % len(data)] ^= 1 << bit
        return files | {name: bytes(data)}

    return damage


@st.composite
def splices(draw):
    """Bytes cut out, put in, or written over others."""
    name, at, cut, put = draw(NAME), draw(POSITION), draw(st.integers(0, 3000)), draw(st.binary(max_size=12))

    def damage(files, other):
        start = at % (len(files[name]) + 1)
        return files | {name: files[name][:start] + put + files[name][start + cut :]}

    return damage


LEAVES = st.one_of(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    st.sampled_from(
        [0, 2**63, 10**400, "\ud800", "query", "qkv:k,v", "(", "a{99999999999}", ".*", "all-linear", "grid"]
    ),
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
)


@st.composite
def documents(draw):
    """A key of adapter_config.json that is gone, new, or has any other value."""
    key, value, drop = draw(st.integers(0, 40) | st.text(max_size=5)), draw(VALUES), draw(st.booleans())

    def damage(files, other):
        document = json.loads(files[DOCUMENT])
        name = (
            sorted({*document, "fourierft", "peft_version"})[key % (len(document) + 1)] if isinstance(key, int) else key
        )
        if drop:
            document.pop(name, None)
        else:
            document[name] = value
        return files | {DOCUMENT: json.dumps(document).encode()}

    return damage


WORDS = [
    *(("F32", kind) for kind in ("I32", "U32", "F64", "F8_E4M3", "F4", "C64", "X")),
    *(("query", "value"), ("q,v", "k,v"), ("classifier.", "classifier_"), ('"fourierft"', '"fourier"')),
    *(("sha256", "sha257"), ("FOURIERFT", "LORA"), ("3.0", "4.0"), ("2024", "2025"), ('"none"', "0")),
]


@st.composite
def words(draw):
    """A word of adapter_config.json, or of the header of adapter_model.safetensors, that is another one throughout."""
    name, (old, new) = draw(NAME), draw(st.sampled_from(WORDS))

    def damage(files, other):
        data = files[name]
        if name == DOCUMENT:
            return files | {name: data.replace(old.encode(), new.encode())}
        end = 8 + struct.unpack("<Q", data[:8])[0]
        header = data[8:end].replace(old.encode(), new.encode())
        return files | {name: struct.pack("<Q", len(header)) + header + data[end:]}

    return damage


WHOLE = [None, b"", b"{}", b"[]", b"null", b"\xff\xfe{}", b"[" * 10**5, b'{"a":' * 10**5, b"1" * 5000, "folder"]


@st.composite
def whole_files(draw):
    name, data = draw(NAME), draw(st.sampled_from([*WHOLE, "other"]))
    return lambda files, other: files | {name: other[name] if data == "other" else data}


DAMAGE = st.one_of(flips(), splices(), documents(), words(), whole_files())


def function(model):
    """All that the model's function depends on: every parameter, the entries by their seed, the scales."""
    return str(model), [(name, tensor.tolist(), tensor.requires_grad) for name, tensor in model.named_parameters()]


def outcome(which, adapted, digest, damage, folder):
    """What becomes of loading adapter `which` after the damage: "equal", "other" or "refused"."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (exact, files), (_, other) = saved(which, digest), saved((which + 1) % len(CONFIGS), digest)
    for name, data in damage(files, other).items():
        if data == "folder":
            (folder / name).mkdir()
        elif data is not None:
            (folder / name).write_bytes(data)
    model = copy.deepcopy(network())
    if adapted:
        fourierft.adapt(model, CONFIGS[which])
    before = function(model)
    try:
        fourierft.load(model, folder)
    except FourierError:
        assert function(model) == before
        return "refused"
    return "equal" if function(model) == function(exact) else "other"


@pytest.mark.parametrize("examples", [250, pytest.param(30_000, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])])
def test_damage_is_refused_or_changes_nothing(examples, tmp_path):
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.integers(0, 2), st.booleans(), st.booleans(), DAMAGE)
    def holds(which, adapted, digest, damage):
        found = outcome(which, adapted, digest, damage, tmp_path / "adapter")
        counts["with" if digest else "without", found] += 1
        assert found != "other" or not digest

    counts = Counter()
    holds()
    for (digest, found), count in sorted(counts.items()):
        print(f"{digest} a digest: {found} {count:,}")  # shown by -rP
