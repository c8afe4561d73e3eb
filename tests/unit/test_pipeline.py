"""Prediction for sequences of vectors."""

import ast
import inspect
import json
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import nn
from transformers import Pipeline, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.pipelines.pt_utils import KeyDataset
from transformers.pipelines.text_classification import ClassificationFunction, TextClassificationPipeline

from transformers_rnn import pipeline as room
from transformers_rnn.feature_extraction_rnn import SequenceVectorFeatureExtractor
from transformers_rnn.pipeline import SequenceClassificationPipeline


class MeanConfig(PreTrainedConfig):
    model_type = "mean_of_vectors"
    input_size: int = 2
    vocab_size: int | None = None


class MeanClassifier(PreTrainedModel):
    """The least that the pipeline can call: the masked mean of the steps, then one linear layer."""

    config: MeanConfig
    main_input_name = "input_features"
    calls: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, config: MeanConfig) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(0.5)
        self.linear = nn.Linear(config.input_size, config.num_labels)
        self.post_init()

    def forward(self, input_features: Any, attention_mask: Any, use_cache: bool = True) -> SequenceClassifierOutput:
        self.calls.append({"batch": len(input_features), "dtype": input_features.dtype, "use_cache": use_cache})
        mask = attention_mask.unsqueeze(-1).to(input_features.dtype)
        logits = self.linear(self.dropout((input_features * mask).sum(1) / mask.sum(1)))
        states = (torch.zeros(1, 3),)  # no axis of the batch in front
        return SequenceClassifierOutput(logits=logits, hidden_states=states)


LABELS = {0: "ham", 1: "spam", 2: "eggs"}
LENGTHS = (3, 5, 1, 4)
SEQUENCES = [np.random.default_rng(length).normal(size=(length, 2)) for length in LENGTHS]
ONE = SEQUENCES[0]


def build(feature_size: int = 2, padding_side: str = "right", max_length: int | None = None, **config: Any) -> Any:
    torch.manual_seed(0)
    model = MeanClassifier(MeanConfig(**{"input_size": feature_size, "id2label": LABELS, **config}))
    nn.init.normal_(model.linear.weight)
    extractor = SequenceVectorFeatureExtractor(
        feature_size, mean=[0.5] * feature_size, padding_value=9.0, padding_side=padding_side, max_length=max_length
    )
    return SequenceClassificationPipeline(model=model, feature_extractor=extractor)


@pytest.fixture
def pipe() -> Any:
    MeanClassifier.calls.clear()
    return build()


def logits_of(pipe: Any, sequence: np.ndarray) -> np.ndarray:
    """By hand."""
    vector = (sequence - 0.5).mean(axis=0)
    linear = pipe.model.linear
    return vector @ linear.weight.detach().numpy().T.astype(float) + linear.bias.detach().numpy()


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum()


def all_scores(results: list[dict[str, Any]]) -> list[float]:
    by_label = {entry["label"]: entry["score"] for entry in results}
    return [by_label[label] for label in LABELS.values()]


# One sequence


