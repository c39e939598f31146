"""A record: the one versioned JSON file that a run leaves, checked when it is written and when it is read.

A record is read only if it agrees with itself and with its path: whatever follows from the rest is derived again and
compared. Tables, figures and verdicts read records and nothing else. Reading them needs neither torch nor a GPU.
"""

import hashlib
import json
import math
import os
import platform
import re
import reprlib
import shutil
import statistics
import subprocess
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, JsonValue, NonNegativeFloat, ValidationError, model_validator
from pydantic_core import from_json

from experiments import processes
from experiments.errors import UserError
from experiments.typed import Typed

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("fourierft", "torch", "transformers", "peft", "accelerate", "datasets", "evaluate", "safetensors", "numpy")
PACKAGES += ("scipy", "scikit-learn", "timm", "triton", "bitsandbytes", "hydra-core", "wandb")
EPS = 2.0**-23  # of float32, which sets the tolerance of a numerical rank

# Integers that any table can show and any mean can take.
Count = Annotated[int, Field(ge=0, lt=2**63)]
Natural = Annotated[int, Field(gt=0, lt=2**63)]
# Fractions; correlations (STS-B, CoLA) may be negative.
Score = Annotated[float, Field(ge=-1, le=1)]
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)$")]


class RecordError(UserError, ValueError):
    """A record that cannot be read or written: names the file, the field, its value and the remedy."""


class LeftOut(UserWarning):
    """A file that `find` left out, and why."""


class Part(Typed):
    """Base of a record's parts: nothing is coerced, so what was written is what is read."""

    model_config = ConfigDict(strict=True)


class Document(Part):
    """Base of the records of all kinds: each is a file of its own."""

    @property
    def place(self) -> str:
        """The path below a folder of such records, as it follows from what the record holds."""
        raise NotImplementedError

    @property
    def identity(self) -> str:
        """Two files in which it is equal are copies of one record."""
        return self.place

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> "Document":
        started, ended = (getattr(self, name, "")[:19] for name in ("started", "ended"))  # to the second
        if ended < started:
            raise ValueError(f"ended {ended} is before started {started}")
        return self


Kind = TypeVar("Kind", bound=Document)


def compare(what: str, found: Any, derived: Any, tolerance: float = 0.0) -> None:
    """Raises ValueError where a value is not what follows from the rest of its record. `tolerance` is relative."""
    if found != derived and not (tolerance and math.isclose(found, derived, rel_tol=tolerance)):
        raise ValueError(f"{what} is {reprlib.repr(found)}, where the rest gives {reprlib.repr(derived)}")


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

    rows: dict[str, Count]
    skipped: dict[str, Count] | None = None


class Params(Part):
    """Exact parameter counts. `adapter` excludes the head, as the paper's counts do; `adapter_bytes` is 4 each.

    stored_values, stored_bytes: of the files that were written, head included. stored_sha256: the digest of their
    tensors, as `stored_sha256` of experiments/methods/base.py gives it. Older records of schema 1 lack some of these.
    """

    adapter: Count
    head: Count
    total: Count
    adapter_bytes: Count
    stored_values: Count | None = None
    stored_bytes: Count | None = None
    stored_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _adds_up(self) -> "Params":
        compare("adapter_bytes", self.adapter_bytes, 4 * self.adapter)
        if self.adapter + self.head > self.total:
            raise ValueError(f"adapter and head are {self.adapter + self.head}, more than the total, {self.total}")
        return self


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
    per_epoch: Annotated[list[dict[str, float]], Field(min_length=1)]
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
    def _follows_from_the_epochs(self) -> "Metrics":
        name, sign = self.primary, 1 if self.direction == "max" else -1
        names = self.per_epoch[0].keys()
        if not names >= {"epoch", name} or any(epoch.keys() != names for epoch in self.per_epoch):
            raise ValueError(f"per_epoch needs epoch and {name}, and the same metrics in every epoch")
        epochs = [epoch["epoch"] for epoch in self.per_epoch]
        compare("the order of the epochs", epochs, sorted(epochs))
        best = max(self.per_epoch, key=lambda epoch: sign * epoch[name])  # the first of equals
        last = self.per_epoch[-1]
        compare("best", self.best, best[name])
        compare("best_epoch", self.best_epoch, best["epoch"])
        compare("last", self.last, last[name])
        compare("all", self.all, Selections(best=best, last=last))
        for selection, found in self.test or ():
            value = found.get(name)
            if value is None or not -1 <= value <= 1:
                raise ValueError(f"test.{selection} needs {name} as a fraction, got {value}")
        if self.test and best is last:
            compare("test.best", self.test.best, self.test.last)
        return self


