"""Names for people: every configuration has one, none is shared, and what has none keeps its identifier."""

import pytest
import yaml

from experiments.errors import UserError
from experiments.names import NAMES, name, read_names, sized
from tests.conftest import ROOT


def identifiers(kind):
    """Of all configurations of a kind, but for those that take their name from a path of the user's."""
    found = [yaml.safe_load(path.read_text())["name"] for path in (ROOT / "configs" / kind).glob("*.yaml")]
    return [one for one in found if "$" not in one]


@pytest.mark.parametrize("kind", ["model", "method", "task"])
def test_every_configuration_has_a_name_of_its_own(kind):
    found = identifiers(kind)
    assert found and set(found) <= NAMES.keys()
    assert len({name(one) for one in found}) == len(found)


def test_a_model_of_ones_own_is_called_as_it_is():
    assert name("dinov2_small") == "dinov2_small"


def test_a_method_is_named_with_its_settings():
    assert sized("lora", {"r": 8, "alpha": 4.0}) == "LoRA r=8 α=4"
    assert sized("waveft", {"settings.n_frequency": 1000}) == "WaveFT n=1000"
    assert sized("fourierft", {"n": 333, "targets": "all-linear"}) == "FourierFT all-linear n=333"
    assert sized("mine", {"width": 2}) == "mine width=2"


def test_a_name_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "names.yaml").write_text("mine: [a, b]\n")
    with pytest.raises(UserError, match=r"names.yaml: .*mine: .*in quotes"):
        read_names(tmp_path / "names.yaml")
