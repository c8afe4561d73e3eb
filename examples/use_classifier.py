"""Classify texts with a saved model: python examples/use_classifier.py DIRECTORY TEXT [TEXT ...]"""

import sys

from transformers import pipeline

import transformers_rnn  # noqa: F401 - registers the models with the Auto classes

directory, *texts = sys.argv[1:]
classify = pipeline("text-classification", model=directory)
for text, answer in zip(texts, classify(texts), strict=True):
    print(f"{answer['label']:10} {answer['score']:.3f}  {text}")
