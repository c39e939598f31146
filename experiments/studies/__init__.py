"""The studies: the paper's arguments for why FourierFT works, each with its records, table and figure."""

from experiments.studies.base import Study
from experiments.studies.basis import Basis
from experiments.studies.bias import Bias
from experiments.studies.curves import Curves
from experiments.studies.grid import Grid
from experiments.studies.initialisation import Initialisation
from experiments.studies.luck import Luck
from experiments.studies.memory import Memory
from experiments.studies.scaling import Scaling

STUDIES: dict[str, Study] = {
    study.name: study for study in (Scaling(), Bias(), Basis(), Memory(), Curves(), Initialisation(), Luck(), Grid())
}
