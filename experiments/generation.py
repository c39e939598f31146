"""Texts that a causal language model writes behind prompts: by beam search, in batches, interrupted at any time."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import nn
from tqdm import tqdm
from transformers import GenerationConfig, LogitsProcessorList, NoRepeatNGramLogitsProcessor, PreTrainedTokenizerBase

from experiments.record import replace_file
from experiments.typed import Typed


class Decoding(Typed):
    """Beam search. A text's score is its log-probability over its number of tokens to the power `length_penalty`."""

    beams: PositiveInt
    length_penalty: PositiveFloat
    no_repeat_ngram: NonNegativeInt
    max_new_tokens: PositiveInt


@dataclass(frozen=True)
class Text:
    """What was written behind prompt `row`. finished: it came to its end before the limit of tokens."""

    row: int
    output: str
    tokens: int
    finished: bool


class NoRepeatedNGram(NoRepeatNGramLogitsProcessor):
    """No n-gram twice in what is written. Transformers' own also forbids those of the prompt, and so the names in it.

    The LoRA paper's code (gpt2_beam.py) looks at what is written alone.
    """

    def __init__(self, size: int, prompt: int):
        super().__init__(size)
        self.prompt = prompt

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        return super().__call__(input_ids[:, self.prompt :], scores)


@torch.inference_mode()
def generate(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[list[int]],
    decoding: Decoding,
    batch_size: int,
    folder: Path,
    precision: AbstractContextManager,
) -> list[Text]:
    """One text behind each prompt (token ids), in their order. Several processes share the prompts.

    What is finished stands in `folder`, in generated.<process>.jsonl, beside the weights (*.safetensors) that wrote it:
    an interrupted call goes on where it was if it is made again with the same weights, prompts and decoding.
    """
    state = PartialState()
    path = folder / f"generated.{state.process_index}.jsonl"
    stamp = _stamp(folder, prompts, decoding)
    texts = _read(path, stamp)
    if not texts:
        replace_file(path, f"{json.dumps(stamp)}\n".encode())
    done = {text.row for text in texts}
    longest_first = sorted(range(len(prompts)), key=lambda row: (-len(prompts[row]), row))  # short of memory: at once
    left = [row for row in longest_first[state.process_index :: state.num_processes] if row not in done]
    model.eval()
    with open(path, "a", encoding="utf-8") as file, tqdm(total=len(done) + len(left), desc="generating") as bar:
        bar.update(len(done))
        for start in range(0, len(left), batch_size):
            batch = left[start : start + batch_size]
            with precision:
                written = _write(model, tokenizer, [prompts[row] for row in batch], decoding)
            new = [Text(row, *fields) for row, fields in zip(batch, written, strict=True)]
            file.writelines(f"{json.dumps(asdict(text))}\n" for text in new)
            file.flush()
            texts += new
            bar.update(len(new))
    return sorted(gather_object(texts), key=lambda text: text.row)


def _write(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, prompts: list[list[int]], decoding: Decoding
) -> list[tuple[str, int, bool]]:
    """Output, tokens and whether it is finished, for each of one batch of prompts."""
    batch = tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt").to(model.device)
    length, end = batch["input_ids"].shape[1], tokenizer.eos_token_id
    ngrams = [NoRepeatedNGram(decoding.no_repeat_ngram, length)] if decoding.no_repeat_ngram else []
    settings = GenerationConfig(
        num_beams=decoding.beams,
        length_penalty=decoding.length_penalty,
        max_new_tokens=decoding.max_new_tokens,
        renormalize_logits=True,  # over the tokens that are not forbidden
        eos_token_id=end,
        pad_token_id=tokenizer.pad_token_id,
    )
    ids = model.generate(**batch, generation_config=settings, logits_processor=LogitsProcessorList(ngrams))
    written = []
    for row in ids[:, length:].tolist():
        tokens = row[: row.index(end)] if end in row else row
        written.append((tokenizer.decode(tokens).strip(), len(tokens), end in row))
    return written


def _stamp(folder: Path, prompts: Sequence[list[int]], decoding: Decoding) -> dict[str, Any]:
    """What tells these texts from those of other weights, prompts or settings."""
    weights = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        weights.update(path.read_bytes())
    digest = hashlib.sha256(json.dumps(list(prompts)).encode()).hexdigest()
    return {"weights": weights.hexdigest(), "prompts": digest, **decoding.model_dump()}


def _read(path: Path, stamp: dict[str, Any]) -> list[Text]:
    """The texts of an interrupted call of the same stamp; a line that was cut off is written anew."""
    if not path.exists():
        return []
    first, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True) or [""]
    if not first.endswith("\n") or json.loads(first) != stamp:
        return []
    whole = [line for line in lines if line.endswith("\n")]
    replace_file(path, "".join([first, *whole]).encode())
    return [Text(**json.loads(line)) for line in whole]
