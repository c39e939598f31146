"""Many adapters in one safetensors file: a row of numbers each, which is read, and checked, when it is asked for.

Tensors: "adapters", (adapters, numbers) float32 or float64, and "sha256", (adapters, 32) uint8, the digest of each
row. Metadata, as JSON: "names"; "document", their adapter_config.json; "shapes", the keys of the tensors that a row
holds one after the other, with their shapes.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from .document import Document
from .errors import FourierError
from .io import Shapes, opened

FORMAT = "fourierft.adapters"


class PackedFile:
    """An open file of many adapters. Raises FourierError for a missing, damaged or foreign file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        with opened(file) as stored:
            metadata = stored.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise FourierError(f"{file} is not a file of packed adapters: give one that Bank.pack wrote")
            try:
                self.names: list[str] = json.loads(metadata["names"])
                self.document: Document = json.loads(metadata["document"])
                self.shapes: Shapes = {key: tuple(shape) for key, shape in json.loads(metadata["shapes"]).items()}
            except (KeyError, ValueError) as error:
                raise FourierError(f"{file} has damaged metadata ({error}): pack it again") from error
            self._digests = stored.get_tensor("sha256")
            self._rows = stored.get_slice("adapters")  # which keeps the file mapped
            if self._rows.get_shape() != [len(self.names), _numbers(self.shapes)]:
                raise FourierError(f"{file} has {self._rows.get_shape()} numbers for other names: pack it again")

    def row(self, k: int) -> Tensor:
        """The numbers of the k-th adapter. Raises FourierError if they are damaged."""
        with torch.device("cpu"):  # whatever the default device is
            row = self._rows[k]
        if _digest(row) != bytes(self._digests[k].tolist()):
            raise FourierError(f"{self.file} is damaged: {self.names[k]!r} does not have its digest; pack it again")
        return row


def write_packed(
    file: Path, names: Iterable[str], rows: Iterable[Tensor], dtype: torch.dtype, shapes: Shapes, document: Document
) -> None:
    """Writes the rows, of `dtype`, one after the other, as they come; the file gets its name when it is complete."""
    names, numbers = list(names), _numbers(shapes)
    end = len(names) * numbers * dtype.itemsize
    metadata = {"names": names, "document": document, "shapes": shapes}
    header: Mapping = {
        "__metadata__": {"format": FORMAT} | {key: json.dumps(value) for key, value in metadata.items()},
        "adapters": {"dtype": f"F{8 * dtype.itemsize}", "shape": [len(names), numbers], "data_offsets": [0, end]},
        "sha256": {"dtype": "U8", "shape": [len(names), 32], "data_offsets": [end, end + 32 * len(names)]},
    }
    said = json.dumps(header).encode()
    said += b" " * (-len(said) % 8)  # aligns the rows
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as stream:
            stream.write(len(said).to_bytes(8, "little") + said)
            digests = []
            for row in rows:
                stream.write(row.numpy().data)
                digests.append(_digest(row))
            stream.write(b"".join(digests))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def _numbers(shapes: Shapes) -> int:
    return sum(torch.Size(shape).numel() for shape in shapes.values())


def _digest(row: Tensor) -> bytes:
    return hashlib.sha256(row.contiguous().numpy().data).digest()
