"""No test ever asks a hub for anything."""

import os
from importlib import import_module

os.environ["HF_HUB_OFFLINE"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers share the cores

import pytest
import torch
from hypothesis import HealthCheck, settings

from transformers_rnn.denormals import restore_denormals
from transformers_rnn.freed_memory import return_freed_memory

# `pytest --hypothesis-profile=thorough tests/laws` is the long run of the laws.
settings.register_profile("quick", max_examples=60, deadline=None, derandomize=True, database=None)
settings.register_profile(
    "thorough", max_examples=10_000, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile("quick")


@pytest.fixture(autouse=True)
def same_weights_in_every_run():
    """torch starts each process with a seed of its own."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def training_is_over():
    """A test that trains without evaluating leaves denormals flushed, which hypothesis does not take."""
    yield
    restore_denormals()
    return_freed_memory()


@pytest.fixture
def hide_module(monkeypatch):
    """Has exports find a module that is not installed."""

    def hide(hidden):
        def without(name):
            if name == hidden:
                raise ModuleNotFoundError(f"No module named {name!r}")
            return import_module(name)

        monkeypatch.setattr("transformers_rnn.onnx_builder.import_module", without)

    return hide
