"""Every choice is typed and checked when a config is built, changed, saved or loaded."""

import copy
import json
import pickle
import re

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError, StrictDataclassFieldValidationError
from transformers import AutoConfig

from transformers_rnn import RNNConfig

DEFAULTS = {
    "vocab_size": None,
    "input_size": 10,
    "hidden_size": 20,
    "cell_type": "rnn",
    "nonlinearity": "tanh",
    "num_hidden_layers": 1,
    "bidirectional": False,
    "layer_norm": False,
    "pooling": "last",
    "embedding_dropout": 0.0,
    "hidden_dropout": 0.0,
    "classifier_dropout": 0.0,
    "variational_dropout": False,
    "weight_dropout": 0.0,
    "token_dropout": 0.0,
    "vocabulary_dropout": 0.0,
    "input_noise": 0.0,
    "input_scale_noise": 0.0,
    "time_warp": 0.0,
    "mask_time_prob": 0.0,
    "mask_time_length": 10,
    "mask_feature_prob": 0.0,
    "mask_feature_length": 10,
    "pad_token_id": None,
    "unk_token_id": None,
    "ngram_order": 1,
    "ngram_buckets": 0,
    "ngram_width": 0,
    "bag_order": 0,
    "bag_size": 0,
    "bag_width": 0,
    "class_weights": None,
    "pos_weight": None,
    "focal_gamma": 0.0,
    "label_smoothing": 0.0,
    "label_mean": None,
    "label_scale": None,
    "temperature": 1.0,
    "thresholds": None,
    "abstain_below": None,
    "prefix_loss_weight": 0.0,
    "stopping_policy": None,
    "prediction_window": 1,
    "prediction_vocab_size": None,
}
FIELDS = (
    f"Its fields are: {', '.join(DEFAULTS)}, num_labels, id2label, label2id, "
    "problem_type and those of PreTrainedConfig."
)
NEEDS_PAD = (
    "A model of tokens (vocab_size=9) needs a pad_token_id from 0 to 8, got {}. "
    "Pass pad_token_id=tokenizer.pad_token_id."
)
MEANINGLESS = (
    "{}=True has no meaning for a recurrent classifier: it has no attention layers and no decoder. Leave it out."
)


def whole(message):
    return f"^{re.escape(message)}$"


@pytest.fixture
def stored(tmp_path):
    """The directory of a config with labels of its own."""
    RNNConfig(cell_type="lstm", hidden_size=8, id2label={0: "no", 1: "yes"}).save_pretrained(tmp_path)
    return tmp_path


def reloaded(config, directory):
    config.save_pretrained(directory)
    return RNNConfig.from_pretrained(directory)


def test_the_defaults_are_the_textbook_model():
    config = RNNConfig()
    assert {name: getattr(config, name) for name in DEFAULTS} == DEFAULTS
    assert {name for name in RNNConfig.__annotations__ if not name.startswith("_")} == set(DEFAULTS)
    assert (config.num_labels, config.id2label) == (2, {0: "LABEL_0", 1: "LABEL_1"})
    assert config.problem_type is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (False, 1, 20, 20)),
        ({"vocab_size": 9, "pad_token_id": 0}, (True, 1, 20, 20)),
        ({"bidirectional": True, "hidden_size": 3}, (False, 2, 6, 6)),
        ({"bidirectional": True, "hidden_size": 3, "pooling": "concat"}, (False, 2, 6, 18)),
    ],
)
def test_derived_values(fields, expected):
    config = RNNConfig(**fields)
    assert (config.reads_tokens, config.num_directions, config.state_size, config.pooled_size) == expected
    with pytest.raises(AttributeError):
        config.state_size = 1


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("hidden_size", "8", "expected int, got str (value: '8')"),
        ("hidden_size", 8.0, "expected int, got float (value: 8.0)"),
        ("hidden_size", True, "expected int, got bool (value: True)"),
        ("hidden_size", None, "expected int, got NoneType (value: None)"),
        ("input_size", [8], "expected int, got list (value: [8])"),
        ("num_hidden_layers", 2.0, "expected int, got float (value: 2.0)"),
        ("bidirectional", 1, "expected bool, got int (value: 1)"),
        ("cell_type", "LSTM", "expected one of ('rnn', 'gru', 'lstm'), got LSTM"),
        ("nonlinearity", "gelu", "expected one of ('tanh', 'relu'), got gelu"),
        ("pooling", "first", "expected one of ('last', 'mean', 'max', 'attention', 'concat'), got first"),
        ("hidden_dropout", "0.1", "with value '0.1' doesn't match any type in"),
        ("classifier_dropout", None, "with value None doesn't match any type in"),
        ("embedding_dropout", True, "with value True doesn't match any type in"),
        ("vocab_size", 9.0, "with value 9.0 doesn't match any type in"),
        ("pad_token_id", "0", "with value '0' doesn't match any type in"),
    ],
)
def test_wrong_types_and_choices(field, value, expected):
    message = re.escape(f"Field '{field}' {expected}")
    with pytest.raises(StrictDataclassFieldValidationError, match=message):
        RNNConfig(**{field: value})
    config = RNNConfig()
    with pytest.raises(StrictDataclassFieldValidationError, match=message):
        setattr(config, field, value)