class Table:
    """As pandas makes them: iterating gives the names of the columns."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return ONE

    def __iter__(self) -> Any:
        return iter(["x", "y"])


AS_ONE = {
    "array": ONE,
    "nested lists": ONE.tolist(),
    "tensor": torch.tensor(ONE),
    "list of rows": list(ONE),
    "mapping": {"input_features": ONE, "label": 1, "speaker": "anna"},
    "array-like": Table(),
}


@pytest.mark.parametrize("form", AS_ONE)
def test_one_sequence_gives_a_list_of_one(pipe: Any, form: str) -> None:
    scores = softmax(logits_of(pipe, ONE))
    (result,) = pipe(AS_ONE[form])
    assert result == {"label": LABELS[scores.argmax()], "score": pytest.approx(scores.max(), rel=1e-5)}
    ranked = pipe(AS_ONE[form], top_k=None)
    assert all_scores(ranked) == pytest.approx(scores.tolist(), rel=1e-5)
    assert ranked == sorted(ranked, key=lambda entry: -entry["score"])
    assert pipe(AS_ONE[form], top_k=2) == ranked[:2]
    assert pipe(AS_ONE[form], top_k=1) == ranked[:1]
    assert pipe(AS_ONE[form], top_k=9) == ranked


def test_a_univariate_series() -> None:
    pipe = build(feature_size=1)
    series = ONE[:, 0]
    for form in (series, series.tolist(), series[:, None], torch.tensor(series), {"input_features": series}):
        assert all_scores(pipe(form, top_k=None)) == pytest.approx(softmax(logits_of(pipe, series[:, None])), rel=1e-5)


# Many sequences


class Sequences(torch.utils.data.Dataset):
    def __init__(self) -> None:
        self.read = 0

    def __len__(self) -> int:
        return len(SEQUENCES)

    def __getitem__(self, index: int) -> np.ndarray:
        self.read += 1
        return SEQUENCES[index]


TABLE = Dataset.from_dict({"input_features": SEQUENCES, "label": list(range(4))})
LISTS = {
    "arrays": lambda: SEQUENCES,
    "tuple": lambda: tuple(SEQUENCES),
    "nested lists": lambda: [sequence.tolist() for sequence in SEQUENCES],
    "tensors": lambda: [torch.tensor(sequence) for sequence in SEQUENCES],
    "mappings": lambda: [{"input_features": sequence, "label": 0} for sequence in SEQUENCES],
    "table": lambda: TABLE,
    "numpy table": lambda: TABLE.with_format("numpy"),
    "column": lambda: TABLE["input_features"],
    "torch column": lambda: TABLE.with_format("torch")["input_features"],
    "rows": lambda: list(TABLE),
    "object array": lambda: np.array([*SEQUENCES, None], dtype=object)[:-1],
}
LAZY = {
    "generator": lambda: (sequence for sequence in SEQUENCES),
    "generator of mappings": lambda: ({"input_features": sequence} for sequence in SEQUENCES),
    "iterator": lambda: iter(SEQUENCES),
    "map": lambda: map(np.ndarray.tolist, SEQUENCES),
    "torch dataset": Sequences,
    "KeyDataset": lambda: KeyDataset(TABLE, "input_features"),
    "streamed table": TABLE.to_iterable_dataset,
}


@pytest.mark.parametrize("form", LISTS | LAZY)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_many_sequences_in_order(pipe: Any, form: str, batch_size: int) -> None:
    singles = [pipe(sequence)[0] for sequence in SEQUENCES]
    results = pipe((LISTS | LAZY)[form](), batch_size=batch_size)
    assert isinstance(results, list) == (form in LISTS)
    results = list(results)
    assert [result["label"] for result in results] == [single["label"] for single in singles]
    for result, single in zip(results, singles, strict=True):
        assert result["score"] == pytest.approx(single["score"], rel=1e-6)


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor, np.ndarray.tolist])
def test_a_rectangular_batch(pipe: Any, kind: Any) -> None:
    batch = np.stack([ONE, -ONE])
    assert pipe(kind(batch)) == [*pipe(ONE), *pipe(-ONE)]


@pytest.mark.parametrize("form", ["arrays", "column", "generator"])
def test_many_ranked(pipe: Any, form: str) -> None:
    results = list(pipe((LISTS | LAZY)[form](), top_k=None, batch_size=2))
    assert results == [
        [{"label": entry["label"], "score": pytest.approx(entry["score"], rel=1e-6)} for entry in ranked]
        for ranked in (pipe(sequence, top_k=None) for sequence in SEQUENCES)
    ]


@pytest.mark.parametrize("empty", [[], (), np.zeros((0, 3, 2)), TABLE.select([]), TABLE.select([])["input_features"]])
def test_nothing_in_nothing_out(pipe: Any, empty: Any) -> None:
    assert pipe(empty) == []


def test_lazy_inputs_are_read_on_demand(pipe: Any) -> None:
    read = []
    results = pipe(read.append(index) or sequence for index, sequence in enumerate(SEQUENCES))
    assert len(read) <= 1  # the host looks at the first
    next(iter(results))
    assert len(read) == 1
    table = Sequences()
    results = pipe(table)
    assert table.read == 0
    assert len(list(results)) == table.read == 4


@pytest.mark.parametrize("feature_size", [1, 2])
@pytest.mark.parametrize("padding_side", ["right", "left"])
def test_batches_are_padded_and_masked(feature_size: int, padding_side: str) -> None:
    pipe = build(feature_size, padding_side)
    sequences = [sequence[:, :feature_size] for sequence in SEQUENCES]
    MeanClassifier.calls.clear()
    results = pipe(sequences, batch_size=4, top_k=None)
    assert [call["batch"] for call in MeanClassifier.calls] == [4]
    for sequence, ranked in zip(sequences, results, strict=True):
        assert all_scores(ranked) == pytest.approx(softmax(logits_of(pipe, sequence)).tolist(), rel=1e-5)


def test_batches_are_masked_even_if_the_extractor_makes_no_masks(pipe: Any) -> None:
    singles = pipe(SEQUENCES)
    pipe.feature_extractor.return_attention_mask = False
    assert [result["score"] for result in pipe(SEQUENCES, batch_size=4)] == pytest.approx(
        [single["score"] for single in singles], rel=1e-6
    )


# Parameters


class HostsTextPipeline(TextClassificationPipeline):
    """Only the last step of the host's own pipeline."""

    def __init__(self, model: Any) -> None:
        self.model = model


