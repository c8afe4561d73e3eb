"""The only room that touches the host's tables."""

from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForSequenceClassification
from transformers.pipelines import PIPELINE_REGISTRY

from .configuration_rnn import RNNConfig
from .feature_extraction_rnn import SequenceVectorFeatureExtractor
from .modeling_rnn import RNNForSequenceClassification, RNNModel
from .pipeline import SequenceClassificationPipeline

TASK = "sequence-classification"


def register() -> None:
    """Tell the Auto classes and the pipelines about us; a second call does no harm."""
    AutoConfig.register(RNNConfig.model_type, RNNConfig, exist_ok=True)
    AutoModel.register(RNNConfig, RNNModel, exist_ok=True)
    AutoModelForSequenceClassification.register(RNNConfig, RNNForSequenceClassification, exist_ok=True)
    AutoFeatureExtractor.register(RNNConfig, SequenceVectorFeatureExtractor, exist_ok=True)
    if TASK not in PIPELINE_REGISTRY.get_supported_tasks():
        PIPELINE_REGISTRY.register_pipeline(
            TASK,
            pipeline_class=SequenceClassificationPipeline,
            pt_model=AutoModelForSequenceClassification,
            type="multimodal",
        )
