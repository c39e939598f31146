"""The methods of fine-tuning, one a file. The configuration's `method.name` picks one."""

from typing import Annotated

from pydantic import Field

from experiments.methods.adalora import AdaLora
from experiments.methods.adapter_drop import AdapterDrop
from experiments.methods.adapter_houlsby import AdapterHoulsby
from experiments.methods.adapter_lin import AdapterLin
from experiments.methods.adapter_pfeiffer import AdapterPfeiffer
from experiments.methods.bitfit import BitFit
from experiments.methods.by_peft import AnyTuner
from experiments.methods.dylora import DyLora
from experiments.methods.fourierft import FourierFT
from experiments.methods.full import Full
from experiments.methods.head_only import HeadOnly
from experiments.methods.lora import Lora

Adapters = AdapterHoulsby | AdapterPfeiffer | AdapterDrop | AdapterLin
AnyMethod = Annotated[
    FourierFT | Lora | DyLora | AdaLora | Adapters | BitFit | Full | HeadOnly | AnyTuner, Field(discriminator="name")
]
