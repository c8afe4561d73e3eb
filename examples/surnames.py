"""Which language is a surname from? A classifier that reads characters.

    python examples/surnames.py data/names surnames [hidden_size=64 or any choice of train_classifier]

The first argument is a folder of text files, one for each label: `Greek.txt` holds Greek names, one a line, such as
`data/names` of github.com/spro/practical-pytorch. A tenth becomes the test set, another tenth the validation set.
"""

import json
import sys
from pathlib import Path

from transformers_rnn.training import train_classifier

folder, directory, *further = sys.argv[1:]
choices = {name: json.loads(value) for name, value in (choice.split("=", 1) for choice in further)}

pairs = dict.fromkeys(  # each pair of name and language once
    (name.strip(), path.stem)
    for path in sorted(Path(folder).glob("*.txt"))
    if path.stem.istitle()  # not SOURCE.txt
    for name in path.read_text(encoding="utf-8").splitlines()
    if name.strip()
)
names, languages = zip(*pairs, strict=True)
result = train_classifier(
    {"name": names, "language": languages},
    directory,
    test_size=0.1,
    card={"title": "Surnames", "dataset_name": "Surnames of 18 languages", "dataset_license": "MIT"},
    **choices,
)
print({name: round(result.metrics[name], 4) for name in ("accuracy", "macro_f1")}, result.intervals["accuracy"])
