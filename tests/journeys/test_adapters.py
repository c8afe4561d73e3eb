"""LoRA adapters from training to another process."""

import json
import re

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from processes import run
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

from transformers_rnn import RNNConfig, RNNForSequenceClassification, StreamingClassifier, train_tokenizer

TEXTS = ["free prize, call now", "win cash now", "see you at five", "shall we meet for lunch"]
PROGRAM = """
import json, torch, transformers_rnn
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

base = AutoModelForSequenceClassification.from_pretrained("base")
model = PeftModel.from_pretrained(base, "adapters").eval()
batch = AutoTokenizer.from_pretrained("base")(["free prize", "lunch at five, now"], padding=True, return_tensors="pt")
with torch.no_grad():
    found = model(**batch).logits.tolist()
    merged = model.merge_and_unload()(**batch).logits.tolist()
print(json.dumps([found, merged, pipeline("text-classification", model="adapters")("free prize")]))
"""


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning")
def test_adapters_are_trained_saved_and_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    tokenizer = train_tokenizer(TEXTS)
    config = RNNConfig(vocab_size=len(tokenizer), pad_token_id=0, cell_type="lstm", pooling="mean")
    RNNForSequenceClassification(config).save_pretrained("base")
    tokenizer.save_pretrained("base")
    choices = LoraConfig(
        task_type="SEQ_CLS",
        r=4,
        target_parameters=["cell.weight_ih_l0", "cell.weight_hh_l0"],
        target_modules=["embed_tokens"],
        modules_to_save=["classifier"],
    )
    base = AutoModelForSequenceClassification.from_pretrained("base")
    before = {name: parameter.clone() for name, parameter in base.named_parameters()}
    model = get_peft_model(base, choices)
    rows = Dataset.from_dict({**tokenizer(TEXTS), "labels": [1, 1, 0, 0]})
    arguments = TrainingArguments(
        "out",
        num_train_epochs=30,
        learning_rate=0.05,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        save_strategy="no",
    )
    trainer = Trainer(model, arguments, train_dataset=rows, processing_class=tokenizer)
    trainer.train()
    assert (trainer.predict(rows).predictions.argmax(-1) == [1, 1, 0, 0]).all()
    wrapped = re.compile(r"\.base_layer|\.original_module")
    after = {wrapped.sub("", name): parameter for name, parameter in base.named_parameters()}
    for name, parameter in before.items():  # what was there is as it was
        assert torch.equal(after[name], parameter)
    with pytest.raises(
        ValueError, match=r"but a ParamWrapper stands on them\. Merge the adapters first: model\.merge"
    ):
        StreamingClassifier(base).push([5])

    model.save_pretrained("adapters", save_embedding_layers=False)
    tokenizer.save_pretrained("adapters")
    size = (tmp_path / "adapters" / "adapter_model.safetensors").stat().st_size
    assert size < 0.8 * (tmp_path / "base" / "model.safetensors").stat().st_size
    with torch.no_grad():
        batch = tokenizer(["free prize", "lunch at five, now"], padding=True, return_tensors="pt")
        expected = model.eval()(**batch).logits
    found, merged, answer = json.loads(run("-c", PROGRAM, cwd=tmp_path).splitlines()[-1])
    torch.testing.assert_close(torch.tensor(found), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(torch.tensor(merged), expected, rtol=0, atol=1e-5)
    assert answer[0]["label"] == "LABEL_1"
