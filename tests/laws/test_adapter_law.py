"""LoRA on the recurrent weights and the embedding is W + scaling * B A, in the answers and in the gradients."""

import copy

import pytest
import torch
from cases import cases
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def adapted(model):
    """The model with adapters on everything that they can stand on, none of them zero."""
    names = [name for name, _ in model.named_parameters() if ".cell.weight" in name]
    modules = ["embed_tokens"] if model.config.reads_tokens else []
    parts = {"target_parameters": names, "target_modules": modules, "modules_to_save": ["classifier"]}
    found = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=2, lora_alpha=3, **parts))
    with torch.no_grad():
        for parameter in found.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return found, names


@settings(max_examples=20)
@given(cases(dtype=torch.float64), st.booleans(), st.booleans())
def test_adapters_answer_as_their_merged_weights_and_get_their_gradients(case, training, padded):
    case.sequences = case.sequences if padded else case.sequences[:1]
    model, names = adapted(case.model)
    merged = copy.deepcopy(model).merge_and_unload()
    for parameter in merged.parameters():
        parameter.requires_grad_(True)
    batch, mask = case.padded()
    inputs = {"input_ids" if case.tokens else "input_features": batch, "attention_mask": mask if padded else None}
    grown = []
    for each in (model, merged):
        each.train(training)
        logits = each(**inputs).logits
        logits.square().sum().backward()
        grown.append(logits.detach())
    torch.testing.assert_close(*grown, rtol=1e-9, atol=1e-9)
    tuned, whole = dict(model.base_model.model.named_modules()), dict(merged.named_parameters())
    for name in names:
        wrapper = tuned[name.rpartition(".")[0]]
        while wrapper.parameter_name != name.rpartition(".")[2]:
            wrapper = wrapper.base_layer
        a, b, gradient = wrapper.lora_A["default"].weight, wrapper.lora_B["default"].weight, whole[name].grad
        torch.testing.assert_close(a.grad, 1.5 * b.T @ gradient, rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(b.grad, 1.5 * gradient @ a.T, rtol=1e-7, atol=1e-9)
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
