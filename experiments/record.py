"""A record: the one versioned JSON file that a run leaves, checked when it is written and when it is read.

Tables, figures and verdicts read records and nothing else. Reading them needs neither torch nor a GPU.
"""

import hashlib
import json
import os
import platform
import re
import reprlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, JsonValue, NonNegativeFloat, NonNegativeInt, ValidationError, model_validator

from experiments import processes
from experiments.errors import UserError
from experiments.typed import Typed

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("fourierft", "torch", "transformers", "peft", "accelerate", "datasets", "evaluate", "safetensors", "numpy")
PACKAGES += ("scipy", "scikit-learn", "timm", "triton", "bitsandbytes", "hydra-core", "wandb")

# Fractions; correlations (STS-B, CoLA) may be negative.
Score = Annotated[float, Field(ge=-1, le=1)]
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)$")]


class RecordError(UserError, ValueError):
    """A record that cannot be read or written: names the file, the field, its value and the remedy."""


class Part(Typed):
    """Base of a record's parts: nothing is coerced, so what was written is what is read."""

    model_config = ConfigDict(strict=True)


Kind = TypeVar("Kind", bound=Part)


class Source(Part):
    """Where a model came from, exactly enough to fetch it again."""

    name: str
    source: Literal["local", "hub", "embedded"]
    id: str
    revision: str | None = None
    sha256: str | None = None


class Dataset(Source):
    """Where the data came from, and the number of rows of each split that was used.

    skipped: rows of each split that were left out because they could not be read.
    """

    rows: dict[str, NonNegativeInt]
    skipped: dict[str, NonNegativeInt] | None = None


class Params(Part):
    """Exact parameter counts. `adapter` excludes the head, as the paper's counts do; `adapter_bytes` is 4 each.

    stored_values, stored_bytes: of the files that were written, head included. stored_sha256: the digest of their
    tensors, as `stored_sha256` of experiments/methods/base.py gives it. Older records of schema 1 lack some of these.
    """

    adapter: NonNegativeInt
    head: NonNegativeInt
    total: NonNegativeInt
    adapter_bytes: NonNegativeInt
    stored_values: NonNegativeInt | None = None
    stored_bytes: NonNegativeInt | None = None
    stored_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")


Selection = Literal["best", "last"]


class Selections(Part):
    """Every metric under both selections: the best epoch on validation (the paper's protocol) and the last epoch."""

    best: dict[str, float]
    last: dict[str, float]


class Metrics(Part):
    """Scores as fractions. `per_epoch` holds one dict an epoch: "epoch" and whatever was measured.

    All are of the validation set, which chooses the epoch, but `test`: of the test set, where the task has one.
    """

    primary: str
    direction: Literal["max", "min"]
    best: Score
    best_epoch: NonNegativeFloat
    last: Score
    per_epoch: list[dict[str, float]]
    all: Selections
    test: Selections | None = None

    @property
    def scored(self) -> Selections:
        """What counts: the test set's metrics, or validation's where the task has no test set."""
        return self.test or self.all

    def score(self, selection: Selection, metric: str | None = None) -> float:
        """The metric that counts, the primary one by default. Raises KeyError: it was not measured."""
        return getattr(self.scored, selection)[metric or self.primary]

    @model_validator(mode="after")
    def _test_is_scored(self) -> "Metrics":
        for name, found in self.test or ():
            value = found.get(self.primary)
            if value is None or not -1 <= value <= 1:
                raise ValueError(f"test.{name} needs {self.primary} as a fraction, got {value}")
        return self


class Cost(Part):
    """Seconds, steps and bytes. `saved_bytes`: what one training step keeps for its backward pass. test_s: scoring the
    test set, for both selections.

    samples_per_s, eval_samples_per_s, loader_samples_per_s: examples a second of training, of evaluation, and of the
    data loader alone, without the model.
    """

    train_s: NonNegativeFloat
    eval_s: NonNegativeFloat
    steps: NonNegativeInt
    samples_per_s: NonNegativeFloat
    peak_memory_bytes: NonNegativeInt | None = None
    saved_bytes: NonNegativeInt | None = None
    eval_samples_per_s: NonNegativeFloat | None = None
    loader_samples_per_s: NonNegativeFloat | None = None
    test_s: NonNegativeFloat | None = None


