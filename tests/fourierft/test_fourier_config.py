"""An invalid configuration is refused when it is created, with the name and the value of its field."""

import dataclasses

import pytest

from fourierft import FourierConfig, FourierError

GOOD = {"n": 10, "scale": 2.0, "targets": ("query",)}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 0),
        ("n", 1.5),
        ("n", True),
        ("scale", 0.0),
        ("scale", float("nan")),
        ("scale", float("inf")),
        ("scale", "150"),
        ("scale", "Auto"),
        ("scale", 10**400),
        ("entry_seed", None),
        ("entry_seed", 2**64),
        ("targets", ()),
        ("targets", ""),
        ("targets", "query("),
        ("targets", "a{99999999999}"),
        ("targets", ("query", 3)),
        ("head", "classifier"),
        ("init", "ones"),
        ("band", (1,)),
        ("band", (-1, 5)),
        ("band", (1, 0)),
        ("basis", "wavelet"),
        ("entries", "lattice"),
        ("shared_entries", 1),
        ("task_type", 1),
        ("base_model", ["roberta-base"]),
    ],
)
def test_a_bad_value_is_refused_by_name(field, value):
    with pytest.raises(FourierError, match=rf"FourierConfig: {field}=") as error:
        FourierConfig(**GOOD | {field: value})
    assert repr(value) in str(error.value)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"basis": "dct", "band": (3, 2)}, "band"),
        ({"entries": "grid", "basis": "dct"}, "entries"),
        ({"entries": "grid", "band": (3, 2)}, "entries"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(settings, field):
    with pytest.raises(FourierError, match=f"FourierConfig: {field}="):
        FourierConfig(**GOOD | settings)


def test_lists_become_tuples_and_the_config_is_immutable():
    config = FourierConfig(10, 2.0, targets=["query"], head=["classifier"], band=[1, 2])
    assert (config.targets, config.head, config.band) == (("query",), ("classifier",), (1, 2))
    assert hash(config) == hash(dataclasses.replace(config))
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.n = 11


def test_a_bad_scale_is_told_both_that_are_good():
    with pytest.raises(FourierError, match=r'FourierConfig: scale=0 .*150\.0, or "auto"'):
        FourierConfig(**GOOD | {"scale": 0})


def test_the_default_seed_is_the_papers():
    assert FourierConfig(**GOOD).entry_seed == 2024
