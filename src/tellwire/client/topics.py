"""The topics that a client follows, as pure code: a subscription each, on the current connection.

    hello         names the topics; the server answers each after the user's own stream
    subscribe     asks for one: followed meanwhile, not answered, behind, or again after an error
    subscribed    pages as those of a welcome ─▶ the resequencer of the topic's stream
    unsubscribe   for one that was left; its messages do not pass from then on
    unsubscribed  the answer to that, or with a code: the right was withdrawn

What a client says of topics is paced as its requests are, and goes before them: they may be about a topic.
"""

from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from typing import Any, Final

from tellwire.client.actions import Action, Pass, Send, TopicChanged
from tellwire.client.backoff import bound_seconds
from tellwire.client.cursors import has_position, topic_stream
from tellwire.client.decode import ReceivedMessage, read_welcome
from tellwire.client.encode import subscribe, unsubscribe
from tellwire.client.options import ClientOptions
from tellwire.client.pacing import Pacing
from tellwire.client.requests import RETRYABLE
from tellwire.client.stream import Bounds
from tellwire.client.subscription import Subscription
from tellwire.client.topic_presence import TopicPresences
from tellwire.client.topic_state import TopicState

AGAIN_SECONDS: Final = 1.0
"""The shortest time from a page of a topic to the next `subscribe`, until a welcome names a longer one."""

Said = dict[str, tuple[str, int | None]]
"""The cursor and the version of each topic that a hello names."""

_PREFIX: Final = topic_stream("")
_TOO_MANY: Final = "TOO_MANY_SUBSCRIPTIONS"