@pytest.mark.parametrize("field", ["input_size", "hidden_size", "num_hidden_layers"])
@pytest.mark.parametrize("value", [0, -3])
def test_sizes_out_of_range(field, value):
    with pytest.raises(ValueError, match=whole(f"{field} must be a whole number of at least 1, got {value}.")):
        RNNConfig(**{field: value})


@pytest.mark.parametrize("field", ["embedding_dropout", "hidden_dropout", "classifier_dropout"])
@pytest.mark.parametrize("value", [1.5, 1.0, 1, -0.1, float("nan")])
def test_probabilities_out_of_range(field, value):
    message = f"{field} is the probability of dropping a value and must be at least 0 and less than 1, got {value}."
    with pytest.raises(ValueError, match=whole(message)):
        RNNConfig(**{field: value})
    assert getattr(RNNConfig(**{field: 0}), field) == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vocab_size": 9}, NEEDS_PAD.format(None)),
        ({"vocab_size": 9, "pad_token_id": 9}, NEEDS_PAD.format(9)),
        ({"vocab_size": 9, "pad_token_id": -1}, NEEDS_PAD.format(-1)),
        (
            {"vocab_size": 0, "pad_token_id": 0},
            "vocab_size must be at least 1, got 0. Pass len(tokenizer), or None for vectors.",
        ),
        (
            {"pad_token_id": 3},
            "pad_token_id=3 belongs to a model of tokens, but vocab_size is None: the model reads vectors. "
            "Pass vocab_size (usually len(tokenizer)), or leave pad_token_id out.",
        ),
        (
            {"prediction_vocab_size": 3},
            "prediction_vocab_size=3 belongs to a model of tokens, but vocab_size is None: the model reads vectors. "
            "Pass vocab_size (usually len(tokenizer)), or leave prediction_vocab_size out.",
        ),
        *(
            (
                {"vocab_size": 9, "pad_token_id": 2, "prediction_vocab_size": size},
                f"prediction_vocab_size={size} must be more than pad_token_id=2 and at most vocab_size=9. Leave it "
                "out to predict all tokens.",
            )
            for size in (2, 10)
        ),
        (
            {"nonlinearity": "relu", "cell_type": "gru"},
            "nonlinearity='relu' is a choice of the plain RNN only, but cell_type is 'gru'. "
            "Leave nonlinearity out, or pass cell_type='rnn'.",
        ),
        (
            {"layer_norm": True, "hidden_size": 1},
            "layer_norm=True leaves nothing of a state of one number. Pass hidden_size=2 or more.",
        ),
        ({"output_attentions": True}, MEANINGLESS.format("output_attentions")),
        ({"is_encoder_decoder": True}, MEANINGLESS.format("is_encoder_decoder")),
    ],
)
def test_contradictions(fields, message):
    with pytest.raises(ValueError, match=whole(message)):
        RNNConfig(**fields)


