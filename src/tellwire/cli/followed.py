"""A topic of `tellwire listen`: its messages, its members, and the reason of a refusal in words, with its remedy."""

from collections.abc import Callable

from tellwire.cli.screen import Output
from tellwire.client import Client, PresenceState, ReceivedMessage, TopicRefused, TopicState

_IN_WORDS = {
    "TOPIC_FORBIDDEN": (
        "this user may not follow it",
        "Use a token whose claim `topics` allows it (`tellwire token --topic`), or let anyone subscribe by a rule in "
        "the gateway's TELLWIRE_TOPICS",
    ),
    "TOO_MANY_SUBSCRIPTIONS": ("these are too many topics for one connection", "Follow fewer at once"),
    "UNKNOWN_TYPE": ("this server has no topics", "Update it"),
}
"""The reason and the remedy, by code."""


_MOST_NAMES = 20
"""The members that are named at once; of the others the number is told."""


async def show_topic(
    client: Client,
    name: str,
    output: Output,
    is_news: Callable[[ReceivedMessage], bool],
    *,
    has_presence: bool = False,
) -> None:
    """Show the messages of a topic that are news, and with `has_presence` who comes and goes.

    Raises:
        TopicRefused: the user may not follow it, or may do so no longer.
        ClosedForGood: as from the client's own iteration.
    """
    topic = client.topic(name)
    topic.on_state(_TopicReporter(name, output).report)
    if has_presence:
        topic.on_presence(PresenceReporter(name, output).report)
    async with topic:
        async for message in topic:
            if is_news(message):
                output.show(message.payload)


def describe_refusal(refused: TopicRefused) -> str:
    """Return the reason of a refusal, and its remedy."""
    if refused.code not in _IN_WORDS:
        return f"{refused.topic}: refused: {refused} ({refused.code})"
    reason, remedy = _IN_WORDS[refused.code]
    return f"{refused.topic}: refused: {reason} ({refused.code}). {remedy}"


class _TopicReporter:
    """Shows changes of a topic's state, without repeating a note."""

    def __init__(self, name: str, output: Output) -> None:
        self._name = name
        self._output = output
        self._last_note = ""

    def report(self, state: TopicState) -> None:
        if state.status == "subscribed":
            self._say(f"following {self._name}")
            if not state.recovered:
                self._output.say(f"some messages of {self._name} may be missing: the gateway no longer has them")
        elif state.status == "subscribing" and state.code is not None:
            self._say(f"{self._name}: {state.message} ({state.code}); trying again")

    def _say(self, note: str) -> None:
        if note != self._last_note:
            self._last_note = note
            self._output.say(note)


class PresenceReporter:
    """Shows the members of a topic, and then who comes and goes."""

    def __init__(self, name: str, output: Output) -> None:
        self._name = name
        self._output = output
        self._shown: PresenceState | None = None

    def report(self, state: PresenceState) -> None:
        """Show the difference from the state that was shown last."""
        if state.code is not None:
            self._output.say(f"{self._name}: nobody is told who is there: {state.message} ({state.code})")
        elif state.is_live:
            before, self._shown = self._shown, state
            for line in self._all(state) if before is None else self._changes(before, state):
                self._output.say(line)

    def _all(self, state: PresenceState) -> list[str]:
        names = [each.user_id for each in state.members[:_MOST_NAMES]]
        more = f" and {state.count - len(names)} more" if state.count > len(names) else ""
        return [f"in {self._name}: {', '.join(names)}{more}"]

    def _changes(self, before: PresenceState, state: PresenceState) -> list[str]:
        were, are = ({each.user_id for each in one.members} for one in (before, state))
        came = [f"{each} came" for each in sorted(are - were)]
        left = [f"{each} left" for each in sorted(were - are)]
        if len(came) + len(left) > _MOST_NAMES:
            return self._all(state)
        if not came and not left:
            return [f"in {self._name}: {state.count} users"] if state.count != before.count else []
        return [f"in {self._name}: {each}; {state.count} are there" for each in came + left]
