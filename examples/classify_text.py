"""Ham or spam? A recurrent classifier of text messages, from raw texts to a saved directory and a pipeline.

    python examples/classify_text.py [--output_dir sms-spam] [any other TrainingArguments, such as --seed 1]

Fifteen seconds on two cores. Then, in another process: python examples/use_classifier.py sms-spam "Win a prize!"
"""

from pathlib import Path

from datasets import load_dataset
from transformers import HfArgumentParser, Trainer, TrainingArguments, pipeline, set_seed

from transformers_rnn import RNNConfig, RNNForSequenceClassification, train_tokenizer
from transformers_rnn.metrics import compute_metrics_for
from transformers_rnn.model_card import write_model_card

parser = HfArgumentParser(TrainingArguments)
parser.set_defaults(
    output_dir="sms-spam",
    num_train_epochs=5,
    learning_rate=3e-3,
    per_device_train_batch_size=32,
    train_sampling_strategy="group_by_length",
    save_strategy="no",
    logging_steps=50,
    dataloader_pin_memory=False,
)
(arguments,) = parser.parse_args_into_dataclasses()
set_seed(arguments.seed)
# A fifth of the messages is held out, with the same share of spam.
messages = load_dataset("csv", data_files=str(Path(__file__).parent / "data" / "sms_spam.csv.gz"), split="train")
messages = messages.class_encode_column("label")
parts = messages.train_test_split(test_size=0.2, seed=0, stratify_by_column="label")

tokenizer = train_tokenizer(parts["train"]["text"], min_frequency=2, max_length=200)  # of the training part only
parts = parts.map(lambda batch: tokenizer(batch["text"], truncation=True), batched=True)

config = RNNConfig(
    vocab_size=len(tokenizer),
    pad_token_id=tokenizer.pad_token_id,
    input_size=64,
    hidden_size=64,
    cell_type="lstm",
    bidirectional=True,
    pooling="max",
    embedding_dropout=0.3,
    classifier_dropout=0.3,
    id2label=dict(enumerate(messages.features["label"].names)),
)
model = RNNForSequenceClassification(config)
trainer = Trainer(
    model=model,
    args=arguments,
    train_dataset=parts["train"],
    eval_dataset=parts["test"],
    processing_class=tokenizer,
    compute_metrics=compute_metrics_for(config),
)
seconds = trainer.train().metrics["train_runtime"]
metrics = {name.removeprefix("eval_"): value for name, value in trainer.evaluate().items()}
print({name: round(value, 4) for name, value in metrics.items()})

trainer.save_model()
write_model_card(
    arguments.output_dir,
    title="SMS spam: wanted messages (ham) or unwanted ones (spam)",
    dataset_name="SMS Spam Collection (UCI, de-duplicated)",
    dataset_license="cc-by-4.0",
    dataset_sizes={name: len(part) for name, part in parts.items()},
    metrics={name: metrics[name] for name in ("accuracy", "macro_f1", "f1_spam")},
    config=config,
    num_parameters=model.num_parameters(),
    training={"command": "python examples/classify_text.py", "seconds": seconds},
    example_input="Congratulations, you have won a free prize. Call now!",
    limits="English messages of about 2005 to 2011, mostly from Britain and Singapore.",
)

classify = pipeline("text-classification", model=arguments.output_dir)
print(classify(["Congratulations, you have won a free prize. Call now!", "Shall we meet at five?"]))
