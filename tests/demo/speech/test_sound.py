"""Sound: made by the real espeak-ng, kept, and read from WAV files of many kinds."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import wave
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamrnn.demo.speech import sound
from streamrnn.demo.speech.features import mfcc
from streamrnn.demo.speech.sound import RATE, Studio, load_wav, read_wav, require_espeak
from streamrnn.demo.speech.voices import GROUPS, Utterance, Voice, utterance
from streamrnn.errors import ConfigError
from tests.support.programs import program


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    program("espeak-ng")
    return Studio(tmp_path_factory.mktemp("sound") / "audio")


def string(**changes: object) -> Utterance:
    said = replace(utterance(Voice("en-us", "m3"), 1, 3), noise_db=None, gain_db=0.0, around_ms=(100, 200))
    return replace(said, **changes)  # type: ignore[arg-type]


def wav_of(samples: np.ndarray, width: int = 2, channels: int = 1, rate: int = 16_000) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(width)
        writer.setframerate(rate)
        writer.writeframes(samples.tobytes())
    return file.getvalue()


def test_a_string_is_spoken_with_its_pauses(studio: Studio) -> None:
    one = string(digits=(3, 4), pauses_ms=(400,))
    spoken = studio.speak(one)
    assert not spoken[: RATE // 10].any()
    assert not spoken[-RATE // 5 :].any()
    loud = np.abs(spoken[RATE // 10 : -RATE // 5]) > 0.01
    longest = max(map(len, "".join("x" if there else " " for there in loud).split("x")))
    assert longest / RATE == pytest.approx(0.4, abs=0.15)
    assert len(spoken) > len(studio.speak(replace(one, pauses_ms=(0,))))


def test_what_was_made_is_kept_and_read_again(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    said = string(digits=(7,), pauses_ms=())
    first = studio.speak(said)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(subprocess, "run", never)
    np.testing.assert_allclose(studio.speak(said), first, atol=1 / 32_767)
    np.testing.assert_array_equal(studio.speak(said), studio.speak(said))
    with pytest.raises(AssertionError, match="made again"):
        studio.speak(replace(said, speed=131))


def test_noise_is_as_far_below_the_voice_as_it_should_be(studio: Studio) -> None:
    quiet = string(digits=(1, 2), pauses_ms=(100,), gain_db=-12.0)
    voice = studio.speak(quiet)
    added = studio.speak(replace(quiet, noise_db=10.0)) - voice
    spoken = voice[RATE // 10 : -RATE // 5]
    assert 10 * np.log10(np.mean(spoken**2) / np.mean(added**2)) == pytest.approx(10.0, abs=0.2)


@pytest.mark.parametrize("group", list(GROUPS))
def test_every_voice_speaks(studio: Studio, group: str) -> None:
    voices = GROUPS[group] if group != "known voices" else GROUPS[group][:15]
    for voice in voices:
        assert np.abs(studio.speak(string(voice=voice, digits=(5,), pauses_ms=()))).max() > 0.05


def test_a_voice_that_is_not_there_is_named(studio: Studio) -> None:
    with pytest.raises(ConfigError, match=r"-v xx-nobody said nothing: .*; its voices: espeak-ng --voices=en"):
        studio.speak(string(voice=Voice("xx-nobody")))


def test_without_espeak_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="not installed; remedy: apt-get install espeak-ng"):
        require_espeak()


def test_a_header_that_promises_more_than_there_is_is_not_believed() -> None:
    """What espeak-ng writes to a pipe: 0x7ffff000 bytes of sound."""
    data = bytearray(wav_of(np.arange(100, dtype="<i2")))
    data[4:8] = struct.pack("<I", 0x7FFFF024)
    data[40:44] = struct.pack("<I", 0x7FFFF000)
    samples, rate = read_wav(bytes(data), "x")
    np.testing.assert_allclose(samples * 32_768, np.arange(100))
    assert rate == 16_000
    assert len(read_wav(bytes(data[:-1]), "x")[0]) == 99


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_numbers_of_any_width_are_between_minus_one_and_one(width: int) -> None:
    values = np.array([-1.0, -0.5, 0.0, 0.5])
    whole = (values * 2 ** (8 * width - 1)).astype(np.int64)
    if width == 1:
        coded = (whole + 128).astype(np.uint8)
    else:
        coded = whole.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width]
    np.testing.assert_allclose(read_wav(wav_of(np.ascontiguousarray(coded), width), "x")[0], values, atol=1e-9)


def test_channels_become_their_mean() -> None:
    both = np.array([[1000, 3000], [-2000, 0]], "<i2")
    np.testing.assert_allclose(read_wav(wav_of(both, channels=2), "x")[0] * 32_768, [2000, -1000])


def test_a_file_of_ones_own_is_made_as_loud_as_the_others(tmp_path: Path) -> None:
    (tmp_path / "own.wav").write_bytes(wav_of(np.array([10, -20, 5], "<i2")))
    samples, rate = load_wav(tmp_path / "own.wav")
    np.testing.assert_allclose(samples, [0.25, -0.5, 0.125])
    assert rate == 16_000


def with_bytes(changed: dict[int, int]) -> bytes:
    """A file whose header has other bytes at these places."""
    data = bytearray(wav_of(np.arange(900, dtype="<i2")))
    for place, byte in changed.items():
        data[place] = byte
    return bytes(data)


def test_no_header_whatever_is_in_it_ends_in_a_traceback(tmp_path: Path) -> None:
    rng, whole, outcomes = random.Random(1), with_bytes({}), Counter[str]()
    for _ in range(1_500):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(44)] = rng.choice([0, 1, 2, 3, 4, 16, 24, 32, 128, 255])
        (tmp_path / "own.wav").write_bytes(data[: rng.choice([len(data), rng.randrange(len(data))])])
        try:
            samples, rate = load_wav(tmp_path / "own.wav")
        except ConfigError as error:
            assert "own.wav" in str(error)
            outcomes["refused"] += 1
            continue
        assert np.isfinite(samples).all()
        assert np.isfinite(mfcc(samples, rate)).all()
        outcomes["heard"] += 1
    assert min(outcomes.values()) > 100


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no sound", "no WAV file of plain numbers"),
        (b"", "it ends too early"),
        (wav_of(np.zeros(9, "<i2"), rate=8_000), "has 8,000 samples a second, expected 15,200 or more"),
        (wav_of(np.zeros(9, "<i2"), rate=10**9), "has 1,000,000,000 samples a second, expected at most 384,000"),
        (with_bytes({32: 18, 34: 144}), "numbers of 18 bytes, expected 1 to 4"),
        (with_bytes({16: 250}), "no WAV file of plain numbers"),
        (with_bytes({22: 0}), "no WAV file of plain numbers"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_remedy(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "own.wav").write_bytes(content)
    with pytest.raises(ConfigError, match=f"--wav: .*own.wav.*{says}.*ffmpeg -i FILE"):
        load_wav(tmp_path / "own.wav")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--wav: .*none.wav cannot be read: No such file"):
        load_wav(tmp_path / "none.wav")


def test_silence_around_a_sound_is_cut_off() -> None:
    np.testing.assert_array_equal(sound.without_silence(np.array([0.0, 0, 0.5, 0, 0.2, 0])), [0.5, 0, 0.2])
    assert len(sound.without_silence(np.zeros(5))) == 5
