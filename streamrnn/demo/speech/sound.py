"""Sound: made by espeak-ng, kept as WAV files, read from WAV files, and with noise added.

espeak-ng writes the WAV file that it is asked for to a pipe, where it cannot go back to put in how long it became: its
header promises two gigabytes, so what there is is read. Made sounds are kept, each under a name that says how it was
made: another run reads them, a hundred times as fast.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import wave
from pathlib import Path
from typing import Final

import numpy as np

from streamrnn.demo.speech.features import LEAST_RATE, Floats
from streamrnn.demo.speech.voices import Utterance
from streamrnn.errors import ConfigError
from streamrnn.system.memory import AS_MUCH_AS_FITS
from streamrnn.system.reading import read
from streamrnn.system.writing import replace_file

RATE: Final = 22_050
"""Samples a second of espeak-ng's."""
PROGRAM: Final = "espeak-ng"
SECONDS: Final = 30.0
"""More than any string takes to be made."""
WAV_REMEDY: Final = "ffmpeg -i FILE -ac 1 -ar 22050 -c:a pcm_s16le NEW.wav makes one that can be read"

MOST_RATE: Final = 384_000
"""Samples a second beyond which a header is not believed: no sound card gives more."""
_WIDEST: Final = 4


def require_espeak() -> str:
    """Where espeak-ng is. Raises ConfigError with the command to install it."""
    found = shutil.which(PROGRAM)
    if found is None:
        raise ConfigError(
            f"the demo needs the program {PROGRAM}, which speaks the digits and is not installed; remedy: "
            f"apt-get install {PROGRAM} (Debian, Ubuntu), dnf install {PROGRAM} (Fedora), brew install {PROGRAM} "
            "(macOS)"
        )
    return found


class Studio:
    """Speaks utterances and keeps what was said in a directory."""

    def __init__(self, directory: Path) -> None:
        self._program = require_espeak()
        self._directory = directory
        directory.mkdir(exist_ok=True)

    def speak(self, said: Utterance) -> Floats:
        """The samples of an utterance, ``RATE`` a second, from -1 to 1: pauses, loudness and noise as it says."""
        voice = self._voice(said)
        around = [np.zeros(ms * RATE // 1000) for ms in said.around_ms]
        samples = np.concatenate([around[0], voice, around[1]]) * 10 ** (said.gain_db / 20)
        if said.noise_db is not None:
            random = np.random.default_rng(said.seed)
            level = np.sqrt(np.mean(voice**2)) * 10 ** ((said.gain_db - said.noise_db) / 20)
            samples += level * random.standard_normal(len(samples))
        return np.clip(samples, -1.0, 1.0)

    def _voice(self, said: Utterance) -> Floats:
        options = ["-v", said.voice.name, "-s", str(said.speed), "-p", str(said.pitch), "-m", "--stdout", said.text]
        path = self._directory / f"{hashlib.sha256(repr(options).encode()).hexdigest()[:24]}.wav"
        if not path.is_file():
            replace_file(path, self._made(said, options), mode=None, durable=False)
        return read_wav(read(path, AS_MUCH_AS_FITS), str(path))[0]

    def _made(self, said: Utterance, options: list[str]) -> bytes:
        """A WAV file of what is said."""
        made = subprocess.run(
            [self._program, *options], stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
        )
        if made.returncode or not made.stdout:
            why = made.stderr.decode(errors="replace").strip() or f"status {made.returncode}"
            raise ConfigError(f"{PROGRAM} -v {said.voice.name} said nothing: {why}; its voices: {PROGRAM} --voices=en")
        samples, _ = read_wav(made.stdout, PROGRAM)
        return wav(without_silence(samples))


def without_silence(samples: Floats) -> Floats:
    """Without the silence before and behind all sound."""
    loud = np.flatnonzero(np.abs(samples) > 1e-3)
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples


def wav(samples: Floats) -> bytes:
    """A WAV file of 16 bits."""
    file = io.BytesIO()
    with wave.Wave_write(file) as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE)
        writer.writeframes(np.round(samples * 32_767).astype("<i2").tobytes())
    return file.getvalue()


def read_wav(data: bytes, name: str) -> tuple[Floats, int]:
    """Samples from -1 to 1, of several channels their mean, and how many there are a second. Raises ConfigError.

    The header is believed in everything but the length.
    """
    try:
        with wave.Wave_read(io.BytesIO(data)) as reader:
            channels, width, rate, count = reader.getparams()[:4]
            found = reader.readframes(count)
    except (wave.Error, EOFError, RuntimeError) as error:  # the last where a chunk reaches beyond the file
        raise ConfigError(
            f"{name}: no WAV file of plain numbers (PCM): {str(error) or 'it ends too early'}; {WAV_REMEDY}"
        ) from error
    if width > _WIDEST:
        raise ConfigError(f"{name}: numbers of {width} bytes, expected 1 to {_WIDEST}; {WAV_REMEDY}")
    found = found[: len(found) // (channels * width) * channels * width]
    return _numbers(found, width).reshape(-1, channels).mean(axis=1), rate


def load_wav(path: Path) -> tuple[Floats, int]:
    """A WAV file of somebody's own, as loud as those that are made. Raises ConfigError."""
    try:
        data = read(path, AS_MUCH_AS_FITS, links=True)
    except OSError as error:
        raise ConfigError(f"--wav: {path} cannot be read: {error.strerror}; name a WAV file") from error
    samples, rate = read_wav(data, f"--wav: {path}")
    if rate < LEAST_RATE:
        raise ConfigError(f"--wav: {path} has {rate:,} samples a second, expected {LEAST_RATE:,} or more; {WAV_REMEDY}")
    if rate > MOST_RATE:
        raise ConfigError(f"--wav: {path} has {rate:,} samples a second, expected at most {MOST_RATE:,}; {WAV_REMEDY}")
    loudest = float(np.abs(samples).max(initial=0.0))
    return samples * (0.5 / loudest if loudest else 1.0), rate


def _numbers(data: bytes, width: int) -> Floats:
    """Numbers of so many bytes each, from -1 to 1."""
    if width == 1:  # the only ones without a sign
        return np.frombuffer(data, np.uint8).astype(np.float64) / 128.0 - 1.0
    # Filled up with zeros from below, three bytes become four.
    filled = np.zeros((len(data) // width, 4), np.uint8)
    filled[:, 4 - width :] = np.frombuffer(data, np.uint8).reshape(-1, width)
    return filled.view("<i4")[:, 0].astype(np.float64) / 2.0**31
