"""All limits of the system, with their sources. Sizes are bytes, times are seconds, unless the name says otherwise.

The first group is API Gateway's own (developer guide, "Quotas for WebSocket APIs"). The gateway has the same limits, so
that an application behaves the same on your own machine and on AWS.
"""

from typing import Final

MAX_MESSAGE_BYTES: Final = 128 * 1024
"""Largest message, in either direction."""

MAX_FRAME_BYTES: Final = 32 * 1024
"""Largest WebSocket frame. A longer message is sent as several frames."""

IDLE_TIMEOUT_SECONDS: Final = 600.0
"""A connection without a frame in either direction for this long is closed with 1001."""

MAX_CONNECTION_SECONDS: Final = 7200.0
"""A connection older than this is closed with 1001."""

INTEGRATION_TIMEOUT_SECONDS: Final = 29.0
"""Longest time that API Gateway waits for a function."""

MIN_INTEGRATION_TIMEOUT_SECONDS: Final = 0.05
"""Shortest timeout of an integration."""

MAX_URL_CHARACTERS: Final = 4096
"""Longest URL of a handshake, with its query string."""

MAX_AUTHORIZER_RESULT_BYTES: Final = 8 * 1024
"""Largest result of an authorizer, as JSON."""

NEW_CONNECTIONS_PER_SECOND: Final = 500.0
"""Handshakes per second of an account and region; more are refused with 429."""

CONCURRENT_INVOCATIONS: Final = 1000
"""Concurrent invocations of an account and region (Lambda developer guide, "Lambda quotas"); more are throttled."""

FUNCTION_TIMEOUT_SECONDS: Final = 30.0
"""Timeout of a function that is not from a template."""

FUNCTION_MEMORY_MB: Final = 256
"""Memory of a function that is not from a template, as its context shows it."""

# --- ours ------------------------------------------------------------------------------------------------------------

OUTBOX_MAX_MESSAGES: Final = 1024
"""Messages queued for one client. A slow consumer with more is closed: waiting would not help it."""

OUTBOX_MAX_BYTES: Final = 1024 * 1024
"""Bytes queued for one client, in addition to the `WRITE_CHUNK_BYTES` its transport may hold."""

WRITE_CHUNK_BYTES: Final = 64 * 1024
"""Bytes given to a transport at a time; writing is paused until it has sent all of them."""

CLOSE_TIMEOUT_SECONDS: Final = 5.0
"""Time for a client to answer our close frame before its socket is closed (RFC 6455 §7.1.1 gives no number)."""

HEAD_TIMEOUT_SECONDS: Final = 10.0
"""Time for a request's head to arrive. A socket that connects and sends nothing must not stay open."""

MAX_HEAD_BYTES: Final = 64 * 1024
"""Largest request line with headers. Cognito's tokens are 1-2 KB, and browsers send a few cookies."""

DRAIN_SECONDS: Final = 10.0
"""Time from SIGTERM to exit, in which open requests and connections must end."""

HANDSHAKES_PER_SECOND: Final = 20.0
"""Handshakes per second of one address, on average. Loopback is exempt."""

HANDSHAKE_BURST: Final = 100
"""Handshakes of one address at once: an office behind one NAT that reconnects after a deployment."""

TRACKED_ADDRESSES: Final = 65_536
"""Addresses whose handshakes are counted; above it, those that were idle longest are removed."""

CACHED_TOKENS: Final = 65_536
"""Verified tokens cached until they expire: clients that all reconnect must not be verified again."""

JWKS_PENALTY_SECONDS: Final = 10.0
"""Shortest time between two fetches of a key set: random key ids must not flood the identity provider."""

JWKS_MAX_AGE_SECONDS: Final = 6 * 3600.0
"""Longest age of a key set. It is then fetched again, so that a withdrawn key stops working within hours."""

JWKS_MAX_BYTES: Final = 256 * 1024
"""Largest key set. Real ones have a few keys of about 500 bytes."""

MIN_SECRET_BYTES: Final = 32
"""Shortest HS256 secret: the key is at least as long as the hash (RFC 7518 §3.2)."""

MAX_PUBLISH_BYTES: Final = 1024 * 1024
"""Largest body of one publish: a message and its target, which may be a list of connections."""

MAX_BATCH_BYTES: Final = 16 * 1024 * 1024
"""Largest body of one NDJSON batch."""

PUBLISH_TIMEOUT_SECONDS: Final = 10.0
"""Time for a producer to publish one message to the gateway, retries included."""

PROGRESS_INTERVAL_SECONDS: Final = 0.25
"""Shortest time between two progress updates: four a second look live, more would only add traffic."""

