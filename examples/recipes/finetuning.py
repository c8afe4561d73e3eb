"""Vectors of words by a Transformers model that was fine-tuned on the training split before."""

from pathlib import Path
from typing import Any

from data import DataSet
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments, set_seed

from transformers_rnn.labelled_data import load_labelled_data
from transformers_rnn.pretrained_embeddings import PretrainedVectors, vectors_from_model


def vectors_from_finetuned(
    model: str, data: DataSet, directory: Path, tokenizer: Any, *, seed: int, epochs: float, **options: Any
) -> PretrainedVectors:
    """Fine-tune a model with the host's trainer, unless it has been done, and read every word with it.

    Args:
        model: Directory or name.
        data: Its training split is read; which rows that are, the seed decides, as in `train_classifier`.
        directory: Where the fine-tuned model is kept.
        tokenizer: Of the recurrent model.
        seed: Of the split and of the training.
        epochs: Passes.
        **options: Of `vectors_from_model`.
    """
    if not (directory / "model.safetensors").exists():
        _finetune(model, data, directory, seed, epochs)
    return vectors_from_model(directory, tokenizer, **options)


def _finetune(name: str, data: DataSet, directory: Path, seed: int, epochs: float) -> None:
    split = load_labelled_data(data.source, seed=seed, **data.options)
    tokenizer = AutoTokenizer.from_pretrained(name)
    rows = split.splits["train"].map(
        lambda batch: tokenizer(batch["text"], truncation=True, max_length=128), batched=True, remove_columns=["text"]
    )
    set_seed(seed)
    labels = dict(enumerate(split.label_names))
    arguments = TrainingArguments(
        str(directory),
        num_train_epochs=epochs,
        learning_rate=1e-4,
        warmup_steps=0.1,  # of all steps
        weight_decay=0.01,
        per_device_train_batch_size=32,
        train_sampling_strategy="group_by_length",
        save_strategy="no",
        report_to=[],
        seed=seed,
    )
    model = AutoModelForSequenceClassification.from_pretrained(name, num_labels=len(labels), id2label=labels)
    trainer = Trainer(model, arguments, train_dataset=rows, processing_class=tokenizer)
    trainer.train()
    trainer.save_model()