class Cost(Part):
    """Seconds, steps and bytes. `saved_bytes`: what one training step keeps for its backward pass. test_s: scoring the
    test set, for both selections.

    samples_per_s, eval_samples_per_s, loader_samples_per_s: examples a second of training, of evaluation, and of the
    data loader alone, without the model.
    """

    train_s: NonNegativeFloat
    eval_s: NonNegativeFloat
    steps: Count
    samples_per_s: NonNegativeFloat
    peak_memory_bytes: Count | None = None
    saved_bytes: Count | None = None
    eval_samples_per_s: NonNegativeFloat | None = None
    loader_samples_per_s: NonNegativeFloat | None = None
    test_s: NonNegativeFloat | None = None


class MatrixRank(Part):
    """The spectrum of one delta_W (out, in); see `experiments.measure.rank` for the definitions."""

    name: str
    shape: Annotated[list[Natural], Field(min_length=2, max_length=2)]
    numerical_rank: Count
    effective_rank: NonNegativeFloat
    frobenius_norm: NonNegativeFloat
    spectral_norm: NonNegativeFloat
    singular_values: list[NonNegativeFloat]

    @model_validator(mode="after")
    def _follows_from_the_spectrum(self) -> "MatrixRank":
        values, digits = self.singular_values, 1e-3  # they are kept to 4 significant digits
        compare("the number of singular values", len(values), min(self.shape))
        compare("the order of singular_values", values, sorted(values, reverse=True))
        compare("spectral_norm", self.spectral_norm, values[0], digits)
        compare("frobenius_norm", self.frobenius_norm, math.hypot(*values), digits)
        total = sum(values)
        entropy = -sum(value / total * math.log(value / total) for value in values if value)
        compare("effective_rank", self.effective_rank, math.exp(entropy) if total else 0.0, digits)
        floor = max(self.shape) * EPS * self.spectral_norm
        least, most = (sum(value > floor * near for value in values) for near in (1 + digits, 1 - digits))
        compare("numerical_rank", self.numerical_rank, min(max(self.numerical_rank, least), most))
        return self


class Spread(Part):
    """Smallest, median and largest value over the matrices."""

    min: float
    median: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """That of one value or more."""
        ordered = sorted(values)
        return cls(min=ordered[0], median=statistics.median(ordered), max=ordered[-1])


class RankSummary(Part):
    """Both ranks over all adapted matrices."""

    count: Count
    numerical_rank: Spread
    effective_rank: Spread

    @classmethod
    def of(cls, matrices: Sequence[MatrixRank]) -> "RankSummary":
        """That of one matrix or more."""
        return cls(
            count=len(matrices),
            numerical_rank=Spread.of(matrix.numerical_rank for matrix in matrices),
            effective_rank=Spread.of(matrix.effective_rank for matrix in matrices),
        )


class Rank(Part):
    """The rank analysis of a run: per matrix and in summary."""

    tolerance: str
    matrices: Annotated[list[MatrixRank], Field(min_length=1)]
    summary: RankSummary

    @model_validator(mode="after")
    def _sums_up_the_matrices(self) -> "Rank":
        compare("summary", self.summary, RankSummary.of(self.matrices))
        return self


class Hardware(Part):
    """The machine, without its name."""

    device: str
    cpu: str
    cores: Count
    memory_bytes: Count
    gpu: str | None = None
    gpus: Count = 0
    processes: Count = 1  # of the run, one GPU each
    gpu_memory_bytes: Count | None = None