AWS_ATTEMPT_SECONDS: Final = 5.0
"""Timeout of one request to DynamoDB or API Gateway. Both answer within tens of milliseconds."""

AWS_ATTEMPTS: Final = 6
"""Most attempts for a request that AWS throttles."""

AWS_FIRST_WAIT_SECONDS: Final = 0.1
AWS_LONGEST_WAIT_SECONDS: Final = 2.0
"""Backoff between two attempts: random up to a bound, which doubles from the first to the longest."""

AWS_CONCURRENT_POSTS: Final = 64
"""Concurrent posts to `@connections` of one broadcast. At 20 ms each that is 3,200 connections a second."""

CONNECTION_SETTLES_SECONDS: Final = 30.0
"""Age below which a connection may not be open yet, although `$connect` has stored it: API Gateway waits up to 29 s for
that function, and answers 410 until then. Its index entry may also be missing."""

DEADLINE_MARGIN_SECONDS: Final = 0.5
"""Time that a function reserves to report the messages it could not send."""

HISTORY_MAX_MESSAGES: Final = 1000
"""Messages kept in one user's log: more than anybody reads, and 1 MiB at 1 KB each."""

HISTORY_MAX_AGE_SECONDS: Final = 24 * 3600.0
"""Age up to which a message is kept: a laptop closed in the evening gets all messages in the morning."""

HISTORY_MAX_STATES: Final = 200
"""States kept of one user; those unchanged longest are removed first."""

HISTORY_CACHED_STREAMS: Final = 10_000
"""Streams kept in memory. Above it, those idle longest are dropped, and read again from a store."""

UPLOAD_LEASE_SECONDS: Final = 30
"""Lease of an upload: after this time without an update it is stalled, after twice the time it has failed."""

MIN_LEASE_SECONDS: Final = 1
MAX_LEASE_SECONDS: Final = 24 * 3600
"""Longest lease: the history keeps an upload no longer. The shortest lease is one second, because it is renewed three
times in its time."""

MAX_ROW_ERRORS: Final = 100_000
"""Row errors kept of one upload. Nobody corrects more by hand."""

ROW_ERRORS_CHUNK: Final = 400
"""Row errors sent to the gateway at a time. At their longest, 2.4 KB each in JSON, they fit into one publish."""

ROW_ERRORS_SECONDS: Final = 5.0
"""Time for a completed job to send the rest of its row errors, before its last state."""

SERVER_PING_SECONDS: Final = 25.0
"""Time without traffic after which the gateway sends a WebSocket ping. Proxies close idle connections: Heroku after 55
seconds, nginx after 60, Cloudflare after 100. Two pings fit into the shortest of these."""

MAX_UNANSWERED_PINGS: Final = 2
"""Unanswered pings after which a connection is closed when the next ping is due: its device is gone."""

CONNECTIONS_PER_TURN: Final = 200
"""Connections whose deadlines are checked in one turn of the event loop. After a message to all of them, all are due in
the same second, and a ping takes about 15 µs: so a message waits for 3 ms at most."""

HEARTBEAT_SECONDS: Final = 25
"""Time without a received message after which a client of a gateway sends `ping`. With 5 seconds for the answer, a dead
connection is found within 35 seconds."""

AWS_HEARTBEAT_SECONDS: Final = 240
"""Heartbeat on AWS, where each `ping` is an invocation that costs money: less than half of the idle limit."""

MAX_REQUEST_ID_CHARACTERS: Final = 64
"""Longest `id` of a client's request: enough for a UUID and a prefix."""

MAX_HISTORY_PAGE: Final = 100
"""Most messages in the answer to one `history` request."""

ROTATE_AFTER_SECONDS: Final = 6600
"""Age of a connection at which a client should open a new one, before the limit of two hours closes it."""

WELCOME_PAGE_BYTES: Final = 96 * 1024
"""Largest page of a welcome, so that it fits into API Gateway's 128 KiB with its envelope."""

HISTORY_HEAD_SECONDS: Final = 30 * 24 * 3600.0
"""Time that DynamoDB keeps the last offset of an idle user's log. After it, offsets begin again in another epoch."""

HISTORY_HOLE_SECONDS: Final = 0.2
"""Time that a reader on AWS waits for a message whose offset is assigned but not written: writing takes some 10 ms."""

HISTORY_IN_FLIGHT: Final = 16
"""Messages of one stream that may be written at the same time, and so be missing below the newest offset."""

MAX_REQUESTS_IN_FLIGHT: Final = 32
"""Requests of one connection that may be in progress. A page that cancels all its uploads at once has fewer."""

MAX_REQUESTS_REFUSED: Final = 64
"""Requests beyond it that are answered with an error, before the connection is closed with 4429."""
