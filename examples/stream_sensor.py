"""Who speaks? Nine men speak at once, and after every step the model says what it believes of each so far.

    python examples/stream_sensor.py [DIR]

DIR is the directory of a trained model of one direction; without it a small one is trained first, in half a minute on
two cores, and saved to sensor-stream/. Prints a verdict after each step and draws stream_sensor.png. The picture needs
matplotlib: pip install ".[pictures]"
"""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from datasets import load_dataset
from transformers import TrainingArguments, set_seed

from transformers_rnn import (
    RNNConfig,
    RNNForSequenceClassification,
    SequenceVectorFeatureExtractor,
    StreamingClassifier,
)
from transformers_rnn.tbptt import TBPTTTrainer

mpl.use("Agg")
from matplotlib import pyplot as plt


def train(parts, directory: str) -> None:
    """Train a model of one direction, whose belief is asked for after every four steps, not only at the end."""
    set_seed(0)
    extractor = SequenceVectorFeatureExtractor(feature_size=12).fit(parts["train"]["series"])
    rows = parts["train"].map(lambda batch: extractor(batch["series"]), batched=True)
    names = rows.features["label"].names
    config = RNNConfig(input_size=12, hidden_size=64, cell_type="gru", pooling="mean", id2label=dict(enumerate(names)))
    arguments = TrainingArguments(
        directory,
        num_train_epochs=15,
        learning_rate=5e-3,
        lr_scheduler_type="cosine",
        per_device_train_batch_size=16,
        train_sampling_strategy="group_by_length",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    trainer = TBPTTTrainer(
        RNNForSequenceClassification(config), arguments, train_dataset=rows, processing_class=extractor, piece_length=4
    )
    trainer.train()
    trainer.save_model()


folder = Path(__file__).parent / "data"
files = {part: str(folder / f"japanese_vowels_{part}.parquet") for part in ("train", "test")}
parts = load_dataset("parquet", data_files=files).class_encode_column("label").with_format("numpy")
names = parts["train"].features["label"].names
directory = sys.argv[1] if len(sys.argv) > 1 else "sensor-stream"
if len(sys.argv) == 1:
    train(parts, directory)

# One utterance of each man, that the model has not heard, at a microphone of his own: a vector a step.
speaking = {}
for series, label in zip(parts["test"]["series"], parts["test"]["label"], strict=True):
    speaking.setdefault(f"microphone {label + 1}", (names[label], np.stack(series)))
classifier = StreamingClassifier.from_pretrained(directory)
beliefs = {key: [] for key in speaking}
for step in range(max(len(series) for _, series in speaking.values())):
    arrived = {key: series[step] for key, (_, series) in speaking.items() if step < len(series)}
    answers = classifier.push_many(arrived)  # all of them in one call of the model
    for key, answer in answers.items():
        beliefs[key].append(answer.scores)
    verdicts = "  ".join(f"{key[11:]}: {answer.label} {answer.score:.2f}" for key, answer in answers.items())
    print(f"step {step + 1:2}  {verdicts}")

right = sum(names[int(np.argmax(belief[-1]))] == speaking[key][0] for key, belief in beliefs.items())
print(f"{right} of {len(beliefs)} right at the end")

figure, panels = plt.subplots(3, 3, figsize=(10, 7), sharex=True, sharey=True, layout="constrained")
for panel, (key, belief) in zip(panels.flat, beliefs.items(), strict=True):
    for name, line in zip(names, np.array(belief).T, strict=True):
        is_he = name == speaking[key][0]
        panel.plot(range(1, len(line) + 1), line, color="tab:blue" if is_he else "0.75", linewidth=2.5 if is_he else 1)
    panel.set_title(f"{key}: {speaking[key][0]}")
    panel.set_ylim(-0.02, 1.02)
figure.supxlabel("steps heard")
figure.supylabel("belief (blue: in the man who speaks)")
figure.savefig("stream_sensor.png", dpi=100)
print("stream_sensor.png")
