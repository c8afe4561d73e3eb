"""Every Python block of the README runs, in the order a reader would run them."""

import re

from processes import ROOT, run

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_the_python_blocks_run_and_print_what_they_say(tmp_path):
    printed = [run("-W", "error", "-c", block, cwd=tmp_path) for block in BLOCKS]
    assert re.findall(r"'label': '(\w+)'", printed[1]) == ["spam", "ham"]
    assert printed[2].count("'score'") == 3


def test_the_shell_blocks_are_the_ones_that_are_tested():
    install, test = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    assert 'pip install ".[test]"' in install
    for script in re.findall(r"python (examples/\S+\.py)", install):
        assert (ROOT / script).exists()
    assert test.strip() == "python -m pytest"


def test_every_file_that_the_readme_points_to_is_there():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target
