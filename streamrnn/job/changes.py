"""What becomes of a learned job when its settings change: for every setting of the fingerprint, in one table.

A checkpoint holds the settings it was written under. From them the job of then is made again (``former``), which
replays what was committed under it; ``changes`` says of each setting that is another today whether it is taken up at
once, by growth, or not at all. What concerns the learner alone is in ``learner.changes``; here is what a job adds:
names of fields, encoders, the topic. A setting that was not known when a checkpoint was written counts as having its
default.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from streamrnn.errors import CheckpointError, ConfigError
from streamrnn.job import warm_start
from streamrnn.job.config import Config, ModelSection
from streamrnn.job.fingerprint import INPUT_SETTINGS, learner_settings
from streamrnn.job.input_config import InputConfig
from streamrnn.job.sequence_config import InputsConfig, TargetConfig
from streamrnn.learner import changes as learner_changes
from streamrnn.learner.changes import Change
from streamrnn.learner.features import Cyclic, FeatureSpec, Hash, Log1p, Numeric, OneHot, Symbol
from streamrnn.learner.spec import LearningSpec, StreamSpec
from streamrnn.learner.values import canonical_text
from streamrnn.learner.verdicts import Verdict, Way, of_codes, of_set, strictest

_BEGAN_WITH = f"{warm_start.FIELD}.sha256"
_HASHED_BY = "hashing.check"

_LONGEST_SHOWN = 400
"""Characters of a value in a line; a set may list thousands."""

ABSENT = "(absent)"
"""Stands for a value where there is none."""

Rule = Callable[[Config, Config], Verdict]
"""From the job as it was and as it is, which differ in the setting that the rule stands for."""


def _at_once(why: str = "") -> Rule:
    return lambda old, new: Verdict(Way.AT_ONCE, why)  # noqa: ARG005


def _impossible(why: str) -> Rule:
    return lambda old, new: Verdict(Way.IMPOSSIBLE, why)  # noqa: ARG005


def _end_field(old: Config, new: Config) -> Verdict:
    if (old.input.end_field is None) == (new.input.end_field is None):
        return Verdict(Way.AT_ONCE, "")
    return learner_changes.SETTINGS["has_end"](old.learner_spec(), new.learner_spec())


def _target_fields(old: Config, new: Config) -> Verdict:
    before, now = old.target.fields, new.target.fields
    shared = min(len(before), len(now))
    if before[:shared] != now[:shared]:
        return Verdict(Way.IMPOSSIBLE, "what was learned is of other fields, or of fields in another order")
    return learner_changes.SETTINGS["target.fields"](old.learner_spec(), new.learner_spec())


def _classes(old: Config, new: Config) -> Verdict:
    before, now = ([canonical_text(c, "classes") for c in of.target.labels or ()] for of in (old, new))
    if old.target.is_open or new.target.is_open:
        return learner_changes.SETTINGS["target.classes"](old.learner_spec(), new.learner_spec())
    if before == now:
        return Verdict(Way.AT_ONCE, "the same, written otherwise")
    if now[: len(before)] != before:
        return Verdict(Way.IMPOSSIBLE, "classes are known by their place: keep the old ones in their order, new behind")
    return learner_changes.SETTINGS["target.classes"](old.learner_spec(), new.learner_spec())


def _text(old: Config, new: Config) -> Verdict:
    before, now = old.input.text, new.input.text
    if before is None or now is None:
        return Verdict(Way.IMPOSSIBLE, "a text is many steps of its stream, and its units are what is predicted")
    if before.field != now.field:
        return Verdict(Way.IMPOSSIBLE, "what was learned is of the texts of another field")
    verdicts = [Verdict(Way.AT_ONCE, "of the records to come")]
    if before.units != now.units:
        verdicts.append(_classes(old, new))
    if before.spec != now.spec:
        verdicts.append(learner_changes.SETTINGS["text"](old.learner_spec(), new.learner_spec()))
    return strictest(verdicts)


def _sequence(old: Config, new: Config) -> Verdict:
    before, now = old.input.sequence, new.input.sequence
    if before is None or now is None:
        return learner_changes.SETTINGS["sequence"](old.learner_spec(), new.learner_spec())
    if before.field != now.field:
        return Verdict(Way.IMPOSSIBLE, "what was learned is of the frames of another field")
    specs = old.learner_spec(), new.learner_spec()
    told = [change for change in learner_changes.changes(*specs) if change.path.startswith("sequence.")]
    here = Verdict(Way.AT_ONCE, "of the records to come; what becomes of columns is told by features")
    return strictest([here, *(Verdict(change.way, change.why) for change in told)])


def _begun_with(old: Config, new: Config) -> Verdict:  # noqa: ARG001
    if new.model.warm_start is None:
        return Verdict(Way.AT_ONCE, "the job has begun, and does not need it any more")
    return Verdict(Way.IMPOSSIBLE, "a model can only be begun with, and this job has begun")


_TIME = "stream time and the gaps between records were told by the other"

SETTINGS: Mapping[str, Rule] = {
    "job": _impossible("a job of another name begins anew"),
    "input.topic": _impossible("what was learned is of another topic"),
    "input.stream_key": _impossible("streams are remembered under the names they have"),
    "input.timestamp.field": _impossible(_TIME),
    "input.timestamp.unit": _impossible(_TIME),
    "input.end_field": _end_field,
    "input.text": _text,
    "input.sequence": _sequence,
    "input.max_record_bytes": _at_once("of the records to come"),
    "input.max_unpacked_bytes": _at_once("of the records to come"),
    "input.max_key_bytes": _at_once("of the records to come; streams of longer names stay until they are dropped"),
    "input.where": _at_once("of the records to come"),
    "input.tombstones": _at_once("of the records to come"),
    "input.numbers": _at_once("of the records to come"),
    "target.fields": _target_fields,
    "target.classes": _classes,
    "target.unit": _at_once("of the records to come; what is known of each symbol stays"),
    _BEGAN_WITH: _begun_with,
    _HASHED_BY: _impossible("under another hashing.key each bucket would hold other values"),
}
"""What is the job's own. All else in sections of the learner is told by ``learner.changes.SETTINGS``."""


