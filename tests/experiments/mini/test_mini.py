"""The miniature world: its GLUE tasks are well formed and need more than words; its checkpoint knows the language."""

from collections import Counter

import pytest
import torch
from scipy.sparse import hstack
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

from experiments.data.assets import EMBEDDED
from experiments.mini import glue
from experiments.pretraining import words
from experiments.pretraining.training import Order

CHECKPOINT = EMBEDDED / "roberta"
LABELS = {  # GLUE on the hub: text columns and names of the labels
    "cola": (["sentence"], ["unacceptable", "acceptable"]),
    "mnli": (["premise", "hypothesis"], ["entailment", "neutral", "contradiction"]),
    "mrpc": (["sentence1", "sentence2"], ["not_equivalent", "equivalent"]),
    "qnli": (["question", "sentence"], ["entailment", "not_entailment"]),
    "qqp": (["question1", "question2"], ["not_duplicate", "duplicate"]),
    "rte": (["sentence1", "sentence2"], ["entailment", "not_entailment"]),
    "sst2": (["sentence"], ["negative", "positive"]),
    "stsb": (["sentence1", "sentence2"], None),
}
tasks = pytest.mark.parametrize("task", LABELS)


def texts(task: str, split: str) -> list[tuple[str, ...]]:
    data = glue.generate(task, split)
    return list(zip(*(data[column] for column in LABELS[task][0]), strict=True))


@tasks
def test_a_seed_fixes_the_rows(task):
    assert glue.generate(task, "validation")[:] == glue.generate.__wrapped__(task, "validation")[:]
    assert glue.generate(task, "validation")[:] != glue.generate(task, "validation", seed=1)[:]


@tasks
def test_columns_and_labels_are_those_of_glue(task):
    columns, names = LABELS[task]
    data = glue.generate(task, "train")
    assert data.column_names == [*columns, "label", "idx"]
    assert data["idx"] == list(range(glue.ROWS["train"]))
    if names:
        assert data.features["label"].names == names
    else:
        assert data.features["label"].dtype == "float32"


@tasks
@pytest.mark.parametrize("split", glue.ROWS)
def test_labels_are_balanced(task, split):
    counts = Counter(glue.generate(task, split)["label"])
    assert len(counts) == {"stsb": 6, "mnli": 3}.get(task, 2)
    assert max(counts.values()) - min(counts.values()) <= 1


@tasks
def test_no_text_stands_in_two_splits_or_twice_in_one(task):
    splits = [{frozenset(row) for row in texts(task, split)} for split in glue.ROWS]
    assert list(map(len, splits)) == list(glue.ROWS.values())
    assert len(set.union(*splits)) == sum(glue.ROWS.values())


def test_an_unknown_task_or_split_is_named_with_what_there_is():
    with pytest.raises(ValueError, match=r"'wnli'.*rte"):
        glue.generate("wnli", "train")
    with pytest.raises(ValueError, match=r"'dev'.*validation"):
        glue.generate("rte", "dev")


@pytest.mark.parametrize("task", ["cola", "mrpc", "rte", "qnli", "qqp"])
def test_a_bag_of_words_does_not_solve_the_task(task):
    """The words of each text leave a linear classifier near chance (0.5): what counts is how they go together."""
    train, validation = texts(task, "train"), texts(task, "validation")
    counter = CountVectorizer(token_pattern=r"\w+").fit([" ".join(row) for row in train])

    def features(rows):
        return hstack([counter.transform(column) for column in zip(*rows, strict=True)])

    model = LogisticRegression(C=0.1, max_iter=300).fit(features(train), glue.generate(task, "train")["label"])
    assert model.score(features(validation), glue.generate(task, "validation")["label"]) < 0.62


@tasks
def test_every_row_is_short_and_known_to_the_tokenizer(task):
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    ids = [tokenizer(*row)["input_ids"] for row in texts(task, "train")]
    assert max(map(len, ids)) <= 64
    assert tokenizer.unk_token_id not in {token for row in ids for token in row}


def test_the_tokenizer_has_the_template_of_roberta():
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    ids = tokenizer("Anna visited Bruno.", "It was in Paris.")["input_ids"]
    assert tokenizer.decode(ids) == "<s> anna visited bruno . </s> </s> it was in paris . </s>"
    assert (tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 1, 2)


def test_the_checkpoint_gives_a_classifier_its_whole_encoder():
    _, loading = AutoModelForSequenceClassification.from_pretrained(CHECKPOINT, output_loading_info=True)
    assert loading["missing_keys"] and all(key.startswith("classifier.") for key in loading["missing_keys"])
    assert sum(file.stat().st_size for file in CHECKPOINT.iterdir()) <= 4e6


def test_the_checkpoint_predicts_masked_words_of_text_it_was_not_trained_on():
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    model = AutoModelForMaskedLM.from_pretrained(CHECKPOINT).eval()
    rows = words.encode(tokenizer, words.corpus("held out", seed=0)[:256])
    torch.manual_seed(0)
    collator = words.Denoising(tokenizer)
    batch = collator(list(rows))
    with torch.no_grad():
        guesses = model(**batch.data).logits.argmax(-1)
    asked = batch["labels"] != -100
    truth = batch["labels"][asked]
    majority = truth.bincount().max() / len(truth)
    assert (guesses[asked] == truth).float().mean() > 2 * majority


def test_pretraining_is_repeatable_and_writes_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(words, "DOCUMENTS", {"train": 200, "held out": 20})
    for name in ("a", "b"):
        metrics = words.pretrain(Order(tmp_path / name, steps=3), batch_size=8)
        assert metrics["eval_loss"] > 0
    first, second = (AutoModelForMaskedLM.from_pretrained(tmp_path / name).state_dict() for name in ("a", "b"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
