"""Every bound of the system, with its source. Sizes are bytes, times are seconds, unless the name says otherwise.

The first group is API Gateway's own (developer guide, "Quotas for WebSocket APIs"). The gateway keeps the same ones,
so that what works on your own machine works on AWS.
"""

from typing import Final

MAX_MESSAGE_BYTES: Final = 128 * 1024
"""One message, in either direction."""

MAX_FRAME_BYTES: Final = 32 * 1024
"""One WebSocket frame. A longer message is sent as several."""

IDLE_TIMEOUT_SECONDS: Final = 600.0
"""A connection that says and hears nothing for this long is closed with 1001."""

MAX_CONNECTION_SECONDS: Final = 7200.0
"""A connection older than this is closed with 1001."""

INTEGRATION_TIMEOUT_SECONDS: Final = 29.0
"""How long API Gateway waits for a function at most."""

MIN_INTEGRATION_TIMEOUT_SECONDS: Final = 0.05
"""How short an integration's timeout may be."""

MAX_URL_CHARACTERS: Final = 4096
"""A WebSocket's URL, with its query string."""

MAX_AUTHORIZER_RESULT_BYTES: Final = 8 * 1024
"""What an authorizer returns, as JSON."""

NEW_CONNECTIONS_PER_SECOND: Final = 500.0
"""Handshakes of an account and region; above it, 429."""

CONCURRENT_INVOCATIONS: Final = 1000
"""Invocations of an account and region at a time (Lambda developer guide, "Lambda quotas"); above it, throttled."""

FUNCTION_TIMEOUT_SECONDS: Final = 30.0
"""A function's own timeout, for functions that come without a template."""

FUNCTION_MEMORY_MB: Final = 256
"""What a function that comes without a template is told to have."""

# --- ours ------------------------------------------------------------------------------------------------------------

OUTBOX_MAX_MESSAGES: Final = 1024
"""Messages waiting for one client. A client further behind than this is not coming back by waiting."""

OUTBOX_MAX_BYTES: Final = 1024 * 1024
"""Bytes waiting for one client, beside the `WRITE_CHUNK_BYTES` its transport may hold."""

WRITE_CHUNK_BYTES: Final = 64 * 1024
"""What a transport is handed at a time; it pauses us while any of it is left."""

CLOSE_TIMEOUT_SECONDS: Final = 5.0
"""How long a client may take to answer our close frame before its socket is cut (RFC 6455 §7.1.1 leaves it to us)."""

HEAD_TIMEOUT_SECONDS: Final = 10.0
"""How long a request's head may take to arrive. A socket that connects and says nothing must not stay."""

MAX_HEAD_BYTES: Final = 64 * 1024
"""A request line and its headers. Cognito's tokens are 1-2 KB, and browsers send a few cookies."""

DRAIN_SECONDS: Final = 10.0
"""From SIGTERM to exit: what open requests and connections have to end in."""

HANDSHAKES_PER_SECOND: Final = 20.0
"""Handshakes one address may make, on average. Loopback is exempt."""

HANDSHAKE_BURST: Final = 100
"""Handshakes one address may make at once: an office behind one NAT, coming back after a deploy."""

TRACKED_ADDRESSES: Final = 65_536
"""Addresses whose handshakes are counted; past this the ones that were quiet longest are forgotten."""

CACHED_TOKENS: Final = 65_536
"""Verified tokens remembered until they expire: a reconnect storm must not verify twice."""

JWKS_PENALTY_SECONDS: Final = 10.0
"""No second fetch of a key set this soon after the last: random key ids must not flood the identity provider."""

JWKS_MAX_AGE_SECONDS: Final = 6 * 3600.0
"""A key set older than this is fetched anew, so that a withdrawn key stops working within the working day."""

JWKS_MAX_BYTES: Final = 256 * 1024
"""A key set. Real ones have a handful of keys of about 500 bytes."""

MIN_SECRET_BYTES: Final = 32
"""RFC 7518 §3.2: an HS256 key is at least as long as the hash."""

MAX_PUBLISH_BYTES: Final = 1024 * 1024
"""The body of one publish: a message and its target, which may be a list of connections."""

MAX_BATCH_BYTES: Final = 16 * 1024 * 1024
"""The body of one NDJSON batch."""

PUBLISH_TIMEOUT_SECONDS: Final = 10.0
"""How long a producer tries to hand one message to the gateway, retries included."""

PROGRESS_INTERVAL_SECONDS: Final = 0.25
"""Four updates a second look live; more are noise on the wire."""

AWS_ATTEMPT_SECONDS: Final = 5.0
"""How long one request to DynamoDB or API Gateway may take. Both answer within tens of milliseconds."""

