"""Learn from texts or series without labels what a classifier can start from.

    python examples/pretrain.py unlabelled.jsonl trunk [hidden_size=128 or any choice of pretrain]
    python examples/run_classification.py --data labelled.csv --pretrained_model trunk --output_dir model --do_train

The first argument is a file, a folder or a name on the hub with a column of texts or vectors; `column="name"` tells
which. The second is the directory that gets the tokenizer or feature extractor and the weights.
"""

import json
import sys

from transformers_rnn.pretraining import pretrain

source, directory, *further = sys.argv[1:]
choices = {name: json.loads(value) for name, value in (choice.split("=", 1) for choice in further)}
result = pretrain(source, directory, **choices)
print(result.metrics)
