"""The built wheel, installed in a clean environment, holds all that is needed."""

import sysconfig
import venv
import zipfile

from processes import ROOT, run

CHECK = """
import sys, transformers_rnn, transformers_rnn_onnx
from importlib.metadata import metadata
from transformers import AutoModelForSequenceClassification
from transformers_rnn import RNNConfig
from transformers_rnn import model_card, metrics  # noqa: F401
assert transformers_rnn.__file__.startswith(sys.prefix), transformers_rnn.__file__
about = metadata("transformers-rnn")
assert about["Version"] == transformers_rnn.__version__ and about["License-Expression"] == "Apache-2.0"
print(type(AutoModelForSequenceClassification.from_config(RNNConfig())).__name__)
"""


def test_the_wheel_works_in_a_clean_environment(tmp_path):
    run("-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT, cwd=tmp_path)
    (wheel,) = tmp_path.glob("transformers_rnn-*-py3-none-any.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for package in ("transformers_rnn", "transformers_rnn_onnx"):
        packaged = {path.name for path in (ROOT / "src" / package).iterdir() if path.is_file()}
        assert {f"{package}/{name}" for name in packaged} <= names
        assert f"{package}/py.typed" in names
    assert not [name for name in names if name.startswith(("tests", "examples"))]

    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    run("-m", "pip", f"--python={python}", "install", "-q", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    # The dependencies are gigabytes: borrow those of this environment, but not its copy of the package.
    (site,) = (home / "lib").glob("python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    printed = run("-W", "error", "-c", CHECK, cwd=tmp_path, python=python)
    assert printed.strip() == "RNNForSequenceClassification"
