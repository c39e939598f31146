"""Texts that a causal language model writes after prompts, by beam search or by sampling, in batches; resumable at any
time."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import torch
from accelerate.utils import gather_object
from safetensors.torch import load_file
from torch import nn
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    PreTrainedTokenizerBase,
)

from experiments import processes, progress
from experiments.lines import sealed, unsealed
from experiments.models.language import BeamSearch, Sampling, Text
from experiments.record import replace_lines
from fourierft import digest


class NoRepeatedNGram(NoRepeatNGramLogitsProcessor):
    """No n-gram twice in the written text. Transformers' own class also forbids those of the prompt, hence its names.

    The LoRA paper's code (gpt2_beam.py) also looks at the written text alone.
    """

    def __init__(self, size: int, prompt: int):
        super().__init__(size)
        self.prompt = prompt

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        return super().__call__(input_ids[:, self.prompt :], scores)


class Noise(LogitsProcessor):
    """Gumbel noise, times the temperature, on the logits: the likeliest token is then a sample.

    Each row draws its noise, on the CPU, from its own generator.
    """

    def __init__(self, temperatures: Sequence[float], rows: Sequence[int], top_k: int, seed: str):
        self.temperatures, self.top_k = torch.tensor(temperatures)[:, None], top_k
        self.generators = [torch.Generator().manual_seed(Random(f"{seed} {row}").getrandbits(63)) for row in rows]

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        top, tokens = scores.topk(min(self.top_k, scores.shape[-1]))
        drawn = [torch.empty(top.shape[-1]).exponential_(generator=each) for each in self.generators]
        noise = -torch.stack(drawn).clamp_min(torch.finfo(torch.float32).tiny).log() * self.temperatures
        return torch.full_like(scores, -torch.inf).scatter(-1, tokens, top + noise.to(top))


@torch.inference_mode()
def generate(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[list[int]],
    decoding: BeamSearch | Sampling,
    batch_size: int,
    folder: Path,
    precision: AbstractContextManager,
    name: str = "generated",
) -> list[Text]:
    """One text after each prompt (token ids), in order. Several processes share the prompts.

    Finished texts are saved in `folder`, in <name>.<process>.jsonl, beside the weights (*.safetensors) that wrote them.
    An interrupted call is resumed by calling again with the same weights, prompts and decoding, on any number of
    processes.
    """
    stamp = _stamp(folder, prompts, decoding)
    done = {text.row: text for path in folder.glob(f"{name}.*.jsonl") for text in _read(path, stamp)}
    path = folder / f"{name}.{processes.index()}.jsonl"
    replace_lines(path, (stamp, *(sealed(asdict(text)) for text in done.values())))
    # If memory is short, it shows at once.
    longest_first = sorted(range(len(prompts)), key=lambda row: (-len(prompts[row]), row))
    left = [row for row in longest_first[processes.index() :: processes.count()] if row not in done]
    model.eval()
    bar = progress.counter(len(left), "generating", hidden=not processes.is_first())
    with open(path, "a", encoding="utf-8") as file, bar:
        for start in range(0, len(left), batch_size):
            batch = left[start : start + batch_size]
            with precision:
                new = _write(model, tokenizer, [prompts[row] for row in batch], batch, decoding)
            file.writelines(f"{json.dumps(sealed(asdict(text)))}\n" for text in new)
            file.flush()
            done |= {text.row: text for text in new}
            bar.update(len(new))
    gathered = {text.row: text for text in gather_object(list(done.values()))}
    return [gathered[row] for row in range(len(prompts))]


def _write(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[list[int]],
    rows: list[int],
    decoding: BeamSearch | Sampling,
) -> list[Text]:
    """The texts of one batch: after each of `prompts`, whose numbers are `rows`."""
    batch = tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt").to(model.device)
    length, end = batch["input_ids"].shape[1], tokenizer.eos_token_id
    settings = GenerationConfig(
        max_new_tokens=decoding.max_new_tokens,
        eos_token_id=end,
        pad_token_id=tokenizer.pad_token_id,
        **decoding.settings(),
    )
    processors = LogitsProcessorList(decoding.processors(rows, length))
    ids = model.generate(**batch, generation_config=settings, logits_processor=processors)
    written = []
    for row, new in zip(rows, ids[:, length:].tolist(), strict=True):
        tokens = new[: new.index(end)] if end in new else new
        output = tokenizer.decode(tokens, skip_special_tokens=True).strip()
        written.append(Text(row, output, len(tokens), end in new))
    return written


def _stamp(folder: Path, prompts: Sequence[list[int]], decoding: BeamSearch | Sampling) -> dict[str, Any]:
    """What identifies texts of these weights, prompts and settings."""
    weights = {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}
    asked = hashlib.sha256(json.dumps(list(prompts)).encode()).hexdigest()
    return {"weights": digest(weights), "prompts": asked, **decoding.model_dump()}


def _read(path: Path, stamp: dict[str, Any]) -> list[Text]:
    """The texts of an interrupted call with the same stamp, without lines that are cut off or damaged."""
    first, *lines = path.read_bytes().split(b"\n")
    if first != json.dumps(stamp).encode():
        return []
    texts = []
    for line in lines:
        with suppress(ValueError, TypeError):
            texts.append(Text(**unsealed(line)))
    return texts
