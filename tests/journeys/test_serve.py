"""A server in a process of its own answers as the pipeline does, refuses bad input in words, and loses nothing."""

import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection

import numpy as np
import pytest
import torch
from processes import ROOT
from transformers import pipeline

from transformers_rnn import RNNConfig, RNNForSequenceClassification, SequenceVectorFeatureExtractor, train_tokenizer

TEXTS = ["free prize", "call now", "see you at five", "win cash", "lunch?", "shall we meet for lunch at five"]
# What is sent, and what comes back: a status and a sentence.
REFUSED = [
    ("{", 400, r"^The body must be JSON, but it cannot be read: .*Send \{"),
    ("[" * 50_000, 400, "recursion"),
    ("\xff", 400, "cannot be read"),
    ("[1]", 422, r'^The body must be an object with "inputs", got list\. Send \{'),
    ('{"input": "a"}', 422, r"got an object with \['input'\]"),
    ('{"inputs": []}', 422, r'^"inputs" is empty: send at least one item\.$'),
    ('{"inputs": 5}', 422, r'^"inputs" must be a .*, got int\.$'),
    ('{"inputs": null, "parameters": {}}', 422, "got NoneType"),
    ('{"inputs": ["a"], "parameters": 5}', 422, r'^"parameters" must be an object with some of top_k, .*, got int\.'),
    ('{"inputs": ["a"], "parameters": {"batch_size": 9}}', 422, r"got \['batch_size'\]"),
    ('{"inputs": ["a"], "parameters": {"top_k": 0}}', 422, "^top_k must be a whole number of at least 1"),
    ('{"inputs": ["a"], "parameters": {"threshold": 0.5}}', 422, "^threshold has no meaning for problem_type="),
    ('{"inputs": ["a"], "parameters": {"abstain_below": NaN}}', 422, r"^abstain_below must be a score from 0 to 1"),
    (" " * 60_001, 413, r"^A request may have 60000 bytes, this one has more\. Send less at a time\.$"),
    (json.dumps({"inputs": [{}] * 401}), 413, r"^A request may have 400 items, got 401\. Send them in several\.$"),
    (json.dumps({"inputs": [{}] * 400}), 503, r"^0 items wait, and at most 300 may\. Try again later\.$"),
]
REFUSED_TEXTS = [
    ("", r"^Every sequence must have at least one real step, .*An empty text or series has no class"),
    (["a", "", "b"], r"^inputs\[1\]: Every sequence must have at least one real step"),
    (["a", 5], r"^inputs\[1\]: A model of tokens classifies texts, got int\. Pass strings, or mappings"),
    ({"tekst": "a"}, r"^A model of tokens classifies texts, got NoneType\. Pass strings, or mappings with the key"),
    ({"text": "a", "text_pair": 5}, "must be of type `str`"),
    ("\ud800", r"half of a surrogate pair, which is no character\. Encode the text as UTF-8\.$"),
    (["a", "b" * 201], r"^inputs\[1\]: at most 200 characters are read, got 201\. Shorten it\.$"),
]
ROW = [0.5, -1.0, 2.0]
REFUSED_VECTORS = [
    ([[1.0, 2.0]], r"^The sequence must have the shape \(T, F\) with F = feature_size = 3, got \(1, 2\)\. Check"),
    ([[ROW], [[1.0]]], r"^inputs\[1\]: The sequence must have the shape .*, got \(1, 1\)"),
    ([ROW, [1.0]], "but its steps cannot be joined"),
    ([[ROW], []], r"^inputs\[1\]: The sequence has no steps, but at least one is needed\. Remove it\.$"),
    ([[ROW], [[0, float("nan"), 0]]], r"^inputs\[1\]: The sequence, step 0, feature 1 is nan\. Repair or remove"),
    ([[1e39, 0, 0]], "too large for float32"),
    ([[10**400, 0, 0]], "must hold numbers, got dtype object"),
    ([ROW, "a"], "cannot be joined"),
    ([[ROW], "a"], r"^inputs\[1\]: Sequences must be arrays"),
    ([[[[1.0]]]], r"^inputs\[0\]: Each item must be one sequence, a \(T, F\) table"),
    ({"rows": [ROW]}, r"^A mapping needs the key 'input_features', got the keys \['rows'\]\.$"),
    ([ROW] * 201, r"^inputs\[0\]: at most 200 steps are read, got 201\. Shorten it\.$"),
]


@contextmanager
def served(directory):
    """Start a server, give a function that asks it, and end it as an operator would: by SIGTERM."""
    limits = ("--max_length", "200", "--max_items", "400", "--max_bytes", "60000", "--max_waiting", "300")
    command = (sys.executable, "-W", "error", str(ROOT / "examples" / "serve.py"), str(directory), "--port", "0")
    process = subprocess.Popen((*command, *limits), stderr=subprocess.PIPE, text=True, env={**os.environ})
    log = []
    try:
        for line in process.stderr:
            log.append(line)
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                break
        else:
            pytest.fail("".join(log))

        def ask(body=None, path="/predict"):
            content = body.encode("latin-1") if isinstance(body, str) else json.dumps(body).encode()
            with closing(HTTPConnection("127.0.0.1", int(found[1]), timeout=60)) as connection:
                connection.request("GET" if body is None else "POST", path, None if body is None else content)
                reply = connection.getresponse()
                return reply.status, json.loads(reply.read())

        yield ask, process
    finally:
        process.terminate()
        rest = process.communicate(timeout=20)[1]
    assert "Application shutdown complete" in rest
    assert "Traceback" not in rest
    assert process.returncode in (0, -signal.SIGTERM)