def test_a_problem_type_is_one_of_three():
    for known in ("regression", "single_label_classification", "multi_label_classification", None):
        assert RNNConfig(problem_type=known).problem_type == known
    with pytest.raises((ValueError, StrictDataclassError), match="single_label_clasification"):
        RNNConfig(problem_type="single_label_clasification")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("hiden_size", "hidden_size"),
        ("bidirectionnal", "bidirectional"),
        ("vocabulary_size", "vocab_size"),
        ("num_label", "num_labels"),
        ("problem_typ", "problem_type"),
        ("num_layers", "num_hidden_layers"),
        ("rnn_type", "cell_type"),
        ("num_classes", "num_labels"),
        ("n_classes", "num_labels"),
        ("embedding_dim", "input_size"),
        ("feature_size", "input_size"),
        ("dropout", "hidden_dropout"),
        ("word_dropout", "token_dropout"),
    ],
)
def test_misspelt_names_and_names_of_other_libraries(name, meant):
    message = f"RNNConfig has no field '{name}' (given: {name}=3). Did you mean '{meant}'? {FIELDS}"
    with pytest.raises(ValueError, match=whole(message)):
        RNNConfig(**{name: 3})


@pytest.mark.parametrize("name", ["colour", "batch_first", "max_position_embeddings", "top_p"])
def test_unknown_names(name):
    advice = "Leave it out, or set it as an attribute afterwards if it is a note of your own."
    with pytest.raises(
        ValueError, match=whole(f"RNNConfig has no field '{name}' (given: {name}=3). {advice} {FIELDS}")
    ):
        RNNConfig(**{name: 3})


def test_fields_have_no_order():
    with pytest.raises(ValueError, match="accepts only keyword arguments"):
        RNNConfig(10, 20)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("output_hidden_states", True),
        ("return_dict", False),
        ("problem_type", "regression"),
        ("name_or_path", "somewhere"),
        ("architectures", ["RNNForSequenceClassification"]),
        ("bos_token_id", 1),
        ("eos_token_id", 2),
        ("chunk_size_feed_forward", 4),
        ("tokenizer_class", "PreTrainedTokenizerFast"),
        ("gradient_checkpointing", True),
        ("finetuning_task", "spam"),
    ],
)
def test_the_hosts_own_names_are_taken(name, value):
    assert getattr(RNNConfig(**{name: value}), name) == value


@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
@pytest.mark.parametrize("value", ["float16", torch.float16])
def test_the_type_of_the_weights(name, value, tmp_path):
    config = RNNConfig(**{name: value})
    assert config.dtype == torch.float16
    assert reloaded(config, tmp_path).dtype == torch.float16


def test_json_and_back(tmp_path):
    config = RNNConfig(
        vocab_size=9, pad_token_id=3, cell_type="gru", bidirectional=True, pooling="concat", hidden_dropout=0.5,
        id2label={0: "ham", 1: "spam", 2: "other"}, problem_type="multi_label_classification", dtype="bfloat16",
    )  # fmt: skip
    found = [
        reloaded(config, tmp_path),
        AutoConfig.from_pretrained(tmp_path),
        RNNConfig.from_json_file(str(tmp_path / "config.json")),
        RNNConfig.from_dict(json.loads(config.to_json_string())),
        RNNConfig(**config.to_dict()),
    ]
    for other in found:
        assert isinstance(other, RNNConfig)
        assert {**other.to_dict(), "_name_or_path": ""} == config.to_dict()


def test_a_saved_config_holds_every_field_of_ours_and_nothing_usual_of_the_hosts():
    def told(config):
        return {name: value for name, value in config.to_diff_dict().items() if name != "transformers_version"}

    assert told(RNNConfig()) == {**DEFAULTS, "model_type": "rnn_classifier"}
    assert told(RNNConfig(output_hidden_states=True, hidden_size=3)) == {
        **DEFAULTS, "model_type": "rnn_classifier", "output_hidden_states": True, "hidden_size": 3,
    }  # fmt: skip


