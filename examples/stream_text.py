"""Ham or spam? A message arrives a few characters at a time, and after every piece the model says what it believes.

    python examples/stream_text.py [DIR]

DIR is the directory of a trained model of one direction; without it a small one is trained first, in half a minute on
two cores, and saved to text-stream/. Prints a verdict after each piece and draws stream_text.png. The picture needs
matplotlib: pip install ".[pictures]"
"""

import sys
from pathlib import Path

import matplotlib as mpl
from datasets import load_dataset
from transformers import TrainingArguments, set_seed

from transformers_rnn import RNNConfig, RNNForSequenceClassification, StreamingClassifier, train_tokenizer
from transformers_rnn.tbptt import TBPTTTrainer

mpl.use("Agg")
from matplotlib import pyplot as plt

PIECE = 5  # characters
MESSAGES = {
    "a prize": "Congratulations! You have won a free prize worth 1000 pounds. Call 09061234567 now to claim",
    "lunch": "Hi, shall we meet for lunch at one? I will wait for you at the corner, as always. Love",
    "a turn": "Hey, how are you? Did you sleep well? By the way you won a free holiday, text WIN to 80086",
}


def train(directory: str) -> None:
    """Train a model of one direction, whose belief is asked for after every eight words, not only at the end."""
    set_seed(0)
    file = str(Path(__file__).parent / "data" / "sms_spam.csv.gz")
    messages = load_dataset("csv", data_files=file, split="train").class_encode_column("label")
    tokenizer = train_tokenizer(messages["text"], min_frequency=2, max_length=100)
    rows = messages.map(lambda batch: tokenizer(batch["text"], truncation=True), batched=True)
    config = RNNConfig(
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        input_size=32,
        hidden_size=32,
        cell_type="lstm",
        pooling="last",
        embedding_dropout=0.2,
        classifier_dropout=0.2,
        id2label=dict(enumerate(messages.features["label"].names)),
    )
    arguments = TrainingArguments(
        directory,
        num_train_epochs=2,
        learning_rate=5e-3,
        per_device_train_batch_size=32,
        train_sampling_strategy="group_by_length",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    trainer = TBPTTTrainer(
        RNNForSequenceClassification(config), arguments, train_dataset=rows, processing_class=tokenizer, piece_length=8
    )
    trainer.train()
    trainer.save_model()


directory = sys.argv[1] if len(sys.argv) > 1 else "text-stream"
if len(sys.argv) == 1:
    train(directory)

classifier = StreamingClassifier.from_pretrained(directory)
spam = classifier.model.config.label2id["spam"]
figure, panel = plt.subplots(figsize=(10, 4), layout="constrained")
for key, message in MESSAGES.items():
    belief = []
    for begin in range(0, len(message), PIECE):
        piece = message[begin : begin + PIECE]
        answer = classifier.push(piece, key)  # the unfinished word at its end is held back
        belief.append((begin + len(piece), answer.scores[spam] if answer.steps else None))
        print(f"{piece!r:10} {answer.label or '-':4} {answer.score:.2f} after {answer.steps} words and signs")
    answer = classifier.finish(key)
    belief.append((len(message), answer.scores[spam]))
    print(f"{key}: {answer.label}, {answer.score:.2f}\n")
    panel.plot(*zip(*[point for point in belief if point[1] is not None], strict=True), label=key, linewidth=2)
panel.axhline(0.5, color="0.7", linewidth=1, zorder=0)
panel.set(xlabel="characters that have come", ylabel="belief that it is spam", ylim=(0, 1))
panel.legend()
figure.savefig("stream_text.png", dpi=100)
print("stream_text.png")
