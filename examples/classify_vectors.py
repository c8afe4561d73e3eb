"""Who speaks? A recurrent classifier of sequences of vectors, from arrays to a saved directory and a pipeline.

    python examples/classify_vectors.py [--output_dir japanese-vowels] [any other TrainingArguments, such as --seed 1]

Fifteen seconds on two cores.
"""

from pathlib import Path

from datasets import load_dataset
from transformers import HfArgumentParser, Trainer, TrainingArguments, pipeline, set_seed

from transformers_rnn import RNNConfig, RNNForSequenceClassification, SequenceVectorFeatureExtractor
from transformers_rnn.metrics import compute_metrics_for
from transformers_rnn.model_card import write_model_card

parser = HfArgumentParser(TrainingArguments)
parser.set_defaults(
    output_dir="japanese-vowels",
    num_train_epochs=40,
    learning_rate=3e-3,
    lr_scheduler_type="cosine",
    per_device_train_batch_size=16,
    train_sampling_strategy="group_by_length",
    save_strategy="no",
    logging_steps=100,
    dataloader_pin_memory=False,
)
(arguments,) = parser.parse_args_into_dataclasses()
set_seed(arguments.seed)
# The official split, utterances of 7 to 29 steps of 12 numbers.
folder = Path(__file__).parent / "data"
files = {part: str(folder / f"japanese_vowels_{part}.parquet") for part in ("train", "test")}
parts = load_dataset("parquet", data_files=files).class_encode_column("label").with_format("numpy")
labels = parts["train"].features["label"].names

# Arrays -> scaled features. Mean and deviation are learned from the training part only, and saved.
extractor = SequenceVectorFeatureExtractor(feature_size=12).fit(parts["train"]["series"])
parts = parts.map(lambda batch: extractor(batch["series"]), batched=True)

config = RNNConfig(
    input_size=12,
    hidden_size=100,
    cell_type="gru",
    bidirectional=True,
    pooling="max",
    classifier_dropout=0.5,
    id2label=dict(enumerate(labels)),
)
model = RNNForSequenceClassification(config)
trainer = Trainer(
    model=model,
    args=arguments,
    train_dataset=parts["train"],
    eval_dataset=parts["test"],
    processing_class=extractor,
    compute_metrics=compute_metrics_for(config),
)
seconds = trainer.train().metrics["train_runtime"]
metrics = {name.removeprefix("eval_"): value for name, value in trainer.evaluate().items()}
print({name: round(value, 4) for name, value in metrics.items()})

trainer.save_model()
write_model_card(
    arguments.output_dir,
    title="Japanese Vowels: which of nine men says /ae/",
    dataset_name="Japanese Vowels (UCI)",
    dataset_license="cc-by-4.0",
    dataset_sizes={name: len(part) for name, part in parts.items()},
    metrics={name: metrics[name] for name in ("accuracy", "macro_f1")},
    config=config,
    num_parameters=model.num_parameters(),
    training={"command": "python examples/classify_vectors.py", "seconds": seconds},
    limits="Nine speakers and one pair of vowels; it knows no other voice.",
)

classify = pipeline("sequence-classification", model=arguments.output_dir)
for answer, label in zip(classify(list(parts["test"]["series"][:3])), parts["test"]["label"][:3], strict=True):
    print(answer, "is", labels[label])