def test_overrides_at_loading(stored):
    assert RNNConfig.from_pretrained(stored, hidden_size=9, pooling="mean").hidden_size == 9
    assert RNNConfig.from_pretrained(stored, vocab_size=9, pad_token_id=3).reads_tokens
    assert RNNConfig.from_pretrained(stored, num_labels=2).id2label == {0: "no", 1: "yes"}
    five = RNNConfig.from_pretrained(stored, num_labels=5)
    assert five.id2label == {index: f"LABEL_{index}" for index in range(5)}
    assert five.label2id == {f"LABEL_{index}": index for index in range(5)}
    assert RNNConfig.from_pretrained(stored, cache_dir=str(stored), revision="main").hidden_size == 8
    with pytest.raises(StrictDataclassFieldValidationError, match="expected int, got str"):
        RNNConfig.from_pretrained(stored, hidden_size="9")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_size": 0}, "hidden_size must be a whole number of at least 1, got 0."),
        ({"hidden_dropout": 1.5}, "hidden_dropout is the probability of dropping a value"),
        ({"nonlinearity": "relu"}, "nonlinearity='relu' is a choice of the plain RNN only"),
        ({"vocab_size": 9}, "needs a pad_token_id from 0 to 8, got None"),
        ({"num_labels": 0}, "num_labels must be a whole number of at least 1, got 0."),
        ({"problem_type": "ranking"}, "ranking"),
        ({"hiden_size": 9}, "Did you mean 'hidden_size'?"),
        ({"num_layers": 2}, "Did you mean 'num_hidden_layers'?"),
    ],
)
def test_overrides_at_loading_are_checked_like_arguments(stored, fields, message):
    with pytest.raises((ValueError, StrictDataclassError), match=re.escape(message)):
        RNNConfig.from_pretrained(stored, **fields)


def test_the_host_may_ask_for_what_was_not_used(stored):
    config, unused = RNNConfig.from_pretrained(stored, hidden_size=9, ignore_me=1, return_unused_kwargs=True)
    assert (config.hidden_size, unused) == (9, {"ignore_me": 1})


def test_notes_of_users_are_kept(tmp_path):
    config = RNNConfig()
    config.trained_on = {"corpus": "sms", "rows": [1, 2]}
    again = reloaded(reloaded(config, tmp_path / "once"), tmp_path / "twice")
    assert again.trained_on == {"corpus": "sms", "rows": [1, 2]}
    assert AutoConfig.from_pretrained(tmp_path / "twice").trained_on == again.trained_on


@pytest.mark.parametrize(("key", "meant"), [("hiden_size", "hidden_size"), ("num_layers", "num_hidden_layers")])
def test_a_misspelt_key_in_the_file_is_refused(stored, key, meant):
    content = json.loads((stored / "config.json").read_text())
    (stored / "config.json").write_text(json.dumps({**content, key: 3}))
    with pytest.raises(ValueError, match=rf"no field '{key}' \(given: {key}=3\)\. Did you mean '{meant}'\?"):
        AutoConfig.from_pretrained(stored)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("hidden_size", 0, "hidden_size must be a whole number of at least 1, got 0."),
        ("hidden_dropout", 2.0, "hidden_dropout is the probability of dropping a value"),
        ("vocab_size", 3, "needs a pad_token_id from 0 to 2, got None"),
        ("pad_token_id", 3, "pad_token_id=3 belongs to a model of tokens"),
        ("nonlinearity", "relu", "is a choice of the plain RNN only"),
        ("output_attentions", True, "output_attentions=True has no meaning"),
        ("problem_type", "ranking", "ranking"),
        ("hiden_size", 3, "Did you mean 'hidden_size'?"),
    ],
)
def test_an_invalid_change_is_refused_at_save(name, value, message, tmp_path):
    config = RNNConfig(cell_type="gru")
    setattr(config, name, value)
    with pytest.raises((ValueError, StrictDataclassError), match=re.escape(message)):
        config.save_pretrained(tmp_path)
    assert not (tmp_path / "config.json").exists()


