"""What watches a training: its clock, its epochs, its progress."""

import time

from transformers import TrainerCallback
from transformers.trainer_callback import ProgressCallback
from transformers.trainer_utils import has_length

from experiments import history, progress


class Clock(TrainerCallback):
    """Seconds of training and validation, including those before an interruption."""

    def on_train_begin(self, args, state, control, **kwargs):
        before = state.log_history[-1]["seconds"] if state.log_history else 0.0
        self.zero = time.perf_counter() - before

    def seconds(self) -> float:
        return time.perf_counter() - self.zero


class Epochs(TrainerCallback):
    """Tells the dataset which epoch begins: accelerate does not where several processes share the batches.

    Logs at the end of each epoch: otherwise a logged training loss could be a mean over two epochs, and another one
    after an interruption.
    """

    def on_epoch_begin(self, args, state, control, train_dataloader=None, **kwargs):
        if hasattr(train_dataloader.dataset, "set_epoch"):
            train_dataloader.dataset.set_epoch(round(state.epoch))

    def on_epoch_end(self, args, state, control, **kwargs):
        control.should_log = True


class Progress(ProgressCallback):
    """The Trainer's progress, as `progress.py` tells it, with one line per epoch instead of one per logging step."""

    def on_train_begin(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            self.training_bar = progress.counter(state.max_steps, "training", dynamic_ncols=True)
        self.current_step = 0

    def on_prediction_step(self, args, state, control, eval_dataloader=None, **kwargs):
        if state.is_world_process_zero and self.prediction_bar is None and has_length(eval_dataloader):
            nested = self.training_bar is not None
            self.prediction_bar = progress.counter(
                len(eval_dataloader), "evaluating", leave=not nested, dynamic_ncols=True
            )
        super().on_prediction_step(args, state, control, eval_dataloader, **kwargs)

    def on_log(self, args, state, control, logs=None, **kwargs):
        if state.is_world_process_zero and self.training_bar is not None and "eval_loss" in logs:
            named = {key.removeprefix("eval_"): value for key, value in logs.items()}
            hidden = {*history.TIMING, "epoch", "seconds"}
            values = "  ".join(f"{name} {value:.4f}" for name, value in named.items() if name not in hidden)
            self.training_bar.write(f"epoch {logs['epoch']:>3.0f}  {values}  {logs['seconds']:.0f} s")
