"""The project's own server as the handler of messages of own types.

    {"type": "rename_moc", "data": …, "id": "7"} of a client
      ─▶ POST {"type": "message", "timestamp": …, "data": {"userId", "connectionId", "message": {"type", "data"}}}
      ◀─ 2xx with {"type", "data"}: the result of the request │ 2xx without a body: no result
         4xx with {"message"}: `error` MESSAGE_REFUSED with this text │ else: `error` INTERNAL_ERROR

The webhook's id is made of the user's and of the request's, so it is the same if the client sends the request again.
"""

from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from tellwire import wire
from tellwire.decode_errors import DECODE_ERRORS
from tellwire.errors import MessageRefused, TellwireError
from tellwire.limits import MAX_WORDS_CHARACTERS
from tellwire.message_handlers import Unanswered
from tellwire.messages import Message, create_message
from tellwire.model import Sender, new_message_id, timestamp
from tellwire.text import shortened
from tellwire.webhooks.webhook import Webhook, WebhookAnswer, WebhookFailed


class _Message(Struct):
    type: str
    data: Any = None


class _Data(Struct, rename="camel"):
    user_id: str
    connection_id: str
    message: _Message


class _Call(Struct):
    type: str
    timestamp: str
    data: _Data


class _Refusal(Struct):
    message: str


class MessageWebhook:
    """Handles messages by a `Webhook`."""

    def __init__(self, webhook: Webhook) -> None:
        self._webhook = webhook

    async def handle(self, message_type: str, data: Any, sender: Sender) -> Message | None:
        """Return the message that the server answers with.

        Raises:
            MessageRefused: the server refuses it, with a text for the client.
            Unanswered: it did not answer, or its answer is not valid. That was told in the log.
        """
        call = _Call("message", timestamp(), _Data(sender.user_id, sender.connection_id, _Message(message_type, data)))
        try:
            answer = await self._webhook.post(wire.encode(call), request_id_of(sender), sender.user_id)
        except WebhookFailed as error:
            raise Unanswered(str(error)) from error
        if answer.is_success:
            return self._result(answer)
        raise self._refused(answer)

    def _result(self, answer: WebhookAnswer) -> Message | None:
        if not answer.body.strip():
            return None
        try:
            message = msgspec.json.decode(answer.body, type=_Message)
            return create_message(message.type, message.data)
        except (*DECODE_ERRORS, TellwireError) as error:
            raise self._unanswered(f"its answer is no message: {error}") from error

    def _refused(self, answer: WebhookAnswer) -> Exception:
        try:
            text = msgspec.json.decode(answer.body, type=_Refusal).message
        except DECODE_ERRORS:
            return self._unanswered(f"it answered {answer.status} without a message")
        return MessageRefused(shortened(text, MAX_WORDS_CHARACTERS))

    def _unanswered(self, reason: str) -> Unanswered:
        self._webhook.tell(reason)
        return Unanswered(reason)


def request_id_of(sender: Sender) -> str:
    """Return the id of the webhook for a client's request. One without an `id` gets a new one."""
    if sender.request_id is None:
        return f"msg_{new_message_id()}"
    return "msg_" + sha256(msgspec.json.encode([sender.user_id, sender.request_id])).hexdigest()[:32]
