"""The folders below results/."""

from pathlib import Path


class Results:
    """Where each kind of record is, and what is made of them. `root`: by default results/ where a command runs."""

    def __init__(self, root: Path = Path("results")):
        self.root = root
        self.paper = root / "paper"  # the paper's numbers, transcribed
        self.records = root / "records"  # of runs
        self.judged = root / "judged"  # of runs, with the scores of a judge
        self.studies = root / "studies"  # of each study, in a folder of its own
        self.search = root / "search"  # of searches for hyper-parameters
        self.parameters = root / "parameters"  # of the counts at full size
        self.bench = root / "bench"  # of training steps that were timed
        self.micro = root / "micro"  # of the parts of a step
        self.tables = root / "tables"  # made of all of these
        self.figures = root / "figures"
