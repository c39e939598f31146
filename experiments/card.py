"""What completes a run's adapter for the Hugging Face hub: its tokenizer or image processor, and a model card."""

import json
from collections.abc import Mapping
from pathlib import Path

import transformers
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from experiments.record import Record, Selection, replace_file

CARD = "README.md"
ADAPTER = "adapter_config.json"
HERE = "USER/NAME"  # in a card, until it is uploaded, the repository that it goes to
# By task type: the classes of transformers that read base and inputs, and the hub's name of the task.
KINDS = {
    "SEQ_CLS": ("AutoModelForSequenceClassification", "AutoTokenizer", "text-classification"),
    "CAUSAL_LM": ("AutoModelForCausalLM", "AutoTokenizer", "text-generation"),
    None: ("AutoModelForImageClassification", "AutoImageProcessor", "image-classification"),
}
ASIDE = {"epoch", "train_loss"}  # no scores
MAKERS = ("fourierft", "peft", "transformers", "torch", "python")
TEMPLATE = """\
---
{{ card_data }}
---

# {{ name }}

{{ "{:,}".format(record.params.adapter) }} values of {{ record.method }} beside the frozen `{{ base }}`\
{% if record.params.head %}, and {{ "{:,}".format(record.params.head) }} of its head{% endif %}, trained on \
{{ "{:,}".format(record.dataset.rows["train"]) }} rows of {{ record.dataset.name }}\
{% if public %} (`{{ record.dataset.id }}`){% endif %}\
{% if classes %}. Classes, in the order of the labels: {{ classes | join(", ") }}{% endif %}.

## Scores

| split | metric | value |
| --- | --- | --- |
{% for split, metric, value in scores %}| {{ split }} | {{ metric }} | {{ "%.4f" | format(value) }} |
{% endfor %}
Of the {{ selection }} epoch, {{ "%g" | format(epoch) }}; seed {{ record.seed }}. Record `{{ record.name }}`, scale \
{{ record.scale }}, code at commit {{ record.commit or "unknown" }}{% if record.dirty %} with changes{% endif %}.

## Load

```python
from huggingface_hub import snapshot_download
from transformers import {{ auto }}, {{ reader }}

adapter = snapshot_download("{{ here }}")
inputs = {{ reader }}.from_pretrained({% if has_reader %}adapter{% else %}"{{ base }}"{% endif %})
base = {{ auto }}.from_pretrained(
    "{{ base }}", dtype="{{ dtype }}"{% if classes is not none %},
    num_labels={{ count }}, ignore_mismatched_sizes=True{% endif %}
)
```
{% if by_peft %}
With PEFT:

```python
from peft import PeftModel

model = PeftModel.from_pretrained(base, adapter).eval()
```
{% endif %}{% if by_fourierft %}
With fourierft:

```python
import fourierft

model = fourierft.load(base, adapter).eval()
```
{% endif %}
## Training

| setting | value |
| --- | --- |
{% for name, value in settings %}| {{ name }} | {{ value }} |
{% endfor %}
By {{ versions }}.

## Licence

None is stated: choose one that the licences of base and data allow, and name it above, as `license`.
"""


def complete(folder: Path, selection: Selection, record: Record, source: Path, labels: Mapping[int, str]) -> None:
    """Add tokenizer or image processor, and README.md, to the adapter in `folder`; nothing to what is no adapter.

    source: the folder of the base model. labels: the names of its classes, without effect for a language model.
    """
    if not (folder / ADAPTER).is_file():
        return  # parameters of a method for which there is no format
    document = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))
    auto, reader, pipeline = KINDS[document["task_type"]]
    saved = getattr(transformers, reader).from_pretrained(source, local_files_only=True).save_pretrained(folder)

    base, kind = document["base_model_name_or_path"], document["peft_type"]
    by_peft = not kind.startswith("FOURIERFT_EXTENDED")
    measured = {"validation": record.metrics.all, "test": record.metrics.test}
    found = {split: getattr(both, selection) for split, both in measured.items() if both}
    scores = [(split, *item) for split, values in found.items() for item in values.items() if item[0] not in ASIDE]
    name = f"{record.method} on {record.model.name}, {record.task}"
    public = record.dataset.source != "local"  # else its id may be a path of this machine
    data_id = record.dataset.id if public else record.dataset.name
    data = ModelCardData(
        base_model=None if Path(base).is_dir() else base,
        datasets=record.dataset.id.split(", ") if record.dataset.source == "hub" else None,
        library_name="peft" if by_peft else "fourierft",
        pipeline_tag=pipeline,
        tags=[record.method, record.task],
        model_name=name,
        eval_results=[
            EvalResult(pipeline, data_id, record.dataset.name, metric, value, dataset_split=split)
            for split, metric, value in scores
        ],
    )
    named = [name for label, name in sorted(labels.items()) if name != f"LABEL_{label}"]
    used = {group: record.config[group] for group in ("method", "recipe")}
    precision = record.configured("task.base")
    about = {"task.base": precision, "base's revision": record.model.revision}
    about |= {key: record.configured(key) for key in ("train.max_steps", "train.rows", "train.holdout")}  # of a trial
    card = ModelCard.from_template(
        data,
        template_str=TEMPLATE,
        name=name,
        record=record,
        selection=selection,
        epoch=found["validation"]["epoch"],
        scores=scores,
        base=base,
        auto=auto,
        reader=reader,
        has_reader=bool(saved),  # timm's image processors are in the base's configuration alone
        here=HERE,
        dtype="float32" if precision in (None, "fp32") else "bfloat16",
        classes=None if document["task_type"] == "CAUSAL_LM" else named,
        count=len(labels),
        public=public,
        by_peft=by_peft,
        by_fourierft=kind.startswith("FOURIERFT"),
        settings=[
            *((f"{group}.{key}", value) for group, values in used.items() for key, value in values.items()),
            *((key, value) for key, value in about.items() if value),
        ],
        versions=", ".join(f"{package} {record.versions[package]}" for package in MAKERS if package in record.versions),
    )
    replace_file(folder / CARD, f"{card}\n".encode())