AWS_ATTEMPTS: Final = 6
"""How often a request that AWS was too busy for is made, at most."""

AWS_FIRST_WAIT_SECONDS: Final = 0.1
AWS_LONGEST_WAIT_SECONDS: Final = 2.0
"""Waits between two attempts are anything up to a bound, which doubles from the first to the longest."""

AWS_CONCURRENT_POSTS: Final = 64
"""Posts to `@connections` under way for one broadcast. At 20 ms each that is 3,200 connections a second."""

CONNECTION_SETTLES_SECONDS: Final = 30.0
"""A connection younger than this may not be open yet when `$connect` has stored it: API Gateway waits up to 29 s for
that function, and answers 410 until then. Nor is it in the index yet, maybe."""

DEADLINE_MARGIN_SECONDS: Final = 0.5
"""What a function keeps of its time to say what was not sent."""

HISTORY_MAX_MESSAGES: Final = 1000
"""Messages kept of one user's log: more than anybody reads, and 1 MiB at 1 KB each."""

HISTORY_MAX_AGE_SECONDS: Final = 24 * 3600.0
"""How long a message is kept: a laptop closed in the evening is whole in the morning."""

HISTORY_MAX_STATES: Final = 200
"""Uploads whose newest state is kept, of one user; those unchanged longest go first."""

HISTORY_CACHED_STREAMS: Final = 10_000
"""Streams kept in memory. Past this those quiet longest are dropped: with a store they are read anew."""

UPLOAD_LEASE_SECONDS: Final = 30
"""How long an upload's worker may be silent before the upload counts as stalled; after as long again it has failed."""

MIN_LEASE_SECONDS: Final = 1
MAX_LEASE_SECONDS: Final = 24 * 3600
"""What a lease may be. It is renewed three times in it, so a shorter one would be mostly renewals; past the longest,
the history has forgotten the upload."""

MAX_ROW_ERRORS: Final = 100_000
"""Rows in the list of those that one upload left out. Nobody mends more by hand."""

ROW_ERRORS_CHUNK: Final = 400
"""Row errors handed to the gateway at a time. At their longest, 2.4 KB each in JSON, they fit into one publish."""

ROW_ERRORS_SECONDS: Final = 5.0
"""How long a job that is done may take to hand in the rest of its row errors, before its last state."""

SERVER_PING_SECONDS: Final = 25.0
"""After this long without traffic the gateway sends a WebSocket ping. Proxies cut silent connections: Heroku after 55
seconds, nginx after 60, Cloudflare after 100. Two pings fit into the shortest of these."""

MAX_UNANSWERED_PINGS: Final = 2
"""A connection that answers none of so many pings is cut when the next one is due: its device is gone."""

CONNECTIONS_PER_TURN: Final = 200
"""Connections whose deadlines are looked at in one turn of the event loop. After a message to everybody all of them are
due in the same second, and a ping takes about 15 µs: so a message waits for 3 ms at most."""

HEARTBEAT_SECONDS: Final = 25
"""After this long without anything received a client of a gateway sends `ping`. With 5 seconds for the answer, a dead
connection shows within 35 seconds."""

AWS_HEARTBEAT_SECONDS: Final = 240
"""The same on AWS, where each `ping` is an invocation that is paid for: less than half of the idle limit."""

MAX_REQUEST_ID_CHARACTERS: Final = 64
"""The `id` of a client's request: room for a UUID and a prefix."""

MAX_HISTORY_PAGE: Final = 100
"""Messages in the answer to one `history` request."""

ROTATE_AFTER_SECONDS: Final = 6600
"""When a client should move to a new connection, before the two hours end this one."""

WELCOME_PAGE_BYTES: Final = 96 * 1024
"""One page of a welcome, so that it fits into API Gateway's 128 KiB with what is around it."""

HISTORY_HEAD_SECONDS: Final = 30 * 24 * 3600.0
"""How long DynamoDB keeps where a quiet user's log ended. After it the offsets begin anew, in another epoch."""

HISTORY_HOLE_SECONDS: Final = 0.2
"""How long a reader on AWS waits for a message whose place was given out: its writer needs some 10 ms."""

HISTORY_IN_FLIGHT: Final = 16
"""Messages of one user that may be on their way into the table at once, below which nothing that is known begins."""

MAX_REQUESTS_IN_FLIGHT: Final = 32
"""Requests of one connection that are being worked on. A page that cancels all its uploads at once has fewer."""

MAX_REQUESTS_REFUSED: Final = 64
"""Requests above that which are answered with an error before the connection is closed with 4429."""
