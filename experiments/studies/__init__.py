"""The studies: the paper's arguments for why FourierFT works, each with its records, table and figure."""

from experiments.studies import declared
from experiments.studies.base import Study
from experiments.studies.expressive import Expressive
from experiments.studies.memory import Memory
from experiments.studies.rank import RankOfDelta
from experiments.studies.transfer import Transfer
from experiments.studies.where import WHERE

# In the order of the page of verdicts: the paper's arguments first, then what it leaves open.
STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        declared.SCALING,
        declared.BIAS,
        declared.BASIS,
        Expressive(),
        declared.CURVES,
        RankOfDelta(),
        Memory(),
        declared.INITIALISATION,
        declared.LUCK,
        declared.GRID,
        Transfer(),
        WHERE,
    )
}
