"""Which digit is spoken? Sound -> log-mel vectors -> a trained, documented classifier.

    python examples/spoken_digits.py recordings.tar.gz spoken-digits [cell_type=gru or any choice of train_classifier]

The first argument is `recordings.tar.gz` of the Free Spoken Digit Dataset (github.com/Jakobovski), or another archive
of wav files named <label>_<speaker>_<number>.wav. Its official split: numbers 0 to 4 are the test set.
"""

import json
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
from scipy.io import wavfile
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from transformers_rnn.training import train_classifier

archive, directory, *further = sys.argv[1:]
choices = {name: json.loads(value) for name, value in (choice.split("=", 1) for choice in further)}

# 24 bands of the mel scale, 25 ms of sound every 10 ms.
RATE, FRAME, STEP, FFT = 8_000, 200, 80, 256
bands = mel_filter_bank(FFT // 2 + 1, 24, 50.0, RATE / 2, RATE, mel_scale="slaney", norm="slaney")
window = window_function(FRAME, "hann")

splits: dict[str, dict[str, list]] = {part: {"log_mels": [], "digit": []} for part in ("train", "test")}
with tarfile.open(archive) as files:  # in the order of the archive: a jump back unpacks it anew
    sounds = {file.name: files.extractfile(file).read() for file in files if file.name.endswith(".wav")}
for name, wav in sorted(sounds.items()):
    rate, samples = wavfile.read(BytesIO(wav))
    if rate != RATE:
        raise SystemExit(f"{name} has {rate} samples a second, not {RATE}. Resample it.")
    sound = samples.astype(np.float32) / 32_768
    sound = np.pad(sound, (0, max(0, FRAME - len(sound))))
    log_mels = spectrogram(
        sound, window, FRAME, STEP, fft_length=FFT, power=2.0, mel_filters=bands, log_mel="log", mel_floor=1e-6
    )
    digit, _, number = Path(name).stem.split("_")
    part = splits["test" if int(number) < 5 else "train"]
    part["log_mels"].append(log_mels.T.astype(np.float32))  # (T_i, 24)
    part["digit"].append(digit)

result = train_classifier(
    splits,
    directory,
    vector_column="log_mels",
    label_column="digit",
    card={"title": "Spoken digits", "dataset_name": "Free Spoken Digit Dataset", "dataset_license": "CC BY-SA 4.0"},
    **choices,
)
print(f"accuracy {result.metrics['accuracy']:.4f}, 95 % interval {result.intervals['accuracy']}")