class MatrixRank(Part):
    """The spectrum of one delta_W (out, in); see `experiments.analysis.rank` for the definitions."""

    name: str
    shape: list[int]
    numerical_rank: NonNegativeInt
    effective_rank: NonNegativeFloat
    frobenius_norm: NonNegativeFloat
    spectral_norm: NonNegativeFloat
    singular_values: list[NonNegativeFloat]


class Spread(Part):
    """Smallest, median and largest value over the matrices."""

    min: float
    median: float
    max: float


class RankSummary(Part):
    """Both ranks over all adapted matrices."""

    count: NonNegativeInt
    numerical_rank: Spread
    effective_rank: Spread


class Rank(Part):
    """The rank analysis of a run: per matrix and in summary."""

    tolerance: str
    matrices: list[MatrixRank]
    summary: RankSummary


class Hardware(Part):
    """The machine, without its name."""

    device: str
    cpu: str
    cores: int
    memory_bytes: int
    gpu: str | None = None
    gpus: NonNegativeInt = 0
    processes: NonNegativeInt = 1  # of the run, one GPU each
    gpu_memory_bytes: int | None = None


Rule = Literal["agreed", "fastchat"]


class Judge(Part):
    """Who graded a run's answers, and at what expense. Scores by different judges do not compare.

    name: the model asked for. revision: what the endpoint calls the model that answered, or what the user did. prompts:
    the SHA-256 over the files of prompts, questions and reference answers. judgments: grades asked for; failures: those
    in which no score was found, left out of the means. cost_usd: where prices were given. rule: which number of a
    judgment is its score (experiments.judging.rating); older records have FastChat's.
    """

    name: str
    revision: str | None
    prompts: str
    rule: Rule = "fastchat"
    judgments: NonNegativeInt
    failures: NonNegativeInt
    prompt_tokens: NonNegativeInt
    completion_tokens: NonNegativeInt
    cost_usd: NonNegativeFloat | None = None
    ended: Time


class WandB(Part):
    """Where the curves are."""

    mode: Literal["offline", "online", "off"]
    id: str | None = None
    path: str | None = None


class Record(Part):
    """One run. `config` holds what determines the result: no paths of a machine, no tracking."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    exp: str
    task: str
    method: str
    model: Source
    dataset: Dataset
    seed: NonNegativeInt
    entry_seed: NonNegativeInt | None = None
    scale: Literal["paper", "small", "mini"]
    paper_cell: str | None = None
    status: Literal["ok", "failed", "oom", "cancelled"]
    error: str | None = None
    config: dict[str, JsonValue]
    config_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    params: Params | None = None
    metrics: Metrics | None = None
    cost: Cost | None = None
    rank: Rank | None = None
    judge: Judge | None = None
    hardware: Hardware
    versions: dict[str, str]
    commit: str | None = None
    dirty: bool | None = None
    wandb: WandB | None = None
    trials: NonNegativeInt | None = None
    started: Time
    ended: Time

    @model_validator(mode="after")
    def _status_tells_the_truth(self) -> "Record":
        if self.status != "ok":
            if not self.error:
                raise ValueError(f"status {self.status!r} needs an error that says what happened")
            return self
        if self.error is not None:
            raise ValueError("status 'ok' goes with no error")
        if missing := [name for name in ("params", "metrics", "cost") if getattr(self, name) is None]:
            raise ValueError(f"status 'ok' needs {', '.join(missing)}")
        return self


def config_hash(config: dict[str, Any]) -> str:
    """Twelve hex digits of the SHA-256 of the canonical JSON (sorted keys) of `config`."""
    canonical = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` to `path` at once or not at all: an interruption leaves the older file as it was.

    Raises RecordError (no space, no permission, not a folder): names the path and the remedy.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        remedy = "make room there or name another folder"
        raise RecordError(f"{path}: cannot be written ({error.strerror or error}); {remedy}") from error


def check_writable(folder: Path, key: str) -> None:
    """Make `folder`, and see that files can be written there. Raises RecordError, which names `key` and the remedy."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = error.strerror or error
        raise RecordError(f"{key}: {folder} cannot be written to ({reason}); name another folder") from error