PROBLEMS = [(count, kind) for count in (1, 3) for kind in (None, "regression", "multi_label_classification")]


@pytest.mark.parametrize(("num_labels", "problem_type"), [*PROBLEMS, (3, "single_label_classification")])
@pytest.mark.parametrize("function_to_apply", [None, "softmax", "sigmoid", "none", "SOFTMAX"])
@pytest.mark.parametrize("top_k", ["not given", None, 1, 2])
def test_scores_are_those_of_the_hosts_text_pipeline(
    num_labels: int, problem_type: Any, function_to_apply: Any, top_k: Any
) -> None:
    pipe = build(id2label={index: LABELS[index] for index in range(num_labels)}, problem_type=problem_type)
    parameters = {} if top_k == "not given" else {"top_k": top_k}
    host = HostsTextPipeline(pipe.model)
    _, _, wanted = host._sanitize_parameters(function_to_apply=function_to_apply, **parameters)
    _, _, ours = pipe._sanitize_parameters(function_to_apply=function_to_apply, **parameters)
    output = SequenceClassifierOutput(logits=torch.tensor([[0.3, -1.2, 2.0]])[:, :num_labels])

    def comparable(result: Any) -> Any:
        return [
            (entry["label"], pytest.approx(entry["score"], rel=1e-6))
            for entry in (result if isinstance(result, list) else [result])
        ], type(result)

    assert comparable(pipe.postprocess(output, **ours)) == comparable(host.postprocess(output, **wanted))


def test_regression_gives_the_number() -> None:
    pipe = build(id2label={0: "price"}, problem_type="regression")
    assert pipe(ONE) == [{"label": "price", "score": pytest.approx(logits_of(pipe, ONE)[0], rel=1e-5)}]


def test_extreme_logits(pipe: Any) -> None:
    output = SequenceClassifierOutput(logits=torch.tensor([[-1e4, 0.0, 1e4]]))
    for function in ("sigmoid", "softmax"):
        assert pipe.postprocess(output, function_to_apply=function) == {"label": "eggs", "score": 1.0}


def test_parameters_at_construction_and_their_replacement() -> None:
    pipe = build()
    chosen = SequenceClassificationPipeline(
        model=pipe.model,
        feature_extractor=pipe.feature_extractor,
        top_k=2,
        function_to_apply=ClassificationFunction.NONE,
        batch_size=2,
    )
    logits = np.sort(logits_of(pipe, ONE))[::-1]
    assert [entry["score"] for entry in chosen([ONE])[0]] == pytest.approx(logits[:2], rel=1e-5)
    assert chosen(ONE) == chosen([ONE])  # the host's text pipeline does the same
    assert [entry["score"] for entry in chosen(ONE, top_k=1)] == pytest.approx(logits[:1], rel=1e-5)
    assert chosen(ONE, function_to_apply="softmax", top_k=None) == pipe(ONE, top_k=None)


