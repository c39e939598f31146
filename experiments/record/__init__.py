"""Records: the one versioned JSON file that a run leaves, checked when it is written and when it is read.

A record is read only if it agrees with itself and with its path: whatever follows from the rest is derived again and
compared. Tables, figures and verdicts read records and nothing else. Reading them needs neither torch nor a GPU.

document: the base of the records of all kinds. machine: the machine that measured, and the version of the code. run,
parts: the record of a run. files: how records are written, read and found.
"""

# ruff: noqa: F401 (what others import from here)
from experiments.record.document import Count, Document, Natural, Part, RecordError, Time, compare
from experiments.record.files import LeftOut, check_writable, find, left_out, read, replace_file, replace_lines, write
from experiments.record.machine import (
    ROOT,
    Measured,
    circumstances,
    commit,
    hardware,
    is_slow_in_bf16,
    now,
    provenance,
    usable_cores,
    versions,
)
from experiments.record.parts import (
    Judge,
    Matrices,
    MatrixRank,
    Rank,
    RankSummary,
    Rule,
    Selection,
    Selections,
    judge_label,
)
from experiments.record.run import Record, config_hash