def test_for_model():
    config = AutoConfig.for_model("rnn_classifier", hidden_size=3)
    assert isinstance(config, RNNConfig)
    assert config.hidden_size == 3
    with pytest.raises(ValueError, match="Did you mean 'hidden_size'"):
        AutoConfig.for_model("rnn_classifier", hiden_size=3)


def test_copies_equality_and_repr():
    config = RNNConfig(cell_type="lstm", id2label={0: "no", 1: "yes"}, dtype="float16")
    for other in (copy.deepcopy(config), copy.copy(config), pickle.loads(pickle.dumps(config))):
        assert other == config
    assert RNNConfig() == RNNConfig()
    assert RNNConfig() != RNNConfig(hidden_size=3)
    deep = copy.deepcopy(config)
    deep.id2label[0] = "never"
    assert config.id2label[0] == "no"
    name, _, content = repr(config).partition(" ")
    assert name == "RNNConfig"
    assert json.loads(content)["cell_type"] == "lstm"


CALIBRATED = {"temperature": 1.5, "thresholds": [0.25, 1], "problem_type": "multi_label_classification"}


def test_calibration_is_saved_and_loaded(tmp_path):
    config = reloaded(RNNConfig(**CALIBRATED), tmp_path)
    assert {name: getattr(config, name) for name in CALIBRATED} == CALIBRATED
    assert reloaded(RNNConfig(abstain_below=0.75, temperature=2), tmp_path).abstain_below == 0.75


@pytest.mark.parametrize("change", [{"num_labels": 3}, {"id2label": {0: "a", 1: "b", 2: "c"}}])
def test_another_number_of_labels_drops_the_calibration(change, tmp_path):
    RNNConfig(**CALIBRATED).save_pretrained(tmp_path)
    config = RNNConfig.from_pretrained(tmp_path, **change)
    assert (config.temperature, config.thresholds, config.num_labels) == (1.0, None, 3)


@pytest.mark.parametrize("change", [{}, {"num_labels": 2}, {"id2label": {0: "a", 1: "b"}}, {"hidden_size": 5}])
def test_the_same_number_of_labels_keeps_it(change, tmp_path):
    RNNConfig(**CALIBRATED).save_pretrained(tmp_path)
    config = RNNConfig.from_pretrained(tmp_path, **change)
    assert (config.temperature, config.thresholds) == (1.5, [0.25, 1])


SINGLE, MULTI = "single_label_classification", "multi_label_classification"
LEARN = "Leave it at 1.0, or learn it with transformers_rnn.calibration.fit_calibration."


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": 0}, f"temperature divides the logits and must be a positive number, got 0. {LEARN}"),
        (
            {"temperature": float("nan")},
            f"temperature divides the logits and must be a positive number, got nan. {LEARN}",
        ),
        (
            {"temperature": 2.0, "problem_type": "regression"},
            "temperature=2.0 belongs to classification, but problem_type is 'regression', whose numbers are not "
            "probabilities. Leave it at 1.0.",
        ),
        ({"thresholds": [0.5]}, "thresholds must be num_labels=2 numbers from 0 to 1, got [0.5]."),
        ({"thresholds": [0.5, 1.5]}, "thresholds must be num_labels=2 numbers from 0 to 1, got [0.5, 1.5]."),
        (
            {"thresholds": [0.5, 0.5], "problem_type": SINGLE},
            f"thresholds belong to problem_type='{MULTI}', but it is '{SINGLE}'. Leave them out; for one label there "
            "is abstain_below.",
        ),
        (
            {"abstain_below": 0.5, "problem_type": MULTI},
            f"abstain_below belongs to problem_type='{SINGLE}', but it is '{MULTI}'. Leave it out; for several labels "
            "there are thresholds.",
        ),
        ({"abstain_below": -0.5}, "abstain_below is a score and must be from 0 to 1, got -0.5."),
    ],
)
def test_calibration_out_of_range(fields, message):
    with pytest.raises(ValueError, match=whole(message)):
        RNNConfig(**fields)
