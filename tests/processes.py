"""What a user does, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run(*arguments: str | Path, cwd: Path, python: str | Path = sys.executable, **environment: str) -> str:
    """Run Python with warnings as errors where asked, offline; return what it printed."""
    result = subprocess.run(
        [str(python), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"{arguments}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def without_package(home: Path) -> dict[str, str]:
    """The environment of a process that cannot import transformers_rnn: a blocker that Python loads at start-up."""
    blocker = home / "blocker"
    blocker.mkdir()
    (blocker / "sitecustomize.py").write_text(
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'transformers_rnn':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}')\n"
        "sys.meta_path.insert(0, Blocker())\n"
    )
    return {"PYTHONPATH": str(blocker), "HF_MODULES_CACHE": str(home / "modules")}
