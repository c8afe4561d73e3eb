"""LoRA on the recurrent weights and the embedding is W + scaling * B A, in the answers and in the gradients."""

import copy

import pytest
import torch
from cases import cases
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model

from transformers_rnn import RNNConfig, RNNForSequenceClassification
from transformers_rnn.executorch_export import export_executorch
from transformers_rnn.onnx_export import check_onnx, export_onnx
from transformers_rnn.openvino_export import export_openvino
from transformers_rnn.torch_export import check_program, export_program

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


def tagger():
    """A small model of tokens, and what stands on it once it has adapters."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 20, "pad_token_id": 0, "input_size": 4, "hidden_size": 5}
    return RNNForSequenceClassification(
        RNNConfig(cell_type="lstm", problem_type="single_label_classification", **sizes)
    )


@pytest.mark.parametrize(
    "parts",
    [
        {"target_parameters": ["cell.weight_hh_l0"]},
        {"target_modules": ["embed_tokens"]},
        {"target_modules": ["embed_tokens"], "modules_to_save": ["classifier"]},
    ],
)
@pytest.mark.parametrize("export", [export_onnx, export_openvino, export_executorch])
def test_other_formats_want_merged_weights(tmp_path, export, parts):
    base = tagger()
    model = get_peft_model(base, LoraConfig(task_type="SEQ_CLS", r=2, **parts))
    for each in (model, base):
        with pytest.raises(
            ValueError,
            match=r"^An exported file holds the weights themselves, but adapters of peft stand on them \(.*\)\. Merge "
            r"them first: model = model\.merge_and_unload\(\)\.$",
        ):
            export(each, tmp_path / "out")
    assert not list(tmp_path.iterdir())
    merged = model.merge_and_unload()
    assert check_onnx(merged, export_onnx(merged, tmp_path / "merged.onnx")) <= 1e-5


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_programs_and_compiled_models_answer_with_their_adapters(tmp_path):
    torch._dynamo.reset()
    model, _ = adapted(tagger().eval())
    file = export_program(model, tmp_path / "model.pt2")
    assert check_program(copy.deepcopy(model).merge_and_unload().eval(), file) <= 1e-5
    ids, labels, grown = torch.randint(1, 20, (3, 6)), torch.tensor([0, 1, 0]), []
    for run in (model, torch.compile(model, backend="aot_eager")):
        model.zero_grad()
        output = run(input_ids=ids, labels=labels)
        output.loss.backward()
        grown.append([output.logits.detach(), *(p.grad.clone() for p in model.parameters() if p.requires_grad)])
    for found, expected in zip(*grown, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
