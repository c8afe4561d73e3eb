"""Start-up, one call and many without torch, against the eager pipeline and against linear rivals; on SST-2."""

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from real_data import Loads
from report import Aim, Section, Table, figure, seconds
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from trained import Trained, train_sst2

from transformers_rnn.onnx_export import export_onnx

EAGER, OURS, OURS_INT8 = (
    "`pipeline`, eager torch",
    "`OnnxSequenceClassifier`",
    "`OnnxSequenceClassifier`, `int8_dynamic`",
)
LINEAR, FASTTEXT = "scikit-learn, TF-IDF of 1-2-grams + logistic regression", "fastText, words and pairs of words"
INTRO = (
    "SST-2, the model of `train_classifier` with nothing chosen but the data: processor seconds from an interpreter "
    "that has started to a loaded model and to its first answer, then one text at a call and all test texts at once "
    "(in batches of 32), each in fresh processes, one thread. Rivals need no torch either: both read words without their order. "
    "Everything is trained on the same 6,920 sentences."
)
ONE = {**os.environ, "OMP_NUM_THREADS": "1"}
# Each loads, and defines `one(text)` and `all_of(texts)`, which gives the labels.
PROGRAMS = {
    EAGER: """
import torch, transformers_rnn
from transformers import pipeline
torch.set_num_threads(1)
classify = pipeline("text-classification", model={path!r})
one = classify
all_of = lambda texts: [answer["label"] for answer in classify(texts, batch_size=32)]
""",
    OURS: """
from transformers_rnn_onnx import OnnxSequenceClassifier
classify = OnnxSequenceClassifier({path!r}, num_threads=1)
one = classify
all_of = lambda texts: [answer["label"] for answer in classify(texts)]
""",
    LINEAR: """
import pickle
with open({path!r}, "rb") as file:
    model = pickle.load(file)
one = lambda text: model.predict_proba([text])
all_of = lambda texts: model.predict(texts).tolist()
""",
    FASTTEXT: """
import fasttext
model = fasttext.load_model({path!r})
one = lambda text: model.f.predict(text + "\\n", 1, 0.0, "strict")  # its own wrapper does not know numpy 2
all_of = lambda texts: [one(text)[0][1].removeprefix("__label__") for text in texts]
""",
}
PROGRAMS[OURS_INT8] = PROGRAMS[OURS]
WORK = r"""
from time import process_time
begin = process_time()
{program}
loaded = process_time()
import json, re, statistics, sys
texts = json.loads(sys.stdin.read())
waited = process_time()
one(texts[0])
first = process_time()
for text in texts[:50]:
    one(text)
calls = []
for text in texts[: {calls}]:
    start = process_time()
    one(text)
    calls.append(process_time() - start)
start = process_time()
labels = all_of(texts)
times = [loaded - begin, first - waited, statistics.median(calls), process_time() - start]
with open("/proc/self/status") as status:  # of this program alone, not of what started it
    memory = 1024 * int(re.search(r"VmHWM:\s*(\d+)", status.read()).group(1))
print(json.dumps([times, memory, labels]))
"""


@dataclass(frozen=True)
class Measured:
    """What a contender costs; seconds, bytes, percent."""

    load: float
    first: float
    one: float
    many: float
    memory: float
    size: float
    accuracy: float


def section(loads: Loads) -> Section:
    """Every contender in its own processes, in turn."""
    with tempfile.TemporaryDirectory() as home:
        trained = train_sst2(loads)
        paths = _prepare(trained, Path(home))
        found = _measure(paths, trained, loads)
    rows = [
        (
            name,
            seconds(each.load),
            seconds(each.first),
            seconds(each.one),
            seconds(each.many / len(trained.test[0])),
            f"{each.memory / 1e6:.0f} MB",
            f"{each.size / 1e6:.1f} MB",
            f"{each.accuracy:.1f}",
        )
        for name, each in found.items()
    ]
    columns = ("contender", "import and load", "first answer", "one text", "a text of many", "memory", "on disk")
    result = Section("Without torch", INTRO)
    result.tables.append(Table(f"{len(trained.test[0]):,} test sentences", (*columns, "accuracy, %"), rows))
    for rival in found.keys() - {OURS, OURS_INT8}:
        result.aims += _aims(found[OURS], rival, found[rival])
    result.aims.sort(key=lambda aim: aim.what)
    return result


def _prepare(trained: Trained, home: Path) -> dict[str, Path]:
    """What each contender loads."""
    paths = {EAGER: trained.directory}
    paths[OURS] = export_onnx(trained.model, home / "onnx", trained.reader).parent
    paths[OURS_INT8] = export_onnx(trained.model, home / "int8", trained.reader, quantize="int8_dynamic").parent
    texts, labels = trained.train
    linear = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=10, max_iter=1000))
    paths[LINEAR] = home / "linear.pickle"
    paths[LINEAR].write_bytes(pickle.dumps(linear.fit(texts, labels)))
    try:
        import fasttext
    except ImportError:
        print("  fastText is not installed (pip install fasttext-wheel): left out", flush=True)
        return paths
    lines = home / "fasttext.txt"
    lines.write_text("\n".join(f"__label__{label} {text}" for text, label in zip(texts, labels, strict=True)))
    # The settings of its authors for sentiment (Joulin et al., 2017), with more passes over few sentences.
    model = fasttext.train_supervised(str(lines), lr=0.5, dim=10, wordNgrams=2, epoch=25, thread=1, verbose=0)
    paths[FASTTEXT] = home / "fasttext.bin"
    model.save_model(str(paths[FASTTEXT]))
    return paths


def _measure(paths: dict[str, Path], trained: Trained, loads: Loads) -> dict[str, Measured]:
    texts, labels = trained.test
    found: dict[str, list[Measured]] = {name: [] for name in paths}
    for _ in range(loads.rounds):
        for name, path in paths.items():
            program = WORK.format(program=PROGRAMS[name].format(path=str(path)), calls=100 if loads.quick else 1000)
            command = [sys.executable, "-W", "ignore", "-c", program]
            answer = subprocess.run(
                command, check=True, capture_output=True, text=True, input=json.dumps(texts), env=ONE
            )
            times, memory, given = json.loads(answer.stdout.splitlines()[-1])
            right = 100 * sum(a == b for a, b in zip(given, labels, strict=True)) / len(labels)
            files = [path] if path.is_file() else [file for file in path.iterdir() if file.suffix != ".png"]
            found[name].append(Measured(*times, memory, sum(file.stat().st_size for file in files), right))
    return {name: _median(each) for name, each in found.items()}


def _median(each: list[Measured]) -> Measured:
    return Measured(*(median(getattr(one, name) for one in each) for name in Measured.__dataclass_fields__))


def _aims(ours: Measured, rival: str, theirs: Measured) -> list[Aim]:
    parts: dict[str, Callable[[Measured], float]] = {
        "import, load and first answer": lambda one: one.load + one.first,
        "one text at a call": lambda one: one.one,
    }
    found: list[Any] = []
    for what, part in parts.items():
        absolute = f"{seconds(part(ours))} against {seconds(part(theirs))}"
        aim = {"at_least": 1} if rival == EAGER else {}
        found.append(Aim(f"SST-2 without torch: {what}", rival, part(theirs) / part(ours), absolute, **aim))
    points = ours.accuracy - theirs.accuracy
    accuracy = f"{figure(ours.accuracy)} against {figure(theirs.accuracy)} %"
    found.append(Aim("SST-2 without torch: accuracy", rival, points, accuracy, unit=" points"))
    return found