class Topics:
    """The subscriptions, in the order in which they were followed. `cursors` is where the application is in topics.

    `jitter` returns a random number from 0 to 1. `pacing` is that of the requests, too. `presences` are told
    what becomes of topics.
    """

    def __init__(
        self,
        options: ClientOptions,
        jitter: Callable[[], float],
        pacing: Pacing,
        cursors: Mapping[str, str],
        bounds: Bounds,
        presences: TopicPresences,
    ) -> None:
        self._options = options
        self._presences = presences
        self._jitter = jitter
        self._pacing = pacing
        self._bounds = bounds
        self._stored = {name: cursor for name, cursor in cursors.items() if name.startswith(_PREFIX)}
        self._all: dict[str, Subscription] = {}
        self._changed: list[Action] = []
        self._number: int | None = None
        self._is_paused = False
        self._max_subscriptions = inf
        self._again_seconds = AGAIN_SECONDS
        self.due = inf

    def cursors(self, waiting: Callable[[str], str | None]) -> dict[str, str]:
        """Return the cursor of each topic to come back with; see `Recovery.cursors`."""
        cursors = dict(self._stored)
        for topic, each in self._followed().items():
            name = topic_stream(topic)
            if (cursor := each.stream.cursor_to_store(waiting(name))) is not None:
                cursors[name] = cursor
        return cursors

    def obey(self, max_subscriptions: float | None, hello_interval_seconds: float | None) -> None:
        """Take the limits of a welcome; None if it does not say one."""
        self._max_subscriptions = max_subscriptions or self._max_subscriptions
        self._again_seconds = max(AGAIN_SECONDS, hello_interval_seconds or self._again_seconds)

    def _followed(self) -> dict[str, Subscription]:
        return {topic: each for topic, each in self._all.items() if each.is_followed}

    # --- what the application asks ------------------------------------------------------------------------------------

    def follow(self, topic: str, start: str | None, now: float) -> None:
        """Follow a topic, from its stored cursor or else from `start` on; None: from now on."""
        subscription = self._all.pop(topic, None) or Subscription(self._bounds, partial(self._tell, topic))
        subscription.follow(self._stored.pop(topic_stream(topic), start), start)
        self._all[topic] = subscription
        if self._number is not None and subscription.awaits is None:
            subscription.say_at = now

    def leave(self, topic: str, now: float) -> None:
        """Follow a topic no longer, and forget its cursor."""
        if (subscription := self._all.get(topic)) is not None:
            self._presences.unwatch(topic)
            subscription.leave(now)
            self._tidy(topic, now)

    def watch(self, topic: str) -> None:
        """Report the members of a topic that is followed."""
        if (subscription := self._followed().get(topic)) is not None:
            self._presences.watch(topic, is_subscribed=subscription.is_answered)

    def _tidy(self, topic: str, now: float) -> None:
        """Forget a topic that is over, and ask for those that had no room."""
        subscription = self._all.get(topic)
        if subscription is None or subscription.is_known:
            return
        if subscription.is_over:
            del self._all[topic]
        room = self._max_subscriptions - sum(each.is_known for each in self._all.values())
        waiting = [each for each in self._followed().values() if each.state.code == _TOO_MANY and not each.is_known]
        for each in waiting[: None if room == inf else max(0, int(room))]:
            each.say_at = min(each.say_at, now)

    def _tell(self, topic: str, state: TopicState) -> None:
        self._changed.append(TopicChanged(topic, state))

    # --- the current connection ---------------------------------------------------------------------------------------

    def begin(self, number: int, now: float, *, missed_nothing: bool) -> None:
        """Ask on this connection, the current one from now on, by its hello (`hello`) or else by `subscribe`."""
        self._forget()
        self._number = number
        self._missed_nothing = missed_nothing
        for topic, each in self._all.items():
            self._presences.withdraw(topic)
            each.end()
            each.say_at = now

    def hello(self, now: float) -> Said:
        """Return the topics that a hello names: those that are awaited, or to be asked for."""
        missed_nothing, self._missed_nothing = self._missed_nothing, False
        asked = {topic: each for topic, each in self._all.items() if each.is_to_be_asked}
        said: Said = {}
        for topic, each in list(asked.items())[: self._bounds.hello_topics]:
            cursor, version = each.ask(now, self._again_at(each, now), missed_nothing=missed_nothing)
            said[topic] = (cursor or "", version)
        return said

    def expect(self, now: float) -> None:
        """Give each awaited answer its whole time from now on: a page has come, or the computer has slept."""
        for each in self._all.values():
            if each.awaits is not None:
                each.say_at = self._again_at(each, now)
            elif each.say_at < inf:
                # The clock may have been set back.
                each.say_at = min(each.say_at, now + self._options.backoff_max_seconds)

    def _again_at(self, each: Subscription, now: float) -> float:
        return now + self._options.answer_timeout_seconds + self._wait(each)

    def _wait(self, each: Subscription) -> float:
        return self._jitter() * bound_seconds(self._options, each.failures)

    def pause(self, number: int) -> None:
        """Expect nothing, as long as nothing is read."""
        self._is_paused |= number == self._number

    def resume(self, number: int, now: float) -> None:
        """Expect answers again."""
        if number == self._number and self._is_paused:
            self._is_paused = False
            self.expect(now)

    def end(self) -> None:
        """Note that there is no connection."""
        self._forget()
        for topic, each in self._all.items():
            self._presences.lose(topic)
            each.lose()

    def stop(self) -> None:
        """Expect nothing any more: the client is closed."""
        self._forget()
        for topic, each in self._all.items():
            self._presences.lose(topic)
            each.end()

    def begin_anew(self) -> None:
        """Follow the same topics as another user, with nothing of the one before."""
        self._stored = {}
        self._forget()
        for topic, each in self._all.items():
            self._presences.clear(topic)
            each.begin_anew()

    def _forget(self) -> None:
        self._number, self._is_paused, self._missed_nothing = None, False, False
        self._all = self._followed()

    # --- what comes ---------------------------------------------------------------------------------------------------

    def receive(self, message: ReceivedMessage, now: float, *, is_beside: bool) -> list[Action]:
        """Take a live message of a topic. One of a topic that the client does not follow does not pass."""
        topic = message.topic or ""
        if (subscription := self._all.get(topic)) is None:
            return []
        messages = subscription.receive(message, is_beside=is_beside)
        subscription.ask_if_missing(now, self._again_seconds)
        return _passed(topic, messages)

    def answered(self, number: int, message: ReceivedMessage, now: float) -> list[Action]:
        """Take `subscribed`, `unsubscribed`, or news of members."""
        match message.type:
            case "subscribed":
                return self._subscribed(number, message, now)
            case "unsubscribed":
                self._unsubscribed(number, message, now)
            case _ if number == self._number:
                self._presences.receive(message)
        return []

    def _subscribed(self, number: int, message: ReceivedMessage, now: float) -> list[Action]:
        """Take a page. One that is not awaited changes nothing."""
        topic, subscription = self._subject(number, message)
        page = read_welcome(message)
        if page is None or subscription is None or subscription.awaits != "subscribed":
            return []
        self.expect(now)
        messages = subscription.page(page, now, subscription.say_at)
        subscription.ask_if_missing(now, self._again_seconds)
        if page.last and subscription.state.status == "subscribed":
            self._presences.ask(topic)
        return _passed(topic, messages)

    def _unsubscribed(self, number: int, message: ReceivedMessage, now: float) -> None:
        """Take the answer to an `unsubscribe`, or the news that a right was withdrawn."""
        topic, subscription = self._subject(number, message)
        if subscription is None:
            return
        if (code := message.data.get("code")) is None:
            subscription.unsubscribed(now)
        else:
            self._presences.clear(topic)
            subscription.refuse(str(code), _words(message), now)
        self._tidy(topic, now)

    def failed(self, number: int, error: ReceivedMessage, now: float) -> bool:
        """Take an error about topics, and return True if it is one. It does not pass."""
        data = error.data if isinstance(error.data, dict) else {}
        if has_position(error) or data.get("id") is not None:
            return False
        if isinstance(data.get("topic"), str):
            topic, subscription = self._subject(number, error)
            if subscription is not None:
                self._fail(topic, subscription, error, now)
            return True
        awaited = [topic for topic, each in self._all.items() if each.awaits is not None]
        if data.get("code") != "UNKNOWN_TYPE" or number != self._number or not awaited:
            return False
        for topic in awaited:
            self._fail(topic, self._all[topic], error, now)
        return True

    def _fail(self, topic: str, each: Subscription, error: ReceivedMessage, now: float) -> None:
        code = str(error.data.get("code"))
        if code in RETRYABLE:
            each.fail(code, _words(error), now + self._wait(each))
            return
        if each.awaits == "unsubscribed":
            each.unsubscribed(now)
        self._presences.clear(topic)
        each.refuse(code, _words(error), now)
        if code != _TOO_MANY:
            self._tidy(topic, now)
        elif each.is_over:
            del self._all[topic]

    def _subject(self, number: int, message: ReceivedMessage) -> tuple[str, Subscription | None]:
        """Return the topic that a message of the current connection is about, and its subscription."""
        topic = message.data.get("topic") if isinstance(message.data, dict) else None
        is_one = isinstance(topic, str) and number == self._number
        return topic or "", self._all.get(topic or "") if is_one else None

    def renewed(self, number: int, now: float) -> None:
        """Ask again for refused topics: the server has another token."""
        for each in self._followed().values():
            if number == self._number and each.is_refused and each.awaits is None:
                each.say_at = now

    def pong(self, number: int, data: Any, now: float) -> None:
        """Note the ends of streams."""
        ends = data.get("topics") if isinstance(data, dict) else None
        for topic, end in ends.items() if isinstance(ends, dict) and number == self._number else ():
            if (subscription := self._all.get(topic)) is not None:
                subscription.stream.pong(end, now)

    # --- time ---------------------------------------------------------------------------------------------------------

    def proceed(self, now: float, number: int | None) -> list[Action]:
        """Send due requests on a link, each in its turn; None: there is none. Tell the states that are new."""
        self.due = inf
        actions: list[Action] = []
        if number is not None and number == self._number and not self._is_paused:
            for topic, each in self._all.items():
                actions += self._say(topic, each, now, number)
        changed, self._changed = self._changed, []
        return actions + changed

    def _say(self, topic: str, each: Subscription, now: float, number: int) -> list[Action]:
        each.stream.check(now)
        each.ask_if_missing(now, self._again_seconds)
        if each.say_at <= now and not self._has_room(each):
            each.refuse_one_more(self._max_subscriptions)
        if each.say_at > now:
            self.due = min(self.due, each.due)
            return []
        if (turn := self._pacing.turn(now)) > now:
            self.due = min(self.due, turn)
            return []
        if each.is_followed and each.awaits != "unsubscribed":
            payload = subscribe(topic, *each.ask(now, 0.0))
        else:
            payload = unsubscribe(topic)
            each.unsubscribe(0.0)
        each.say_at = self._again_at(each, now)
        self.due = min(self.due, each.due)
        return [Send(number, payload)]

    def _has_room(self, each: Subscription) -> bool:
        return each.is_known or sum(other.is_known for other in self._all.values()) < self._max_subscriptions


def _passed(topic: str, messages: list[ReceivedMessage]) -> list[Action]:
    return [Pass(messages, topic)] if messages else []


def _words(message: ReceivedMessage) -> str:
    words = message.data.get("message")
    return words if isinstance(words, str) else ""
