"""Random models and ragged batches, for the laws."""

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

from transformers_rnn import RNNConfig, RNNForSequenceClassification
from transformers_rnn.bag import NgramBag, without_conflicts
from transformers_rnn.ngrams import NOTHING, number_ngrams

CELLS = [("rnn", "tanh"), ("rnn", "relu"), ("gru", "tanh"), ("lstm", "tanh")]
POOLINGS = ["last", "mean", "max", "attention", "concat"]
VOCABULARY = 11
PAD = 3  # not 0, so that no zero is mistaken for padding


@dataclass
class Case:
    """A model in evaluation mode and sequences of different lengths, token ids (T_i,) or vectors (T_i, F)."""

    model: RNNForSequenceClassification
    sequences: list[Tensor]

    def __repr__(self) -> str:
        return f"Case({self.model.config.to_diff_dict()}, lengths={[len(s) for s in self.sequences]})"

    @property
    def tokens(self) -> bool:
        return self.model.config.reads_tokens

    def call(self, batch: Tensor, mask: Tensor | None = None, **kwargs):
        """Run the model on a padded batch."""
        name = "input_ids" if self.tokens else "input_features"
        return self.model(**{name: batch}, attention_mask=mask, **kwargs)

    def alone(self, sequence: Tensor, **kwargs) -> Tensor:
        """Logits (L,) of one sequence in a batch of its own."""
        return self.call(sequence[None], **kwargs).logits[0]

    def padded(self, side: str = "right", extra: int = 0, garbage: bool = True) -> tuple[Tensor, Tensor]:
        """The batch (B, T[, F]) and its mask, the padding filled with what must never be read."""
        length = max(map(len, self.sequences)) + extra
        rows, mask = [], torch.zeros(len(self.sequences), length, dtype=torch.long)
        for row, sequence in enumerate(self.sequences):
            fill = torch.full((length, *sequence.shape[1:]), PAD, dtype=sequence.dtype)
            if garbage:
                fill.fill_(VOCABULARY + 100 if self.tokens else torch.nan)
            place = slice(0, len(sequence)) if side == "right" else slice(length - len(sequence), length)
            fill[place] = sequence
            mask[row, place] = 1
            rows.append(fill)
        return torch.stack(rows), mask


@torch.no_grad()
def fill_bag(bag: NgramBag) -> None:
    """Let a bag know some of the n-grams that can come, and say something about them."""
    bag.weight.normal_()[0] = 0.0
    window = torch.randint(NOTHING, VOCABULARY, (60, bag.order))
    numbers = number_ngrams(window, range(1, bag.order + 1)).unique()
    bag.learn(without_conflicts(numbers[torch.randperm(len(numbers))][: bag.num_embeddings - 1]))


@st.composite
def cases(draw, cell=None, bidirectional=None, dtype=torch.float32, max_length=12, layer_norm=False) -> Case:
    """Draw a case: any cell, direction, depth, pooling, input kind and lengths."""
    cell_type, nonlinearity = draw(st.sampled_from([c for c in CELLS if cell in (None, c[0])]))
    tokens = draw(st.booleans())
    ngrams = draw(st.sampled_from([{}, {}, {"ngram_order": 2}, {"ngram_order": 3}])) if tokens else {}
    bag_order = draw(st.sampled_from([0, 0, 1, 2, 8])) if tokens else 0
    width = draw(st.integers(1, 6))
    hidden_size, both = draw(st.integers(1, 9)), draw(st.booleans()) if bidirectional is None else bidirectional
    config = RNNConfig(
        cell_type=cell_type,
        nonlinearity=nonlinearity,
        input_size=width,
        hidden_size=hidden_size,
        num_hidden_layers=draw(st.integers(1, 3)),
        bidirectional=both,
        # Of the few numbers of these states it magnifies the last bits, which float32 shows.
        layer_norm=hidden_size > 1 and (layer_norm or (dtype == torch.float64 and draw(st.booleans()))),
        pooling=draw(st.sampled_from(POOLINGS)),
        num_labels=draw(st.integers(2, 4)),
        **({"vocab_size": VOCABULARY, "pad_token_id": PAD} if tokens else {}),
        **({**ngrams, "ngram_buckets": 50, "ngram_width": 2} if ngrams else {}),
        **({"bag_order": bag_order, "bag_size": 30, "bag_width": 3} if bag_order else {}),
    )
    lengths = draw(st.lists(st.integers(1, max_length), min_size=1, max_size=6))
    torch.manual_seed(draw(st.integers(0, 2**32 - 1)))
    model = RNNForSequenceClassification(config).to(dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # what starts at zero would hide mistakes
            if parameter.ndim == 1 or not parameter.any():
                parameter.add_(torch.randn_like(parameter) * 0.3)
    if bag_order:
        fill_bag(model.rnn.bag)
    if tokens:
        real = torch.tensor([i for i in range(VOCABULARY) if i != PAD])
        sequences = [real[torch.randint(len(real), (n,))] for n in lengths]
    else:
        sequences = [torch.randn(n, width, dtype=dtype) for n in lengths]
    return Case(model, sequences)
