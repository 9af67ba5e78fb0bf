"""Who speaks and what: groups that are apart, and strings that are the same in every run."""

from __future__ import annotations

import itertools

import numpy as np

from streamrnn.demo.speech.voices import (
    GROUPS,
    KNOWN,
    LONGEST,
    LONGEST_PAUSE_MS,
    NEWCOMER,
    NOISE_DB,
    Voice,
    choose,
    utterance,
)


def test_sixty_voices_are_learned_from_and_no_other_group_has_one_of_them() -> None:
    assert len(set(KNOWN)) == 60
    for name, voices in GROUPS.items():
        assert name == "known voices" or not set(voices) & set(KNOWN)


def test_the_newcomers_accent_is_not_among_the_known() -> None:
    assert NEWCOMER.accent not in {voice.accent for voice in KNOWN}
    assert {voice.accent for voice in GROUPS["other accents"]}.isdisjoint(voice.accent for voice in KNOWN)
    assert {voice.variant for voice in GROUPS["new variants"]}.isdisjoint(voice.variant for voice in KNOWN)


def test_a_string_is_the_same_in_every_run_and_another_one_under_another_number() -> None:
    assert utterance(NEWCOMER, 1, 5) == utterance(NEWCOMER, 1, 5)
    assert choose(KNOWN, 1, 5) == choose(KNOWN, 1, 5)
    drawn = {(said.digits, said.seed) for said in (utterance(NEWCOMER, seed, n) for seed in (1, 2) for n in range(50))}
    assert len(drawn) == 100


def test_strings_vary_in_everything_and_half_of_them_are_noisy() -> None:
    drawn = [utterance(choose(KNOWN, 3, n), 3, n) for n in range(400)]
    assert {said.voice for said in drawn} == set(KNOWN)
    assert {len(said.digits) for said in drawn} == set(range(1, LONGEST + 1))
    assert set(itertools.chain.from_iterable(said.digits for said in drawn)) == set(range(10))
    pauses = list(itertools.chain.from_iterable(said.pauses_ms for said in drawn))
    assert min(pauses) < 10
    assert LONGEST_PAUSE_MS - 10 < max(pauses) <= LONGEST_PAUSE_MS
    noise = [said.noise_db for said in drawn if said.noise_db is not None]
    assert 160 < len(noise) < 240
    assert min(noise) >= NOISE_DB[0]
    assert max(noise) <= NOISE_DB[1]
    assert np.std([said.speed for said in drawn]) > 15
    assert np.std([said.pitch for said in drawn]) > 8


def test_noise_can_be_asked_for_without_changing_what_is_said() -> None:
    quiet, noisy = utterance(NEWCOMER, 1, 5, noisy=False), utterance(NEWCOMER, 1, 5, noisy=True)
    assert quiet.noise_db is None
    assert noisy.noise_db is not None
    assert (quiet.digits, quiet.pauses_ms, quiet.seed) == (noisy.digits, noisy.pauses_ms, noisy.seed)


def test_a_string_is_words_with_pauses_between_them() -> None:
    said = utterance(Voice("en-us"), 1, 0)
    assert said.text.count("<break") == len(said.digits) - 1 == len(said.pauses_ms)
    assert said.voice.name == "en-us"
    assert NEWCOMER.name == "en-gb-scotland+m3"
