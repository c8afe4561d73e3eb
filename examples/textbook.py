"""The textbook's recurrent classifier three times: its own loop, our model in the same loop, our model in a Trainer.

python examples/textbook.py

The three print the same losses: the model behind the Hugging Face API is the textbook's to the last bit.
"""

from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments

from transformers_rnn import RNNForSequenceClassification


class SequenceClassifier(nn.Module):
    """Read the whole sequence, classify the last output."""

    def __init__(self, input_size: int, hidden_size: int, num_classes: int) -> None:
        super().__init__()
        self.rnn = nn.RNN(input_size, hidden_size, batch_first=True)
        self.fc = nn.Linear(hidden_size, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.rnn(x)  # (B, T, H)
        return self.fc(out[:, -1, :])  # type: ignore[no-any-return]


torch.manual_seed(0)
sequences, labels = torch.randn(4, 6, 5), torch.tensor([0, 1, 0, 1])  # 4 sequences of 6 steps of 5 features
textbook = SequenceClassifier(input_size=5, hidden_size=10, num_classes=2)
ours = RNNForSequenceClassification.from_torch(textbook.rnn, textbook.fc)
in_trainer = RNNForSequenceClassification.from_torch(textbook.rnn, textbook.fc)


def report(epoch: int, loss: float, logits: Tensor) -> None:
    accuracy = (logits.argmax(dim=1) == labels).float().mean().item()
    print(f"Epoch {epoch}, Loss: {loss:.4f}, Accuracy: {accuracy:.4f}")


print("The textbook's loop")
loss_of = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(textbook.parameters(), lr=0.01)
for epoch in range(1, 6):
    logits = textbook(sequences)
    loss = loss_of(logits, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    report(epoch, loss.item(), logits)

print("Our model in the same loop")
optimizer = torch.optim.Adam(ours.parameters(), lr=0.01)
for epoch in range(1, 6):
    output = ours(input_features=sequences, labels=labels)
    optimizer.zero_grad()
    output.loss.backward()
    optimizer.step()
    report(epoch, output.loss.item(), output.logits)

print("Our model in a Trainer")
logits_seen: list[Tensor] = []
in_trainer.classifier.register_forward_hook(lambda module, inputs, logits: logits_seen.append(logits.detach()))


class Printer(TrainerCallback):
    """Print each epoch's loss in the textbook's words."""

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if "loss" in kwargs["logs"]:
            report(round(state.epoch), kwargs["logs"]["loss"], logits_seen[-1])


arguments = TrainingArguments(
    output_dir="runs/textbook",
    num_train_epochs=5,
    learning_rate=0.01,
    lr_scheduler_type="constant",
    max_grad_norm=0.0,
    per_device_train_batch_size=4,
    train_sampling_strategy="sequential",
    logging_strategy="epoch",
    save_strategy="no",
    disable_tqdm=True,
    dataloader_pin_memory=False,
)
data = Dataset.from_dict({"input_features": sequences.numpy(), "labels": labels}).with_format("torch")
adam = torch.optim.Adam(in_trainer.parameters(), lr=0.01)
Trainer(in_trainer, arguments, train_dataset=data, optimizers=(adam, None), callbacks=[Printer()]).train()
