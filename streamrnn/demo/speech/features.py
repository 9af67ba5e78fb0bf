"""Mel-frequency cepstral coefficients (MFCC): 13 numbers for every 10 ms of sound.

The samples x are taken in frames of 25 ms, one every 10 ms, and of each frame:

    difference     y[n] = x[n] - .97 x[n - 1]: the higher a tone, the less of it a voice has, and this evens out
    window         Hamming's, w[n] = .54 - .46 cos(2 pi n / (N - 1))
    power          |FFT|^2 / N, the FFT over the next power of two
    mel filters    40 triangles whose corners are evenly spaced from 60 to 7,600 Hz on the mel scale,
                   mel(f) = 2595 log10(1 + f / 700); each ends where its neighbours have their peaks, of height 1
    logarithm      of what each filter lets through, at least FLOOR
    cosines        the first 13 of an orthonormal discrete cosine transform (DCT-II): what neighbouring filters have in
                   common comes together in a few numbers, which hardly go together any more

A frame depends on its own samples and on the one before them, so frames can be had as the sound comes. Nothing is
standardised here: the learner does that.

Davis & Mermelstein, Comparison of parametric representations for monosyllabic word recognition, 1980.
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

WINDOW_S: Final = 0.025
HOP_S: Final = 0.010
DIFFERENCE: Final = 0.97
FILTERS: Final = 40
COEFFICIENTS: Final = 13
LOWEST_HZ, HIGHEST_HZ = 60.0, 7_600.0
LEAST_RATE: Final = int(2 * HIGHEST_HZ)
"""Samples per second below which the upper filters would hear nothing."""
FLOOR: Final = 1e-6
"""Of power, where full scale is 1: noise that no room is without. Digital silence would have an infinite logarithm."""


def mfcc(samples: Floats, rate: int) -> Floats:
    """The coefficients (frames, 13) of samples (n,) from -1 to 1, ``rate`` of them a second.

    What is left behind the last whole frame has none; sound shorter than a frame has no frames.
    """
    energies = filtered(power(samples, rate), rate)
    return np.ascontiguousarray(np.log(np.maximum(energies, FLOOR)) @ cosines().T)


def frame_starts(n: int, rate: int) -> npt.NDArray[np.int64]:
    """Where the frames of n samples begin."""
    last = n - window_length(rate)
    starts = np.round(np.arange(int(max(last, 0) / (HOP_S * rate)) + 2) * (HOP_S * rate)).astype(np.int64)
    return starts[starts <= last]


def window_length(rate: int) -> int:
    """Samples of a frame."""
    return round(WINDOW_S * rate)


def power(samples: Floats, rate: int) -> Floats:
    """The power spectrum of each frame, (frames, bins)."""
    length = window_length(rate)
    differences = np.concatenate([samples[:1], samples[1:] - DIFFERENCE * samples[:-1]])
    frames = differences[frame_starts(len(samples), rate)[:, None] + np.arange(length)]
    spectrum = np.fft.rfft(frames * np.hamming(length), bins_of(rate))
    return (spectrum.real**2 + spectrum.imag**2) / length


def bins_of(rate: int) -> int:
    """The length of the FFT."""
    return 1 << (window_length(rate) - 1).bit_length()


def filtered(spectra: Floats, rate: int) -> Floats:
    """What each mel filter lets through, (frames, FILTERS)."""
    energies: Floats = spectra @ mel_filters(rate).T
    return energies


def mel(hz: Floats | float) -> Floats:
    """How high a tone is heard: 1,000 mel are 1,000 Hz.

    >>> round(float(mel(1000.0)))
    1000
    """
    return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hz) / 700.0))


def hertz(mels: Floats) -> Floats:
    """The inverse of ``mel``."""
    return np.asarray(700.0 * (10.0 ** (mels / 2595.0) - 1.0))


@functools.cache
def mel_filters(rate: int) -> Floats:
    """The weight of each bin of the spectrum in each filter, (FILTERS, bins)."""
    corners = hertz(np.linspace(mel(LOWEST_HZ), mel(HIGHEST_HZ), FILTERS + 2))
    hz = np.fft.rfftfreq(bins_of(rate), 1.0 / rate)
    low, peak, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    return np.maximum(0.0, np.minimum((hz - low) / (peak - low), (high - hz) / (high - peak)))


@functools.cache
def cosines() -> Floats:
    """The first rows of the orthonormal DCT-II of FILTERS numbers, (COEFFICIENTS, FILTERS)."""
    angle = np.pi / FILTERS * (np.arange(FILTERS) + 0.5) * np.arange(COEFFICIENTS)[:, None]
    rows = np.sqrt(2.0 / FILTERS) * np.cos(angle)
    rows[0] /= np.sqrt(2.0)
    return np.asarray(rows)