def replace_lines(path: Path, rows: Iterable[Any], ascii_only: bool = True) -> None:
    """Write JSON, a row a line, at once or not at all. ascii_only=False leaves letters as a person reads them.

    Raises RecordError.
    """
    replace_file(path, "".join(f"{json.dumps(row, ensure_ascii=ascii_only)}\n" for row in rows).encode())


def write(record: Part, path: Path) -> None:
    """Write `record`, of any kind, atomically as JSON, one line a list of numbers. Raises RecordError."""
    text = record.model_dump_json(by_alias=True, indent=2)
    text = re.sub(r"\[\n([-+.\deE,\s]+)\n\s*\]", lambda match: f"[{' '.join(match[1].split())}]", text)
    _parse(text, path, type(record))
    replace_file(path, f"{text}\n".encode())


def read(path: Path, kind: type[Kind] = Record) -> Kind:
    """Read one record, a run's or of another kind. Raises RecordError: the file, each wrong field and its value."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: cannot be read ({error}); restore the file or remove it") from error
    return _parse(text, path, kind)


def _parse(text: str, path: Path, kind: type[Kind]) -> Kind:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        wrong = "; ".join(_describe(item) for item in error.errors())
        raise RecordError(f"{path}: not a record: {wrong}. Run it again, or move the file away") from error


def _describe(item: dict[str, Any]) -> str:
    """One of pydantic's errors: field, what is wrong, and the value where it is one."""
    field = ".".join(map(str, item["loc"]))
    value = "" if isinstance(item["input"], dict) else f", got {reprlib.repr(item['input'])}"
    return f"{field}: {item['msg']}{value}" if field else f"{item['msg']}{value}"


def find(root: Path, kind: type[Kind] = Record) -> list[Kind]:
    """Every record below `root`, in the order of their paths; none if there is no such folder. Raises RecordError."""
    root = Path(root)
    paths = sorted(root.rglob("*.json"), key=lambda path: path.relative_to(root).as_posix())
    return [read(path, kind) for path in paths]


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def hardware(device: str) -> dict[str, Any]:
    """The fields of `Hardware` for this machine, of which `device` was used: cpu or cuda. A GPU that was not used is
    not told."""
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else []
    machine = {
        "device": device,
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "cores": usable_cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "processes": processes.count(),
    }
    if device != "cuda":
        return machine
    import torch  # here, so that tables read records without it

    gpu = torch.cuda.get_device_properties(torch.cuda.current_device())
    return {**machine, "gpu": gpu.name, "gpus": torch.cuda.device_count(), "gpu_memory_bytes": gpu.total_memory}


def versions() -> dict[str, str]:
    """The versions of Python and of the installed packages that a result depends on."""
    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed


def provenance() -> dict[str, Any]:
    """The fields of a record that tell by what code it was measured."""
    sha, dirty = commit()
    return {"versions": versions(), "commit": sha, "dirty": dirty}


def commit(root: Path = ROOT) -> tuple[str | None, bool | None]:
    """The commit checked out at `root`, and whether the code differs from it; (None, None) outside a checkout.

    What stands under results/ and runs/ is no code: a run must not mark the next one dirty.
    """
    git = shutil.which("git")
    if git is None:
        return None, None

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([git, "-C", str(root), *arguments], capture_output=True, text=True, check=False)

    head = run("rev-parse", "--show-toplevel", "--verify", "HEAD")
    status = run("status", "--porcelain", "--", ".", ":!results", ":!runs")
    if head.returncode or status.returncode:
        return None, None
    top, sha = head.stdout.splitlines()
    # A copy without history inside some other project is not that project's commit.
    return (sha, bool(status.stdout)) if Path(top) == Path(root).resolve() else (None, None)