_NAMES_ALONE = {
    "input.topic", "input.stream_key", "input.timestamp.field", "input.timestamp.unit", "target.fields",
}  # fmt: skip
"""What streams or targets are known by; what the network has learned fits all the same."""


def _categories(old: FeatureSpec, new: FeatureSpec) -> Verdict:
    before, now = set(old.columns), set(new.columns)
    if not before <= now:
        return Verdict(Way.IMPOSSIBLE, f"{_KEEP}; one that no longer comes costs nothing")
    return Verdict(Way.GROWTH, "new columns begin at zero" if before < now else "columns change places")


def _missing(old: Any, new: Any) -> Verdict:  # noqa: ARG001
    if new.missing == "last":
        return Verdict(Way.GROWTH, "last values are remembered from now on")
    return Verdict(Way.AT_ONCE, "of the records to come")


def _feature_impossible(why: str) -> Callable[[FeatureSpec, FeatureSpec], Verdict]:
    return lambda old, new: Verdict(Way.IMPOSSIBLE, why)  # noqa: ARG005


_JUDGED_WHOLE = {"input.text", "input.sequence", "target.classes"}
"""Sections whose settings mean something together only."""

_SYMBOL = str(Symbol.__struct_config__.tag)
_LOOKED_UP_LATER = Verdict(
    Way.IMPOSSIBLE, "inputs that are looked up cannot be put in later; encoders onehot and hash can"
)
_SYMBOLS_MOVED = Verdict(Way.IMPOSSIBLE, "inputs that are looked up are known by their place: keep them in their order")

_KEEP = "what was learned of a column cannot be taken out"

