"""The examples, run whole, reach the figures that the README shows."""

import ast
import itertools
import json
import re
import runpy
import sys
import tarfile
from io import BytesIO

import numpy as np
import pytest
from huggingface_hub import ModelCard
from processes import ROOT, run
from scipy.io import wavfile

EXAMPLES = ROOT / "examples"


def figures(printed: str) -> dict[str, float]:
    """The last dictionary of metrics that was printed."""
    return ast.literal_eval([line for line in printed.splitlines() if line.startswith("{'loss'")][-1])


@pytest.mark.parametrize("name", ["classify_text.py", "classify_vectors.py"])
def test_the_trainer_scripts_stay_short_and_flat(name):
    source = (EXAMPLES / name).read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 80
    kinds = (ast.FunctionDef, ast.ClassDef, ast.If)
    assert not [node for node in ast.parse(source).body if isinstance(node, kinds)]


def test_text_from_raw_messages_to_another_process(tmp_path):
    found = figures(run(EXAMPLES / "classify_text.py", "--disable_tqdm", "True", cwd=tmp_path))
    assert found["f1_spam"] >= 0.95
    assert found["accuracy"] >= 0.985
    directory = tmp_path / "sms-spam"
    files = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md"}
    assert files <= {path.name for path in directory.iterdir()}
    card = ModelCard.load(directory / "README.md")
    results = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert results["accuracy"] == pytest.approx(found["accuracy"], abs=1e-3)
    printed = run(
        "-W",
        "error",
        EXAMPLES / "use_classifier.py",
        "sms-spam",
        "You have won a prize",
        "See you at five",
        cwd=tmp_path,
    )
    assert [line.split()[0] for line in printed.splitlines()] == ["spam", "ham"]
    block = re.search(r"```python\n(.*?)```", card.text, re.DOTALL)
    assert "label" in run("-W", "error", "-c", block.group(1), cwd=directory)


def test_from_texts_without_labels_to_a_classifier(tmp_path):
    texts = ["we eat at noon", "they eat at night", "we sleep at night", "they sleep at noon"] * 10
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    rows = [{"text": text, "label": text.split()[0]} for text in texts]
    (tmp_path / "labelled.jsonl").write_text("\n".join(map(json.dumps, rows)))
    sizes = ["hidden_size=4", "input_size=3", "max_steps=20", "disable_tqdm=true"]
    printed = run(EXAMPLES / "pretrain.py", "texts.jsonl", "trunk", *sizes, cwd=tmp_path)
    assert ast.literal_eval(printed.splitlines()[-1])["loss"] < 2.4  # the log of 11 tokens
    using = ["--pretrained_model", "trunk", "--layerwise_lr_decay", "0.5", "--output_dir", "model", "--do_train"]
    quick = ["--num_train_epochs", "2", "--disable_tqdm", "True"]
    run(EXAMPLES / "run_classification.py", "--data", "labelled.jsonl", *using, *quick, cwd=tmp_path)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert (config["hidden_size"], config["input_size"]) == (4, 3)
    told = ModelCard.load(tmp_path / "model" / "README.md").text
    assert re.search(r"\| pretrained_model \| trunk \([0-9a-f]{16}\) \|", told)
    assert "| layerwise_lr_decay | 0.5 |" in told


def test_vectors_from_arrays_to_a_pipeline(tmp_path):
    printed = run(EXAMPLES / "classify_vectors.py", "--disable_tqdm", "True", cwd=tmp_path)
    assert figures(printed)["accuracy"] >= 0.96
    files = {"config.json", "model.safetensors", "preprocessor_config.json", "README.md"}
    assert files <= {path.name for path in (tmp_path / "japanese-vowels").iterdir()}
    assert printed.count("is speaker 1") == 3


def test_the_textbook_prints_the_same_losses_three_times(tmp_path):
    printed = run("-W", "error", EXAMPLES / "textbook.py", cwd=tmp_path)
    lines = re.findall(r"^Epoch (\d), Loss: (\d\.\d{4}), Accuracy: (\d\.\d{4})$", printed, re.MULTILINE)
    assert len(lines) == 15
    assert lines[:5] == lines[5:10] == lines[10:]
    assert [line[0] for line in lines[:5]] == list("12345")
    assert float(lines[4][1]) < float(lines[0][1])


