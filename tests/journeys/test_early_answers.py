"""Train on every prefix, fit a stopping policy, save; in another process the model answers before the end."""

import json

from processes import ROOT, run

DATA = ROOT / "examples" / "data"
TRAIN = """
import sys
from datasets import load_dataset
from transformers import Trainer, TrainingArguments, set_seed
from transformers_rnn import RNNConfig, RNNForSequenceClassification, SequenceVectorFeatureExtractor
from transformers_rnn.earliness import evaluate_stopping, fit_stopping_policy, prefix_probabilities

set_seed(0)
data = load_dataset("parquet", data_files=sys.argv[1], split="train", cache_dir="cache")
data = data.class_encode_column("label").with_format("numpy")
parts = data.train_test_split(test_size=0.3, seed=0, stratify_by_column="label")
extractor = SequenceVectorFeatureExtractor(feature_size=12).fit(parts["train"]["series"])
parts = parts.map(lambda batch: extractor(batch["series"]), batched=True)
model = RNNForSequenceClassification(
    RNNConfig(cell_type="gru", input_size=12, hidden_size=32, num_labels=9, pooling="mean", prefix_loss_weight=0.8)
)
arguments = TrainingArguments(
    "out", num_train_epochs=12, learning_rate=1e-2, per_device_train_batch_size=16, save_strategy="no", report_to=[],
    disable_tqdm=True, use_cpu=True, dataloader_pin_memory=False,
)
Trainer(model, arguments, train_dataset=parts["train"], processing_class=extractor).train()
beliefs, labels = prefix_probabilities(model, parts["test"], extractor), parts["test"]["label"][:]
policy = fit_stopping_policy(beliefs, labels, waiting_cost=0.1)
model.config.stopping_policy = policy.to_dict()
model.save_pretrained("early")
extractor.save_pretrained("early")
"""
USE = """
import json, sys
import torch
from datasets import load_dataset
from transformers import AutoFeatureExtractor, AutoModelForSequenceClassification
import transformers_rnn
from transformers_rnn.earliness import evaluate_stopping, prefix_probabilities
from transformers_rnn.stopping import StoppingPolicy

model = AutoModelForSequenceClassification.from_pretrained("early").eval()
extractor = AutoFeatureExtractor.from_pretrained("early")
policy = StoppingPolicy.from_dict(model.config.stopping_policy)
data = load_dataset("parquet", data_files=sys.argv[1], split="train", cache_dir="cache")
data = data.class_encode_column("label").with_format("numpy")
data = data.map(lambda batch: extractor(batch["series"]), batched=True)
labels = torch.as_tensor(data["label"][:])
steps, right = [], []
for row in data.select(range(0, len(data), 10)):
    state = progress = None
    for vector in torch.as_tensor(row["input_features"]):  # arriving one by one
        with torch.no_grad():
            output = model(input_features=vector[None, None], state=state, use_cache=True)
        state, progress = output.state, policy.step(output.logits.softmax(-1), progress)
        if progress.stopped:
            break
    steps.append(progress.steps.item())
    right.append(progress.label.item() == row["label"])
beliefs = prefix_probabilities(model, data, extractor)
some = evaluate_stopping(policy, beliefs[::10], labels[::10])
early, whole = evaluate_stopping(policy, beliefs, labels), evaluate_stopping(None, beliefs, labels)
print(json.dumps({
    "streamed": [sum(right) / len(right), sum(steps) / len(steps)], "at once": [some.accuracy, some.mean_steps],
    "accuracy": early.accuracy, "read": early.earliness, "of all": whole.accuracy, "policy": policy.to_dict(),
}))
"""


def test_from_training_to_early_answers_in_another_process(tmp_path):
    run("-W", "error", "-c", TRAIN, DATA / "japanese_vowels_train.parquet", cwd=tmp_path)
    printed = run("-W", "error", "-c", USE, DATA / "japanese_vowels_test.parquet", cwd=tmp_path)
    found = json.loads(printed.splitlines()[-1])
    saved = json.loads((tmp_path / "early" / "config.json").read_text())
    assert found["policy"] == saved["stopping_policy"]
    assert found["streamed"] == found["at once"]
    assert found["read"] <= 0.75
    assert found["accuracy"] >= 0.85
    assert found["accuracy"] >= found["of all"] - 0.1
