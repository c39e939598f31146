"""The one thread that owns a model and its bank of adapters: it takes requests and writes their answers together.

A step makes one token for every row. Requests join between two steps, whatever their adapters and settings, and leave
when they are done or nobody waits for them. This is a demonstration: the cache is one tensor a layer, padded on the
left and copied whenever a row joins or leaves, and a long prompt holds up the others. For any model that keeps keys and
values of its tokens alone, and takes their positions.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, PreTrainedTokenizerBase

from experiments.serving.protocol import Finish, Refusal
from fourierft import Bank, FourierError

CONTEXT = 8  # tokens of the prompt before the answer: whether its first word has a space depends on them
CUT = "\N{REPLACEMENT CHARACTER}"  # what tokens become that end within a character


@dataclass(frozen=True)
class Piece:
    """A part of an answer. tokens: how many were written in all, the end of text included."""

    text: str
    tokens: int
    finish: Finish | None = None


@dataclass(eq=False)
class Job:
    """A request: at least one token of a prompt, and how to go on.

    tell: called by the engine's thread, with the parts of the answer up to one that has a `finish`, or one Refusal.
    temperature: 0 takes the likeliest token. gone: whether nobody waits for the answer any more.
    """

    adapter: str | None
    prompt: list[int]
    max_tokens: int
    tell: Callable[[Piece | Refusal], None]
    temperature: float = 0.0
    top_p: float = 1.0
    stop: Sequence[str] = ()
    seed: int | None = None
    gone: bool = False


class Row:
    """The answer to a job, as far as it is written."""

    def __init__(self, job: Job, tokenizer: PreTrainedTokenizerBase, ends: set[int]) -> None:
        self.job, self.tokenizer, self.ends = job, tokenizer, ends
        self.ids, self.tokens, self.held = list(job.prompt), 0, ""
        self.decoded, self.told = max(0, len(self.ids) - CONTEXT), len(self.ids)
        self.generator = torch.Generator()
        self.generator.seed() if job.seed is None else self.generator.manual_seed(job.seed)

    def write(self, logits: Tensor) -> bool:
        """Chooses the next token, by logits of shape (vocabulary,), and tells its text; whether the row goes on."""
        if not logits.max().isfinite():
            message = f"{self.job.adapter or 'the model'} computes numbers that are not finite here; use another model"
            self.job.tell(Refusal(500, message, code="not_finite"))
            return False
        token = self._choose(logits)
        self.tokens += 1
        ended = token in self.ends
        if not ended:
            self.ids.append(token)
        last = ended or self.tokens == self.job.max_tokens
        self.held += self._new_text(last)
        stops = [at for stop in self.job.stop if (at := self.held.find(stop)) >= 0]
        finish: Finish | None = "stop" if ended or stops else "length" if last else None
        end = min(stops) if stops else len(self.held) - (0 if last else self._begun())
        text, self.held = self.held[:end], self.held[end:]
        if text or finish:
            self.job.tell(Piece(text, self.tokens, finish))
        return finish is None

    def _choose(self, logits: Tensor) -> int:
        """A sample from the likeliest tokens that together have a probability of `top_p`."""
        if not self.job.temperature:
            return int(logits.argmax())
        wide = logits.double()  # in which the smallest temperature is not 0
        shares = ((wide - wide.max()) / self.job.temperature).softmax(0)
        if self.job.top_p < 1:
            likeliest, tokens = shares.sort(descending=True)
            beyond = likeliest.cumsum(0) - likeliest >= self.job.top_p
            shares[tokens[1:][beyond[1:]]] = 0
        return int(shares.multinomial(1, generator=self.generator))

    def _new_text(self, last: bool) -> str:
        """The text of the tokens since it was last told; nothing while they end within a character."""
        before, now = (
            self.tokenizer.decode(self.ids[self.decoded : end], skip_special_tokens=True) for end in (self.told, None)
        )
        if now.endswith(CUT) and not last:
            return ""
        self.decoded, self.told = self.told, len(self.ids)
        return now[len(before) :]

    def _begun(self) -> int:
        """How many characters at the end of the text may be the beginning of a stop."""
        sizes = {size for stop in self.job.stop for size in range(1, len(stop)) if self.held.endswith(stop[:size])}
        return max(sizes, default=0)


class Past:
    """What a model keeps of the tokens of its rows. mask: (rows, tokens), 0 on the padding, which is on the left."""

    def __init__(self, mask: Tensor) -> None:
        self.mask, self.cache = mask, DynamicCache()

    def keep(self, kept: list[int]) -> None:
        """Drops the other rows, and the padding that none of these needs."""
        self.mask = self.mask[kept]
        start = int(self.mask.argmax(1).min())
        self.mask = self.mask[:, start:]
        for layer in self.cache.layers:
            layer.keys, layer.values = layer.keys[kept, :, start:], layer.values[kept, :, start:]

    def join(self, other: "Past") -> None:
        """Adds the rows of another one behind these."""
        length = max(self.mask.shape[1], other.mask.shape[1])
        self.mask = torch.cat([pad(past.mask, (length - past.mask.shape[1], 0)) for past in (self, other)])
        for ours, theirs in zip(self.cache.layers, other.cache.layers, strict=True):
            for name in ("keys", "values"):
                both = getattr(ours, name), getattr(theirs, name)
                setattr(ours, name, torch.cat([pad(each, (0, 0, length - each.shape[2], 0)) for each in both]))


class Engine:
    """Writes answers with the adapters of a bank. Every method but `run` is for other threads.

    ends: the tokens that end an answer. batch: how many rows at once. queue: how many requests wait at most.
    """

    def __init__(
        self, bank: Bank, tokenizer: PreTrainedTokenizerBase, ends: set[int], batch: int = 32, queue: int = 256
    ) -> None:
        self.bank, self.tokenizer, self.ends, self.batch, self.queue = bank, tokenizer, ends, batch, queue
        self._changed = threading.Condition()  # guards the next two
        self._waiting: deque[Job] = deque()
        self._stopped = False
        self._rows: list[Row] = []
        self._past: Past | None = None

    @property
    def load(self) -> dict[str, int]:
        """How many requests are written and wait."""
        return {"running": len(self._rows), "waiting": len(self._waiting)}

    def submit(self, job: Job) -> None:
        """Raises Refusal: 429 for a full queue, 503 after `stop`."""
        with self._changed:
            if self._stopped:
                raise _stopping()
            if len(self._waiting) >= self.queue:
                raise Refusal(429, f"{self.queue} requests wait already; try again later", code="queue_full")
            self._waiting.append(job)
            self._changed.notify()

    def leave(self, job: Job) -> None:
        """Nobody waits for this job any more: its place is free at the next step."""
        with self._changed:
            job.gone = True
            if job in self._waiting:
                self._waiting.remove(job)

    def stop(self) -> None:
        """Ends `run` after the step that it is in, and refuses what is not answered."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def run(self) -> None:
        """Be the thread."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._waiting or self._rows)
                if self._stopped:
                    break
            try:
                self._step()
            except Exception:  # such as memory that is short: who asked is told, and the server goes on
                logging.exception("a step failed")
                self._refuse(Refusal(500, "the server failed at this batch, and its log says why; ask for less"))
        self._refuse(_stopping())
        for job in self._waiting:
            job.tell(_stopping())

    def _refuse(self, refusal: Refusal) -> None:
        rows, self._rows, self._past = self._rows, [], None
        for row in rows:
            row.job.tell(refusal)

    @torch.inference_mode()
    def _step(self) -> None:
        """One more token for every row, after the first one for those that join."""
        self._keep([not row.job.gone for row in self._rows])
        old = len(self._rows)
        self._admit()
        if new := self._rows[old:]:
            prompts = [torch.tensor(row.ids, device=self.bank.model.device) for row in new]
            ids, mask = (
                pad_sequence(each, batch_first=True, padding_side="left")
                for each in (prompts, [torch.ones_like(prompt) for prompt in prompts])
            )
            past = Past(mask)
            going = self._write(new, ids, past)
            if self._past is None:
                self._past = past
            else:
                self._past.join(past)
            self._keep([True] * old + going)
        if self._past is not None:
            self._past.mask = pad(self._past.mask, (0, 1), value=1)
            ids = torch.tensor([row.ids[-1:] for row in self._rows], device=self._past.mask.device)
            self._keep(self._write(self._rows, ids, self._past))

    def _admit(self) -> None:
        """Takes waiting requests, in order, as far as rows and the bank have places."""
        while len(self._rows) < self.batch:
            adapters = {row.job.adapter for row in self._rows} - {None}
            with self._changed:
                if not self._waiting:
                    return
                named = adapters | {self._waiting[0].adapter} - {None}
                if self.bank.capacity is not None and len(named) > self.bank.capacity:
                    return
                job = self._waiting.popleft()
            self._rows.append(Row(job, self.tokenizer, self.ends))  # first: whatever fails, it is told
            try:
                with self.bank.rows([job.adapter]):  # reads it, if it is not on the device
                    pass
            except FourierError as error:
                self._rows.pop()
                job.tell(Refusal(500, str(error), code="adapter_unreadable", param="model"))

    def _write(self, rows: list[Row], ids: Tensor, past: Past) -> list[bool]:
        """Reads the tokens at the end of `past`, and writes one more for each row; whether each goes on."""
        positions = (past.mask.cumsum(1) - 1).clamp_min(0)[:, -ids.shape[1] :]
        with self.bank.rows([row.job.adapter for row in rows]):
            logits = self.bank.model(
                input_ids=ids,
                attention_mask=past.mask,
                position_ids=positions,
                past_key_values=past.cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits
        return [row.write(each) for row, each in zip(rows, logits[:, -1].float().cpu(), strict=True)]

    def _keep(self, going: list[bool]) -> None:
        if all(going):
            return
        kept = [k for k, goes in enumerate(going) if goes]
        self._rows = [self._rows[k] for k in kept]
        if kept and self._past is not None:
            self._past.keep(kept)
        else:
            self._past = None


def _stopping() -> Refusal:
    return Refusal(503, "the server is stopping; ask another one", code="stopping")