def test_truncation() -> None:
    cut, whole = build(max_length=2), build()
    assert cut(ONE) == whole(ONE[:2])
    assert cut(ONE, truncation=False) == whole(ONE)
    assert whole(ONE, max_length=2) == whole(ONE[:2])
    assert cut([ONE, ONE], max_length=1, batch_size=2) == whole([ONE[:1], ONE[:1]], batch_size=2)


def test_unknown_parameters_are_refused(pipe: Any) -> None:
    message = (
        r"^SequenceClassificationPipeline has no parameter 'topk'\. It knows top_k, function_to_apply, truncation, "
        r"max_length, threshold, abstain_below, batch_size and num_workers\.$"
    )
    with pytest.raises(TypeError, match=message):
        pipe(ONE, topk=2)
    with pytest.raises(TypeError, match=message):
        SequenceClassificationPipeline(model=pipe.model, feature_extractor=pipe.feature_extractor, topk=2)


@pytest.mark.parametrize("top_k", [0, -1, 1.5, "all"])
def test_top_k_is_checked(pipe: Any, top_k: Any) -> None:
    message = rf"^top_k must be a whole number of at least 1, or None for all labels, got {top_k!r}\.$"
    with pytest.raises(ValueError, match=message):
        pipe(ONE, top_k=top_k)


@pytest.mark.parametrize("function", ["argmax", 1])
def test_function_to_apply_is_checked(pipe: Any, function: Any) -> None:
    with pytest.raises(
        ValueError, match=rf"^function_to_apply must be one of softmax, sigmoid, none, got {function!r}\.$"
    ):
        pipe(ONE, function_to_apply=function)


def test_what_the_hosts_factory_hands_over_is_no_parameter(pipe: Any) -> None:
    other = SequenceClassificationPipeline(
        model=pipe.model,
        feature_extractor=pipe.feature_extractor,
        task="sequence-classification",
        local_files_only=True,
        dtype=torch.float32,
        device="cpu",
    )
    assert other(ONE) == pipe(ONE)


# What is refused


def test_a_model_of_tokens_needs_a_tokenizer(pipe: Any) -> None:
    pipe.model.config.vocab_size = 30
    message = (
        r"^This MeanClassifier reads tokens \(vocab_size=30\), so a tokenizer is needed to prepare the texts\. Pass "
        r"tokenizer=\.\.\., or save it next to the model\.$"
    )
    with pytest.raises(ValueError, match=message):
        SequenceClassificationPipeline(model=pipe.model, feature_extractor=pipe.feature_extractor)


def test_a_feature_extractor_is_needed(pipe: Any) -> None:
    message = (
        r"^A feature extractor is needed to prepare the vectors\. Pass "
        r"feature_extractor=SequenceVectorFeatureExtractor\(\.\.\.\), or save it next to the model\.$"
    )
    with pytest.raises(ValueError, match=message):
        SequenceClassificationPipeline(model=pipe.model)


