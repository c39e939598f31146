"""Pre-training of a small RoBERTa on masked words of the miniature language, with a tokenizer of whole words."""

from itertools import islice

import numpy as np
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    DataCollatorForLanguageModeling,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    RobertaForMaskedLM,
    Trainer,
)

from experiments.mini.reports import documents
from experiments.models import architectures
from experiments.pretraining.training import Order, Pretraining

LENGTH = 128  # words of a document at most, special tokens included
DOCUMENTS = {"train": 200_000, "held out": 1_000}
SEEDS = {"train": 1, "held out": 2}  # added to 10 times the seed


def word_tokenizer(texts) -> PreTrainedTokenizerFast:
    """A lower-case word-level tokenizer with RoBERTa's special tokens, their ids, and its template for pairs."""
    special = {
        "bos_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
    words = Tokenizer(models.WordLevel(unk_token="<unk>"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.train_from_iterator(
        texts, trainers.WordLevelTrainer(special_tokens=list(special.values()), show_progress=False)
    )
    words.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=words, cls_token="<s>", sep_token="</s>", model_max_length=LENGTH, **special
    )


class Denoising(DataCollatorForLanguageModeling):
    """RoBERTa's masking, of more words, and with wrong words that are hard to recognise.

    Of the 25 % of words to predict, half are masked, 40 % replaced by a word of the same text, a tenth unchanged. From
    masks alone so small a model would not learn in time that words can be wrong.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast):
        super().__init__(tokenizer, mlm_probability=0.25, mask_replace_prob=0.5, random_replace_prob=0.0)

    def torch_mask_tokens(self, inputs, special_tokens_mask=None, offset_mapping=None):
        texts = inputs.clone()
        special = torch.isin(texts, torch.tensor(self.tokenizer.all_special_ids))
        inputs, labels = super().torch_mask_tokens(inputs, special, offset_mapping)
        elsewhere = torch.argsort(torch.rand(texts.shape), dim=1)  # a random column of the same row
        wrong = (labels == texts) & (inputs == texts) & ~special.gather(1, elsewhere) & (torch.rand(texts.shape) < 0.8)
        return torch.where(wrong, texts.gather(1, elsewhere), inputs), labels


def configuration(tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
    """RoBERTa of 0.6 M parameters. Positions start after the padding index, hence + 2."""
    return architectures.roberta(
        128,
        4,
        vocab_size=len(tokenizer),
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=LENGTH + 2,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="eager",
    )


def corpus(split: str, seed: int) -> list[tuple[str, ...]]:
    return list(islice(documents(10 * seed + SEEDS[split]), DOCUMENTS[split]))


def encode(tokenizer: PreTrainedTokenizerFast, texts: list[tuple[str, ...]]) -> Dataset:
    """Encode texts and pairs in one batch, which only the backend of a tokenizer can."""
    batch = tokenizer.backend_tokenizer.encode_batch([pair if len(pair) == 2 else pair[0] for pair in texts])
    return Dataset.from_dict({"input_ids": [encoding.ids for encoding in batch]})


def accuracy(prediction) -> dict[str, float]:
    """The share of words that are predicted, and the share of the most frequent word."""
    asked = prediction.label_ids != -100
    words = prediction.label_ids[asked]
    return {
        "accuracy": float(np.mean(prediction.predictions[asked] == words)),
        "majority": float(np.bincount(words).max() / words.size),
    }


def pretrain(order: Order, batch_size: int = 64, lr: float = 1e-3) -> dict[str, float]:
    """Train a model, and leave it in the order's folder in fp16; returns its metrics on held-out text."""
    steps = order.steps or 5000
    texts = {split: corpus(split, order.seed) for split in DOCUMENTS}
    tokenizer = word_tokenizer(text for pair in texts["train"][:20_000] for text in pair)
    settings = {
        "max_steps": steps,
        "per_device_train_batch_size": batch_size,
        "per_device_eval_batch_size": batch_size,
        "learning_rate": lr,
        "weight_decay": 0.01,
        "adam_beta2": 0.98,
        "lr_scheduler_type": "linear",
        "warmup_steps": min(500, steps // 10),
        "train_sampling_strategy": "group_by_length",
        "logging_steps": 250,
        "eval_strategy": "steps",
        "eval_steps": 2000,
        "save_strategy": "no",
        "seed": order.seed,
    }
    config = configuration(tokenizer)
    pretraining = Pretraining(order, config, settings)
    tokens = {split: encode(tokenizer, pairs) for split, pairs in texts.items()}
    trainer = Trainer(
        RobertaForMaskedLM(config),
        pretraining.arguments,
        data_collator=Denoising(tokenizer),
        train_dataset=tokens["train"],
        eval_dataset=tokens["held out"],
        compute_metrics=accuracy,
        preprocess_logits_for_metrics=lambda logits, labels: logits.argmax(-1),
    )
    metrics = pretraining.train(trainer)
    tokenizer.save_pretrained(order.out)
    pretraining.save(trainer.model)
    return metrics
