"""A run writes its pictures and its card; a reader runs the card's code in a new process."""

import re

import numpy as np
import torch
from huggingface_hub import ModelCard
from processes import run

from transformers_rnn import RNNConfig, RNNForSequenceClassification, SequenceVectorFeatureExtractor, train_tokenizer
from transformers_rnn.model_card import write_model_card
from transformers_rnn.pictures import draw_confusion_matrix, draw_reliability

TEXTS = ["win a prize now", "see you at five", "call to win", "shall we meet"] * 5
TRUE = np.array([1, 0, 1, 0] * 5)


def text_model(directory):
    tokenizer = train_tokenizer(TEXTS)
    config = RNNConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, id2label={0: "ham", 1: "spam"})
    tokenizer.save_pretrained(directory)
    return RNNForSequenceClassification(config), tokenizer(TEXTS, padding=True, return_tensors="pt")


def vector_model(directory):
    series = [np.random.default_rng(index).normal(size=(3 + index, 4)) for index in range(len(TRUE))]
    extractor = SequenceVectorFeatureExtractor(feature_size=4).fit(series)
    extractor.save_pretrained(directory)
    model = RNNForSequenceClassification(RNNConfig(input_size=4, id2label={0: "ham", 1: "spam"}))
    return model, extractor(series, return_tensors="pt", padding=True)


def card_of(directory, build):
    """Everything that a run would write, by hand."""
    directory.mkdir()
    torch.manual_seed(0)
    model, batch = build(directory)
    model.eval().save_pretrained(directory)
    with torch.no_grad():
        scores = model(**batch).logits.softmax(-1).numpy()
    names, found = ["ham", "spam"], scores.argmax(1)
    draw_confusion_matrix(TRUE, found, names, directory / "confusion_matrix.png")
    draw_reliability(scores, TRUE, directory / "reliability.png")
    accuracy = (found == TRUE).mean()
    path = write_model_card(
        directory,
        title="Ham or spam?",
        dataset_name="Twenty messages",
        metrics={"accuracy": accuracy},
        intervals={"accuracy": (0.25, 0.75)},
        split="train",
        config=model.config,
        num_parameters=model.num_parameters(),
        pictures={"confusion_matrix.png": "Confusion matrix", "reliability.png": "Reliability diagram"},
    )
    card = ModelCard.load(path)
    assert [(result.metric_value, result.dataset_split) for result in card.data.eval_results] == [(accuracy, "train")]
    return card


def test_from_a_model_to_a_reader(tmp_path):
    program = "import os\n"
    for name, build in (("text", text_model), ("vectors", vector_model)):
        card = card_of(tmp_path / name, build)
        for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", card.text):
            assert (tmp_path / name / picture).read_bytes().startswith(b"\x89PNG")
        assert card.text.count("](") == 2
        (code,) = re.findall(r"```python\n(.*?)```", card.text, re.DOTALL)
        program += f"os.chdir({str(tmp_path / name)!r})\nexec({code!r}, {{}})\n"
    printed = run("-W", "error", "-c", program, cwd=tmp_path).splitlines()
    assert len(printed) == 2
    for line in printed:
        (answer,) = eval(line)
        assert answer["label"] in ("ham", "spam")
        assert 0.5 <= answer["score"] <= 1
