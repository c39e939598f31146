"""A person's own data: texts, images or instructions in a file, a folder or a data set on the hub, of any size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from experiments import processes
from experiments.data import own
from experiments.data.assets import IMAGE_ENDINGS, Assets, Model, Source
from experiments.errors import UserError
from experiments.settings import Recipe, Train
from experiments.tasks.base import Data, Prepared, Splits, Task
from experiments.tasks.images import ImageTask
from experiments.tasks.instruct import INPUT, INSTRUCTION, OUTPUT, Instructions
from experiments.tasks.sentences import SentenceTask
from experiments.typed import Share

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

CONVERSATION, HISTORY = "conversation", "history"  # columns: its number in the file, what was said before an answer


class Own(Task):
    """Base. data: a file, a folder, or the name of a set on the hub. config: of a set there that has several.

    validation_share: of train, where the data have no validation split; drawn with `split_seed`. A test split is used
    where there is one. No miniature stands in for them, and their runs are never the paper's.
    """

    name: str
    data: str
    config: str | None
    validation_share: Share
    split_seed: int

    def find(self, assets: Assets, mini: bool) -> Source:
        return self.locate(assets)

    def is_whole(self, splits: Splits) -> bool:
        return False

    def miniature(self) -> Source:
        raise NotImplementedError("own data are not generated")

    def generate(self) -> Splits:
        raise NotImplementedError("own data are not generated")

    def validated(self, splits: Splits, where: str) -> Splits:
        """The splits; where there is no validation, a share of train is. Raises UserError for too few rows."""
        if "validation" in splits:
            return splits
        share, groups = self.validation_share, self.groups(splits["train"])
        kind, count = ("rows", len(splits["train"])) if groups is None else ("conversations", len(set(groups)))
        if round(share * count) < 1 or count < 2:
            raise UserError(f"{where}: {count} {kind} are too few to hold {share:g} of them out; add some")
        halves = self.halves(splits["train"], share, self.split_seed)
        processes.say(f"{where}: no validation split: {len(halves['validation']):,} rows of train are held out for it")
        return {**splits, **halves}


class OwnText(Own, SentenceTask):
    """Texts, or pairs of texts, with a class or a score each. metric: chooses the best epoch; None: accuracy of
    classes, Pearson of scores."""

    family: Literal["own_text"]
    label: str
    kind: Literal["auto", "classes", "scores"]
    metric: str | None

    def locate(self, assets: Assets) -> Source:
        return own.find(self.data, self.name, assets, own.TABLES)

    def read(self, source: Source) -> Splits:
        """Raises UserError for rows that cannot be trained on, or labels that train does not have."""
        found = own.read(source, self.config)
        if "test" in found and own.unlabelled(found["test"], self.label):
            processes.say(f"{source.id}, test: no labels: left out")
            del found["test"]
        names = {split: f"{source.id}, {split}" for split in found}
        rows = {split: own.with_texts(found[split], self.inputs, [self.label], names[split]) for split in found}
        kind = own.kind_of(rows["train"], self.label, names["train"]) if self.kind == "auto" else self.kind
        classes = own.class_names(rows["train"], self.label, names["train"]) if kind == "classes" else []
        splits = {split: own.labelled(rows[split], self.label, classes, names[split]) for split in rows}
        return self.validated(splits, source.id)

    def prepare(self, model: Model, weights: Source, data: Data, train: Train, recipe: Recipe, seed: int) -> Prepared:
        """Raises UserError for a metric that labels of this kind do not have."""
        from datasets import ClassLabel

        from experiments.metrics.glue import SETS

        splits = self.cut(data.splits, train)
        kind = "classes" if isinstance(splits["train"].features["label"], ClassLabel) else "scores"
        if self.metric not in (None, *SETS[kind]):
            raise UserError(f"task.metric={self.metric}: {kind} are judged by {', '.join(SETS[kind])}; choose one")
        return self.prepare_as(model, weights, splits, train, recipe, kind, self.metric or SETS[kind][0])


class OwnImages(Own, ImageTask):
    """Images in <class>/ or <split>/<class>/, or in parquet files, of as many classes as there are."""

    family: Literal["own_images"]

    def locate(self, assets: Assets) -> Source:
        return own.of_config(own.find(self.data, self.name, assets, (".parquet", *IMAGE_ENDINGS)), self.config)

    def read(self, source: Source) -> Splits:
        """Raises UserError for data without a split train or with one class alone."""
        from experiments.data import image_sets

        found = image_sets.read(source, self.image, self.label, self.classes)
        if "train" not in found:
            raise UserError(f"{source.id}: no split train; there are {', '.join(found) or 'none'}")
        names = found["train"].features["label"].names
        if len(names) < 2:
            raise UserError(f"{source.id}: one class, {names[0]}: there is nothing to learn; want a folder for each")
        counts = Counter(found["train"]["label"])
        own.say_classes({name: counts[number] for number, name in enumerate(names)}, f"{source.id}, train")
        return self.validated(found, source.id)


class OwnInstructions(Own, Instructions):
    """Instructions with answers, or conversations.

    columns: the names of instruction, input (which may be absent) and output, or of messages: lists of {"role",
    "content"}, of which every answer of the assistant is learnt, after the chat template of the model if it has one.
    """

    family: Literal["own_instructions"]
    columns: dict[Literal["instruction", "input", "output", "messages"], str]

    def locate(self, assets: Assets) -> Source:
        source = own.find(self.data, self.name, assets, own.TABLES)
        return Source(source.name, source.source, source.id, self.with_questions(source.files, assets), source.revision)

    def read(self, source: Source) -> Splits:
        """Raises UserError for rows that are neither instructions nor conversations."""
        found = own.read(source, self.config)
        return self.validated({s: self._rows(rows, f"{source.id}, {s}") for s, rows in found.items()}, source.id)

    def _rows(self, rows: Dataset, where: str) -> Dataset:
        from datasets import Dataset

        if (messages := self.columns["messages"]) in rows.column_names:
            return Dataset.from_list([turn for i, said in enumerate(rows[messages]) for turn in _turns(said, where, i)])
        names = {name: self.columns[name] for name in (INSTRUCTION, OUTPUT)}
        given = [self.columns[INPUT]] if self.columns[INPUT] in rows.column_names else []
        rows = own.with_texts(rows, [*names.values()], [], where, optional=given)
        inputs = [text or "" for text in rows[given[0]]] if given else [""] * len(rows)
        return Dataset.from_dict({**{name: rows[column][:] for name, column in names.items()}, INPUT: inputs})

    def groups(self, rows: Dataset) -> list[int] | None:
        """The conversations, if there are any: the history of one answer holds others."""
        return list(rows[CONVERSATION]) if CONVERSATION in rows.column_names else None

    def prompts(self, rows: Dataset, tokenizer: PreTrainedTokenizerBase) -> list[str]:
        """Raises UserError for a conversation that the model's chat template refuses."""
        from jinja2 import TemplateError

        if HISTORY not in rows.column_names:
            return super().prompts(rows, tokenizer)
        word = self._templated if tokenizer.chat_template else self._worded
        texts: list[str] = []
        for row, history in zip(rows[CONVERSATION], rows[HISTORY], strict=True):
            try:
                texts.append(word(history, tokenizer))
            except TemplateError as error:
                roles = ", ".join(message["role"] for message in history)
                raise UserError(
                    f"{self.data}, row {row} ({history[-1]['content']!r:.40}): the chat template refuses "
                    f"{roles} ({error}); say what the system says in the user's first message, or choose another model"
                ) from error
        return texts

    def _templated(self, history: Sequence[dict[str, str]], tokenizer: PreTrainedTokenizerBase) -> str:
        text = tokenizer.apply_chat_template(history, tokenize=False, add_generation_prompt=True)
        adds = tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]
        return text.removeprefix(tokenizer.bos_token) if adds else text  # it is added again

    def _worded(self, history: Sequence[dict[str, str]], tokenizer: PreTrainedTokenizerBase) -> str:
        """A system's message stands before the first user's."""
        text, before = "", ""
        for message in history:
            if message["role"] == "system":
                before = f"{message['content']}\n\n"
            elif message["role"] == "assistant":
                text += message["content"] + tokenizer.eos_token
            else:
                said = before + message["content"]
                text, before = text + (self.wording.go_on(said) if text else self.wording.ask(said)), ""
        return text


def _turns(messages: Any, where: str, row: int) -> Iterator[dict[str, Any]]:
    """A row for each answer of the assistant. Raises UserError where the messages are no conversation."""
    try:
        said = [{"role": message["role"], "content": message["content"]} for message in messages]
        roles = [message["role"] for message in said]
        turns = roles[1:] if roles[:1] == ["system"] else roles
        if not turns or turns != ["user", "assistant"] * (len(turns) // 2):
            raise ValueError(f"roles {', '.join(map(str, roles)) or 'none'}")
        if not all(isinstance(message["content"], str) and message["content"].strip() for message in said):
            raise ValueError("an empty message")
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(
            f"{where}, row {row}: no conversation ({error}); want a list of {{role, content}}: system or not, then "
            "user and assistant in turn; correct or remove that row"
        ) from error
    for number, message in enumerate(said):
        if message["role"] == "assistant":
            known = {CONVERSATION: row, HISTORY: said[:number]}
            yield {**known, INSTRUCTION: "", INPUT: "", OUTPUT: message["content"]}
