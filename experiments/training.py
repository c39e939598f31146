"""Training through `transformers.Trainer`: two learning rates, light checkpoints, exact resume, best and last."""

import functools
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import ProgressCallback
from transformers.utils import SAFE_WEIGHTS_NAME, ModelOutput

from experiments import history, processes, sharding
from experiments.callbacks import Clock, Epochs, Progress
from experiments.checkpoints import Manifests, Stamp, load_trained, to_resume
from experiments.config import Config
from experiments.errors import Diverged, UserError
from experiments.measure import loader
from experiments.methods.trained import Stateful, trained_state
from experiments.models.causal import IGNORED
from experiments.models.heads import is_head
from experiments.record.parts import Cost, Metrics
from experiments.tasks.base import Loss, Predict, Prepared


@dataclass(frozen=True)
class Trained:
    """What training gives: metrics and cost as a record has them, and the checkpoint with the best weights.

    predict: on other rows, by the model as it is then, with the metrics under their own names.
    """

    metrics: Metrics
    cost: Cost
    best_checkpoint: Path
    predict: Predict


class FineTuner(Trainer):
    """A Trainer with a separate learning rate for the head, whose checkpoints hold the trained parameters alone."""

    def __init__(self, *args: Any, head: tuple[str, ...], lr: float, head_lr: float, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.head, self.rates, self.clock = head, {"adapter": lr, "head": head_lr}, Clock()
        self.sharded = sharding.is_asked_for()
        if self.sharded:
            sharding.prepare(self.accelerator, self.model)
            self.is_fsdp_enabled = False  # accelerate shards; the checkpoints are those of one process
            self.add_callback(sharding.Shares())
        self.add_callback(self.clock)
        self.add_callback(Epochs())
        self.pop_callback(ProgressCallback)
        self.add_callback(Progress)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW over up to four groups: adapter and head, each with and without (biases, norms) weight decay."""
        if self.optimizer is None:
            model = model or self.model
            decaying = set(self.get_decay_parameter_names(model))
            groups: dict[tuple[str, float], list[nn.Parameter]] = {}
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    part = "head" if is_head(name, self.head) else "adapter"
                    decay = self.args.weight_decay if name in decaying else 0.0
                    groups.setdefault((part, decay), []).append(parameter)
            self.optimizer = torch.optim.AdamW(
                {"params": parameters, "name": part, "lr": self.rates[part], "weight_decay": decay}
                for (part, decay), parameters in sorted(groups.items(), key=lambda item: item[0])
            )
            if self.sharded:
                sharding.keep_state_whole(self.optimizer)
        return self.optimizer

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add both learning rates and the seconds so far. Raises Diverged."""
        for key in ("loss", "eval_loss"):
            if not math.isfinite(logs.get(key, 0.0)):
                rates = ", ".join(f"{part} {rate:g}" for part, rate in self.rates.items())
                raise Diverged(
                    f"{key} is {logs[key]} at step {self.state.global_step} of {self.state.max_steps}: training "
                    f"diverged (learning rates: {rates}); lower recipe.lr, recipe.head_lr or method.scale"
                )
        if "loss" in logs:
            del logs["learning_rate"]  # that of the first group alone
            logs |= {f"lr_{group['name']}": group["lr"] for group in self.optimizer.param_groups}
        logs["seconds"] = self.clock.seconds()
        super().log(logs, start_time)

    def autocast_smart_context_manager(self, *args: Any, **kwargs: Any) -> AbstractContextManager:
        """FSDP2's preparation leaves autocast out."""
        return self.accelerator.autocast() if self.sharded else super().autocast_smart_context_manager(*args, **kwargs)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """A checkpoint holds the parameters that train, under the model's own names; the rest never changed."""
        state = trained_state(self.model)  # on every process: shards are gathered
        if not self.args.should_save:
            return
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        save_file(state, Path(output_dir) / SAFE_WEIGHTS_NAME, metadata={"format": "pt"})
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, Stateful):
                callback.save(Path(output_dir))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.sharded and not self.args.should_save:
            self.optimizer.state_dict()  # collective: gathers the shares for the process that writes
        super()._save_optimizer_and_scheduler(output_dir)

    def take_whole(self, model: nn.Module) -> None:
        """Load the trained weights into `model`, which is not sharded, and predict with it from now on."""
        model.load_state_dict(trained_state(self.model), strict=False)
        self.accelerator.free_memory()
        self.model = self.model_wrapped = self.accelerator.prepare_model(
            model.to(self.args.device), evaluation_mode=True
        )

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        load_trained(self.model, Path(resume_from_checkpoint))


def rows_at_once(config: Config) -> int:
    """The rows of one forward pass. Raises UserError where the batch cannot be divided evenly."""
    size, accumulation, several = config.recipe.batch_size, config.train.accumulation, processes.count()
    each, rest = divmod(size, accumulation * several)
    if rest:
        shared = f" times {several} processes" if several > 1 else ""
        raise UserError(f"train.accumulation={accumulation}{shared}: must divide recipe.batch_size={size}")
    return each


