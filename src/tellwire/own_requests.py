"""Requests of the project's own types: their handlers, and the ledger by which a repeated request is not run again.

a request without an id    the handler's message is its answer
a request with an id       ledger.begin ─▶ the handler ─▶ ledger.finish ─▶ `ok` with the message │ `error`
the same one again         the answer that was given │ `error` REQUEST_RUNNING: its handler is not done yet
"""

from collections.abc import Callable

from tellwire import protocol
from tellwire.errors import InvalidMessage, MessageTooBig, TellwireError
from tellwire.limits import MAX_MESSAGE_BYTES, MAX_REQUEST_ANSWER_BYTES
from tellwire.message_handlers import MessageHandlers, Unanswered
from tellwire.messages import encode_message
from tellwire.model import Sender
from tellwire.ports import Peer, RequestLedger

Public = Callable[[TellwireError, Peer], TellwireError]
"""Returns the error that a client may see in place of one of the server, which it logs."""


class OwnRequests:
    """The answers to requests of own types. Without a ledger a repeated request is run again."""

    def __init__(self, handlers: MessageHandlers, ledger: RequestLedger | None, public: Public) -> None:
        self._handlers = handlers
        self._ledger = ledger
        self._public = public

    async def answer(self, request: protocol.Custom, peer: Peer) -> bytes | None:
        """Return the answer for the client; None: there is none.

        Raises:
            Exception: all but `InvalidMessage` that the handler raises.
        """
        ledger, request_id = self._ledger, request.request_id
        if ledger is None or request_id is None:
            return await self._call(request, peer)
        try:
            known = await ledger.begin(peer.user_id, request_id)
        except TellwireError as error:
            return protocol.refusal(self._public(error, peer), request_id)
        if known is not None:
            return known
        try:
            answer = await self._call(request, peer) or b""
        except Exception:
            await self._remember(ledger, peer, request_id, protocol.failed(request_id))
            raise
        await self._remember(ledger, peer, request_id, answer)
        return answer

    async def _call(self, request: protocol.Custom, peer: Peer) -> bytes | None:
        request_id = request.request_id
        try:
            sender = Sender(peer.user_id, peer.connection_id, request_id)
            message = await self._handlers.call(request.type, request.data, sender)
        except InvalidMessage as error:
            return protocol.refusal(error, request_id)
        except Unanswered:
            return protocol.failed(request_id)
        result = None if message is None else encode_message(message)
        if request_id is None:
            return result
        answer = protocol.ok(request_id, result)
        if len(answer) > MAX_MESSAGE_BYTES:
            raise MessageTooBig(len(answer), MAX_MESSAGE_BYTES)
        return answer

    async def _remember(self, ledger: RequestLedger, peer: Peer, request_id: str, answer: bytes) -> None:
        """Keep an answer, before the client can repeat its request. One that is too long is kept without its result."""
        kept = answer if len(answer) <= MAX_REQUEST_ANSWER_BYTES else protocol.ok(request_id)
        try:
            await ledger.finish(peer.user_id, request_id, kept)
        except TellwireError as error:
            self._public(error, peer)