FEATURE_SETTINGS: Mapping[tuple[type, str], Callable[[Any, Any], Verdict]] = {
    (OneHot, "categories"): _categories,
    (Hash, "buckets"): _feature_impossible("each bucket would hold other values"),
    **{(encoder, "missing"): _missing for encoder in (Numeric, Log1p, Cyclic)},
    (Symbol, "symbols"): lambda old, new: of_set(old.symbols, new.symbols),
    (Cyclic, "period"): _feature_impossible("the columns would turn at another pace"),
}
"""What an encoder has besides its field."""


# -- the job as it was ------------------------------------------------------------------------------------------------


def former(config: Config, configuration: Mapping[str, Any]) -> Config:
    """``config`` with the settings of a fingerprint; what that does not tell, as where results go, stays.

    Raises CheckpointError where this version does not know what the fingerprint tells.
    """
    untold = {name: value for name, value in msgspec.to_builtins(config.input).items() if name not in INPUT_SETTINGS}
    try:
        was = replace(
            config,
            job=msgspec.convert(configuration["job"], str),
            input=msgspec.convert(untold | msgspec.convert(configuration["input"], dict[str, Any]), InputConfig),
            features=msgspec.convert(configuration["features"], tuple[FeatureSpec, ...]),
            inputs=msgspec.convert(configuration["inputs"], InputsConfig),
            declared_target=msgspec.convert(configuration.get("target"), TargetConfig | None),
            model=msgspec.convert(configuration["model"], ModelSection),
            learning=msgspec.convert(configuration["learning"], LearningSpec),
            streams=msgspec.convert(configuration["streams"], StreamSpec),
        )
        was.learner_spec()  # settings may each be known and not go together
    except (KeyError, ValueError, ConfigError) as error:
        raise CheckpointError(
            f"it was written under settings that this version of streamrnn does not know: {error}. Go on with the "
            "version that wrote it, or a later one"
        ) from error
    return was


def changes(configuration: Mapping[str, Any], config: Config, fingerprint: Mapping[str, Any]) -> list[Change]:
    """Every setting that is another one in ``config``, of that ``fingerprint``, than in a checkpoint's configuration.

    Raises CheckpointError where this version does not know what the checkpoint was written under.
    """
    old = former(config, configuration)
    before, now = _settings(old, configuration), _settings(config, fingerprint)
    if _BEGAN_WITH in before.keys() & now.keys() and not warm_start.is_told(config):
        now[_BEGAN_WITH] = before[_BEGAN_WITH]
    if not (_hashes(old) and _hashes(config)):  # the features that come or go are told themselves
        before.pop(_HASHED_BY, None)
        now.pop(_HASHED_BY, None)
    found = []
    for path in sorted(before.keys() | now.keys()):
        was, is_now = before.get(path, ABSENT), now.get(path, ABSENT)
        if was != is_now or isinstance(was, bool) != isinstance(is_now, bool):
            found.append(Change(path, was, is_now, *_verdict(path, old, config)))
    return [*_feature_changes(old, config), *found]


def places(old: Config, new: Config) -> tuple[int, ...]:
    """The column in ``new`` of each column of ``old``, by name."""
    names = new.feature_encoder().names
    return tuple(names.index(name) for name in old.feature_encoder().names)


def described(change: Change) -> str:
    """A change as a line of text.

    >>> described(Change("learning.lr", 0.003, 0.001, Way.AT_ONCE, ""))
    'learning.lr: 0.003 -> 0.001: at once'
    """
    why = f": {change.why}" if change.why else ""
    return f"{change.path}: {_shown(change.before)} -> {_shown(change.now)}: {change.way.value}{why}"


def ways_out(found: list[Change]) -> str:
    """What to do where some of the changes are not possible."""
    refused = {change.path for change in found if change.way is Way.IMPOSSIBLE}
    anew = (
        "Either put the old values back, or begin anew under the new ones: give the job another name, and another "
        "kafka.group_id if you set one (consumer group and checkpoints start afresh; the old ones stay)"
    )
    if not refused <= _NAMES_ALONE:
        return anew
    return f"{anew}. With model.warm_start the new job can begin with the model in these checkpoints"


