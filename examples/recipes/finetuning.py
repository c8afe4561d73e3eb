"""A Transformers model, fine-tuned on the training split: it knows which words matter, and can teach."""

from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments, set_seed

from transformers_rnn.labelled_data import LabelledData


def finetune(model: str, data: LabelledData, directory: Path, seed: int, epochs: float) -> Path:
    """Fine-tune a model with the host's trainer, unless it has been done, and return where it is.

    Args:
        model: Directory or name.
        data: Its training split is read.
        directory: Where the fine-tuned model is kept.
        seed: Of the training.
        epochs: Passes.
    """
    if (directory / "model.safetensors").exists():
        return directory
    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = data.splits["train"].map(
        lambda batch: tokenizer(batch["text"], truncation=True, max_length=128), batched=True, remove_columns=["text"]
    )
    set_seed(seed)
    labels = dict(enumerate(data.label_names))
    arguments = TrainingArguments(
        str(directory),
        num_train_epochs=epochs,
        learning_rate=1e-4,
        warmup_steps=0.1,  # of all steps
        weight_decay=0.01,
        per_device_train_batch_size=32,
        train_sampling_strategy="group_by_length",
        save_strategy="no",
        dataloader_pin_memory=torch.cuda.is_available(),
        report_to=[],
        seed=seed,
    )
    classifier = AutoModelForSequenceClassification.from_pretrained(
        model, num_labels=len(labels), id2label=labels, label2id={name: index for index, name in labels.items()}
    )
    trainer = Trainer(classifier, arguments, train_dataset=rows, processing_class=tokenizer)
    trainer.train()
    trainer.save_model()
    return directory
