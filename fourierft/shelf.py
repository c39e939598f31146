"""Adapters of one configuration where they lie on the disk, by name: in folders, or packed in one file.

An adapter is a row: the numbers of its tensors one after the other, coefficients first, then heads. Only names and
places are kept in memory. What can be told from a configuration and from the header of a file is checked when an
adapter is added; its numbers, when it is read.
"""

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .config import FourierConfig
from .document import CONFIG_FILE, Document, identities, read_document, to_config, to_document, unreadable
from .errors import FourierError, require
from .io import (
    WEIGHTS_FILE,
    Shapes,
    check_tensors,
    differences,
    digest,
    head_tensors,
    narrowed,
    opened,
    read_weights,
    spectrum_shapes,
    write,
)
from .packed import PackedFile, write_packed
from .targets import nearest, resolve, select, without_wrappers

Progress = Callable[[Iterable], Iterable]  # passes on what it is given, as tqdm.tqdm


class Shelf:
    """Adapters for a model, on the disk; errors, always FourierError, leave it as it was.

    config: that of all adapters. shapes: of the tensors of an adapter, by their keys in its file, in the order of a
    row. Raises what `adapt` raises, with the model unchanged, and FourierError for scale="auto", another basis than
    Fourier's, experts of a mixture, and a head that holds integers.
    """

    def __init__(self, model: nn.Module, config: FourierConfig) -> None:
        require(config.scale != "auto", "scale", config.scale, "the number in the files of the adapters")
        require(config.basis == "fourier", "basis", config.basis, '"fourier": rows cannot have adapters in another')
        self.model, self.config = model, resolve(model, config)
        self._layers, self._heads = select(model, self.config)
        weights: list[Any] = [layer.weight for layer in self._layers.values()]
        transposed = any(not isinstance(layer, nn.Linear) for layer in self._layers.values())
        self._wide = torch.float64 if weights[0].dtype == torch.float64 else torch.float32  # the dtype of a row
        self._document = to_document(self.config, transposed, type(model))
        if routed := [path for path in self._layers if "experts" in path.split(".")]:
            raise FourierError(
                f"{routed[0]} gets the tokens that its router chose, and cannot tell of which rows they are: leave it "
                "out of the targets"
            )
        self._spectra = spectrum_shapes(self.config, self._layers)
        self._head_tensors = head_tensors(self._heads)
        for key, tensor in self._head_tensors.items():
            if not tensor.is_floating_point():
                raise FourierError(
                    f"{key} is {tensor.dtype}: a head of a bank has to consist of floating-point numbers"
                )
        self.shapes: Shapes = self._spectra | {key: tuple(tensor.shape) for key, tensor in self._head_tensors.items()}
        self._sizes = [torch.Size(shape).numel() for shape in self.shapes.values()]
        self._sources: dict[str, Callable[[], Tensor]] = {}
        self._agreeing: dict[bytes, Document] = {}  # the documents that were read, by their bytes

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._sources)

    def add(self, name: str, folder: str | os.PathLike) -> None:
        """Adds the adapter in a folder that `fourierft.save` or PEFT wrote."""
        self._add({name: partial(self._read, Path(folder))}, [Path(folder)])

    def add_all(self, source: str | os.PathLike, progress: Progress = iter) -> None:
        """Adds all adapters in a folder of their folders, whose names they get, or in a file that `pack` wrote.

        progress: for folders, e.g. tqdm.tqdm. If one adapter cannot be added, none is.
        """
        source = Path(source)
        if source.is_dir():
            folders = _folders(source)
            self._add({folder.name: partial(self._read, folder) for folder in folders}, progress(folders))
            return
        packed = PackedFile(source)
        self._check(packed.document, source)
        if packed.shapes != self.shapes:
            raise FourierError(f"{source} holds other tensors than this model takes: give the model that it is for")
        self._add({name: partial(packed.row, k) for k, name in enumerate(packed.names)}, [])

    def remove(self, name: str) -> None:
        """Forgets an adapter. Its files stay."""
        self._source(name)
        del self._sources[name]

    def row(self, name: str) -> Tensor:
        """The numbers of an adapter, read from the disk: (numbers,) float32, or float64 for a float64 model."""
        row = self._source(name)()
        if not row.isfinite().all():
            raise FourierError(f"{name!r} has numbers that are not finite (a diverged run?): remove it")
        return row

    def save(self, name: str, folder: str | os.PathLike) -> None:
        """Writes an adapter into a folder, in PEFT's format, as `fourierft.save` does."""
        parts = zip(self.shapes.items(), self.row(name).split(self._sizes), strict=True)
        tensors = {key: part.view(shape).clone() for (key, shape), part in parts}
        metadata = {"fourierft": identities(self._document)[0], "sha256": digest(tensors)}
        write(Path(folder), self._document, tensors, metadata)

    def pack(self, file: str | os.PathLike, progress: Progress = iter) -> None:
        """Writes all adapters into one file (`packed.py`), for `add_all` here or on another machine."""
        rows = (self.row(name) for name in progress(self.names))
        write_packed(Path(file), self.names, rows, self._wide, self.shapes, self._document)

    def _source(self, name: str) -> Callable[[], Tensor]:
        if name not in self._sources:
            raise FourierError(
                f"{name!r} is no adapter of this bank, which has {len(self.names)}{nearest(name, self.names)}"
            )
        return self._sources[name]

    def _add(self, sources: dict[str, Callable[[], Tensor]], folders: Iterable[Path]) -> None:
        for name in sources:
            require(isinstance(name, str) and bool(name), "name", name, "a string, not empty")
            if name in self._sources:
                raise FourierError(f"{name!r} is in the bank already: remove it first, or give another name")
        for folder in folders:
            self._check_header(folder, self._read_document(folder))
        self._sources |= sources

    def _read_document(self, folder: Path) -> Document:
        """Reads and checks the configuration of an adapter; equal ones, once."""
        file = folder / CONFIG_FILE
        try:
            content = file.read_bytes()
        except OSError as error:
            raise unreadable(file, error) from None
        if content not in self._agreeing:
            document = read_document(file)
            self._check(document, file)
            self._agreeing[content] = document
        return self._agreeing[content]

    def _check(self, document: Document, file: Path) -> None:
        theirs = narrowed(to_config(document, file), self.model, self.shapes)
        if different := differences(self.model, self.config, theirs):
            raise FourierError(f"{file} does not fit the bank: {different}; make another bank for it")

    def _check_header(self, folder: Path, document: Document) -> None:
        """Checks the names and shapes of the tensors of an adapter, without reading these."""
        with opened(folder / WEIGHTS_FILE) as stored:
            shapes = {without_wrappers(key): tuple(stored.get_slice(key).get_shape()) for key in stored.keys()}  # noqa: SIM118
        if shapes != self.shapes:
            self._read(folder)  # raises: it tells what is wrong

    def _read(self, folder: Path) -> Tensor:
        file = folder / WEIGHTS_FILE
        tensors, _ = read_weights(file, self._read_document(folder))
        check_tensors(tensors, self._head_tensors, self._spectra, file)
        return torch.cat([tensors[key].flatten().to(self._wide) for key in self.shapes])


def config_of_source(model: nn.Module, source: Path) -> FourierConfig:
    """The configuration, for this model, of the first adapter in what `add_all` takes."""
    if source.is_dir():
        first = _folders(source)[0]
        document = read_document(first / CONFIG_FILE)
        with opened(first / WEIGHTS_FILE) as stored:
            keys = [without_wrappers(key) for key in stored.keys()]  # noqa: SIM118
    else:
        packed = PackedFile(source)
        document, keys = packed.document, list(packed.shapes)
    return narrowed(to_config(document, source), model, keys)


def _folders(source: Path) -> list[Path]:
    """The folders of adapters in a folder, sorted by name. Raises FourierError if there is none."""
    found = sorted(Path(child.path) for child in os.scandir(source) if os.path.isfile(f"{child.path}/{CONFIG_FILE}"))
    if not found:
        raise FourierError(f"{source} has no folder with an {CONFIG_FILE}: give a folder of the folders of adapters")
    return found