REFUSED = {
    "prepared already": (
        SequenceVectorFeatureExtractor(2)(ONE),
        r"^A BatchFeature has been scaled and padded already\. Pass the raw vectors, or call the model: "
        r"model\(\*\*features\)\.$",
    ),
    "prepared already, in a list": ([SequenceVectorFeatureExtractor(2)(ONE)], "^A BatchFeature has been scaled"),
    "another key": (
        {"input_values": ONE, "label": 1},
        r"^A mapping needs the key 'input_features', got the keys \['input_values', 'label'\]\.$",
    ),
    "another column": (
        TABLE.rename_column("input_features", "x"),
        r"^A table needs a column 'input_features' of raw vectors, got the columns \['x', 'label'\]\. "
        r'Pass the right one: pipe\(table\["name"\]\)\.$',
    ),
    "too many axes": (
        [[ONE.tolist()]],
        r"^Each item must be one sequence, a \(T, F\) table, but one of them has more than two axes\. Remove the "
        r"axis of the batch, or pass the whole batch at once\.$",
    ),
    "NaN": (ONE * [1, np.nan], r"^The sequence, step 0, feature 1 is nan\."),
    "text": ("spam", r"^Sequences must be arrays, tensors or nested lists of numbers, got str\."),
    "None": (None, r"^Sequences must be arrays, tensors or nested lists of numbers, got NoneType\."),
    "a wrong width": (np.zeros((2, 3)), r"got \(2, 3\)\. Check the order of the axes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(pipe: Any, case: str) -> None:
    inputs, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        pipe(inputs)
    assert not MeanClassifier.calls


# The model


def test_the_model_is_asked_for_no_cache_and_no_dropout(pipe: Any) -> None:
    pipe.model.train()
    results = pipe([ONE] * 4)
    assert results == [results[0]] * 4
    assert not any(call["use_cache"] for call in MeanClassifier.calls)


class WithoutCache(MeanClassifier):
    def forward(self, input_features: Any, attention_mask: Any) -> SequenceClassifierOutput:
        return super().forward(input_features, attention_mask)


def test_a_model_that_knows_no_cache(pipe: Any) -> None:
    model = WithoutCache(pipe.model.config)
    model.load_state_dict(pipe.model.state_dict())
    other = SequenceClassificationPipeline(model=model, feature_extractor=pipe.feature_extractor)
    assert other(ONE) == pipe(ONE)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_vectors_get_the_models_dtype(pipe: Any, dtype: torch.dtype) -> None:
    scores = all_scores(pipe(ONE, top_k=None))
    pipe.model.to(dtype)
    assert [all_scores(ranked) for ranked in pipe([ONE, ONE], top_k=None, batch_size=2)] == [
        pytest.approx(scores, rel=0.05)
    ] * 2
    assert MeanClassifier.calls[-1]["dtype"] == dtype
    assert sum(all_scores(pipe(ONE, top_k=None))) == pytest.approx(1.0, abs=1e-6)  # scores are worked out in float32


# Saving


def saved(directory: Path) -> tuple[set[str], dict[str, Any]]:
    return {path.name for path in directory.iterdir()}, json.loads((directory / "config.json").read_text())


def test_a_plain_directory_carries_no_code(pipe: Any, tmp_path: Path) -> None:
    pipe.model.config.custom_pipelines = {
        "sequence-classification": {"pt": (MeanClassifier,)}
    }  # as the host leaves it
    pipe.save_pretrained(tmp_path)
    files, config = saved(tmp_path)
    assert files == {"config.json", "model.safetensors", "preprocessor_config.json"}
    assert "custom_pipelines" not in config
    again = SequenceClassificationPipeline(
        model=MeanClassifier.from_pretrained(tmp_path),
        feature_extractor=SequenceVectorFeatureExtractor.from_pretrained(tmp_path),
    )
    assert again(ONE) == pipe(ONE)


def test_a_directory_with_code_carries_the_pipelines_too(
    pipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MeanClassifier, "_auto_class", "AutoModelForSequenceClassification")
    pipe.save_pretrained(tmp_path)
    files, config = saved(tmp_path)
    assert files >= {"config.json", "model.safetensors", "preprocessor_config.json", "pipeline.py"}
    assert config["custom_pipelines"] == {
        "sequence-classification": {
            "impl": "pipeline.SequenceClassificationPipeline",
            "pt": ["AutoModelForSequenceClassification"],
        }
    }
    assert (tmp_path / "pipeline.py").read_text() == inspect.getsource(room)
    assert not hasattr(pipe.model.config, "custom_pipelines")


def test_the_copied_file_stands_alone() -> None:
    tree = ast.parse(inspect.getsource(room))
    modules = [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
    modules += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    foreign = {module.split(".")[0] for module in modules} - sys.stdlib_module_names
    assert foreign == {"numpy", "torch", "transformers"}


def test_the_host_loads_a_feature_extractor_or_a_tokenizer_and_nothing_else() -> None:
    assert issubclass(SequenceClassificationPipeline, Pipeline)
    flags = ("feature_extractor", "tokenizer", "image_processor", "processor")
    assert [getattr(SequenceClassificationPipeline, f"_load_{flag}") for flag in flags] == [None, None, False, False]
