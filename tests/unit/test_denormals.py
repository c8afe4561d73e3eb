"""Every thread flushes denormals while a model trains, and none before or after."""

import threading

import pytest
import torch

from transformers_rnn import RNNConfig, RNNForSequenceClassification, denormals
from transformers_rnn.denormals import denormals_are_flushed, flush_denormals, restore_denormals


@pytest.fixture(autouse=True)
def as_found():
    """Workers exist before the test, and nothing is left behind."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.randn(300, 300) @ torch.randn(300, 300)
    restore_denormals()
    yield
    restore_denormals()
    torch.set_num_threads(threads)


def test_a_running_thread_pool_is_reached_and_put_back():
    assert not denormals_are_flushed()
    flush_denormals()
    assert denormals_are_flushed()
    restore_denormals()
    assert not denormals_are_flushed()
    restore_denormals()  # twice does no harm


def test_what_a_user_had_set_comes_back():
    torch.set_flush_denormal(True)
    try:
        flush_denormals()
        restore_denormals()
        assert not (torch.tensor([1e-30]) * 1e-10).any(), "the calling thread had flushed before"
    finally:
        torch.set_flush_denormal(False)
        flush_denormals()
        restore_denormals()


def test_training_flushes_and_evaluation_does_not():
    model = RNNForSequenceClassification(RNNConfig())
    features, labels = torch.randn(2, 4, 10), torch.tensor([0, 1])
    with torch.no_grad():
        model(input_features=features)
    assert not denormals_are_flushed()
    model(input_features=features, labels=labels).loss.backward()
    assert denormals_are_flushed()
    model.eval()
    assert not denormals_are_flushed()
    model(input_features=features)
    assert not denormals_are_flushed()
    model.train()
    model(input_features=features)
    assert denormals_are_flushed()


def test_another_thread_is_on_its_own():
    flush_denormals()
    found = []
    thread = threading.Thread(target=lambda: found.append(bool((torch.tensor([1e-30]) * 1e-10).any())))
    restore_denormals()
    thread.start()
    thread.join()
    assert found == [True]


def test_where_the_workers_cannot_be_reached_it_warns_once_with_the_remedy(monkeypatch):
    monkeypatch.setattr(denormals, "_openmp_runtime", lambda: None)
    monkeypatch.setattr(denormals, "denormals_are_flushed", lambda: False)
    denormals.logger.warning_once.cache_clear()
    messages = []
    monkeypatch.setattr(denormals.logger, "warning", lambda message, *a, **k: messages.append(message))
    for _ in range(2):
        flush_denormals()
        assert not (torch.tensor([1e-30]) * 1e-10).any(), "the calling thread is set all the same"
        restore_denormals()
        assert (torch.tensor([1e-30]) * 1e-10).any()
    assert len(messages) == 1
    assert "Remedy: call torch.set_flush_denormal(True) before anything else" in messages[0]