def check_refusals(ask, inputs):
    """Each is refused in its own words, and the server goes on."""
    bodies = REFUSED + [({"inputs": each}, None, message) for each, message in inputs]
    for body, status, message in bodies:
        got, answer = ask(body)
        assert got == (status or (413 if "Shorten" in message else 422)), (body, answer)
        assert re.search(message, answer["detail"]), (body, answer)
    assert ask(path="/health")[1]["waiting"] == 0
    assert ask(path="/elsewhere")[0] == 404


def check_answers(ask, classify, inputs, top_k):
    """What the server says of each input, alone and together, is what the pipeline says."""
    for one in (*inputs, inputs):
        for parameters in ({}, {"top_k": top_k}, {"top_k": None}, {"function_to_apply": "none"}):
            status, answer = ask({"inputs": one, "parameters": parameters})
            assert status == 200
            same(
                answer,
                classify(np.array(one) if isinstance(one[0], list) and one is not inputs else one, **parameters),
            )


def same(answer, expected):
    """The same labels in the same places; float32 scores."""
    if isinstance(answer, list):
        assert len(answer) == len(expected)
        for mine, theirs in zip(answer, expected, strict=True):
            same(mine, theirs)
    else:
        assert answer["label"] == expected["label"]
        assert answer["score"] == pytest.approx(expected["score"], abs=1e-6)


def test_texts_are_served(tmp_path):
    tokenizer = train_tokenizer(TEXTS)
    config = RNNConfig(
        vocab_size=len(tokenizer), pad_token_id=0, cell_type="lstm", id2label=dict(enumerate(("ham", "spam", "?")))
    )
    config.temperature = 0.2  # calibrated
    RNNForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    classify = pipeline("text-classification", model=str(tmp_path))
    with served(tmp_path) as (ask, process):
        health = {"status": "ok", "reads": "texts", "labels": ["ham", "spam", "?"], "waiting": 0}
        assert ask(path="/health") == (200, health)
        check_answers(ask, classify, TEXTS, top_k=2)
        pair = {"text": TEXTS[0], "text_pair": TEXTS[1]}
        same(ask({"inputs": [pair]})[1], classify([pair]))
        assert ask({"inputs": "call now", "parameters": {"abstain_below": 1.0}})[1][0]["label"] is None
        check_refusals(ask, REFUSED_TEXTS)

        # 200 clients at once, each with a text of its own, every tenth of them with a bad one.
        texts = [" ".join(np.random.default_rng(n).choice(" ".join(TEXTS).split(), 1 + n % 30)) for n in range(200)]
        expected = classify(texts, top_k=None)
        with ThreadPoolExecutor(200) as clients:
            asked = [{"inputs": "" if n % 10 == 9 else t, "parameters": {"top_k": None}} for n, t in enumerate(texts)]
            answers = list(clients.map(ask, asked))
            assert [status for status, _ in answers] == [422 if n % 10 == 9 else 200 for n in range(200)]
            for (status, answer), theirs in zip(answers, expected, strict=True):
                if status == 200:
                    same(answer, theirs)
            # Asked to end in the midst of work, the server still answers it.
            last = clients.submit(ask, {"inputs": ["lunch " * 33] * 200})
            while ask(path="/health")[1]["waiting"] == 0 and not last.done():
                pass
            process.terminate()
            assert last.result()[0] == 200
            assert len(last.result()[1]) == 200


def test_vectors_are_served(tmp_path):
    series = [np.random.default_rng(n).normal(size=(n, 3)).round(3).tolist() for n in (1, 9, 4)]
    config = RNNConfig(input_size=6, cell_type="gru", bidirectional=True, num_labels=4)
    RNNForSequenceClassification(config).save_pretrained(tmp_path)
    SequenceVectorFeatureExtractor(feature_size=3, stride=2).fit(series).save_pretrained(tmp_path)
    classify = pipeline("sequence-classification", model=str(tmp_path))
    with served(tmp_path) as (ask, _):
        assert ask(path="/health")[1].items() >= {"reads": "vectors", "feature_size": 3}.items()
        check_answers(ask, classify, series, top_k=3)
        assert ask({"inputs": {"input_features": series[0]}}) == ask({"inputs": series[0]})
        assert ask({"inputs": [{"input_features": series[0]}]}) == ask({"inputs": series[0]})
        check_refusals(ask, REFUSED_VECTORS)


def test_states_that_overflow_are_told(tmp_path):
    config = RNNConfig(input_size=3, nonlinearity="relu", pooling="mean")
    model = RNNForSequenceClassification(config)
    for name, parameter in model.rnn.named_parameters():
        torch.nn.init.constant_(parameter, 2.0 if "weight" in name else 0.0)
    model.save_pretrained(tmp_path)
    SequenceVectorFeatureExtractor(feature_size=3).save_pretrained(tmp_path)
    good, bad = [ROW], [ROW] * 60
    message = "The logits must be finite, got nan: the states overflow. Shorten or scale the sequence, or train again."
    with served(tmp_path) as (ask, _):
        assert ask({"inputs": bad}) == (500, {"detail": message})
        assert ask({"inputs": [good, bad]}) == (500, {"detail": f"inputs[1]: {message}"})
        assert ask({"inputs": bad, "parameters": {"function_to_apply": "none"}}) == (500, {"detail": message})
        assert ask({"inputs": [good, good]})[0] == 200
