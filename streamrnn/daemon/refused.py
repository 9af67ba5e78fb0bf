"""What becomes of an output that its topic does not take: it must not cost the batch it is in, nor be tried for ever.

A broker refuses all records that were sent with a bad one. So what was refused is sent again in ever smaller groups, in
order, until the bad one stands alone; it is then changed so that it can be taken:

* a time the topic does not allow becomes the present;
* no key, where the topic is compacted, becomes the place of the input record, ``topic/partition/offset``;
* a dead letter that is too large is shortened, half and half again;
* a prediction that cannot be helped becomes a dead letter, and a dead letter that cannot be helped is counted, logged
  and given up. The learner has had the record in any case.

What one record has taught about a topic holds for the next ones, for a minute: topics' settings change.

Order: behind a record that was refused, others of its stream may have arrived. They are sent again after it, so that
the last ones of a stream in the topic are always its newest. Nothing else is sent twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from streamrnn.broker.columns import Outputs
from streamrnn.broker.protocol import Output, Record
from streamrnn.daemon.logs import Seldom
from streamrnn.daemon.outgoing import batches
from streamrnn.daemon.partition import Partition
from streamrnn.errors import RecordError, RefusedError, UndeliveredError
from streamrnn.job.codec.dead_letters import encode_dead_letter, shorten_dead_letter
from streamrnn.job.config import OutputConfig

_log = logging.getLogger(__name__)

REMEMBERED_S = 60.0
"""How long it is taken for granted that a topic refuses what it refused."""

_KEY_SHARE = 4  # a key that takes more than this part of what a topic allows leaves too little for the rest


@dataclass
class Sent:
    """An output, and the form it was sent in last; None once it is given up; ``refusal``: why that is another one."""

    partition: Partition
    output: Output
    form: Output | None
    refusal: RefusedError | None = None

    @property
    def identity(self) -> tuple[int, str, int]:
        """The same for copies that are sent again: a partition has one output in a topic for an input record."""
        return id(self.partition), self.output.topic, self.output.offset


@dataclass
class _Limits:
    """What a topic was found to refuse since ``found_at``; None where nothing of the kind was refused."""

    found_at: float
    too_large: int | None = None  # bytes
    fits: int | None = None  # bytes that were taken when those were not
    too_old_ms: int | None = None  # the least age that was refused
    too_new_ms: int | None = None  # the least time ahead that was refused
    needs_key: bool = False

    def learn_time(self, now_ms: int, refused_ms: int, allowed: tuple[int, int] | None) -> None:
        """A timestamp was refused, and perhaps the broker said which are allowed.

        Else half as old, or new, is taken to be refused as well: the records of an old log come in order, each a little
        younger than the one before, and would all be tried.
        """
        first, last = allowed or ((now_ms + refused_ms) // 2, (now_ms + refused_ms) // 2)
        if refused_ms < now_ms:
            self.too_old_ms = now_ms - first
        else:
            self.too_new_ms = last - now_ms

    def against(self, output: Output, now_ms: int) -> RefusedError | None:
        """What the topic would have against this output."""
        if self.needs_key and output.key is None:
            return RefusedError("invalid", "it takes no records without a key")
        if output.timestamp_ms is not None:
            age_ms = now_ms - output.timestamp_ms
            too_old = self.too_old_ms is not None and age_ms >= self.too_old_ms
            if too_old or (self.too_new_ms is not None and -age_ms >= self.too_new_ms):
                return RefusedError("bad_timestamp", "it takes no such timestamp")
        if self.too_large is not None and _size(output) >= self.too_large:
            return RefusedError("too_large", f"it has refused {self.too_large} bytes")
        return None


class Refused:
    """Outputs on their second way. ``send`` hands one to the broker, ``flush`` waits for all that were."""

    def __init__(self, to: OutputConfig, send: Callable[[Partition, Output], None], flush: Callable[[], None]) -> None:
        self._to, self._send, self._flush = to, send, flush
        self._limits: dict[str, _Limits] = {}
        self._outstanding: list[Sent] = []  # handed over and not flushed yet, by ``sort_out``
        self._seldom: dict[tuple[str, str], Seldom] = {}  # by topic and reason

    @property
    def warned(self) -> bool:
        """Whether something was refused lately, so that :meth:`send` is to be asked first."""
        now = time.monotonic()
        self._limits = {topic: known for topic, known in self._limits.items() if now - known.found_at < REMEMBERED_S}
        return bool(self._limits)

    def send(self, partition: Partition, outputs: Sequence[Output], handed_over: list[Output]) -> None:
        """Send outputs, changing those that would be refused; ``handed_over`` gets what was sent, in order."""
        sent = [Sent(partition, output, output) for output in outputs]
        try:
            # What was sent before an error is in the list all the same.
            handed_over.extend(each.form for each in sent if self._hand_over(each) and each.form is not None)
        finally:
            self._account(sent)

    def outstanding(self) -> list[tuple[Partition, Outputs]]:
        """What an interrupted :meth:`sort_out` had sent since its last flush; forgotten here."""
        sent, self._outstanding = self._outstanding, []
        return [(each.partition, Outputs.of([each.form])) for each in sent if each.form is not None]

    def sort_out(self, sent: Sequence[Sent], refused: Mapping[int, RefusedError | None]) -> None:
        """Deliver what was refused among ``sent``, as far as it can be; all the rest has arrived.

        The outputs of their partitions are then those that were taken. Raises BrokerError when the broker is away.
        """
        groups = [self._to_send_again(sent, _last_copies(sent, refused))]
        try:
            while groups:
                group = self._outstanding
                for each in groups.pop():
                    if self._hand_over(each):
                        group.append(each)
                refused = self._outcome()
                if not refused:
                    self._note_what_fits(group)
                elif len(again := self._to_send_again(group, refused)) == 1:
                    (refusal,) = (error for error in refused.values() if error is not None)
                    self._learn_and_change(again[0], refusal)
                    groups.append(again)
                else:
                    half = len(again) // 2
                    groups += [again[half:], again[:half]]
        finally:
            self._account(sent)

    def _hand_over(self, each: Sent) -> bool:
        """Send an output in a form that its topic may take; False when there is none."""
        while each.form is not None:
            limits = self._limits.get(each.form.topic)
            refusal = None if limits is None else limits.against(each.form, _now_ms())
            if refusal is None:
                try:
                    self._send(each.partition, each.form)
                    return True
                except RefusedError as error:
                    self._learn_and_change(each, error)
            else:
                self._change(each, each.form, refusal)
        return False

    def _outcome(self) -> Mapping[int, RefusedError | None]:
        try:
            self._flush()
        except UndeliveredError as error:
            if not error.refused:
                raise
            return error.refused
        finally:
            self._outstanding = []
        return {}

    def _to_send_again(self, sent: Sequence[Sent], refused: Mapping[int, RefusedError | None]) -> list[Sent]:
        """What was refused, and behind each prediction of it those of the same stream."""
        again: list[Sent] = []
        streams: set[bytes | None] = set()
        for place, each in enumerate(sent):
            stream = each.form.key if each.form is not None and each.form.topic == self._to.topic else None
            if place in refused:
                streams.add(stream)
                again.append(each)
            elif stream is not None and stream in streams:
                again.append(each)
        return again

    # -- what a topic takes -------------------------------------------------------------------------------------------

    def _learn_and_change(self, each: Sent, refusal: RefusedError) -> None:
        if each.form is not None:
            self._learn(each.form, refusal)
            self._change(each, each.form, refusal)

    def _learn(self, output: Output, refusal: RefusedError) -> None:
        now = time.monotonic()
        limits = self._limits.setdefault(output.topic, _Limits(now))
        limits.found_at = now
        if refusal.reason == "too_large":
            limits.too_large = min(_size(output), limits.too_large or _size(output))
            if limits.fits is not None and limits.fits >= limits.too_large:
                limits.fits = None
        elif refusal.reason == "bad_timestamp" and output.timestamp_ms is not None:
            limits.learn_time(_now_ms(), output.timestamp_ms, refusal.timestamps)
        elif refusal.reason == "invalid" and output.key is None:
            limits.needs_key = True

    def _note_what_fits(self, taken: Sequence[Sent]) -> None:
        for each in taken:
            if each.form is not None and (limits := self._limits.get(each.form.topic)) and limits.too_large is not None:
                limits.fits = max(_size(each.form), limits.fits or 0)

    def _change(self, each: Sent, output: Output, refusal: RefusedError) -> None:
        """Give the output, refused in this form, another one, against which the topic should not have the same."""
        each.refusal = each.refusal or refusal
        each.form = None
        if refusal.reason == "bad_timestamp" and output.timestamp_ms is not None:
            each.form = output._replace(timestamp_ms=None)
        elif refusal.reason == "invalid" and output.key is None:
            each.form = output._replace(key=_place(each.partition, output))
        elif output.topic != self._to.topic:
            if refusal.reason == "too_large":
                each.form = self._shortened(each.partition, output)
        else:
            each.form = self._dead_letter(each.partition, output, refusal)

    def _shortened(self, partition: Partition, output: Output) -> Output | None:
        limits, size = self._limits.get(output.topic), _size(output)
        target = limits.fits if limits is not None and limits.fits is not None and limits.fits < size else size // 2
        key = output.key
        if key is not None and len(key) > target // _KEY_SHARE:
            key = _place(partition, output)  # not its beginning, which others may have as well
        value = shorten_dead_letter(output.value or b"", target - len(key or b""))
        shorter = output._replace(key=key, value=value)
        return shorter if _size(shorter) < size else None

    def _dead_letter(self, partition: Partition, prediction: Output, refusal: RefusedError) -> Output:
        """The dead letter of a prediction, which it holds in place of the record's value."""
        tp, (_, key, value, timestamp_ms, _, offset) = partition.tp, prediction
        detail = f"topic {prediction.topic} refuses the prediction, which is the value here: {refusal}"
        record = Record(tp.topic, tp.partition, offset, -1 if timestamp_ms is None else timestamp_ms, key, value)
        letter = encode_dead_letter(record, RecordError("undeliverable", detail), self._to.dead_letter_value_bytes)
        return Output(self._to.dead_letter_topic, key, letter, offset=offset)

    # -- the account --------------------------------------------------------------------------------------------------

    def _account(self, sent: Sequence[Sent]) -> None:
        """Put what was changed in place of what was refused, count it, and say so now and then."""
        changed = [each for each in sent if each.form is not each.output]
        if not changed:
            return
        forms = {each.identity: each.form for each in changed}
        for partition in {id(each.partition): each.partition for each in changed}.values():
            partition.outputs = _amended(partition, forms)
        kinds: dict[tuple[str, str], list[Sent]] = {}
        for each in changed:
            self._count(each)
            kinds.setdefault((each.output.topic, "" if each.refusal is None else each.refusal.reason), []).append(each)
        for kind, alike in kinds.items():
            self._tell(alike[0], self._seldom.setdefault(kind, Seldom()).due(len(alike)))

    def _count(self, each: Sent) -> None:
        reason = "invalid" if each.refusal is None else each.refusal.reason
        lost = each.form is None or each.form.topic != each.output.topic
        if not lost:
            each.partition.metrics.amended(reason)
            return
        if each.output.topic == self._to.topic:
            each.partition.metrics.undeliverable("prediction", reason)
        if each.form is None:
            each.partition.metrics.undeliverable("dead_letter", reason)

    def _tell(self, each: Sent, total: int | None) -> None:
        if total is None:  # not so soon after the last line
            return
        output, form = each.output, each.form
        what = "prediction" if output.topic == self._to.topic else "dead letter"
        became = "it is given up" if form is None else "it went there in another form"
        if form is not None and form.topic != output.topic:
            became = f"a dead letter in {form.topic} says so"
        _log.warning(
            "%s: topic %s refuses the %s for offset %d, of %d bytes (%s): %s; %d such outputs since the last line like "
            "this, of which there is one a minute",
            each.partition.tp, output.topic, what, output.offset, _size(output), each.refusal, became, total,
        )  # fmt: skip


def _last_copies(sent: Sequence[Sent], refused: Mapping[int, RefusedError | None]) -> Mapping[int, RefusedError | None]:
    """Without those that were sent again since: what became of the newer copy counts."""
    last = {each.identity: place for place, each in enumerate(sent)}
    return {place: error for place, error in refused.items() if last[sent[place].identity] == place}


def _amended(partition: Partition, forms: Mapping[tuple[int, str, int], Output | None]) -> list[Outputs]:
    """A partition's outputs with those that were changed in their new form, in the same order."""
    amended: list[Outputs] = []
    for batch in partition.outputs:
        ours = [(id(partition), batch.topic, offset) for offset in batch.offset.tolist()]
        if forms.keys().isdisjoint(ours):
            amended.append(batch)
        else:
            kept = (forms.get(one, output) for one, output in zip(ours, batch, strict=True))
            amended += batches(output for output in kept if output is not None)
    return amended


def _place(partition: Partition, output: Output) -> bytes:
    return f"{partition.tp}/{output.offset}".encode()


def _size(output: Output) -> int:
    return len(output.key or b"") + len(output.value or b"")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