def arguments(config: Config, prepared: Prepared, folder: Path) -> TrainingArguments:
    """The configuration as the Trainer's arguments."""
    recipe, train = config.recipe, config.train
    grouped = train.group_by_length and prepared.lengths
    settings = TrainingArguments(
        output_dir=str(folder),
        seed=config.seed,
        num_train_epochs=recipe.epochs,
        max_steps=train.max_steps or -1,
        per_device_train_batch_size=rows_at_once(config),
        gradient_accumulation_steps=train.accumulation,
        per_device_eval_batch_size=train.eval_batch_size,
        learning_rate=recipe.lr,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=recipe.warmup_ratio,  # below 1 the Trainer reads it as a share of all steps
        bf16=train.precision == "bf16",
        fp16=train.precision == "fp16",
        use_cpu=train.torch_device() == "cpu",
        train_sampling_strategy="group_by_length" if grouped else "random",
        dataloader_num_workers=train.loader_processes(),
        eval_strategy="epoch",
        save_strategy="epoch",
        metric_for_best_model="primary",
        greater_is_better=prepared.direction == "max",
        logging_steps=train.log_every,
        logging_nan_inf_filter=False,  # a NaN must reach the log
        remove_unused_columns=False,
        label_names=["labels"],
        disable_tqdm=False,
        report_to="none",
        ddp_timeout=86400,  # seconds: the first process alone analyses ranks and scores texts, while the others wait
    )
    settings.mixed_precision = {"fp32": "no"}.get(train.precision, train.precision)  # not the launcher's
    settings._n_gpu = min(settings.n_gpu, 1)  # one GPU per process: several take torchrun
    return settings


def train(
    config: Config,
    prepared: Prepared,
    model: nn.Module,
    head: tuple[str, ...],
    callbacks: list[TrainerCallback],
    folder: Path,
    stamp: Stamp,
) -> Trained:
    """Train `model`, and its `head` at its own rate, to the end of the recipe, from the newest complete checkpoint in
    `folder` with this stamp.

    Leaves the last weights in the model. Raises Diverged where the loss is no longer finite, and as
    `checkpoints.to_resume` does.
    """
    sharded = sharding.is_asked_for()
    if sharded and any(isinstance(callback, Stateful) for callback in callbacks):
        raise UserError(f"method={config.method.name} works on whole parameters: not sharded; use DDP, by torchrun")
    trainer = FineTuner(
        model=sharding.to_shard(model) if sharded else model,
        args=arguments(config, prepared, folder),
        train_dataset=prepared.train,
        eval_dataset=prepared.validation,
        data_collator=prepared.collate,
        compute_metrics=lambda outputs: {**(found := prepared.metrics(outputs)), "primary": found[prepared.primary]},
        compute_loss_func=functools.partial(
            _share_of_step, prepared.loss, functools.partial(config.method.penalty, model)
        ),
        preprocess_logits_for_metrics=prepared.reduce,
        callbacks=[Manifests(stamp), *callbacks],
        head=head,
        lr=config.recipe.lr,
        head_lr=config.recipe.head_lr,
    )
    checkpoint = to_resume(folder, stamp, config.train.resume)
    if checkpoint:
        processes.say(f"continuing from {checkpoint}")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if sharded:
        trainer.take_whole(model)
    return _trained(trainer, prepared, folder)


def _share_of_step(
    loss: Loss,
    penalty: Callable[[], Tensor | float],
    outputs: ModelOutput,
    labels: Tensor,
    num_items_in_batch: Tensor | int | None = None,
) -> Tensor:
    """A batch's share of an optimiser step's loss, which is the mean over all items of the step, in any number of
    batches and processes. num_items_in_batch: the number of items in the step; None: those of this batch."""
    mean = loss(outputs, labels) + penalty()
    return mean if num_items_in_batch is None else mean * ((labels != IGNORED).sum() / num_items_in_batch)


def _trained(trainer: FineTuner, prepared: Prepared, folder: Path) -> Trained:
    log, state = trainer.state.log_history, trainer.state
    evaluations = history.evaluations(log)
    metrics = Metrics.of(prepared.primary, prepared.direction, history.per_epoch(log, prepared.primary))
    eval_s = sum(entry["eval_runtime"] for entry in evaluations)
    train_s = evaluations[-1]["seconds"] - eval_s
    cost = Cost(
        train_s=train_s,
        eval_s=eval_s,
        steps=state.global_step,
        samples_per_s=len(prepared.train) * state.epoch / train_s,
        eval_samples_per_s=len(prepared.validation) * len(evaluations) / eval_s,
        loader_samples_per_s=loader.rate(trainer.get_train_dataloader()),
    )
    best = folder / f"checkpoint-{evaluations[metrics.best_index]['step']}"
    return Trained(metrics, cost, best, lambda rows: history.predicted(trainer.predict(rows)))
