"""The only room that touches the host's tables."""

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForPreTraining,
    AutoModelForSequenceClassification,
)
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.pipelines.text_classification import TextClassificationPipeline

from .configuration_rnn import RNNConfig
from .feature_extraction_rnn import SequenceVectorFeatureExtractor
from .modeling_pretraining import RNNForPreTraining
from .modeling_rnn import RNNForSequenceClassification, RNNModel
from .pipeline import SequenceClassificationPipeline
from .text_pipeline import RNNTextClassificationPipeline

TASK = "sequence-classification"
TEXT_TASK = "text-classification"


def register() -> None:
    """Tell the Auto classes and the pipelines about us; a second call does no harm."""
    AutoConfig.register(RNNConfig.model_type, RNNConfig, exist_ok=True)
    AutoModel.register(RNNConfig, RNNModel, exist_ok=True)
    AutoModelForSequenceClassification.register(RNNConfig, RNNForSequenceClassification, exist_ok=True)
    AutoModelForPreTraining.register(RNNConfig, RNNForPreTraining, exist_ok=True)
    AutoFeatureExtractor.register(RNNConfig, SequenceVectorFeatureExtractor, exist_ok=True)
    if TASK not in PIPELINE_REGISTRY.get_supported_tasks():
        PIPELINE_REGISTRY.register_pipeline(
            TASK,
            pipeline_class=SequenceClassificationPipeline,
            pt_model=AutoModelForSequenceClassification,
            type="multimodal",
        )
    # Ours makes the host's own for all other models, so that only this one entry changes; registering would warn, and
    # forget the task's default model. A pipeline that somebody else has put there stays.
    entry = PIPELINE_REGISTRY.check_task(TEXT_TASK)[1]
    host = f"{TextClassificationPipeline.__module__}.{TextClassificationPipeline.__name__}"
    if entry["impl"] in (TextClassificationPipeline, host):  # the class, or newer hosts' name of it
        entry["impl"] = RNNTextClassificationPipeline
