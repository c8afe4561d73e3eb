"""The alternatives: what everybody writes, what the careful write, and the best that can be written by hand."""

from typing import Any

import torch
from loads import Batch, Load
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence

from transformers_rnn import RNNForSequenceClassification

CELLS = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}
_KERNELS: dict[str, Any] = {"LSTM": torch.lstm, "GRU": torch.gru, "RNN_TANH": torch.rnn_tanh}


class Padded(nn.Module):
    """(a) The textbook: an `nn.LSTM` over the padded batch, the final states, one linear layer."""

    def __init__(self, load: Load, cell: str) -> None:
        super().__init__()
        self.embedding = (
            None
            if load.vocab_size is None
            else nn.Embedding(load.vocab_size, load.input_size, padding_idx=load.pad_token_id)
        )
        self.rnn = CELLS[cell](
            load.input_size,
            load.hidden_size,
            num_layers=load.num_layers,
            bidirectional=load.bidirectional,
            batch_first=True,
        )
        self.classifier = nn.Linear(load.hidden_size * (2 if load.bidirectional else 1), load.num_labels)

    def vectors(self, batch: Batch) -> Tensor:
        """(B, T, F)."""
        return batch.sequences if self.embedding is None else self.embedding(batch.sequences)

    def last(self, batch: Batch) -> Tensor:
        """(B, S), the final states of the last layer's directions."""
        _, final = self.rnn(self.vectors(batch))
        return self.of_directions(final)

    def of_directions(self, final: Any) -> Tensor:
        """torch's final states (N * D, B, H) -> those of the last layer (B, S)."""
        hidden = final[0] if isinstance(final, tuple) else final
        return hidden[-2 if self.rnn.bidirectional else -1 :].transpose(0, 1).flatten(1)

    def forward(self, batch: Batch) -> Tensor:
        """(B, L)."""
        return self.classifier(self.last(batch))


class Packed(Padded):
    """(b) The careful: the same over a `PackedSequence`, so that padding is not read."""

    def last(self, batch: Batch) -> Tensor:
        """(B, S), the final states of the last layer's directions."""
        packed = pack_padded_sequence(self.vectors(batch), batch.lengths, batch_first=True, enforce_sorted=False)
        _, final = self.rnn(packed)
        return self.of_directions(final)


class ByHand(Padded):
    """(c) The best by hand: fused kernels over right padding, the backward direction as a forward run.

    No real step of a forward run can see the padding behind it. The backward direction runs forward over sequences
    that are reversed each within its own length. A batch without padding goes through the module as it is.
    """

    def last(self, batch: Batch) -> Tensor:
        """(B, S), the final states of the last layer's directions."""
        states = self.vectors(batch)
        longest = states.shape[1]
        if int(batch.lengths.min()) == longest:
            return self.of_directions(self.rnn(states)[1])
        steps = torch.arange(longest)
        ends = batch.lengths[:, None]
        reversal = torch.where(steps < ends, ends - 1 - steps, steps)[:, :, None]
        at_end = (torch.arange(len(states)), batch.lengths - 1)
        for layer in range(self.rnn.num_layers):
            forward = self._run(states, layer, 0)
            if not self.rnn.bidirectional:
                states, last = forward, forward[at_end]
                continue
            backward = self._run(states.gather(1, reversal.expand_as(states)), layer, 1)
            last = torch.cat([forward[at_end], backward[at_end]], dim=1)
            if layer + 1 < self.rnn.num_layers:
                states = torch.cat([forward, backward.gather(1, reversal.expand_as(backward))], dim=2)
        return last

    def _run(self, inputs: Tensor, layer: int, direction: int) -> Tensor:
        weights = self.rnn.all_weights[layer * (2 if self.rnn.bidirectional else 1) + direction]
        zeros = inputs.new_zeros(1, len(inputs), self.rnn.hidden_size)
        start = (zeros, zeros) if self.rnn.mode == "LSTM" else zeros
        kernel = _KERNELS[self.rnn.mode]
        return kernel(inputs, start, weights, True, 1, 0.0, self.training, False, True)[0]


def same_weights(load: Load, cell: str) -> tuple[Padded, Packed, ByHand, RNNForSequenceClassification]:
    """(a), (b), (c) and ours, all from torch's default initialisation with one seed."""
    torch.manual_seed(0)
    padded = Padded(load, cell)
    packed, by_hand = Packed(load, cell), ByHand(load, cell)
    for model in (packed, by_hand):
        model.load_state_dict(padded.state_dict())
    return padded, packed, by_hand, ours(padded)


def ours(model: Padded) -> RNNForSequenceClassification:
    """The same model as one of the host's."""
    adopted = RNNForSequenceClassification.from_torch(
        model.rnn, model.classifier, model.embedding, problem_type="single_label_classification"
    )
    return adopted.train()


def loss_of(model: nn.Module, batch: Batch) -> Tensor:
    """The loss of any of the four."""
    if isinstance(model, Padded):
        return functional.cross_entropy(model(batch), batch.labels)
    return model(**batch.inputs(), labels=batch.labels).loss


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer that `Trainer` takes by default."""
    return torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0, fused=True)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    """One training step: forward, loss, backward, optimizer."""
    loss_of(model, batch).backward()
    optimizer.step()
    optimizer.zero_grad()
