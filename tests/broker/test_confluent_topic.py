"""When a topic that is in doubt counts as gone, and when as another one."""

from __future__ import annotations

import pytest

from streamrnn.broker.confluent_topic import State, Topic
from streamrnn.broker.protocol import TopicDescription, TopicPartition
from streamrnn.errors import BrokerError


class Cluster:
    """Answers what is put into it, and has the time."""

    def __init__(self, *answers: str | None) -> None:
        self.answers, self.now, self.asked = list(answers), 100.0, 0

    def describe(self) -> TopicDescription | None:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == "no answer":
            raise BrokerError(answer)
        return None if answer is None else TopicDescription(1, frozenset(), id=answer)

    def clock(self) -> float:
        return self.now


def states(cluster: Cluster, count: int) -> list[State]:
    topic = Topic(cluster.describe, cluster.clock)
    topic.doubt()
    found = []
    for _ in range(count):
        found.append(topic.state())
        cluster.now += 1.0
    return found


def test_nobody_is_asked_again_without_a_doubt_nor_more_than_once_a_second_nor_for_ever() -> None:
    cluster = Cluster("a")
    topic = Topic(cluster.describe, cluster.clock)
    assert [topic.state(), topic.state()] == [State.THE_SAME] * 2
    assert cluster.asked == 1
    topic.doubt()
    assert [topic.state(), topic.state()] == [State.THE_SAME] * 2
    assert cluster.asked == 2
    cluster.now += 1000.0
    assert (topic.state(), cluster.asked) == (State.THE_SAME, 2)


def test_another_id_is_another_topic_whether_it_was_found_gone_or_not() -> None:
    assert states(Cluster("a", "a", "b", "a"), 4) == [State.THE_SAME, State.ANEW, State.ANEW, State.ANEW]
    assert states(Cluster("a", None, None, "b"), 3) == [State.GONE, State.GONE, State.ANEW]


def test_a_topic_that_a_broker_did_not_know_for_a_moment_is_the_same() -> None:
    assert states(Cluster("a", None, "no answer", "a"), 4) == [State.GONE, State.GONE, State.THE_SAME, State.THE_SAME]


def test_one_that_cannot_be_subscribed_to_yet_is_gone_and_another_one_a_moment_later_whatever_is_told() -> None:
    for answer in ("b", ""):
        cluster = Cluster("a", "b", answer)
        topic = Topic(cluster.describe, cluster.clock)
        topic.doubt()
        assert topic.state() is State.ANEW
        topic.missing()
        assert topic.state() is State.GONE
        assert cluster.asked == 2, "in a second"
        cluster.now += 1.0
        assert topic.state() is State.ANEW


def test_who_tells_of_a_former_topic_has_not_heard_of_the_new_one() -> None:
    cluster = Cluster("a", "b", "a", "a", "b", "c")
    first = Topic(cluster.describe, cluster.clock)
    first.doubt()
    assert (first.known(), first.state()) == ("", State.ANEW)
    second = Topic(cluster.describe, cluster.clock, after=first)
    assert second.known() == "b"
    found = []
    for _ in range(3):
        found.append(second.state())
        cluster.now += 1.0
    assert found == [State.THE_SAME, State.THE_SAME, State.ANEW]


@pytest.mark.parametrize(
    ("answer", "lacks"), [("a", False), (None, True), ("b", True), ("", False)], ids=["same", "gone", "anew", "no id"]
)
def test_a_partition_that_a_broker_does_not_know_is_gone_where_the_topic_says_so(
    answer: str | None, lacks: bool
) -> None:
    cluster = Cluster("a", answer)
    topic = Topic(cluster.describe, cluster.clock)
    assert topic.lacks([TopicPartition("t", 0)]) is lacks
    assert topic.lacks([TopicPartition("t", 1)]), "it has one"


def test_without_ids_a_topic_that_was_gone_is_another_one() -> None:
    assert states(Cluster("", "", None, ""), 3) == [State.THE_SAME, State.GONE, State.ANEW]
