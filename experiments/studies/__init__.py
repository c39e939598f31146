"""The studies: the paper's arguments for why FourierFT works, each one folder of records, a table and a figure."""

from experiments.studies.scaling import Scaling

STUDIES = {study.name: study for study in (Scaling(),)}
