"""Blocks of a batch are used again while a model trains, and handed back when it evaluates."""

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries cannot be told")

# Page faults count the pages that the system had to zero; 64 MB are 16,384 of them.
SCRIPT = """
import resource

import torch

from transformers_rnn import RNNConfig, RNNForSequenceClassification
from transformers_rnn.freed_memory import keep_freed_memory

keep_freed_memory.__globals__["platform"].libc_ver = lambda: ({libc!r}, "")
model = RNNForSequenceClassification(RNNConfig(input_size=1, hidden_size=1))


def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(16 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def fewest():
    return min(faults() for _ in range(3))  # a small block may have been put in the way


def train():
    model.train()
    model(input_features=torch.zeros(2, 2, 1), labels=torch.tensor([0, 1])).loss.backward()


print(fewest())
for _ in range(2):  # going back to training works
    train()
    print(fewest())
    model.eval()
    print(fewest())
"""


def counts(libc: str) -> list[bool]:
    """Whether the system had to give new pages: before, in training, in evaluation, and both once more."""
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(libc=libc)], capture_output=True, text=True, check=True)
    return [int(line) > 4_000 for line in done.stdout.split()]


def test_training_uses_memory_again_and_evaluation_hands_it_back():
    assert counts("glibc") == [True, False, True, False, True]


def test_another_c_library_is_left_alone():
    assert counts("musl") == [True] * 5
