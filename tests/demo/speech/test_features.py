"""The coefficients against their definition, known values and another implementation of the transform."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import dct

from streamrnn.demo.speech import features
from streamrnn.demo.speech.features import COEFFICIENTS, FILTERS, FLOOR, mfcc

RATES = pytest.mark.parametrize("rate", [16_000, 22_050, 44_100])


def tone(hz: float, rate: int, seconds: float = 0.2) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def test_mel_has_its_known_values_and_its_inverse() -> None:
    for hz, mels in ((0.0, 0.0), (700.0, 781.17), (1000.0, 999.99), (4000.0, 2146.06), (8000.0, 2840.02)):
        assert float(features.mel(hz)) == pytest.approx(mels, abs=0.01)
    hz = np.array([60.0, 440.0, 7600.0])
    np.testing.assert_allclose(features.hertz(features.mel(hz)), hz, rtol=1e-12)


def test_cosines_are_those_of_scipys_orthonormal_transform() -> None:
    x = np.random.default_rng(1).normal(size=(4, FILTERS))
    np.testing.assert_allclose(x @ features.cosines().T, dct(x, norm="ortho")[:, :COEFFICIENTS], atol=1e-12)


@RATES
def test_filters_are_triangles_that_meet_at_each_others_peaks(rate: int) -> None:
    corners = features.hertz(np.linspace(features.mel(60.0), features.mel(7600.0), FILTERS + 2))
    hz = np.fft.rfftfreq(features.bins_of(rate), 1 / rate)
    filters = features.mel_filters(rate)
    for k in range(FILTERS):
        expected = np.interp(hz, corners[k : k + 3], [0.0, 1.0, 0.0], left=0.0, right=0.0)
        np.testing.assert_allclose(filters[k], expected, atol=1e-12)
    inside = (hz > corners[1]) & (hz < corners[-2])
    np.testing.assert_allclose(filters.sum(0)[inside], 1.0, atol=1e-12)


@RATES
def test_a_tone_is_loudest_in_the_filter_whose_peak_it_is(rate: int) -> None:
    peaks = features.hertz(np.linspace(features.mel(60.0), features.mel(7600.0), FILTERS + 2))[1:-1]
    for k in (10, 20, 35):
        energies = features.filtered(features.power(tone(peaks[k], rate), rate), rate)
        assert (energies.argmax(1) == k).all()


@RATES
def test_a_frame_of_25_ms_starts_every_10_ms(rate: int) -> None:
    assert len(mfcc(np.zeros(rate), rate)) == 98  # the last one begins at .97 s
    starts = features.frame_starts(rate, rate)
    assert np.abs(starts / rate - 0.01 * np.arange(98)).max() <= 0.501 / rate
    assert len(mfcc(np.zeros(round(0.025 * rate)), rate)) == 1
    assert len(mfcc(np.zeros(round(0.025 * rate) - 1), rate)) == 0
    assert mfcc(np.zeros(0), rate).shape == (0, COEFFICIENTS)


def test_power_is_that_of_the_definition() -> None:
    """One frame, with a Fourier transform written as its sum."""
    rate, x = 16_000, np.random.default_rng(2).uniform(-1, 1, 400)
    y = np.array([x[0], *(x[n] - 0.97 * x[n - 1] for n in range(1, 400))])
    y *= [0.54 - 0.46 * np.cos(2 * np.pi * n / 399) for n in range(400)]
    k, n = np.arange(257)[:, None], np.arange(400)
    expected = np.abs((y * np.exp(-2j * np.pi * k * n / 512)).sum(1)) ** 2 / 400
    np.testing.assert_allclose(features.power(x, rate), expected[None], rtol=1e-9)


def test_silence_is_the_floor() -> None:
    quiet = mfcc(np.zeros(16_000), 16_000)
    np.testing.assert_allclose(quiet[:, 0], np.sqrt(FILTERS) * np.log(FLOOR), rtol=1e-12)
    np.testing.assert_allclose(quiet[:, 1:], 0, atol=1e-9)


def test_frames_can_be_had_as_the_sound_comes() -> None:
    """The frames of a beginning are the beginning of the frames."""
    x = np.random.default_rng(3).normal(0, 0.1, 22_050)
    whole, part = mfcc(x, 22_050), mfcc(x[:10_000], 22_050)
    np.testing.assert_allclose(part, whole[: len(part)], rtol=0, atol=1e-12)


def test_twice_as_loud_moves_the_first_coefficient_alone() -> None:
    x = np.random.default_rng(4).normal(0, 1, 8_000)
    change = mfcc(2 * x, 16_000) - mfcc(x, 16_000)
    np.testing.assert_allclose(change[:, 0], np.sqrt(FILTERS) * np.log(4), rtol=1e-9)
    np.testing.assert_allclose(change[:, 1:], 0, atol=1e-9)