class Measured(Document):
    """Base of what one machine measured, and by which code."""

    hardware: Hardware
    versions: dict[str, str]
    commit: str | None = None
    dirty: bool | None = None
    started: Time
    ended: Time

    @property
    def mark(self) -> str:
        """What marks it unless the code was at a clean commit."""
        return "" if self.dirty is False else "‡"


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
    judgments: Count
    failures: Count
    prompt_tokens: Count
    completion_tokens: Count
    cost_usd: NonNegativeFloat | None = None
    ended: Time

    @property
    def label(self) -> str:
        """What the judge's folders and files are called."""
        return judge_label(self.name, self.revision, self.rule)


def judge_label(name: str, revision: str | None, rule: Rule) -> str:
    """`Judge.label`, safe for a path: @revision where that says more, @rule where it is not FastChat's."""
    full = "@".join(filter(None, (name, revision if revision != name else None, rule if rule != "fastchat" else None)))
    return re.sub(r"[^A-Za-z0-9_.@-]+", "_", full).lstrip(".") or "_"


class WandB(Part):
    """Where the curves are."""

    mode: Literal["offline", "online", "off"]
    id: str | None = None
    path: str | None = None


class Record(Document):
    """One run. `config` holds what determines the result: no paths of a machine, no tracking."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    exp: str
    task: str
    method: str
    model: Source
    dataset: Dataset
    seed: Count
    entry_seed: Count | None = None
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
    trials: Count | None = None
    started: Time
    ended: Time

    @property
    def name(self) -> str:
        """Where the run stands below a folder of runs: <exp>/<model>/<method>/seed<seed>-<hash>."""
        return f"{self.exp}/{self.model.name}/{self.method}/seed{self.seed}-{self.config_hash}"

    @property
    def place(self) -> str:
        """Below a folder of records, `name` with its ending; of a judged one, below the judge's folder there."""
        folder = f"{self.judge.label}/" if self.judge else ""
        return f"{folder}{self.name}{'' if self.status == 'ok' else '.failed'}.json"

    @model_validator(mode="after")
    def _follows_from_the_configuration(self) -> "Record":
        compare("config_hash", self.config_hash, config_hash(self.config))
        named = {"seed": self.seed, "task.name": self.task, "model.name": self.model.name, "method.name": self.method}
        for key, value in {**named, "method.entry_seed": self.entry_seed}.items():
            compare(f"config.{key}", self._configured(key), value)
        return self

    def _configured(self, key: str) -> JsonValue:
        """The value of a dotted key of the configuration; None where there is none."""
        value: JsonValue = self.config
        for name in key.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        return value

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

    @model_validator(mode="after")
    def _trained_as_configured(self) -> "Record":
        if self.status != "ok":
            return self
        rows, cost, epochs = self.dataset.rows, self.cost, len(self.metrics.per_epoch)
        if cost.eval_samples_per_s is not None:
            evaluated = rows.get("validation", 0) * epochs
            compare("eval_s × eval_samples_per_s", cost.eval_s * cost.eval_samples_per_s, evaluated, 1e-6)
        compare("whether the test set is scored", self.metrics.test is not None, "test" in rows)
        if self.metrics.test is None:
            compare("test_s", cost.test_s, None)
        if self._configured("train.max_steps") is None:  # else it may end within an epoch
            batch = self._configured("recipe.batch_size")
            if not isinstance(batch, int) or batch < 1:
                raise ValueError(f"config.recipe.batch_size is {batch!r}, no positive number")
            compare("config.recipe.epochs", self._configured("recipe.epochs"), epochs)
            compare("the epochs", [epoch["epoch"] for epoch in self.metrics.per_epoch], list(range(1, epochs + 1)))
            compare("steps", cost.steps, math.ceil(rows.get("train", 0) / batch) * epochs)
            compare("train_s × samples_per_s", cost.train_s * cost.samples_per_s, rows.get("train", 0) * epochs, 1e-6)
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


