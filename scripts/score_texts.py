"""Score texts against their references, as E2E runs are scored: BLEU, NIST, METEOR, ROUGE-L, CIDEr.

    python -m scripts.score_texts runs/e2e/.../last/outputs.jsonl      # what a run left, its references included
    python -m scripts.score_texts outputs.txt references.txt           # the files of the official scripts

outputs.txt holds a text a line; references.txt a reference a line, with an empty line between the groups, one group a
text. Exit code 2 for files that cannot be read or do not match.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from experiments.errors import UserError
from experiments.meanings import spaced
from experiments.metrics.e2e import E2E


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outputs", type=Path, help="outputs.jsonl of a run, or a text a line")
    parser.add_argument("references", type=Path, nargs="?", help="groups of references; not with outputs.jsonl")
    options = parser.parse_args(arguments)
    try:
        outputs, references = read(options.outputs, options.references)
        scores = E2E().compute(predictions=outputs, references=references)
    except UserError as error:
        print(f"score_texts: {error}", file=sys.stderr)
        return 2
    print("\n".join(f"{name:<12} {value:.4f}" for name, value in scores.items()))
    return 0


def read(outputs: Path, references: Path | None) -> tuple[list[str], list[list[str]]]:
    """Texts, and of each its references. Raises UserError."""
    lines = _lines(outputs)
    if references is None:
        return _of_a_run(outputs, lines)
    groups = [list(group) for some, group in groupby(_lines(references), key=lambda line: bool(line.strip())) if some]
    if len(groups) != len(lines):
        raise UserError(
            f"{references}: {len(groups)} groups of references for the {len(lines)} texts of {outputs}; it needs one "
            "group a text, with an empty line between two groups"
        )
    return lines, groups


def _of_a_run(file: Path, lines: list[str]) -> tuple[list[str], list[list[str]]]:
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            rows.append((row["output"], [spaced(reference) for reference in row["references"]]))
        except (ValueError, KeyError, TypeError) as error:
            remedy = "give an outputs.jsonl of a run, or a file of references too"
            raise UserError(f"{file}, line {number}: no output with its references ({error!r}); {remedy}") from error
    return [output for output, _ in rows], [group for _, group in rows]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").removesuffix("\n").split("\n")  # splitlines knows more ends of lines
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read ({error}); name another file") from error


if __name__ == "__main__":
    sys.exit(main())