def settings(config: Config) -> dict[str, Any]:
    """The settings of the job's fingerprint by dotted path, but for the features."""
    whole = learner_settings(config)
    del whole["features"]
    return dict(_leaves(whole))


# -- single settings --------------------------------------------------------------------------------------------------


def _settings(config: Config, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    found, digest = settings(config), warm_start.begun_with(fingerprint)
    if digest is not None:
        found[_BEGAN_WITH] = digest
    # As it was recorded, since the job of then is made again without its key. Where features were hashed and nothing
    # was recorded, no key was known yet.
    found.pop(_HASHED_BY, None)
    if (check := fingerprint.get("hashing", {}).get("check")) is not None:
        found[_HASHED_BY] = check
    return found


def _hashes(config: Config) -> bool:
    return any(isinstance(feature, Hash) for feature in config.features)


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict) and prefix + name not in _JUDGED_WHOLE:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _verdict(path: str, old: Config, new: Config) -> Verdict:
    if (rule := SETTINGS.get(path)) is not None:
        return rule(old, new)
    if (learned := learner_changes.SETTINGS.get(path)) is not None:
        return learned(old.learner_spec(), new.learner_spec())
    return Verdict(Way.IMPOSSIBLE, "nobody has said what becomes of what was learned")


def _feature_changes(old: Config, new: Config) -> Iterator[Change]:
    before = {(feature.field, _tag(feature)): feature for feature in old.features}
    now = {(feature.field, _tag(feature)): feature for feature in new.features}
    added = [key for key in now if key not in before]
    for field, tag in (key for key in before if key not in now):
        instead = next((key for key in added if key[0] == field), None)
        why = f"{_KEEP}; declared and not sent, a field counts as missing"
        if instead is not None:
            added.remove(instead)
            why = "the column would hold other numbers; the new encoder may stand beside the old one"
        yield Change(f"features[{field}]", tag, ABSENT if instead is None else instead[1], Way.IMPOSSIBLE, why)
    for field, tag in added:
        verdict = Verdict(Way.GROWTH, "new columns begin at zero") if tag != _SYMBOL else _LOOKED_UP_LATER
        yield Change(f"features[{field}]", ABSENT, tag, *verdict)
    shared = [key for key in before if key in now]
    for key in shared:
        for change in _changes_of_feature(before[key], now[key]):
            codes = of_codes(old.learner_spec(), new.learner_spec()) if change.path.endswith(".symbols") else None
            verdict = strictest(filter(None, (codes, Verdict(change.way, change.why))))
            yield change._replace(way=verdict.way, why=verdict.why)
    if (order := [key for key in now if key in before]) != shared:
        was, is_now = ([key[0] for key in features] for features in (shared, order))
        symbols, symbols_now = ([key for key in features if key[1] == _SYMBOL] for features in (shared, order))
        verdict = Verdict(Way.GROWTH, "columns change places") if symbols == symbols_now else _SYMBOLS_MOVED
        yield Change("features", was, is_now, *verdict)


def _changes_of_feature(old: FeatureSpec, new: FeatureSpec) -> Iterator[Change]:
    for name in old.__struct_fields__:
        was, is_now = getattr(old, name), getattr(new, name)
        if was == is_now:
            continue
        rule = FEATURE_SETTINGS.get((type(old), name))
        verdict = Verdict(Way.IMPOSSIBLE, "nobody has said what becomes of it") if rule is None else rule(old, new)
        yield Change(f"features[{old.field}].{name}", was, is_now, *verdict)


def _tag(feature: FeatureSpec) -> str:
    return str(feature.__struct_config__.tag)


def _shown(value: Any) -> str:
    text = ABSENT if value == ABSENT else json.dumps(msgspec.to_builtins(value), ensure_ascii=False)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}... ({len(text):,} characters)"
