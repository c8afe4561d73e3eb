"""The names that a config knows beside its own fields: the host's, and what others call ours."""

# Names that are no fields but that the host itself passes to a config or writes into config.json.
HOST_NAMES = frozenset(
    {
        "_attn_implementation",
        "_commit_hash",
        "_experts_implementation",
        "_name_or_path",
        "attn_implementation",
        "auto_map",
        "bos_token_id",
        "cls_token_id",
        "custom_pipelines",
        "eos_token_id",
        "experts_implementation",
        "finetuning_task",
        "gradient_checkpointing",
        "mask_token_id",
        "model_type",
        "name_or_path",
        "num_labels",
        "output_attentions",
        "per_layer_config",
        "quantization_config",
        "sep_token_id",
        "task_specific_params",
        "tie_last_hidden_states",
        "tie_word_embeddings",
        "tokenizer_class",
        "torch_dtype",
    }
)

# What other libraries call our fields.
SYNONYMS: dict[str, str | None] = {
    "batch_first": None,
    "dropout": "hidden_dropout",
    "embedding_dim": "input_size",
    "embedding_size": "input_size",
    "feature_size": "input_size",
    "n_classes": "num_labels",
    "num_classes": "num_labels",
    "num_layers": "num_hidden_layers",
    "rnn_type": "cell_type",
    "locked_dropout": "variational_dropout",
    "word_dropout": "token_dropout",
}