def is_picture(path):
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000


def test_a_sensor_is_followed_step_by_step(tmp_path):
    printed = run(EXAMPLES / "stream_sensor.py", cwd=tmp_path)
    assert int(re.search(r"^(\d) of 9 right at the end$", printed, re.MULTILINE).group(1)) >= 6
    assert len(re.findall(r"^step ", printed, re.MULTILINE)) == 23
    assert is_picture(tmp_path / "stream_sensor.png")
    again = run("-W", "error", EXAMPLES / "stream_sensor.py", "sensor-stream", cwd=tmp_path)
    assert [line for line in printed.splitlines() if line.startswith("step")] == [
        line for line in again.splitlines() if line.startswith("step")
    ]


def test_a_text_is_followed_as_it_arrives(tmp_path):
    printed = run(EXAMPLES / "stream_text.py", cwd=tmp_path)
    verdicts = dict(re.findall(r"^(a prize|lunch|a turn): (\w+), ", printed, re.MULTILINE))
    assert verdicts == {"a prize": "spam", "lunch": "ham", "a turn": "spam"}
    assert is_picture(tmp_path / "stream_text.png")


def run_here(monkeypatch, name, *arguments):
    """Run an example in this process; return its variables."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    return runpy.run_path(str(EXAMPLES / name), run_name="__main__")


QUICK = ("hidden_size=4", "max_steps=2", "disable_tqdm=true")


def write_sounds(path, rate):
    """Ten tones of a tenth of a second and more, some of the test set; and one that is shorter than a frame."""
    with tarfile.open(path, "w:gz") as files:
        for digit, number in itertools.product(range(2), (0, *range(5, 17))):
            length = 100 if number == 16 else 800 + 40 * number
            sound = np.sin(np.arange(length) * (0.2 + digit)) * 10_000
            content = BytesIO()
            wavfile.write(content, rate, sound.astype(np.int16))
            member = tarfile.TarInfo(f"recordings/{digit}_someone_{number}.wav")
            member.size = len(content.getvalue())
            content.seek(0)
            files.addfile(member, content)


def test_sounds_become_log_mels_and_a_classifier(tmp_path, monkeypatch):
    write_sounds(tmp_path / "sounds.tar.gz", rate=8_000)
    found = run_here(monkeypatch, "spoken_digits.py", tmp_path / "sounds.tar.gz", tmp_path / "digits", *QUICK)
    result = found["result"]
    assert result.data.label_names == ("0", "1")
    assert len(result.data.splits["test"]) == 2
    series = found["splits"]["train"]["log_mels"]
    assert {one.shape[1] for one in series} == {24}
    assert len(series[0]) == 1 + 1_200 // 80  # of number 10: a step every 10 ms, and the end
    assert "CC BY-SA 4.0" in (tmp_path / "digits" / "README.md").read_text(encoding="utf-8")
    write_sounds(tmp_path / "fast.tar.gz", rate=16_000)
    with pytest.raises(SystemExit, match=r"has 16000 samples a second, not 8000\. Resample it\.$"):
        run_here(monkeypatch, "spoken_digits.py", tmp_path / "fast.tar.gz", tmp_path / "fast")


def test_a_folder_of_names_becomes_a_classifier_of_characters(tmp_path, monkeypatch):
    (tmp_path / "names").mkdir()
    for label, letters in (("Greek", "ab"), ("Irish", "cd")):
        names = ["".join(name) for name in itertools.product(letters, repeat=4)]
        (tmp_path / "names" / f"{label}.txt").write_text("\n".join([*names, names[0]]))
    (tmp_path / "names" / "SOURCE.txt").write_text("from somewhere")
    result = run_here(monkeypatch, "surnames.py", tmp_path / "names", tmp_path / "surnames", *QUICK)["result"]
    assert result.data.label_names == ("Greek", "Irish")
    assert sum(result.data.report.rows.values()) == 32
    assert result.processing_class.tokenize("abba") == ["a", "b", "b", "a"]


def test_the_data_names_its_source_and_licence():
    text = (EXAMPLES / "data" / "README.md").read_text(encoding="utf-8")
    for path in (EXAMPLES / "data").iterdir():
        if path.name != "README.md":
            assert path.name in text
    assert text.count("CC BY 4.0") == 2