def write(record: Document, path: Path) -> None:
    """Write `record`, of any kind, atomically as JSON, one line a list of numbers. Raises RecordError."""
    text = record.model_dump_json(by_alias=True, indent=2)
    text = re.sub(r"\[\n([-+.\deE,\s]+)\n\s*\]", lambda match: f"[{' '.join(match[1].split())}]", text)
    _parse(text, path, type(record))
    replace_file(path, f"{text}\n".encode())


def read(path: Path, kind: type[Kind] = Record) -> Kind:
    """Read one record, a run's or of another kind.

    Raises RecordError (it cannot be read, is no record, does not agree with itself, or belongs to another path): the
    file, each wrong field and its value.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: cannot be read ({error}); restore the file or remove it") from error
    return _parse(text, path, kind)


def _parse(text: str, path: Path, kind: type[Kind]) -> Kind:
    remedy = "Move the file away, or make it again (force=true, --force)"
    try:
        found = kind.model_validate(from_json(text, allow_inf_nan=False))
    except ValueError as error:  # ValidationError is one
        items = error.errors() if isinstance(error, ValidationError) else []
        wrong = "; ".join(map(_describe, items)) or f"invalid JSON: {error}"
        raise RecordError(f"{path}: not a sound record: {wrong}. {remedy}") from error
    if not Path(path).absolute().as_posix().endswith(f"/{found.place}"):
        raise RecordError(f"{path}: holds what belongs to {found.place}. {remedy}")
    return found


def _describe(item: dict[str, Any]) -> str:
    """One of pydantic's errors: field, what is wrong, and the value where it is one."""
    field = ".".join(map(str, item["loc"]))
    value = "" if isinstance(item["input"], dict) else f", got {reprlib.repr(item['input'])}"
    return f"{field}: {item['msg']}{value}" if field else f"{item['msg']}{value}"


def find(root: Path, kind: type[Kind] = Record) -> list[Kind]:
    """Every sound record below `root`, in the order of their paths; none if there is no such folder.

    Warns LeftOut of every file that `read` refuses, and of a second copy of a record; see `left_out`.
    """
    root, found = Path(root), {}
    for path in sorted(root.rglob("*.json"), key=lambda path: path.relative_to(root).as_posix()):
        try:
            record = read(path, kind)
            if record.identity in found:
                raise RecordError(f"{path}: {root} holds another copy of {record.place}. Remove one of the two")
            found[record.identity] = record
        except RecordError as error:
            warnings.warn(LeftOut(f"left out: {error}"), stacklevel=2)
    return list(found.values())


@contextmanager
def left_out() -> Iterator[list[str]]:
    """The messages of LeftOut while the context lasts, each once, in a list instead of as warnings."""
    messages: list[str] = []

    def collect(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if category is not LeftOut:
            show(message, category, *where)
        elif str(message) not in messages:
            messages.append(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always", LeftOut)
        show, warnings.showwarning = warnings.showwarning, collect
        yield messages


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
    """The commit checked out at `root`, and whether the code differs from it; (None, None) where neither is known.

    What stands under results/ and runs/ is no code: a run must not mark the next one dirty. A copy without .git has
    what the file COMMIT in it tells; raises UserError where that is no commit.
    """
    if not (root / ".git").exists():
        return _packed(root / "COMMIT")
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
    # Where .git is not whole, git answers for a project that this one stands in.
    return (sha, bool(status.stdout)) if Path(top) == Path(root).resolve() else (None, None)


def _packed(stamp: Path) -> tuple[str | None, bool | None]:
    """The commit that a folder was packed from, by one line: its digits and, as the code was, "clean" or "dirty"."""
    if not stamp.exists():
        return None, None
    line = stamp.read_text(encoding="utf-8", errors="replace").strip()
    if not re.fullmatch("([0-9a-f]{40}|[0-9a-f]{64}) (clean|dirty)", line):
        raise UserError(f"{stamp}: {reprlib.repr(line)} is no commit and clean or dirty; write it anew or remove it")
    sha, state = line.split()
    return sha, state == "dirty"
