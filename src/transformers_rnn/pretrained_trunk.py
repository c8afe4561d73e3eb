"""The embedding and the layers of a trained model, with what reads its input, as the start of a classifier."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from .feature_extraction_rnn import SequenceVectorFeatureExtractor
from .modeling_rnn import RNNForSequenceClassification, RNNModel

FIELDS = (
    "vocab_size", "pad_token_id", "unk_token_id", "ngram_order", "ngram_buckets", "ngram_width", "input_size",
    "hidden_size", "cell_type", "nonlinearity", "num_hidden_layers", "bidirectional", "layer_norm",
)  # fmt: skip


@dataclass(frozen=True)
class PretrainedTrunk:
    """Where a classifier starts: all but its pooling and its head.

    Args:
        name: Of its directory.
        model: The trained embedding and layers.
        processor: The tokenizer or feature extractor that they were trained with.
    """

    name: str
    model: RNNModel
    processor: Any

    @property
    def config_fields(self) -> dict[str, Any]:
        """What the weights decide about a model."""
        return {name: getattr(self.model.config, name) for name in FIELDS}

    @property
    def description(self) -> dict[str, Any]:
        """Its name and a number of the weights, on which those of the classifier depend."""
        digest = sha256()
        for part in (self.model.embeddings, self.model.layers):
            for weight in part.state_dict().values():
                digest.update(weight.float().contiguous().numpy().tobytes())
        return {"pretrained_model": f"{self.name} ({digest.hexdigest()[:16]})"}

    def place(self, model: RNNForSequenceClassification) -> None:
        """Start the model of a run from these weights."""
        model.rnn.embeddings.load_state_dict(self.model.embeddings.state_dict())
        model.rnn.layers.load_state_dict(self.model.layers.state_dict())


def settle_trunk(
    directory: str | Path, feature_size: int | None, fields: Mapping[str, Any], others: Mapping[str, Any]
) -> PretrainedTrunk:
    """Open a pretrained model for a run.

    Args:
        directory: What `pretrain` saved, or any other saved model of this package; also its name on the hub.
        feature_size: F of the data; `None` for texts.
        fields: Fields of the config that were given.
        others: Arguments by name that would replace what the directory brings.

    Raises:
        ValueError: A model of the other kind of data or of another F, or choices that contradict it.
    """
    given = [name for name, value in others.items() if value is not None]
    if given:
        raise ValueError(
            f"pretrained_model brings its own tokenizer or feature extractor and its own embedding, but {given[0]} "
            "came too. Leave one of them out."
        )
    model = RNNModel.from_pretrained(directory)
    config = model.config
    kind = AutoTokenizer if config.reads_tokens else SequenceVectorFeatureExtractor
    processor = kind.from_pretrained(directory)
    width = None if config.reads_tokens else processor.feature_size
    read = "token ids" if width is None else f"vectors of {width} numbers"
    came = "texts" if feature_size is None else f"sequences of vectors of {feature_size} numbers"
    if feature_size != width:
        raise ValueError(
            f"pretrained_model={str(directory)!r} reads {read}, but this data is {came}. Pretrain on data of its kind."
        )
    trunk = PretrainedTrunk(Path(directory).name, model, processor)
    for name, value in trunk.config_fields.items():
        if fields.get(name, value) != value:
            raise ValueError(
                f"{name}={fields[name]!r} contradicts pretrained_model={str(directory)!r}, which has {value!r}. "
                "Leave it out, or pretrain with it."
            )
    return trunk
