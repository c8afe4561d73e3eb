"""A labelled table -> a trained, calibrated, measured and documented directory, on the host's own `Trainer`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoTokenizer, TrainerCallback, TrainingArguments

from .classifier_run import TrainingResult, train_once
from .embedding_training import EmbeddingTraining
from .encoding import encode, recipe_for
from .evaluation import LengthOrderedTrainer, answer
from .feature_extraction_rnn import SequenceVectorFeatureExtractor
from .labelled_data import LabelledData, load_labelled_data
from .modeling_rnn import RNNForSequenceClassification
from .recipe import EVALUATED_TOGETHER
from .refitting import settle_refit, train_and_refit
from .run_choices import Choices, join_arguments, sort_choices
from .run_report import measure

__all__ = ["TrainingResult", "evaluate_classifier", "train_classifier"]


def train_classifier(
    data: Any,
    output_dir: str | Path,
    *,
    args: TrainingArguments | Mapping[str, Any] | None = None,
    processing_class: Any = None,
    processing_options: Mapping[str, Any] | None = None,
    class_weights: str | Sequence[float] | None = None,
    pos_weight: str | Sequence[float] | None = None,
    early_stopping_patience: int | None = None,
    pretrained_model: str | Path | None = None,
    pretrained_vectors: Any = "recipe",
    embedding_training: EmbeddingTraining = "tuned",
    weight_averaging: float | Literal["recipe"] | None = "recipe",
    layerwise_lr_decay: float = 1.0,
    gradual_unfreezing: bool = False,
    count_ngrams: int | Literal["recipe"] = "recipe",
    logit_adjustment: float = 0.0,
    refit: bool | Literal["recipe"] = "recipe",
    callbacks: Sequence[TrainerCallback] = (),
    resume: bool = True,
    card: Mapping[str, Any] | None = None,
    **choices: Any,
) -> TrainingResult:
    """Train a classifier of texts or vectors, from a labelled table to a directory to keep, load and show.

    Whatever is left open is chosen from the data (see [`choose_recipe`]). The directory gets the best model of the
    run with a temperature and thresholds fitted on the validation set, its tokenizer or feature extractor, the
    metrics as JSON (`all_results.json`, as the host's scripts write it), pictures, and a model card. For regression
    the model is told mean and scale of the training labels, so that it learns the same in any unit, and its answers
    are drawn to the mean as far as the validation set tells.

    Killed at any moment and called again with the same arguments, it goes on from the last whole checkpoint and ends
    with the same weights as if nothing had happened. The checkpoints are removed when everything is saved, unless
    `save_total_limit` was given.

    Args:
        data: A [`LabelledData`], or whatever [`load_labelled_data`] takes.
        output_dir: The directory.
        args: A `TrainingArguments` is taken as it is, without a recipe; a mapping is a recipe's arguments to replace.
        processing_class: A tokenizer or feature extractor to use; `None`: one is learned from the training split.
        processing_options: Arguments for what learns it, `train_tokenizer` or [`SequenceVectorFeatureExtractor`].
        class_weights: Factors of the loss of each class, or `"balanced"`: n / (L * n_c), with a mean of 1 over the
            training rows.
        pos_weight: Factors of the loss of each label where it is present, or `"balanced"`: rows without it for each
            row with it.
        early_stopping_patience: Evaluations without improvement until training stops; `None`: half of all that the
            training would ask for, at least 3; 0: never. With fewer than 250 validation rows the recipe neither stops
            early nor goes back to the best epoch.
        pretrained_model: Directory of a model whose embedding and layers the classifier starts from, with its
            tokenizer or feature extractor: what [`pretrain`] saved, or any other saved model of this package.
        pretrained_vectors: What the embedding starts from: `"texts"`, the neighbourhoods of the training texts (see
            [`vectors_from_texts`]); a file of word vectors, the directory or name of any model of the host, or
            whatever else [`settle_vectors`] takes; `None`: random numbers. `input_size` follows if it is not given.
        embedding_training: `"tuned"`, `"frozen"`, or the share of all steps after which the embedding is trained.
        weight_averaging: Decay of a moving average of the weights that is evaluated and kept in their place, such as
            0.99 or 0.999, see [`WeightAveraging`]; `None`: there is none.
        layerwise_lr_decay: Learning rate of each layer as a share of that of the next, from the head down to the
            embedding, see [`decay_learning_rates`]; 1: the same everywhere.
        gradual_unfreezing: Whether to train the head alone in the first epoch and one layer more in each further one,
            see [`GradualUnfreezing`]; what `embedding_training` says of the embedding stands.
        count_ngrams: The longest n-gram that is counted: after training a linear model of the n-grams in each text is
            fitted, and joined with the recurrent layers as the validation set tells, see [`add_bag`]; 0: none;
            `"recipe"`: pairs of words or four characters, longer where there are few different ones, for texts with
            plain labels and a plain loss.
        logit_adjustment: How much less readily common labels are answered: the log of a label's share of the
            training rows, times this, is subtracted from its logit, see [`adjust_logits`]; for a single label.
        refit: Whether to train anew on the validation rows, too, once a first run has told when to stop and has fitted
            temperature and thresholds; `"recipe"`: where fewer than 250 rows were drawn for validation, and a test
            set tells how good the model is; of more rows only the n-grams are counted anew. Validation figures are
            from before.
        callbacks: Further callbacks of the host.
        resume: Whether to go on from checkpoints in `output_dir`; `False` removes them.
        card: Further arguments of [`write_model_card`], such as `title`, `dataset_name`, `license`; and `command`, if
            it is another than that of this process.
        **choices: By name, any field of [`RNNConfig`], any argument of the host's `TrainingArguments`, and, if `data`
            is not loaded yet, any option of [`load_labelled_data`] (`seed` goes to both).

    Raises:
        TypeError: A name that is none of these.
        ValueError: Data, fields or arguments that do not fit; a stream without `max_steps`; checkpoints of another
            run in `output_dir`.
    """
    options, config_fields, given = sort_choices(choices, isinstance(data, LabelledData))
    whole, arguments = join_arguments(args, given)
    chosen = Choices(
        args=whole,
        arguments=arguments,
        config_fields=config_fields,
        processing_class=processing_class,
        processing_options=processing_options,
        class_weights=class_weights,
        pos_weight=pos_weight,
        early_stopping_patience=early_stopping_patience,
        pretrained_model=pretrained_model,
        pretrained_vectors=pretrained_vectors,
        embedding_training=embedding_training,
        weight_averaging=weight_averaging,
        layerwise_lr_decay=layerwise_lr_decay,
        gradual_unfreezing=gradual_unfreezing,
        count_ngrams=count_ngrams,
        logit_adjustment=logit_adjustment,
        callbacks=callbacks,
        resume=resume,
        card=card or {},
    )
    if not isinstance(data, LabelledData):
        data = load_labelled_data(data, **options)
    anew = settle_refit(refit, data, chosen)
    train = train_and_refit if anew == "all" else train_once
    return train(data, Path(output_dir), recipe_for(data), replace(chosen, recount=anew == "n-grams"))


def evaluate_classifier(
    directory: str | Path, data: Any, split: str | None = None, **options: Any
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Measure a saved classifier on labelled data.

    Args:
        directory: Where it was saved, or its name on the hub.
        data: A [`LabelledData`], or whatever [`load_labelled_data`] takes.
        split: Which split; `None`: the test set, or the validation set where there is none.
        **options: Those of [`load_labelled_data`].

    Returns:
        All metrics, and their 95 % intervals.

    Raises:
        ValueError: Labels that are not the model's, or no such split.
    """
    model = RNNForSequenceClassification.from_pretrained(directory)
    config = model.config
    names = [config.id2label[index] for index in range(config.num_labels)]
    if not isinstance(data, LabelledData):
        known: dict[str, Any] = {"problem_type": config.problem_type}
        if config.problem_type != "regression":
            known["label_names"] = names
        data = load_labelled_data(data, **{**known, **options})
    if list(data.label_names) != names:
        raise ValueError(
            f"The labels of the data, {list(data.label_names)}, are not those of the model, {names}. Load the data "
            "with label_names=, in the order of the model."
        )
    split = split or ("test" if "test" in data.splits else "validation")
    if split not in data.splits:
        raise ValueError(f"There is no split {split!r} among {', '.join(map(repr, data.splits))}. Name one of them.")
    kind = AutoTokenizer if data.reads_text else SequenceVectorFeatureExtractor
    processor = kind.from_pretrained(directory)
    arguments = TrainingArguments(
        str(directory),
        per_device_eval_batch_size=EVALUATED_TOGETHER,
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
    )
    trainer = LengthOrderedTrainer(model, arguments, processing_class=processor)
    return measure(config, answer(trainer, split, encode(data.splits[split], processor)))
