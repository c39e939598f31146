"""Damaged records of every kind: refused by name, or equal but for facts that nothing else in them determines."""

import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.measure.bench import Bench
from experiments.measure.sizes import Sizes
from experiments.record import Record, RecordError, read
from experiments.studies.expressive.outcome import Contest
from experiments.studies.memory.footprint import Footprint
from experiments.studies.rank.construction import Construction
from experiments.trials import Trials
from tests.conftest import ROOT

RESULTS = ROOT / "results"
KINDS = {
    Record: "records/*/*/*/*.json",
    Trials: "search/*/*/*.json",
    Bench: "bench/*/*.json",
    Sizes: "parameters/*.json",
    Construction: "studies/rank/constructions/*.json",
    Footprint: "studies/memory/*.json",
    Contest: "studies/expressive/*.json",
}
# What nothing else in a record determines: its sources and machine, what was measured once, the scores of epochs that
# were neither the best nor the last; in searches the matrices that were adapted, in older ones how many trials there
# were, in those that stayed in their ranges whether the first numbers are named. A whole record that is made up agrees
# with itself, too.
PROVENANCE = r"hardware.* | versions.* | commit | dirty | started | ended"
SPECTRA = r"rank\.tolerance | rank\.matrices\.\d+\.(name|shape.*|singular_values.*)"
FREE = {
    Record: rf"""{PROVENANCE} | {SPECTRA} | rank | (model|dataset)\.(source|id|revision|sha256|skipped.*)
        | dataset\.(name|rows\.test) | scale | paper_cell | params\.(head|total|stored_.*) | metrics\.test\..*
        | metrics\.per_epoch\.\d+\.(?!epoch$).* | cost\.(peak|saved|loader|test|eval).* | wandb.* | trials | judge.*""",
    Trials: r"overrides.* | holdout | numbers.* | trials\.\d+\.score | trials\.[35]\..* | exp | matrices.*",
    Bench: r"(?!set$|case$).*",
    Sizes: r"(?!model$).*",
    Construction: rf"{PROVENANCE} | {SPECTRA}",
    Footprint: r"(?!method$).*",
    Contest: rf"""{PROVENANCE} | variant\.(title|around|hidden|centres) | (parameters|settings|seeds|loss).*
        | search_seeds.* | trials\.\d+\..* | samples | (epochs|correct|first|sample).* | threads""",
}
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([10**400, -(2**70)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def leaves(value, path=""):
    """Dotted path -> value, of all that holds nothing further."""
    if not isinstance(value, dict | list) or not value:
        return {path: value}
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    return {
        name: leaf for key, part in parts for name, leaf in leaves(part, f"{path}.{key}" if path else str(key)).items()
    }


def differences(found, original):
    """The leaves that differ by more than the digits that a record keeps."""
    one, other = leaves(found.model_dump(by_alias=True)), leaves(original.model_dump(by_alias=True))
    return [name for name in one.keys() | other.keys() if not alike(one.get(name, ...), other.get(name, ...))]


def alike(one, other):
    numbers = all(isinstance(value, int | float) for value in (one, other))
    return one == other or (numbers and math.isclose(one, other, rel_tol=2e-3))


@st.composite
def damaged(draw, kind):
    """A committed record, and its text after damage to one value, or to some bytes."""
    path = draw(st.sampled_from(sorted(RESULTS.glob(KINDS[kind]))))
    text = path.read_bytes()
    if draw(st.booleans()):
        content = json.loads(text)
        holder, key = {"": content}, ""
        while isinstance(holder[key], dict | list) and holder[key] and (key == "" or draw(st.booleans())):
            holder = holder[key]
            key = draw(st.sampled_from(list(holder) if isinstance(holder, dict) else range(len(holder))))
        if draw(st.integers(0, 3)):
            holder[key] = draw(VALUES)
        else:
            del holder[key]
        return path, json.dumps(content).encode()
    at, width = draw(st.integers(0, len(text))), draw(st.sampled_from([0, 1, 2, 30, len(text)]))
    return path, text[:at] + draw(st.binary(max_size=3)) + text[at + width :]


def check(folder: Path, kind, damage):
    path, text = damage
    original = read(path, kind)
    place = folder / original.place
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(text)
    try:
        found = read(place, kind)
    except RecordError as error:
        assert str(place) in str(error)
        return
    free = re.compile(FREE[kind], re.VERBOSE | re.DOTALL)
    parts = [f"{name}." for name, leaf in leaves(found.model_dump()).items() if leaf is None and free.fullmatch(name)]
    missed = [
        name for name in differences(found, original) if not free.fullmatch(name) and not name.startswith(tuple(parts))
    ]
    assert not missed, f"not found out: {missed}"


def fuzz(examples):
    """The property, for every kind and so many examples of each."""

    def fuzzed(tmp_path_factory, kind):
        folder = tmp_path_factory.mktemp("damage")
        settings(max_examples=examples, deadline=None)(
            given(damage=damaged(kind))(lambda damage: check(folder, kind, damage))
        )()

    return pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)(fuzzed)


test_some_damage_is_refused_or_changes_no_determined_fact = fuzz(25)
test_much_damage_is_refused_or_changes_no_determined_fact = pytest.mark.slow(fuzz(1_000))
