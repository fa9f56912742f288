"""The counts of a node: plain numbers, under labels that no user can make."""

from tellwire.counts import FAST, Counts, Histogram, Tally
from tellwire.messages import create_message
from tellwire.model import Delivery, Target
from tellwire.ports import Published
from tellwire.publication import Publication
from tellwire.stream import Replay
from tellwire.topics import TopicRule, TopicRules

NOTE = create_message("note", 1)


def counts_with(*patterns: str) -> Counts:
    return Counts(TopicRules(rules=[TopicRule(pattern=each) for each in patterns]))


def publish(counts: Counts, target: Target, delivery: Delivery | None = None, seconds: float = 0.0) -> None:
    counts.published(Publication.of(target, NOTE), Published(None, delivery or Delivery()), seconds)


def test_a_value_is_counted_at_the_first_bound_that_it_does_not_exceed() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.5):
        histogram.observe(value)
    assert histogram.counts == [2, 1, 1]
    assert histogram.total == 5.5


def test_publications_are_counted_by_the_kind_of_their_target_and_topics_by_their_rule() -> None:
    counts = counts_with("moc:*")
    publish(counts, Target(user="ada"))
    publish(counts, Target(connection="c1"))
    publish(counts, Target(connections=("c1", "c2")))
    publish(counts, Target(all=True))
    for topic in ("moc:1", "moc:2", "elsewhere"):
        publish(counts, Target(topic=topic))
    assert counts.published_to == {"user": 1, "connections": 2, "all": 1, "topic": 3}
    assert counts.published_to_topics == {"moc:*": 2, "*": 1}


def test_deliveries_are_counted_by_outcome_and_publishes_by_time() -> None:
    counts = counts_with()
    publish(counts, Target(user="ada"), Delivery(delivered=2), FAST[0])
    publish(counts, Target(user="ben"), Delivery(delivered=1, gone=3, failed=4, unsent=5), 60.0)
    assert counts.deliveries == {"delivered": 3, "gone": 3, "failed": 4, "unsent": 5}
    assert (counts.publish_seconds.counts[0], counts.publish_seconds.counts[-1]) == (1, 1)


def test_close_codes_that_a_client_makes_up_are_one_label() -> None:
    counts = counts_with()
    for code in (1000, 1006, 4401, 3000, 3999, 4000, 4999):
        counts.connection_closed(code)
    assert counts.closed == {"1000": 1, "1006": 1, "4401": 1, "other": 4}


def test_refusals_and_ends_are_counted_by_their_words() -> None:
    counts = counts_with()
    counts.connection_refused("TOKEN_MISSING")
    counts.request_refused("TOO_MANY_REQUESTS")
    counts.publish_refused("worker")
    counts.publish_failed("HISTORY_UNAVAILABLE")
    counts.lease_expired("stalled")
    counts.escalation_ended("called")
    assert counts.refused == {"TOKEN_MISSING": 1}
    assert counts.requests_refused == {"TOO_MANY_REQUESTS": 1}
    assert counts.publishes_refused == {"worker": 1}
    assert counts.publishes_failed == {"HISTORY_UNAVAILABLE": 1}
    assert counts.leases_expired == {"stalled": 1}
    assert counts.escalations == {"called": 1}


def test_frames_and_welcomes_are_counted() -> None:
    counts = counts_with()
    counts.connection_opened()
    counts.frame_conflated()
    counts.frame_dropped()
    counts.frames_written(0.5)
    counts.welcomed(Replay(True, "e:1", [b"{}"], []), 0.1)
    counts.welcomed(Replay(False, "e:1", [], []), 0.1)
    assert (counts.opened, counts.conflated, counts.dropped) == (1, 1, 1)
    assert counts.write_delay_seconds.total == 0.5
    assert counts.welcome_messages.counts[:2] == [1, 1]
    assert counts.incomplete_welcomes == 1


def test_a_tally_counts_a_word_several_times() -> None:
    tally = Tally()
    tally.add("a")
    tally.add("a", 2)
    assert tally == {"a": 3}
