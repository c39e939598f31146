"""An adapter leaves the house: saved, uploaded, and loaded by this library and by PEFT.

    python examples/save_push_load.py

Prints the files of the adapter, and that both ways to load it give the logits it was saved with. 10 seconds.
"""

from pathlib import Path

import peft
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import fourierft

BASE = str(Path(__file__).parents[1] / "experiments/mini/roberta")  # a miniature; or "FacebookAI/roberta-base"
FOLDER = "build/examples/save_push_load"


def plain_model() -> torch.nn.Module:
    return AutoModelForSequenceClassification.from_pretrained(BASE, num_labels=3, dtype=torch.float32).eval()


config = fourierft.FourierConfig(
    n=250,
    scale=10.0,
    targets=("query", "value"),
    head=("classifier",),
    task_type="SEQ_CLS",  # with the base's name, BASE, this is all that PEFT needs to load both in one call
)
model = fourierft.adapt(plain_model(), config)  # the coefficients are random: as good as trained ones, to be saved
tokenizer = AutoTokenizer.from_pretrained(BASE)
batch = tokenizer(["The film was superb.", "The plot was not very clumsy."], return_tensors="pt", padding=True)
with torch.inference_mode():
    logits = model(**batch).logits

    fourierft.save(model, FOLDER)
    tokenizer.save_pretrained(FOLDER)
    for file in sorted(Path(FOLDER).iterdir()):
        print(f"{file.stat().st_size:7,} bytes  {file.name}")
    # To the hub: huggingface_hub.upload_folder(repo_id="user/name", folder_path=FOLDER), once create_repo has made it.

    ours = fourierft.load(plain_model(), FOLDER)
    print(f"fourierft.load:   logits differ by {(ours(**batch).logits - logits).abs().max():.0e}")

    theirs = peft.AutoPeftModelForSequenceClassification.from_pretrained(FOLDER, num_labels=3, dtype=torch.float32)
    print(f"AutoPeftModel...: logits differ by {(theirs.eval()(**batch).logits - logits).abs().max():.0e}")
