"""Train on every prefix, fit a stopping policy, save; in another process a stream is answered before its end."""

import json

import pytest
from huggingface_hub import ModelCard
from processes import ROOT, run

from transformers_rnn import RNNConfig
from transformers_rnn.early_answers import fit_early_answers
from transformers_rnn.training import train_classifier

DATA = ROOT / "examples" / "data"
CHOICES = {
    "cell_type": "gru",
    "bidirectional": False,
    "hidden_size": 32,
    "prefix_loss_weight": 0.8,
    "num_train_epochs": 8,
    "learning_rate": 1e-2,
    "per_device_train_batch_size": 16,
    "use_cpu": True,
    "disable_tqdm": True,
}
USE = """
import json, sys
import numpy as np
from datasets import load_dataset
from transformers_rnn import StreamingClassifier

data = load_dataset("parquet", data_files=sys.argv[1], split="train", cache_dir="cache")
streams = {number: np.stack(row["series"]) for number, row in enumerate(data.with_format("numpy"))}
classifier, open_yet, decided = StreamingClassifier.from_pretrained("early"), dict(streams), {}
for step in range(max(map(len, streams.values()))):
    for key, answer in classifier.push_many({key: series[step] for key, series in open_yet.items()}).items():
        if answer.decision is not None or step + 1 == len(streams[key]):
            decided[key] = (answer.decision or answer.label, answer.decided_after or step + 1)
            del open_yet[key]
truth = data["label"]
print(json.dumps({
    "accuracy": float(np.mean([decided[key][0] == truth[key] for key in streams])),
    "read": float(np.mean([decided[key][1] / len(streams[key]) for key in streams])),
}))
"""


def test_from_training_to_early_answers_in_another_process(tmp_path):
    directory, files = (
        tmp_path / "early",
        {part: DATA / f"japanese_vowels_{part}.parquet" for part in ("train", "test")},
    )
    trained = train_classifier({part: str(file) for part, file in files.items()}, directory, **CHOICES)
    found = fit_early_answers(directory, trained.data)
    assert found.split == "test"
    assert found.early.earliness <= 0.6
    assert found.early.accuracy >= 0.8
    assert found.whole.accuracy == pytest.approx(trained.metrics["accuracy"])
    assert RNNConfig.from_pretrained(directory).stopping_policy == found.policy.to_dict()
    card, again = (directory / "README.md").read_text(encoding="utf-8"), fit_early_answers(directory, trained.data)
    assert (again.policy, again.curve) == (found.policy, found.curve)
    assert (directory / "README.md").read_text(encoding="utf-8") == card, "the section is replaced, not repeated"
    assert f"| with this policy | {found.early.accuracy:.3f} | {found.early.earliness:.1%} |" in card
    assert card.index("## Probabilities") < card.index("## Answers before the end") < card.index("## Limits")
    assert "](earliness.png)" in card
    assert (directory / "earliness.png").read_bytes().startswith(b"\x89PNG")
    assert ModelCard(card).data.metrics
    printed = run("-W", "error", "-c", USE, files["test"], cwd=tmp_path)
    streamed = json.loads(printed.splitlines()[-1])
    assert streamed["accuracy"] == pytest.approx(found.early.accuracy)
    assert streamed["read"] == pytest.approx(found.early.earliness)
