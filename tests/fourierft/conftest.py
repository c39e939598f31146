"""Models small enough for a test: seeded, so that every call of a factory gives the same one."""

import pytest
import torch
from torch import nn

from fourierft import native


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def block():
    """Factory of a two-layer network with names as in an encoder, one matrix square and one not."""

    def make(dtype: torch.dtype = torch.float32) -> nn.Module:
        torch.manual_seed(1)
        return nn.ModuleDict(
            {
                "attention": nn.ModuleDict({"query": nn.Linear(24, 24), "value": nn.Linear(24, 36, bias=False)}),
                "classifier": nn.Linear(36, 3),
            }
        ).to(dtype)

    return make


@pytest.fixture
def roberta():
    """Factory of a tiny RoBERTa classifier with random weights, in eval mode."""
    from transformers import RobertaConfig, RobertaForSequenceClassification

    def make(num_labels: int = 2) -> nn.Module:
        torch.manual_seed(2)
        config = RobertaConfig(
            vocab_size=60,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=48,
            max_position_embeddings=40,
            num_labels=num_labels,
            initializer_range=0.2,
        )
        return RobertaForSequenceClassification(config).eval()

    return make


@pytest.fixture
def gpt2():
    """Factory of a tiny GPT-2 with random weights, in eval mode: its projections are Conv1D."""
    from transformers import GPT2Config, GPT2LMHeadModel

    def make() -> nn.Module:
        torch.manual_seed(3)
        config = GPT2Config(
            vocab_size=60,
            n_embd=32,
            n_layer=2,
            n_head=2,
            n_positions=40,
            bos_token_id=0,
            eos_token_id=1,
            initializer_range=0.2,
        )
        return GPT2LMHeadModel(config).eval()

    return make


@pytest.fixture
def tokens():
    return torch.randint(4, 60, (3, 12), generator=torch.Generator().manual_seed(4))


@pytest.fixture(scope="session")
def compiles():
    """Skips where there is no C compiler."""
    if native.library() is None:
        pytest.skip("needs a C compiler")
