"""Every Python block of the README runs, in the order a reader would run them."""

import re
import shlex
from runpy import run_path

from processes import ROOT, run

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
MARK = "-- next block --"
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_the_python_blocks_run_and_print_what_they_say(tmp_path):
    """The first in a process of its own, which the second, in another, loads from."""
    later = "".join(f"print({MARK!r})\nexec({block!r}, {{}})\n" for block in BLOCKS[1:])
    strict = ("-W", "error", "-W", "ignore:`is_gradient_checkpointing`:FutureWarning")  # which peft asks the host for
    printed = [run(*strict, "-c", program, cwd=tmp_path) for program in (BLOCKS[0], later)]
    printed = [printed[0], *printed[1].split(f"{MARK}\n")[1:]]
    assert len(printed) == len(BLOCKS)
    assert re.findall(r"'label': '(\w+)'", printed[1]) == ["spam", "ham"]
    assert printed[2].count("'score'") == 3


def test_the_shell_blocks_are_the_ones_that_are_tested():
    install, test, _ = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    assert 'pip install ".[test]"' in install
    for script in re.findall(r"python (examples/\S+\.py)", TEXT):
        assert (ROOT / script).exists()
    assert test.strip() == "python -m pytest -n auto"


def test_the_commands_of_the_general_script_are_understood():
    parse = run_path(str(ROOT / "examples" / "run_classification.py"))["parse"]
    commands = re.findall(r"^python examples/run_classification.py (.+)$", TEXT, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        data, model, training = parse(shlex.split(command))
        assert {"data", "column_names"} <= set(data)
        assert model == {}
        assert training.keys() == {"output_dir", "do_train", "do_eval"}


def test_every_file_that_the_readme_points_to_is_there():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target
