"""An exported model on a static page: what is typed is classified in the browser as the pipeline does it."""

import shutil
import subprocess
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
from browser import browser
from processes import ROOT
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from transformers import pipeline

from transformers_rnn import RNNConfig, RNNForSequenceClassification, train_tokenizer
from transformers_rnn.onnx_export import export_onnx
from transformers_rnn_onnx.decisions import Decisions

TEXTS = [
    "free prize, call now",
    "It's 3 o'clock; (you) won: £1,000!!",
    "[PAD] [SEP] <s> </s>",
    "  Åse  ﬁ\t日本語 🤗\n",
    "ΣΑΣ ΟΔΟΣ. e\u0301 a\u200db\u0085c",
]
CONFIGS = [
    {"id2label": {"0": "a", "1": "b", "2": "c"}, "temperature": 0.3},
    {"problem_type": "single_label_classification", "abstain_below": 0.99},
    {"problem_type": "multi_label_classification", "temperature": 2.0},
    {"problem_type": "regression"},
]
CALL = """
const [name, inputs, done] = arguments;
const calls = {
    tokenize: (text) => model.tokenize(text),
    classify: (text) => model.classify(text),
    answers: async ([logits, config]) => (await import("./classifier.js")).answers(logits, config),
};
Promise.all(inputs.map(calls[name])).then(done, (error) => done(String(error)));
"""


class Quiet(SimpleHTTPRequestHandler):
    """Any static server will do; this one keeps no log."""

    def log_message(self, *_):
        pass


@contextmanager
def static(directory):
    """Serve the files of a directory."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def exported(level, directory):
    """Export a model of words, characters or bytes; its pipeline."""
    tokenizer = train_tokenizer(TEXTS, level, vocab_size=400)
    config = RNNConfig(
        vocab_size=len(tokenizer),
        pad_token_id=0,
        cell_type="lstm",
        bidirectional=True,
        pooling="concat",
        id2label={0: "ham", 1: "spam", 2: "other"},
    )
    config.temperature = 0.1
    model = RNNForSequenceClassification(config).eval()
    export_onnx(model, directory, tokenizer)
    return pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None)


@pytest.fixture
def page(tmp_path):
    """The page's folder with what `npm install` brings, as the README says."""
    folder = shutil.copytree(
        ROOT / "examples" / "web", tmp_path / "page", ignore=shutil.ignore_patterns("node_modules")
    )
    quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline")
    subprocess.run(["npm", "install", *quiet], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.browser
def test_what_is_typed_is_classified(page, tmp_path):
    pipelines = {level: exported(level, page / level) for level in ("word", "char", "bpe")}
    with static(page) as url, browser(tmp_path) as driver:
        wait = WebDriverWait(driver, 30, 0.1)
        call = partial(driver.execute_async_script, CALL)
        driver.get(url)  # without `?model=` the folder is "model", which is not there
        wait.until(lambda _: "Export the model with its tokenizer" in driver.find_element(By.ID, "status").text)
        for level, classify in pipelines.items():
            driver.get(f"{url}?model={level}")
            text = driver.find_element(By.ID, "text")
            wait.until(lambda _, text=text: text.is_enabled())
            assert call("tokenize", TEXTS) == [classify.tokenizer(each)["input_ids"] for each in TEXTS]
            for found, expected in zip(call("classify", TEXTS), classify(TEXTS), strict=True):
                same(found, expected)
        assert call("classify", [""]) == "Error: The text has no token. An empty text has no class."
        logits = [0.5, -1.25, 2.0]
        for choices, found in zip(CONFIGS, call("answers", [[logits, each] for each in CONFIGS]), strict=True):
            (expected,) = Decisions(choices, 3).answers(np.float32([logits]), {"top_k": None})
            same(found, expected)
        best = classify(TEXTS[:1])[0][0]
        text.send_keys(TEXTS[0])
        wait.until(lambda _: f"{best['label']} {best['score']:.4f}" in driver.find_element(By.ID, "answers").text)


def same(found, expected):
    """The same labels, best first, and scores."""
    assert [each["label"] for each in found] == [each["label"] for each in expected]
    assert [each["score"] for each in found] == pytest.approx([each["score"] for each in expected], abs=1e-5)
