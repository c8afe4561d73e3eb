"""The seed program's weights give the seed program's logits bit for bit, and the same training gives its losses."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from transformers_rnn import RNNConfig, RNNForSequenceClassification


class SequenceClassifier(nn.Module):
    """The textbook: read everything, classify the last output."""

    def __init__(self, input_size, hidden_size, num_classes, cell=nn.RNN, num_layers=1):
        super().__init__()
        self.rnn = cell(input_size, hidden_size, num_layers, batch_first=True)
        self.fc = nn.Linear(hidden_size, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.rnn(x)
        return self.fc(out[:, -1])


def adopted(textbook: SequenceClassifier) -> RNNForSequenceClassification:
    return RNNForSequenceClassification.from_torch(textbook.rnn, textbook.fc)


@given(
    sizes=st.tuples(*[st.integers(1, 12)] * 5),
    cell=st.sampled_from([nn.RNN, nn.GRU, nn.LSTM]),
    num_layers=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
@torch.no_grad()
def test_logits_are_equal_bit_for_bit_at_any_size(sizes, cell, num_layers, seed):
    batch_size, length, input_size, hidden_size, num_classes = sizes
    torch.manual_seed(seed)
    textbook = SequenceClassifier(input_size, hidden_size, num_classes, cell, num_layers)
    features = torch.randn(batch_size, length, input_size)
    logits = adopted(textbook)(input_features=features).logits
    assert logits.shape == (batch_size, num_classes)
    assert torch.equal(logits, textbook(features))


def test_the_default_config_is_the_seed_model():
    textbook = SequenceClassifier(5, 10, 2)
    model = adopted(textbook)
    assert model.config.to_diff_dict() == RNNConfig(input_size=5, hidden_size=10, dtype=torch.float32).to_diff_dict()
    features = torch.randn(5, 7, 5)
    assert torch.equal(model(input_features=features).logits, textbook(features))
    textbook = SequenceClassifier(10, 20, 3)
    assert adopted(textbook)(input_features=torch.randn(5, 7, 10)).logits.shape == (5, 3)


def test_five_epochs_print_the_same_losses():
    torch.manual_seed(0)
    textbook = SequenceClassifier(input_size=5, hidden_size=10, num_classes=2)
    model = adopted(textbook)
    features, labels = torch.randn(4, 6, 5), torch.tensor([0, 1, 0, 1])
    losses: dict[str, list[float]] = {"textbook": [], "plugin": []}
    for name, network in (("textbook", textbook), ("plugin", model)):
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        for _ in range(5):
            if name == "textbook":
                loss = nn.CrossEntropyLoss()(network(features), labels)
            else:
                loss = network(input_features=features, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[name].append(loss.item())
    assert losses["textbook"] == losses["plugin"], "the difference must be 0"
    assert losses["plugin"][-1] < losses["plugin"][0]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_adoption_of_other_modules(bias, bidirectional):
    torch.manual_seed(3)
    rnn = nn.LSTM(4, 6, num_layers=2, bias=bias, bidirectional=bidirectional, dropout=0.25)  # not batch_first
    classifier = nn.Linear(6 * (2 if bidirectional else 1), 3, bias=bias)
    model = RNNForSequenceClassification.from_torch(
        rnn, classifier, id2label={0: "a", 1: "b", 2: "c"}, pooling="mean"
    ).eval()
    assert model.config.hidden_dropout == 0.25
    features = torch.randn(5, 2, 4)
    rnn.eval()
    expected = classifier(rnn(features)[0].mean(dim=0))
    torch.testing.assert_close(model(input_features=features.transpose(0, 1)).logits, expected)


def test_adoption_with_an_embedding():
    embedding, rnn, classifier = nn.Embedding(12, 4, padding_idx=0), nn.GRU(4, 6, batch_first=True), nn.Linear(6, 2)
    model = RNNForSequenceClassification.from_torch(rnn, classifier, embedding)
    ids = torch.randint(1, 12, (3, 5))
    assert torch.equal(model(input_ids=ids).logits, classifier(rnn(embedding(ids))[0][:, -1]))
    assert (model.config.vocab_size, model.config.pad_token_id) == (12, 0)


def test_adoption_keeps_mode_and_dtype_and_copies():
    rnn, classifier = nn.RNN(3, 4, nonlinearity="relu").double().eval(), nn.Linear(4, 2).double()
    model = RNNForSequenceClassification.from_torch(rnn, classifier)
    assert not model.training
    assert model.dtype == torch.float64
    assert model.config.nonlinearity == "relu"
    with torch.no_grad():
        rnn.weight_ih_l0.zero_()
    assert model.rnn.layers[0].cell.weight_ih_l0.any()


def test_adoption_refuses_what_does_not_fit():
    rnn, classifier = nn.RNN(3, 4), nn.Linear(4, 2)
    adopt = RNNForSequenceClassification.from_torch
    with pytest.raises(
        TypeError, match=r"adopts an nn\.RNN, nn\.GRU or nn\.LSTM and an nn\.Linear, got Linear and RNN"
    ):
        adopt(classifier, rnn)
    with pytest.raises(TypeError, match=r"embedding must be an nn\.Embedding, got Linear\."):
        adopt(rnn, classifier, nn.Linear(2, 3))
    with pytest.raises(ValueError, match="with proj_size=2: RNNConfig has no projected cell"):
        adopt(nn.LSTM(3, 4, proj_size=2), classifier)
    with pytest.raises(ValueError, match="The embedding has the width 5, but the recurrent layers read 3"):
        adopt(rnn, classifier, nn.Embedding(7, 5))
    with pytest.raises(ValueError, match="hidden_size=9 contradicts the modules, which have 4"):
        adopt(rnn, classifier, hidden_size=9)
    with pytest.raises(
        ValueError, match=r"must read P = 12 values \(pooling='concat'\) and give L = 2 logits, but it"
    ):
        adopt(rnn, classifier, pooling="concat")
