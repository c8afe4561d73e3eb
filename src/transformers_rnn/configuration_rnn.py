"""Every choice a recurrent sequence classifier needs, typed and checked."""

from difflib import get_close_matches
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .config_names import HOST_NAMES, SYNONYMS
from .decision_checks import check_calibration, check_prefixes
from .label_scale import check_label_scale
from .losses import check_loss_choices
from .ngrams import check_bag, check_ngrams
from .regularization import check_regularization
from .token_checks import check_tokens

_PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification", None)


@strict
class RNNConfig(PreTrainedConfig):
    """Configuration of [`RNNModel`] and [`RNNForSequenceClassification`].

    With no more than sizes it is the textbook model (Elman, 1990, "Finding structure in time"): a tanh RNN of one
    layer and one direction whose last output is classified by one linear layer. All fields are keyword arguments;
    the fields common to all models (`num_labels`, `id2label`, `problem_type`, `dtype`, ...) are the host's.

    Args:
        vocab_size: V. `None`: the model reads vectors (`input_features`); a number: it reads token ids through an
            embedding of width `input_size`.
        input_size: F, width of the vectors that the recurrent layers read.
        hidden_size: H, width of the state of one layer and direction.
        cell_type: `"rnn"` (Elman, 1990), `"gru"` (Cho et al., 2014) or `"lstm"` (Hochreiter & Schmidhuber, 1997).
        nonlinearity: Of the plain RNN, `"tanh"` or `"relu"`; the other cells have their own and leave it at `"tanh"`.
        num_hidden_layers: Number of stacked recurrent layers.
        bidirectional: Whether each layer also reads every sequence backwards, from its own last step.
        layer_norm: Whether what each layer gives at a step is normalised, over its S numbers, before it is read on (Ba
            et al., 2016); the recurrence itself is not.
        pooling: How the states of a sequence become one vector: `"last"` (the last output of each direction),
            `"mean"`, `"max"`, `"attention"` (Yang et al., 2016) or `"concat"` (last, mean and max; Howard & Ruder,
            2018).
        embedding_dropout: Probability, on what the first recurrent layer reads.
        hidden_dropout: Probability, on the states between stacked layers.
        classifier_dropout: Probability, on the pooled vector.
        variational_dropout: Whether `embedding_dropout` and `hidden_dropout` drop the same values at all steps of a
            sequence ("locked"; Gal & Ghahramani, 2016).
        weight_dropout: Probability that in training a recurrent weight is zero for a whole batch ("DropConnect";
            Merity et al., 2018).
        token_dropout: Probability that in training a token of `input_ids` is read as the unknown token: "word dropout"
            (Iyyer et al., 2015; Dai & Le, 2015).
        vocabulary_dropout: Probability that in training a token's whole vector is zero, wherever the token occurs in a
            batch (Gal & Ghahramani, 2016; the "embedding dropout" of Merity et al., 2018).
        input_noise: In training, standard deviation of the normal noise ("jitter"; Um et al., 2017) on every number of
            `input_features`, which a feature extractor has scaled to 1.
        input_scale_noise: In training, standard deviation, around 1, of the factors on each sequence's features
            ("scaling"; Um et al., 2017).
        time_warp: In training, one inner point of each sequence moves in time by at most this share of its length,
            and what lies before and behind it is stretched (SpecAugment; Park et al., 2019).
        mask_time_prob: In training, share of the steps that are set to zero in spans (SpecAugment); a little less, as
            spans overlap.
        mask_time_length: Steps in a span.
        mask_feature_prob: The same of neighbouring features, in all steps of a sequence.
        mask_feature_length: Features in a span.
        pad_token_id: The id that fills up shorter texts; required with `vocab_size`.
        unk_token_id: The id of the unknown token; required with `token_dropout`.
        ngram_order: Beside each token, read a vector for the pair that ends with it (2), for the triple too (3), ...;
            1: none. They come from one table that n-grams are hashed into (Joulin et al., 2017).
        ngram_buckets: Rows of that table.
        ngram_width: Width of a row, for each length of n-gram in addition to `input_size`.
        bag_order: Beside the pooled states, classify by the vectors of all tokens (1), pairs of them too (2), ..., in
            whatever order and however often they come (Mikolov et al., 2011): their sum by the root of their number;
            0: no such bag. See [`add_bag`].
        bag_size: How many n-grams have a vector.
        bag_width: How wide it is.
        class_weights: L factors of the loss, one a class; for a single label. A weighted loss is still divided by the
            number of labels, so weights with a mean of 1 over the data keep its scale.
        pos_weight: L factors of the loss of a label where it is present; for several labels.
        focal_gamma: Exponent of the focal loss (Lin et al., 2017); 0: the plain loss.
        label_smoothing: Share of each target that is spread over the other answers. Set it here and not with the
            `Trainer`'s `label_smoothing_factor`, whose loss knows no weights.
        label_mean: Of regression, L means of the labels, which are added to what the head gives, times `label_scale`,
            so that it learns as well in grams as in tons: the logits are in the labels' own units. `None`: 0.
        label_scale: L numbers, of the size of the labels' deviations, which what the head gives is multiplied by. The
            loss is that of the labels divided by them, so that several labels count alike. `None`: 1.
        temperature: The pipelines and metrics divide logits by it before softmax or sigmoid (Guo et al., 2017); the
            model itself does not. Learned by `transformers_rnn.calibration.fit_calibration`.
        thresholds: For several labels at once, the score above which each of the L labels is given. `None`: 0.5.
        abstain_below: For a single label, the score below which the pipelines give no answer. `None`: they always do.
        prefix_loss_weight: Share of the loss, from 0 to 1, that is the mean over every prefix of a sequence and not
            the loss at its end: training for answers before the end. For one direction only.
        stopping_policy: When to answer before the end: the fields of a [`stopping.StoppingPolicy`], as its `to_dict`
            gives them. `None`: read everything. For one direction and a single label only.
        prediction_window: In pretraining, how many steps a state predicts, in no order; 1: language modelling.
        prediction_vocab_size: In pretraining, how many tokens, those of the smallest ids, are predicted. `None`: all.

    Raises:
        ValueError: A field out of its range, contradictory fields, or an unknown name (with "did you mean").
        huggingface_hub.errors.StrictDataclassFieldValidationError: A field of the wrong type or choice.
    """

    model_type = "rnn_classifier"
    keys_to_ignore_at_inference = ["pooler_output", "state", "hidden_states", "prefix_logits", "predictions"]  # noqa: RUF012 - the host's own form

    vocab_size: int | None = None
    input_size: int = 10
    hidden_size: int = 20
    cell_type: Literal["rnn", "gru", "lstm"] = "rnn"
    nonlinearity: Literal["tanh", "relu"] = "tanh"
    num_hidden_layers: int = 1
    bidirectional: bool = False
    layer_norm: bool = False
    pooling: Literal["last", "mean", "max", "attention", "concat"] = "last"
    embedding_dropout: float | int = 0.0
    hidden_dropout: float | int = 0.0
    classifier_dropout: float | int = 0.0
    variational_dropout: bool = False
    weight_dropout: float | int = 0.0
    token_dropout: float | int = 0.0
    vocabulary_dropout: float | int = 0.0
    input_noise: float | int = 0.0
    input_scale_noise: float | int = 0.0
    time_warp: float | int = 0.0
    mask_time_prob: float | int = 0.0
    mask_time_length: int = 10
    mask_feature_prob: float | int = 0.0
    mask_feature_length: int = 10
    pad_token_id: int | None = None
    unk_token_id: int | None = None
    ngram_order: int = 1
    ngram_buckets: int = 0
    ngram_width: int = 0
    bag_order: int = 0
    bag_size: int = 0
    bag_width: int = 0
    class_weights: list[float | int] | None = None
    pos_weight: list[float | int] | None = None
    focal_gamma: float | int = 0.0
    label_smoothing: float | int = 0.0
    label_mean: list[float | int] | None = None
    label_scale: list[float | int] | None = None
    temperature: float | int = 1.0
    thresholds: list[float | int] | None = None
    abstain_below: float | int | None = None
    prefix_loss_weight: float | int = 0.0
    stopping_policy: dict[str, Any] | None = None
    prediction_window: int = 1
    prediction_vocab_size: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Check the names that came and the labels, then everything else."""
        self._refuse_unknown(kwargs)
        self._settle_labels(kwargs)
        super().__post_init__(**kwargs)
        self.validate_architecture()

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Build a config from the content of a `config.json`, as the host does.

        A key that is no field but resembles one is refused as a misspelling. Any other unknown key is kept as an
        attribute: users and tools may add notes of their own. Labels in `kwargs` replace the stored ones.
        """
        config_dict, kwargs = dict(config_dict), dict(kwargs)
        if not kwargs.get("return_unused_kwargs"):
            cls._refuse_unknown({name: value for name, value in kwargs.items() if cls._resembling(name)})
        stored = len(config_dict.get("id2label") or range(2))  # two labels without names are not stored
        if {"id2label", "label2id"} & kwargs.keys() or kwargs.get("num_labels") not in (None, stored):
            config_dict.pop("id2label", None)
            config_dict.pop("label2id", None)
        labels = kwargs.get("id2label") or kwargs.get("label2id") or ()
        if (kwargs.get("num_labels") or len(labels) or stored) != stored:
            # Those of another head.
            for name in ("temperature", "thresholds", "abstain_below", "label_mean", "label_scale"):
                config_dict.pop(name, None)
        for name in (cls.__dataclass_fields__.keys() - {"dtype"} | {"num_labels"}) & kwargs.keys():
            config_dict[name] = kwargs.pop(name)  # checked with the rest, like an argument
        notes = {
            name: config_dict.pop(name)
            for name in list(config_dict)
            if not cls._is_known(name) and cls._resembling(name) is None
        }
        result = super().from_dict(config_dict, **kwargs)
        config = result[0] if isinstance(result, tuple) else result
        for name, value in notes.items():
            setattr(config, name, value)
        return result

    @property
    def reads_tokens(self) -> bool:
        """Whether the model reads token ids (and not vectors)."""
        return self.vocab_size is not None

    @property
    def embedded_size(self) -> int:
        """Width of what the first recurrent layer reads: F, and the n-grams beside it."""
        return self.input_size + self.ngram_width * (self.ngram_order - 1)

    @property
    def num_directions(self) -> int:
        """D."""
        return 2 if self.bidirectional else 1

    @property
    def state_size(self) -> int:
        """S = H * D, width of the states of a layer."""
        return self.hidden_size * self.num_directions

    @property
    def pooled_size(self) -> int:
        """P, width of what the classifier reads."""
        return self.state_size * (3 if self.pooling == "concat" else 1) + self.bag_width

    @property
    def prediction_size(self) -> int:
        """Width of a prediction in pretraining: F, or how many tokens have a score."""
        return self.input_size if self.vocab_size is None else self.prediction_vocab_size or self.vocab_size

    @property
    def remembered_ids(self) -> int:
        """How many ids the n-grams of what follows begin with."""
        return max(self.ngram_order, self.bag_order) - 1

    @property
    def loss_choices(self) -> dict[str, Any]:
        """What the loss is told: the keyword arguments of `classification_loss`."""
        names = ("class_weights", "pos_weight", "focal_gamma", "label_smoothing", "label_scale")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def _is_known(cls, name: str) -> bool:
        return name in cls.__dataclass_fields__ or name in HOST_NAMES

    @classmethod
    def _resembling(cls, name: str) -> str | None:
        """The field that was probably meant, if any."""
        if name in SYNONYMS:
            return SYNONYMS[name]
        known = [*cls.__dataclass_fields__, "num_labels"]
        return next(iter(get_close_matches(name, known, n=1, cutoff=0.8)), None)

    @classmethod
    def _refuse_unknown(cls, kwargs: dict[str, Any]) -> None:
        for name, value in kwargs.items():
            if cls._is_known(name):
                continue
            meant = cls._resembling(name)
            advice = (
                f"Did you mean {meant!r}?"
                if meant
                else "Leave it out, or set it as an attribute afterwards if it is a note of your own."
            )
            own = [field for field in cls.__annotations__ if not field.startswith("_")]
            raise ValueError(
                f"{cls.__name__} has no field {name!r} (given: {name}={value!r}). {advice} "
                f"Its fields are: {', '.join(own)}, num_labels, id2label, label2id, problem_type "
                "and those of PreTrainedConfig."
            )

    def _settle_labels(self, kwargs: dict[str, Any]) -> None:
        """Make `id2label`, `label2id` and `num_labels` tell the same story, or say why they cannot."""
        num_labels = kwargs.get("num_labels")
        if num_labels is not None and (type(num_labels) is not int or num_labels < 1):
            raise ValueError(f"num_labels must be a whole number of at least 1, got {num_labels!r}.")
        given = "label2id" if self.id2label is None else "id2label"
        if getattr(self, given) is None:
            return
        id2label = _read_labels(given, getattr(self, given))
        if num_labels is not None and num_labels != len(id2label):
            raise ValueError(
                f"num_labels={num_labels} contradicts {given}, which names {len(id2label)} labels. Pass one of them."
            )
        label2id = self.label2id
        self.id2label = id2label  # sets label2id, too
        if label2id and {label: int(index) for label, index in label2id.items()} != self.label2id:
            raise ValueError(f"label2id={label2id} contradicts id2label={id2label}. Pass one of them.")

    def __setattr__(self, name: str, value: Any) -> None:
        """Labels that are renamed keep their numbers in both directions."""
        super().__setattr__(name, value)
        if name == "id2label" and isinstance(value, dict):
            super().__setattr__("label2id", {label: index for index, label in value.items()})

    def validate_architecture(self) -> None:
        """Check ranges and contradictions; the host calls it again before a config is saved."""
        for name in ("input_size", "hidden_size", "num_hidden_layers", "prediction_window"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {getattr(self, name)}.")
        if self.nonlinearity != "tanh" and self.cell_type != "rnn":
            raise ValueError(
                f"nonlinearity={self.nonlinearity!r} is a choice of the plain RNN only, but cell_type is "
                f"{self.cell_type!r}. Leave nonlinearity out, or pass cell_type='rnn'."
            )
        if self.layer_norm and self.state_size == 1:
            raise ValueError("layer_norm=True leaves nothing of a state of one number. Pass hidden_size=2 or more.")
        if self.id2label is not None:
            _read_labels("id2label", self.id2label)
        for name in self.__dict__:
            if name in SYNONYMS or (not self._is_known(name) and self._resembling(name)):
                self._refuse_unknown({name: self.__dict__[name]})
        if self.problem_type not in _PROBLEM_TYPES:
            raise ValueError(
                f"problem_type must be one of {', '.join(map(repr, _PROBLEM_TYPES[:-1]))}, or None to let the first "
                f"labels settle it, got {self.problem_type!r}."
            )
        check_tokens(self)
        check_ngrams(self)
        check_bag(self)
        check_regularization(self)
        check_loss_choices(self.problem_type, self.num_labels, **self.loss_choices)  # type: ignore[arg-type]
        check_label_scale(self)
        check_calibration(self)
        check_prefixes(self)
        for name in ("output_attentions", "is_encoder_decoder"):
            if getattr(self, name):
                raise ValueError(
                    f"{name}=True has no meaning for a recurrent classifier: it has no attention layers and no "
                    "decoder. Leave it out."
                )


def _read_labels(name: str, labels: Any) -> dict[int, str]:
    """Labels by number, from an `id2label` or a `label2id` (as `name` says)."""
    pairs = list(labels.items()) if isinstance(labels, dict) else []
    if name == "label2id":
        pairs = [(index, label) for label, index in pairs]
    example = "{0: 'ham', 1: 'spam'}" if name == "id2label" else "{'ham': 0, 'spam': 1}"
    indices = [index for index, _ in pairs]
    names = [label for _, label in pairs]
    if all(str(index).isdigit() for index in indices):  # JSON makes strings of them
        indices = [int(index) for index in indices]
    if (labels and not pairs) or not all(isinstance(label, str) for label in names):
        raise ValueError(f"{name} must pair numbers and names, got {labels}. Pass for example {name}={example}.")
    if sorted(indices, key=str) != sorted(range(len(pairs)), key=str) or not pairs:
        raise ValueError(
            f"{name} must number the labels 0 to L-1, got the indices {indices}. Pass for example {name}={example}."
        )
    if len(set(names)) != len(names):
        raise ValueError(f"{name} must give each label a name of its own, got {names}.")
    return dict(sorted(zip(indices, names, strict=True)))
