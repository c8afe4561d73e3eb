"""Recordings of spoken digits as vectors: 25 ms of sound every 10 ms, in bands of the mel scale."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from scipy.fft import dct
from scipy.io import wavfile
from torch import Tensor
from transformers.audio_utils import mel_filter_bank

RATE, FRAME, STEP, FFT, BANDS = 8_000, 200, 80, 256, 24
CEPSTRA = 13
RANGE = 11.5  # 50 dB below the loudest, as the logarithm of a power
HEARD, MARGIN = 10**-2.5, 3  # 25 dB below the loudest step; steps that are kept around what is heard


@dataclass(frozen=True)
class Warp:
    """How a recording is changed so that another voice seems to speak.

    Args:
        speed: How many times as fast it is played (Ko et al., 2015, "Audio augmentation for speech recognition").
        pitch: By what its frequencies are divided, at the same speed (Jaitly & Hinton, 2013, "Vocal tract length
            perturbation improves speech recognition").
        noise: Whether there is noise as of another room, 20 to 45 dB below the loudest, more of it in low or in high
            bands.
    """

    speed: float = 1.0
    pitch: float = 1.0
    noise: bool = True


UNCHANGED = Warp(noise=False)
WARPS = (Warp(pitch=0.88), Warp(pitch=1.14), Warp(0.9, 0.94), Warp(1.12, 1.07))


def recordings(archive: Path) -> Iterator[tuple[str, str, int, Tensor]]:
    """Digit, speaker, number and sound of each recording."""
    with tarfile.open(archive) as files:
        sounds = {file.name: files.extractfile(file).read() for file in files if file.name.endswith(".wav")}
    for name, sound in sorted(sounds.items()):
        digit, speaker, number = Path(name).stem.split("_")
        samples = wavfile.read(BytesIO(sound))[1].astype(np.float32) / 32_768
        yield digit, speaker, int(number), torch.from_numpy(samples)


def log_mels(sound: Tensor, warp: Warp = UNCHANGED) -> np.ndarray:
    """(T_i, 24): the logarithm of the power in each band."""
    return np.log(np.maximum(_power(sound, warp), 1e-6)).astype(np.float32)


def cepstra(sound: Tensor, warp: Warp = UNCHANGED) -> np.ndarray:
    """(T_i, 26): the shape of the spectrum and how it changes, less what the voice and the microphone always add.

    Its first cosines and their slopes over five steps (Furui, 1986), with a mean of 0 and a deviation of about 1.
    Silence at both ends, which some recordings have and others not, is cut off (Rabiner & Sambur, 1975).
    """
    logs = np.log(np.maximum(_between_silences(_power(sound, warp)), 1e-10))
    shape = dct(np.maximum(logs, logs.max() - RANGE), axis=1, norm="ortho")[:, :CEPSTRA]
    shape -= shape.mean(0)
    padded = np.pad(shape, ((2, 2), (0, 0)), mode="edge")
    slopes = (2 * (padded[4:] - padded[:-4]) + padded[3:-1] - padded[1:-3]) / 10
    both = np.concatenate([shape, 2 * slopes], axis=1)
    return (both / (both.std(0) + 0.1)).astype(np.float32)


def _between_silences(power: np.ndarray) -> np.ndarray:
    loudness = power.sum(axis=1)
    heard = (loudness > HEARD * loudness.max()).nonzero()[0]
    return power[max(0, heard[0] - MARGIN) : heard[-1] + MARGIN + 1]


@cache
def _bands() -> np.ndarray:
    return mel_filter_bank(FFT // 2 + 1, BANDS, 50.0, RATE / 2, RATE, mel_scale="slaney", norm="slaney")


def _power(sound: Tensor, warp: Warp) -> np.ndarray:
    """(T_i, 24): the power in each band."""
    seed = [crc32(sound.numpy().tobytes()), round(100 * warp.pitch)]  # the same noise in each run
    if warp.speed != 1:
        sound = torch.nn.functional.interpolate(sound[None, None], scale_factor=1 / warp.speed, mode="linear")[0, 0]
    parts = torch.stft(sound, FFT, STEP, FRAME, torch.hann_window(FRAME), return_complex=True)
    spectrum = (parts.abs() ** 2).numpy()
    read = np.clip(np.arange(FFT // 2 + 1) * warp.pitch, 0, FFT // 2)
    below = np.floor(read).astype(int)
    share = (read - below)[:, None]
    moved = spectrum[below] * (1 - share) + spectrum[np.minimum(below + 1, FFT // 2)] * share
    power = np.asarray(moved.T @ _bands())
    return power + _noise(power, np.random.default_rng(seed)) if warp.noise else power


def _noise(power: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(T_i, 24): the power of some noise."""
    level = power.sum(axis=1).max() * 10 ** generator.uniform(-4.5, -2) / BANDS
    tilt = 10 ** (np.linspace(0, 1, BANDS) * generator.uniform(-1.5, 0.5))
    return level * tilt * generator.exponential(size=power.shape)
