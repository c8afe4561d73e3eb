"""The demo, in a process of its own, used in a browser."""

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from runpy import run_path

import numpy as np
import pytest
import torch
from browser import browser
from processes import ROOT
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from transformers import pipeline

from transformers_rnn import RNNConfig, RNNForSequenceClassification, SequenceVectorFeatureExtractor, train_tokenizer

TEXT = "see you at five, or call now to win a free prize"


@pytest.fixture
def text_directory(tmp_path):
    tokenizer = train_tokenizer([TEXT])
    names = {0: "ham", 1: "spam"}
    config = RNNConfig(vocab_size=len(tokenizer), pad_token_id=0, cell_type="lstm", pooling="mean", id2label=names)
    config.temperature = 0.3
    return saved(tmp_path / "text", config, tokenizer)


@pytest.fixture
def vector_directory(tmp_path):
    extractor = SequenceVectorFeatureExtractor(feature_size=2, mean=[1, 2, 0, 0], std=[3, 4, 1, 1], deltas=True)
    return saved(tmp_path / "vectors", RNNConfig(input_size=4, cell_type="gru", bidirectional=True), extractor)


def saved(directory, config, processor):
    torch.manual_seed(0)
    RNNForSequenceClassification(config).save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory


@contextmanager
def page(directory, *arguments):
    """Start the demo and open it; afterwards nothing was asked of any other machine."""
    command = (sys.executable, str(ROOT / "examples" / "demo.py"), str(directory), *map(str, arguments))
    environment = {**os.environ, "GRADIO_TEMP_DIR": str(directory.parent), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        url = next(found[0] for line in process.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
        with browser(directory.parent) as driver:
            driver.get(url)
            yield driver, lambda found: WebDriverWait(driver, 20, 0.1).until(found)
            names = driver.execute_script("return performance.getEntriesByType('resource').map(each => each.name)")
            assert len(names) > 10
            assert not [name for name in names if not name.startswith((url, "data:", "blob:"))]
    finally:
        process.terminate()
        process.communicate()


def element(selector):
    return lambda driver: (driver.find_elements(By.CSS_SELECTOR, selector) or [None])[0]


def picture(driver):
    """The address of the picture, as soon as it is there in full."""
    code = "const i = document.querySelector('#picture img'); return i && i.naturalWidth > 300 ? i.src : null"
    return driver.execute_script(code)


def check_scores(wait, expected):
    """The page shows the pipeline's labels and scores."""
    percents = [f"{entry['label']}\n{100 * entry['score']:.0f}%" for entry in expected]
    wait(lambda driver: all(each in driver.find_element(By.ID, "scores").text for each in percents))


@pytest.mark.browser
def test_a_text_is_typed(text_directory):
    classify = pipeline("text-classification", model=str(text_directory))
    with page(text_directory, "--examples", "call now") as (_, wait):
        wait(element("#given textarea")).send_keys(TEXT)
        wait(element("#given button")).click()
        check_scores(wait, classify(TEXT, top_k=None))
        first = wait(picture)
        wait(
            lambda driver: [e for e in driver.find_elements(By.TAG_NAME, "button") if "call now" in e.text]
        ).pop().click()
        wait(element("#given button")).click()
        check_scores(wait, classify("call now", top_k=None))
        wait(lambda driver: picture(driver) not in (None, first))
        wait(element("#given textarea")).clear()
        wait(element("#given textarea")).send_keys("  ")
        wait(element("#given button")).click()
        wait(lambda driver: "An empty text or series has no class" in driver.find_element(By.TAG_NAME, "body").text)


@pytest.mark.browser
def test_vectors_are_uploaded(vector_directory):
    series = np.random.default_rng(0).normal(size=(70, 2)).round(4)
    good, bad = vector_directory.parent / "series.csv", vector_directory.parent / "wide.csv"
    np.savetxt(good, series, delimiter=",", header="left,right", comments="")
    bad.write_text("1,2,3\n")
    classify = pipeline("sequence-classification", model=str(vector_directory))
    with page(vector_directory) as (driver, wait):
        wait(element("#given input[type=file]")).send_keys(str(good))
        check_scores(wait, classify(series, top_k=None))
        assert wait(picture)
        driver.refresh()
        wait(
            lambda driver: [e for e in driver.find_elements(By.TAG_NAME, "button") if "20-steps" in e.text]
        ).pop().click()
        assert wait(picture)
        driver.refresh()
        wait(element("#given input[type=file]")).send_keys(str(bad))
        wait(lambda driver: "got (1, 3)" in driver.find_element(By.TAG_NAME, "body").text)


def test_belief_over_time_is_what_the_model_says_of_each_beginning(text_directory, vector_directory, tmp_path):
    demo = run_path(str(ROOT / "examples" / "demo.py"))["Demo"]
    text = demo(str(text_directory))
    ends, beliefs = text.beliefs(TEXT)
    assert ends == list(range(1, 14))
    inputs = text.classify.tokenizer([TEXT], return_tensors="pt")
    logits = text.classify.model(**inputs, output_prefix_logits=True).prefix_logits[0]
    expected = (logits / 0.3).softmax(-1)
    torch.testing.assert_close(torch.tensor([[each["ham"], each["spam"]] for each in beliefs]), expected)
    series = np.random.default_rng(0).normal(size=(150, 2))
    np.save(tmp_path / "series.npy", series)
    vectors = demo(str(vector_directory))
    ends, beliefs = vectors.beliefs(str(tmp_path / "series.npy"))
    assert len(ends) == 60
    assert ends[-1] == 150
    alone = vectors.classify(series[: ends[30]], top_k=None)
    assert list(beliefs[30]) == [entry["label"] for entry in alone]
    assert list(beliefs[30].values()) == pytest.approx([entry["score"] for entry in alone], abs=1e-6)
