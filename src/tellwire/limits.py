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

MAX_INVOCATION_BYTES: Final = 6 * 1024 * 1024
"""Largest event of a synchronous Invoke (Lambda developer guide, "Lambda quotas")."""

MAX_ASYNCHRONOUS_EVENT_BYTES: Final = 1024 * 1024
"""Largest event of an Invoke that does not wait (the same page)."""

MAX_CLIENT_CONTEXT_BYTES: Final = 3583
"""Client context of an Invoke, as it is encoded (Lambda API reference, "Invoke")."""

ASYNCHRONOUS_RETRY_SECONDS: Final = (60.0, 120.0)
"""Waits before the second and the third attempt of an event (Lambda developer guide, "Asynchronous invocation")."""

MAX_WAITING_EVENTS: Final = 1000
"""Events of functions on this machine that run or wait for another attempt; more are refused. Ours."""

MAX_LOCAL_REQUEST_BYTES: Final = 16 * 1024 * 1024
"""Largest request to the services of `tellwire local`: that of BatchWriteItem (DynamoDB developer guide, "Quotas")."""

FUNCTION_TIMEOUT_SECONDS: Final = 30.0
"""Timeout of a function that is not from a template."""

MAX_FUNCTION_TIMEOUT_SECONDS: Final = 900.0
"""Longest timeout of a function (Lambda developer guide, "Lambda quotas")."""

FUNCTION_MEMORY_MB: Final = 256
"""Memory of a function that is not from a template, as its context shows it."""

MAX_FUNCTION_RESULT_BYTES: Final = 6 * 1024 * 1024
"""Largest result of an invocation (Lambda developer guide, "Lambda quotas")."""

# --- ours ------------------------------------------------------------------------------------------------------------

OUTBOX_MAX_MESSAGES: Final = 1024
"""Messages queued for one client. A slow consumer with more is closed: waiting would not help it."""

OUTBOX_MAX_BYTES: Final = 1024 * 1024
"""Bytes queued for one client, in addition to the `WRITE_CHUNK_BYTES` its transport may hold."""

WRITE_CHUNK_BYTES: Final = 64 * 1024
"""Bytes given to a transport at a time; writing is paused until it has sent all of them."""

UNSENT_BYTES: Final = 1024 * 1024
"""Bytes of one connection that the kernel takes before it sends them: as many as the outbox, so that a burst of some
thousand small messages is no slow consumer. The kernel's own bound is 4 MiB: memory for each client that does not read,
and messages that can no longer be conflated."""

CLOSE_TIMEOUT_SECONDS: Final = 5.0
"""Time for a client to answer our close frame before its socket is closed (RFC 6455 §7.1.1 gives no number)."""

REFUSED_SECONDS: Final = 2.0
REFUSED_AT_ONCE: Final = 50
"""Time for a client that was refused by a close to answer it, and such clients at once: half of the descriptors that
are not for connections. With more, the oldest end: with 100 ms for an answer, from 500 refusals a second on."""

HEAD_TIMEOUT_SECONDS: Final = 10.0
"""Time for a request's head to arrive. A socket that connects and sends nothing must not stay open."""

MAX_HEAD_BYTES: Final = 64 * 1024
"""Largest request line with headers. Cognito's tokens are 1-2 KB, and browsers send a few cookies."""

MAX_HEADERS: Final = 100
"""Headers of one request. Each is work before anybody is known; nginx and gunicorn have bounds of this size."""

BODY_GRACE_SECONDS: Final = 10.0
MIN_BODY_BYTES_PER_SECOND: Final = 1024
MAX_BODY_SECONDS: Final = 120.0
"""Time for a request's body: after the first seconds it must have come at this rate, and within two minutes it must be
complete. The largest batch then needs 1 Mbit/s."""

UNREAD_BODY_SECONDS: Final = 5.0
"""Time for the rest of a body after an answer that did not need it, such as a 401."""

LINGER_SECONDS: Final = 1.0
"""Time for a client to read an answer that ends its connection while it is sending."""

WRITE_TIMEOUT_SECONDS: Final = 60.0
"""Time for a client of the HTTP API to take the next 48 KiB of its answer, a longer download among them."""

HTTP_BODY_BYTES_PER_TURN: Final = 64 * 1024
HTTP_HEAD_BYTES_PER_TURN: Final = 4 * 1024
"""Bytes of one HTTP connection that are parsed in a turn of the event loop: of a body with a length, and of heads and
chunks. 4 KiB are at most 200 requests or 700 chunks, about a millisecond."""

HTTP_CONNECTIONS_PER_TURN: Final = 8
"""HTTP connections with more to read that go on in one turn of the event loop: together about a millisecond."""

DRAIN_SECONDS: Final = 10.0
"""Time from SIGTERM to exit, in which open requests and connections must end."""

DRAIN_CLOSES_PER_SECOND: Final = 100
"""Connections that a drain closes in a second at least, so that one of few connections ends soon. A node takes ten
times as many handshakes."""

DRAIN_TICK_SECONDS: Final = 0.01
"""Time between two steps of a drain: 20,000 connections in 5 seconds are 40 a step."""

DRAIN_LAST_SECONDS: Final = 1.0
"""Time before the end of a drain in which requests that have not ended are refused: enough to read the answer."""

DRAIN_IDLE_SECONDS: Final = 0.2
"""Time that an idle HTTP connection stays when a server ends: its next request may be on its way already."""

RETRY_AFTER_SECONDS: Final = 5
"""`Retry-After` of a refused handshake: time for an address, a user or an identity provider to recover."""

RESTART_RETRY_SECONDS: Final = 1
"""`Retry-After` of a server that ends: there is another node, or its successor listens in a second or two."""

UNAVAILABLE_RETRY_SECONDS: Final = 1
"""`Retry-After` of a request whose history is away. It is tried again twice a second."""

MAX_WORKERS: Final = 128
"""Workers of one address: a processor each, on the largest machines."""

WORKER_STABLE_SECONDS: Final = 10.0
"""Time that a worker has served after which it was not broken from the start."""

WORKER_CRASHES: Final = 5
"""Ends in a row before that time that make a crash loop."""

WORKER_FIRST_WAIT_SECONDS: Final = 0.5
WORKER_LONGEST_WAIT_SECONDS: Final = 30.0
"""Time before a worker that has ended twice in a row is started again; it doubles each time. The first time it is
started at once: new connections wait for it."""

WORKER_ASK_SECONDS: Final = 5.0
"""Time between two questions of a supervisor whether a worker lives."""

WORKER_UNANSWERED: Final = 6
"""Questions without an answer after which a worker is killed: half a minute, in which its clients hear nothing and new
ones wait. A busy event loop answers within a second, and a collection of garbage takes a tenth of one."""

WORKER_MARGIN_SECONDS: Final = 5.0
"""Time after `drain_seconds` in which a worker must have ended: it closes its engine."""

WORKER_END_SECONDS: Final = 3.0
"""Time for a worker to end at once, after a second signal."""

HANDSHAKES_PER_SECOND: Final = 20.0
"""Handshakes per second of one address, on average. Loopback is exempt."""

HANDSHAKE_BURST: Final = 100
"""Handshakes of one address at once: an office behind one NAT that reconnects after a deployment."""

TRACKED_ADDRESSES: Final = 65_536
"""Addresses whose handshakes are counted; above it, those that were idle longest are removed."""

CACHED_TOKENS: Final = 65_536
"""Verified tokens that are cached: clients that all reconnect must not be verified again."""

TOKEN_CACHE_BYTES: Final = 64 * 1024 * 1024
"""Memory for verified tokens. One with ten claims takes about 2 KB."""

AWS_TOKEN_CACHE_BYTES: Final = 2 * 1024 * 1024
"""The same in a Lambda function, which has few clients, and 128 MB of memory at least."""

MAX_TOKEN_BYTES: Final = 32 * 1024
"""Longest token. Cognito's have 1-2 KB, those of a provider that lists a user's groups up to 10 KB."""

JWT_LEEWAY_SECONDS: Final = 10.0
"""Time by which an identity provider's clock may be ahead of ours, for `nbf` and `iat`. `exp` has no leeway: a client
gets a new token in time."""

JWKS_PENALTY_SECONDS: Final = 10.0
"""Shortest time between two fetches of a key set: random key ids must not flood the identity provider."""

JWKS_MAX_AGE_SECONDS: Final = 6 * 3600.0
"""Longest age of a key set. It is then fetched again, so that a withdrawn key stops working within hours."""

JWKS_MAX_BYTES: Final = 256 * 1024
"""Largest key set, decompressed. Real ones have a few keys of about 500 bytes."""

MAX_KEYS_IN_SET: Final = 100
"""Keys that are used of one set. Real ones have two to ten."""

MAX_KEYS_TRIED: Final = 8
"""Keys of one source that are tried on a token that does not name its key. Each try takes up to 0.3 ms."""

MIN_RSA_BITS: Final = 2048
"""Shortest RSA key (RFC 7518 §3.3)."""

KEYS_WATCH_SECONDS: Final = 60.0
"""Time between two looks for keys that were withdrawn, whose connections are then closed."""

MIN_SECRET_BYTES: Final = 32
"""Shortest HS256 secret: the key is at least as long as the hash (RFC 7518 §3.2)."""

MIN_API_KEY_CHARACTERS: Final = 16
MIN_API_KEY_DIFFERENT: Final = 6
"""Shortest API key, and the least number of different characters in it: 16 random ones in hexadecimal have 64 bits, and
fewer than 6 different ones less than once in 10,000."""

API_KEY_GUESSES: Final = 10
API_KEY_GUESSES_PER_SECOND: Final = 0.2
"""Wrong API keys of one address: so many at once, and so many a second on average. More are not looked at."""

MIN_WEBHOOK_SECRET_BYTES: Final = 24
"""Shortest secret of webhooks (Standard Webhooks: 24 to 64 bytes)."""

WEBHOOK_TOLERANCE_SECONDS: Final = 300.0
"""Longest time between the timestamp of a webhook and its arrival (Standard Webhooks): an old one is not taken."""

WEBHOOK_SECONDS: Final = 10.0
WEBHOOK_ATTEMPT_SECONDS: Final = 5.0
"""Time of a request to the project's own server, all attempts included, and of one attempt. A client waits for half a
minute."""

WEBHOOK_REQUESTS_AT_ONCE: Final = 100
WEBHOOK_REQUESTS_WAITING: Final = 1_000
WEBHOOK_REQUESTS_PER_USER: Final = 40
"""Requests to one target that are in progress, and that wait for one of them to end; and those of one user among them,
more than one connection may have in flight. A server that answers in 100 ms gets 1,000 a second, and the last that
waits gets there within a second."""

MAX_ESCALATION_SECONDS: Final = 7 * 24 * 3600
"""Longest time that a notification waits to be acknowledged: a week of holidays. It is also bounded by the age of the
history, after which nobody knows what the user has seen."""

MAX_ESCALATIONS: Final = 100
"""Escalations of one user that wait at a time: so many mails at once are read by nobody."""

MAX_WEBHOOK_TARGETS: Final = 100
MAX_TARGET_NAME_CHARACTERS: Final = 64
"""Targets that the settings name, each with a pool of connections of its own; and the length of such a name."""

ESCALATION_CALL_SECONDS: Final = 60.0
"""Time after which the call of a target is over, or its node is: six times that of a webhook, with all its attempts."""

ESCALATION_FIRST_WAIT_SECONDS: Final = 5.0
ESCALATION_LONGEST_WAIT_SECONDS: Final = 3600.0
ESCALATION_TRIED_SECONDS: Final = 24 * 3600.0
"""Times before a target that is away is called again: each is four times the one before, up to an hour. After a day the
notification is old, and the target is not called any more."""

ESCALATIONS_AT_ONCE: Final = 500
ESCALATION_PAUSE_SECONDS: Final = 5.0
"""Calls of targets that one process has in progress; more wait for some seconds. Of one target 100 are on their way."""

IDENTIFY_SECONDS: Final = 5.0
"""The time of `identify`, and of the connect webhook with its attempts. Clients wait for 15 seconds."""

IDENTIFY_AT_ONCE: Final = 32
"""Calls of `identify` in progress: as many as there are threads for it. Others wait within their time."""

MAX_CONNECT_ANSWER_BYTES: Final = 64 * 1024
"""The answer of the connect webhook: an id, an info of 1 KiB, and patterns of topics."""

TOPIC_RIGHTS_SECONDS: Final = 2.0
"""Time for the project's own server, or a function of it, to decide about a topic. A client waits five seconds for its
answer."""

TOPIC_RIGHTS_CACHE_SECONDS: Final = 60.0
TOPIC_REFUSAL_SECONDS: Final = 5.0
"""Time for which a yes of that server counts, and a no: a right that was just given should work soon."""

TOPIC_RIGHTS_CACHED: Final = 50_000
"""Answers of that server that are kept, at about 250 bytes each."""

MAX_TOPIC_DECISION_BYTES: Final = 4 * 1024
"""Largest such answer."""

TOPIC_RIGHTS_WATCH_SECONDS: Final = 15.0
TOPIC_RIGHTS_AT_ONCE: Final = 20
"""Least time between two looks for rights to topics that a webhook has given and would not give again; and connections
that are looked at together."""

MAX_SHUT_OUTS: Final = 100_000
"""Shut-outs of a node, at about 400 bytes each. No more can be made until some have ended: none is dropped."""

MAX_REASON_CHARACTERS: Final = 500
"""Longest reason of a shut-out, which the user reads."""

MAX_SHUT_OUT_BYTES: Final = 8 * 1024
"""Largest body of a request to shut out a user."""

MAX_TOKEN_ID_BYTES: Final = 255
"""Longest `jti` by which a token can be shut out. Most are UUIDs."""

MAX_PUBLISH_BYTES: Final = 1024 * 1024
"""Largest body of one publish: a message and its target, which may be a list of connections."""

MAX_BATCH_BYTES: Final = 16 * 1024 * 1024
"""Largest body of one NDJSON batch."""

MAX_BATCH_LINES: Final = 50_000
"""Most lines of one NDJSON batch: the largest batch of small messages. Each line is answered, with up to 200 bytes."""

BATCH_LINES_PER_TURN: Final = 200
BATCH_BYTES_PER_TURN: Final = 256 * 1024
BATCH_DELIVERIES_PER_TURN: Final = 1000
"""Work of a batch in one turn of the event loop, about five milliseconds: lines, their bytes, and the connections that
get them. A line for more connections has a turn of its own."""

DIRECT_BATCH_BYTES: Final = 64 * 1024
"""Largest body of a batch that is answered without ASGI, in one turn of the event loop: as much is read in a turn."""

MAX_TARGET_CONNECTIONS: Final = 10_000
"""Connection ids in one target; without a bound, one publish could name 50,000, and take a quarter of a second."""

PUBLISH_TIMEOUT_SECONDS: Final = 10.0
"""Time for a producer to publish one message to the gateway, retries included."""

MAX_PUBLISH_TIMEOUT_SECONDS: Final = 24 * 3600
"""The longest such time: a number beyond it is a mistake, and some are too large for a clock."""

GATHER_LINES: Final = BATCH_LINES_PER_TURN
GATHER_BYTES: Final = BATCH_BYTES_PER_TURN
"""Bounds of a batch that a producer gathers: one turn of the gateway. Proxies take far larger bodies (nginx 1 MiB)."""

GATHER_SECONDS: Final = 0.02
"""Longest wait of a publish for the answer to a request before it. A gateway nearby answers within a few milliseconds,
and one elsewhere takes longer than this anyway."""

CIRCUIT_FIRST_SECONDS: Final = 1.0
CIRCUIT_LONGEST_SECONDS: Final = 5.0
"""Wait of an open circuit before its first probe; it doubles after each that fails, up to the longest. A gateway that
restarts is away for a second or two, and what is published until the next probe is not repeated."""

MAX_ANSWER_BYTES: Final = 64 * 1024
"""Most bytes of a gateway's answer that a producer reads, decompressed: its answers have below 1 KiB."""

MAX_LINE_ANSWER_BYTES: Final = 4 * 1024
"""The same for each line of a batch, beyond that: a refusal quotes a short piece of the given line."""

MAX_LIST_BYTES: Final = 16 * 1024 * 1024
"""The same for a list of connections, with about 250 bytes for each."""

CIRCUIT_PROBE_SECONDS: Final = 2.0
"""Time of a probe of an open circuit. One web request in five seconds waits for it."""

EXIT_DELAY_SECONDS: Final = 0.05
"""Time between a producer's last response and the end of its process. The HTTP client's threads use Python objects for
a moment after a response; a process that ends in that moment is aborted (pyreqwest 0.15, PyO3 at finalization)."""

PROGRESS_INTERVAL_SECONDS: Final = 0.25
"""Shortest time between two progress updates: four a second look live, more would only add traffic."""

PART_INTERVAL_SECONDS: Final = 0.05
"""Shortest time between two updates of an upload that several workers share, for all of them: each waits for so long
times their number."""

AWS_ATTEMPT_SECONDS: Final = 5.0
"""Timeout of one request to DynamoDB or API Gateway. Both answer within tens of milliseconds."""

AWS_ATTEMPTS: Final = 6
"""Most attempts for a request that AWS throttles."""

AWS_FIRST_WAIT_SECONDS: Final = 0.1
AWS_LONGEST_WAIT_SECONDS: Final = 2.0
"""Backoff between two attempts: random up to a bound, which doubles from the first to the longest."""

AWS_CONCURRENT_POSTS: Final = 64
"""Concurrent posts to `@connections` of one broadcast. At 20 ms each that is 3,200 connections a second."""

TOPIC_SHARD_MEMBERS: Final = 1000
"""Members of a topic's newest shard from which on it gets twice as many: a page of a query has up to 6,000."""

TOPIC_SHARD_SAMPLES: Final = 256
"""One in so many subscribers looks whether that is so: it costs 24 read units, 0.1 for each of them."""

MAX_TOPIC_SHARDS: Final = 64
"""Most shards of a topic. Each is asked in a broadcast, and takes 1,000 subscriptions a second."""

AWS_PRESENCE_PARTITIONS: Final = 16
"""Partitions that the users who come and go in all topics are spread over. Each takes 300 of them a second; the sweeper
asks all, which costs 9 cents in a month, and as much for checks."""

AWS_PRESENCE_HOLD_SECONDS: Final = 15.0
"""Time after which a function that tells the watchers of a topic counts as dead, and another one goes on."""

AWS_PRESENCE_TURN_SECONDS: Final = 10.0
"""Longest time that a function tells watchers of one topic. Whoever comes later is told by the next function."""

AWS_PRESENCE_ANSWER_SECONDS: Final = 1.0
"""The same before a client has its answer. Then the function goes on."""

AWS_PRESENCE_CHANGES: Final = 40
"""Users whose coming or going is counted at once. A transaction of DynamoDB has at most 100 items."""

AWS_PRESENCE_NAMES_AT_ONCE: Final = 8
"""Changes at once that watchers are told one by one. Of more at once they are told the outcome: one post to each, not
many."""

AWS_PRESENCE_CHECK_SECONDS: Final = 900.0
"""Time between two looks at all connections of a topic's members, for `$disconnect` is not called for each that ends.
Four calls in an hour cost a quarter of what its pings do."""

AWS_POST_SECONDS: Final = 8.0
"""Longest time for one post to a connection, attempts included: a lost answer is followed by one more attempt, and a
connection that never answers does not hold up a broadcast."""

AWS_EVENT_SECONDS: Final = 27.5
"""Time for a function behind a route. API Gateway waits for 29 seconds, from before a cold start of one second."""

AWS_ANSWER_SECONDS: Final = 3.0
"""Time of it that is reserved to answer a client, or to send it away, if the history does not respond."""

AWS_FUNCTION_TIMEOUT_SECONDS: Final = 28
"""Timeout of the functions in the templates: shorter than API Gateway's patience, so that none works in vain."""

AWS_BATCH_LINES: Final = 10_000
"""Most lines of one batch in a function. Each is answered, with up to 200 bytes: a third of Lambda's 6 MB."""

SWEEP_MARGIN_SECONDS: Final = 2.0
"""Time that the sweeper reserves to finish the uploads it has begun with, and to store where it ended."""

AWS_SWEEP_TIMEOUT_SECONDS: Final = 50
"""Timeout of the sweeper: it runs every minute, and no client waits for it."""

AWS_SWEEP_MEMORY_MB: Final = 1024
"""Memory of the sweeper. A processor's share grows with it, so a run costs about the same, and takes less time."""

CONNECTION_SETTLES_SECONDS: Final = 30.0
"""Age below which a connection may not be open yet, although `$connect` has stored it: API Gateway waits up to 29 s for
that function, and answers 410 until then. Its index entry may also be missing."""

DEADLINE_MARGIN_SECONDS: Final = 0.5
"""Time that a function reserves to report the messages it could not send."""

HISTORY_MAX_MESSAGES: Final = 1000
"""Messages kept in one user's log: more than anybody reads, and 1 MiB at 1 KB each."""

HISTORY_MAX_AGE_SECONDS: Final = 24 * 3600.0
"""Age up to which a message is kept: a laptop closed in the evening gets all messages in the morning."""

HISTORY_MAX_BYTES: Final = 16 * 1024 * 1024
"""Bytes of one user's log: 1,000 messages of 16 KB, or 128 of the largest. As many again for ended uploads."""

HISTORY_MAX_STATES: Final = 1000
"""Ended uploads kept of one user; those that ended first are removed first. Running ones do not count."""

FINISHED_KEEP_SECONDS: Final = 3600.0
"""Time that an ended upload is shown to a device that begins anew: a page opened in the evening is not about the
morning."""

MAX_RUNNING_UPLOADS: Final = 10_000
"""Uploads of one user that run at once. They are never removed, so another one is not kept; its user is told."""

MAX_RUN_BYTES: Final = 200
"""Longest name of a run: enough for the ids of task queues. An upload remembers several."""

RETRY_GRACE_SECONDS: Final = 60
"""Time beyond that of the next attempt, in which a task queue must begin it."""

MAX_PARTS: Final = 256
"""Parts of one upload, each with a worker of its own. Every update is written with the last states of all."""

QUEUED_LEASE_SECONDS: Final = 3600
"""Lease of an upload that waits: for a worker, for another attempt, or for a part that has not begun."""

PAST_RUNS: Final = 8
"""Superseded runs that are remembered of an upload, so that a late worker of one of them is recognised."""

REORDER_SECONDS: Final = 10.0
"""Time in which the messages of one producer may overtake each other: that of a publish, with its retries. One that
arrives later is newer, even if the producer's clock is behind."""


HISTORY_CACHE_BYTES: Final = 256 * 1024 * 1024
"""Memory of all streams of a gateway together. With SQLite the file has the others."""

MIN_HISTORY_CACHE_BYTES: Final = 1024 * 1024
"""Smallest such memory: some users with some messages each."""

HISTORY_CACHED_STREAMS: Final = 10_000
"""Streams kept in memory. Above it, those idle longest are dropped, and read again from a store."""

UPLOAD_LEASE_SECONDS: Final = 30
"""Lease of an upload: after this time without an update it is stalled, after twice the time it has failed."""

LONGEST_SECONDS: Final = 365 * 24 * 3600
"""Longest duration of a setting: a year. A longer one is a mistake, such as milliseconds."""

MAX_TTL_SECONDS: Final = LONGEST_SECONDS
"""Longest time to live of a message: a year. The history keeps it no longer than its own age."""

MIN_LEASE_SECONDS: Final = 1
MAX_LEASE_SECONDS: Final = 24 * 3600
"""Longest lease, and that of an upload without one of its own, which ends, too. The shortest lease is one second: it is
renewed three times in its time. Both bound the time to live of a state of the project's own types, too."""

MAX_STATE_KEY_BYTES: Final = 256
"""Longest key of a state of the project's own types: as that of a topic's name."""

MAX_ROW_ERRORS: Final = 100_000
"""Row errors kept of one upload. Nobody corrects more by hand."""

DOWNLOADS_PER_USER: Final = 4
"""Downloads of row errors that a user may have at the same time."""

DOWNLOAD_PAGE_ROWS: Final = 200
DOWNLOAD_PAGES_AT_ONCE: Final = 2
"""Row errors that are read and written at a time for a download, and downloads for which this is done at once. A page
takes about 0.3 ms of the event loop, so others wait for less than a millisecond, however many download."""

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

MAX_DEPTH: Final = 64
"""Deepest nesting of a message's arrays and objects. Decoders of devices end somewhere: Python's at 1,000 levels, and
together with the messages beside it."""

MAX_EPOCH_CHARACTERS: Final = 32
"""Longest epoch of a stream. A message must fit into `MAX_MESSAGE_BYTES` together with its cursor."""

MAX_USER_ID_BYTES: Final = 2043
"""Longest id of a user, in UTF-8. A partition key of DynamoDB has up to 2,048 bytes, and that of a user's stream begins
with `user:`. The bound is the same on every engine."""

MAX_CONNECTION_ID_BYTES: Final = 1000
MAX_UPLOAD_ID_BYTES: Final = 1000
MAX_MESSAGE_ID_BYTES: Final = 1000
"""Longest ids of a connection, an upload and a message, in UTF-8. A sort key of DynamoDB has up to 1,024 bytes, and
some begin with a prefix."""

MAX_TOPIC_BYTES: Final = 256
"""Longest name of a topic in UTF-8, so that its stream's name is a key of Redis and of DynamoDB as it is."""

MAX_TOPIC_RULES: Final = 1_000
"""Rules of topics in the settings. The rule of a topic is looked for once, and remembered."""

MAX_CLAIMED_PATTERNS: Final = 100
MAX_CLAIMED_BYTES: Final = 8 * 1024
"""Patterns of topics in one token that count, and their bytes. Each is compared at each `subscribe`."""

MAX_SUBSCRIPTIONS: Final = 100
"""Topics that one connection is subscribed to at a time, unless the settings say another number."""

MAX_PRESENCE_MEMBERS: Final = 200
"""Users in a topic who are told by name. Where there are more, only their number is: in a join storm of n users, names
would be n² messages."""

MAX_PRESENCE_BYTES: Final = 96 * 1024
"""Members in one `presence`, encoded: as in a page of a welcome. Where infos are long, fewer than 200 are told."""

MAX_PRESENCE_INFO_BYTES: Final = 1024
"""The claim `info` of a token, encoded: a name and the address of a picture. It is kept for each user in a topic."""

PRESENCE_GRACE_SECONDS: Final = 5.0
"""Time from the end of a user's last connection in a topic until they have left it: a page that is reloaded is back
before, and a client that lost its connection mostly, too."""

PRESENCE_COUNT_SECONDS: Final = 1.0
"""Least time between two messages about a topic with more than 200 users."""

MAX_HELLO_STREAMS: Final = 1_001
"""Streams that one `hello` names: the user's own, and topics. Each that is refused is answered by an error."""

MAX_FILE_NAME_CHARACTERS: Final = 1024
"""Longest file name that `track_upload` shows. Names of file systems have up to 255, keys of S3 up to 1,024."""

MAX_WORDS_CHARACTERS: Final = 4096
"""Longest message, summary or reason that `track_upload` shows: more than fits on a screen. Longer ones are cut."""

MAX_REQUEST_ID_CHARACTERS: Final = 64
"""Longest `id` of a client's request: enough for a UUID and a prefix."""

MAX_HISTORY_PAGE: Final = 100
"""Most messages in the answer to one `history` request."""

MAX_MARKED_AT_ONCE: Final = 100
"""Most cursors in one `read` or `dismiss`: as many messages as a page of history has."""

DISMISSED_AT_ONCE: Final = 100
"""Ended uploads that one request dismisses, at once: a tenth of the messages that may wait for a client."""

MAX_MARK_RANGES: Final = 500
"""Ranges of messages that are read, or dismissed. A log of 1,000 messages, every other one of them marked, has as many.
Beyond them, what lies between the two oldest ranges counts as marked, too."""

REQUEST_KEEP_SECONDS: Final = 300.0
"""Time for which a request of an own type is remembered, so that a repeated one is not run again: ten times as long as
a client repeats it, unless told otherwise."""

REQUESTS_PER_USER: Final = 1_000
"""Requests of one user that are remembered; those that began first are dropped. A connection at its limit of
`MESSAGES_PER_SECOND` makes as many in 50 seconds, and a client repeats one for 30."""

MAX_REQUEST_ANSWER_BYTES: Final = 16 * 1024
"""Longest answer that is remembered. Most handlers return a few identifiers; 1,000 of the longest answers are 16 MiB,
as many as a user's log."""

REQUEST_LEDGER_BYTES: Final = 32 * 1024 * 1024
"""Memory of all remembered requests of a process without a store. Those that began first are dropped."""

ROTATE_AFTER_SECONDS: Final = 6600
"""Age of a connection at which a client should open a new one, before the limit of two hours closes it."""

WELCOME_PAGE_BYTES: Final = 96 * 1024
"""Largest page of a welcome, so that it fits into API Gateway's 128 KiB with its envelope."""

LONG_WELCOME_BYTES: Final = 1024 * 1024
"""Size of a replay above which it waits for room: a thousand messages of 1 KB."""

WELCOME_ROOM_BYTES: Final = 128 * 1024 * 1024
"""Bytes of all long replays that are being sent. Further ones wait without their messages."""

WELCOME_PAGE_SECONDS: Final = 60.0
"""Longest wait for a client to take the next page of its welcome. After it the client is closed with 1013, since others
may wait for the room."""

HISTORY_HEAD_SECONDS: Final = 30 * 24 * 3600.0
"""Time that DynamoDB and Redis keep the last offset of an idle user's log. After it, offsets begin again in another
epoch."""

HISTORY_HOLE_SECONDS: Final = 2.0
"""Age of an offset on AWS from which a reader no longer waits for its message: writing takes some 10 ms, and a second
where DynamoDB throttles. A client waits five seconds for its welcome."""

HISTORY_IN_FLIGHT_SECONDS: Final = 360.0
"""Longest time for which the message of an offset may be on its way: six attempts of `AWS_ATTEMPT_SECONDS` with the
pauses between them, and five minutes by which the clocks of two machines may differ (AWS refuses requests beyond)."""

HISTORY_REPLAY_BYTES: Final = 10 * 1024 * 1024
"""Most bytes of messages that a client on AWS gets when it comes back: a function with 256 MB has read them, and posted
them in pages, within five seconds."""

REDIS_BUCKETS: Final = 1024
"""Hash slots that all streams in Redis are spread over. Many more than a cluster has masters, so that each gets about
the same; few enough for an index of leases in each that is read every few seconds."""

REDIS_TIMEOUT_SECONDS: Final = 2.0
"""Time for Redis to answer the oldest pipeline, or a new connection. It answers in below a millisecond; a producer, who
waits ten seconds in all, should hear of trouble early enough to try again."""

REDIS_PROBE_SECONDS: Final = 0.5
"""Time between two probes of a Redis that is away."""

REDIS_START_SECONDS: Final = 10.0
"""Time that a node waits for a Redis that is away when it starts: both may be started at once."""

REDIS_REST_SECONDS: Final = 1.0
"""Time after which a connection to Redis that was not used is checked before it is. Redis closes those that nobody
uses if it is so set, and so does a network."""

REDIS_TRYAGAIN_SECONDS: Final = 0.05
"""Time for which calls of a slot that is on its way to another node of a cluster are held, again and again. A slot with
10,000 keys is moved in a second."""

REDIS_PIPELINE_CALLS: Final = 1000
REDIS_PIPELINE_BYTES: Final = 4 * 1024 * 1024
"""Calls and bytes that are in flight, where the last pipeline may go beyond. With 20-50 µs for a call, Redis is busy
with them for below 50 ms, which others wait for."""

REDIS_PIPELINES: Final = 4
"""Pipelines in flight on one connection: a Redis that is 2 ms away answers 2,000 publishes a second in 4 ms, and in 13
with one. What comes meanwhile gathers, and costs less for each call."""

REDIS_JOINED_CALLS: Final = 64
REDIS_JOINED_BYTES: Final = 256 * 1024
"""Publications that wait together, and are one run of a script. Redis is busy with it for 3 ms."""

REDIS_WAITING_BYTES: Final = 64 * 1024 * 1024
"""Bytes of all calls that wait for a pipeline: four of the largest batches. With more, calls are refused at once."""

REDIS_LINE_SECONDS: Final = 4.0
"""Time that a call waits for a pipeline, where Redis answers so slowly that the line grows: two answers that came just
in time. Whoever publishes over HTTP has some seconds left then, to try again."""

REDIS_PART_ATTEMPTS: Final = 50
"""Attempts to make the whole of an upload's parts while other processes change it. Each that fails means that one of
theirs has succeeded."""

REDIS_READS_AT_ONCE: Final = 16
"""Reads of a history that a process has in flight. Each may bring 16 MiB, for which all the calls behind it wait; with
round trips below 5 ms, they are more than the handshakes that a node can take."""

REDIS_KEYS_CACHED: Final = 4096
"""Streams whose names of keys are remembered by a process, at about 2 KB each."""

MAX_REDIS_PREFIX_CHARACTERS: Final = 64
"""Longest prefix of keys: it is in every key, of which a stream has ten."""

MAX_WAIT_REPLICAS: Final = 10
"""Most replicas that a write may wait for. A master with more has them for reading."""

REDIS_ROW_ERROR_BYTES: Final = 32 * 1024 * 1024
"""Bytes of one list of row errors in the memory of Redis: 100,000 rows of 250 bytes and their places. Rows above it are
counted, and not listed."""

REDIS_ROW_ERROR_USER_BYTES: Final = 64 * 1024 * 1024
"""Bytes of all lists of a user. Above it, those unchanged longest are dropped."""

SHUT_OUTS_PER_USER: Final = 1_000
"""Shut-outs of one user in Redis, which are read together. A user with more stolen tokens is shut out as a whole."""

LEASE_WATCH_SECONDS: Final = 2.0
"""Time in which a node checks each of its leases once. The shortest lease is a second, the usual one 30."""

LEASES_AT_ONCE: Final = 100
"""Leases of one bucket that are read together when they have expired, and published at once."""

MAX_REQUESTS_IN_FLIGHT: Final = 32
"""Requests of one connection that may be in progress. A page that cancels all its uploads at once has fewer."""

MESSAGES_PER_SECOND: Final = 20
MESSAGE_BURST: Final = 50
"""Messages of one connection: on average, and at once. People click less often, and a page that cancels all its uploads
sends one for each."""

PUBLISH_BURST: Final = 1000
"""Publishes of one API key at once, where the settings bound those in a second: an import that begins for a thousand
users."""

HELLO_INTERVAL_SECONDS: Final = 2
HELLO_BURST: Final = 10
"""Time between two `hello`s of one connection, on average, and `hello`s at once. The answer may be the whole history; a
client needs one for each connection and each gap."""

REPLAY_BYTES_PER_SECOND: Final = 4 * 1024 * 1024
REPLAY_BURST_BYTES: Final = 16 * 1024 * 1024
"""Bytes of replayed messages to all connections of one user: on average, and at once. Ten devices that come back after
a day with 1 MB each do not notice it; beyond it the pages of a welcome come more slowly."""

MAX_REQUESTS_REFUSED: Final = 64
REFUSALS_PER_SECOND: Final = 1.0
"""Requests beyond these limits that are answered with an error: at once, and on average. Then the connection is closed
with 4429."""

CONNECTIONS_PER_USER: Final = 100
"""Live connections of one user: devices, and the tabs of each."""

CONNECTIONS_PER_ADDRESS: Final = 2_000
"""Live connections of one address: an office or a mobile network behind one NAT. Loopback is exempt."""

MAX_CONNECTIONS: Final = 50_000
"""Live connections of one node. At 4 KiB each, and with the kernel's buffers, that is about half a GB."""

READ_FRAME_COST_BYTES: Final = 512
"""Cost of a received frame in addition to its bytes. An empty frame costs about as much time as half a KiB of text."""

READ_BYTES_AT_ONCE: Final = 16 * 1024
"""Cost of the frames of one connection that are handled before another one has its turn: at most 32 frames."""

READ_BYTES_PER_TURN: Final = 64 * 1024
"""Cost of all frames that are handled in a turn of the event loop, for those that wait and for the others: 128 frames
each, at 5-15 µs a frame. So a turn takes a few milliseconds, however much arrives."""

DEFLATE_MIN_BYTES: Final = 256
"""Shortest message that is compressed. A shorter one leaves in one packet in any case."""

DEFLATE_OVERHEAD_BYTES: Final = 1024
"""Bytes by which a compressed message of a client may be longer than the message: some writers flush often, and a
text that cannot be compressed gets 5 bytes for each 16 KiB."""

INFLATE_INPUT_PER_STEP: Final = 2 * 1024
INFLATE_OUTPUT_PER_STEP: Final = 16 * 1024
"""Bytes that go into one step of inflating, and that come out of it. A step takes 30 µs, and 90 µs with the worst
input: blocks of 12 bytes that say how to read nothing."""

INFLATE_INPUT_COST: Final = 4
"""Cost of a compressed byte that is inflated, in bytes of `READ_BYTES_AT_ONCE`: 41 ns in the worst case."""

MAX_EXTENSIONS_CHARACTERS: Final = 1024
"""Longest `Sec-WebSocket-Extensions` that is read. Browsers send about 50 characters."""

CONTROL_FRAMES_PER_SECOND: Final = 20.0
CONTROL_FRAME_BURST: Final = 50
"""WebSocket pings and pongs of one client. Libraries send a ping every 20 seconds, and a pong for each of ours."""

EXPIRY_CHECK_SECONDS: Final = 60.0
"""Longest time between two checks of a connection's deadlines. If the wall clock is set forward, past the expiry of a
token, this is how late it is noticed."""

NODE_LEASE_SECONDS: Final = 10.0
NODE_HEARTBEAT_SECONDS: Final = 3.0
"""Lease of a node, and the time between two renewals: two may be late. The connections of a dead node are counted for
no longer than a lease."""

NODE_RETURN_SECONDS: Final = 5.0
"""Time after the return of Redis in which no node is taken for dead: each that lives renews its lease as soon as it has
Redis again, which is not at the same moment for all."""

NODE_LEAST_PAUSE_SECONDS: Final = 0.05
"""Least time between two heartbeats, where the lease of another node ends before the next one is due. It is also the
time after that end at which we look: a timer may be early by some milliseconds."""

REDIS_LEAVE_SECONDS: Final = 3.0
"""Time for a node that ends to remove its connections from Redis: 20,000 take below a second. The others remove those
that are left, and a worker must have ended after `WORKER_MARGIN_SECONDS`."""

REDIS_CHANNELS_PER_TURN: Final = 500
"""Channels that are subscribed to in one turn of the event loop, at about 3 µs each, after a connection was lost."""

REDIS_REFUSED_SECONDS: Final = 0.1
"""Time until a channel that was refused is subscribed to again: a slot that moves is nowhere for some milliseconds."""

REDIS_SETTINGS_SECONDS: Final = 60.0
"""Time between two reads of the bounds of histories, which all share: by a producer, and by a node, which writes them
again if they are missing. They change when somebody sets them."""

REDIS_COMPARE_SECONDS: Final = 5.0
REDIS_COMPARE_PAUSE_SECONDS: Final = 0.2
REDIS_COMPARED_AT_ONCE: Final = 200
"""Time in which all streams of a node are compared with Redis; the pause between two parts of them; and the most in one
part: 1,000 a second, so that they cost a node a few percent of its time, and 50,000 streams take 50 seconds. Pub/sub
loses messages where its connection is lost, and that is noticed at once."""

REDIS_COMPARE_SETTLES_SECONDS: Final = 0.1
"""Time in which a message that Redis has already published still comes through a channel."""

REDIS_HANDED_ON_SECONDS: Final = 1.0
"""The longest wait of an answer for the state that its request has published, which comes through a channel.
One that pub/sub has lost comes with the next comparison, after the answer."""

REDIS_FETCHES_AT_ONCE: Final = 4
"""Streams whose missing messages a node reads at a time. Each is up to 16 MiB."""

REDIS_MESSAGE_COST_BYTES: Final = 1024
"""Cost of a message that is fetched or waits, in addition to its bytes: its header, and the objects around it."""

REDIS_FETCHED_BYTES_AT_ONCE: Final = 128 * 1024
REDIS_FETCH_PAUSE_SECONDS: Final = 0.005
"""Cost of the fetched messages that are handed out at once, and the pause after them: a device that takes 25 MB/s is no
slow consumer because its node was cut off for a while."""

REDIS_BUFFERED_BYTES: Final = 1024 * 1024
"""Bytes of one stream that wait for its missing messages. Beyond it they are dropped, and read from the history."""

REDIS_REGISTRATION_SECONDS: Final = 3600
"""Expiry of the registration of a user's connections. A node renews it four times in this time; those of a dead one
end by themselves, where nobody has removed them."""

REDIS_REGISTERED_AT_ONCE: Final = 200
REDIS_REMOVED_AT_ONCE: Final = 500
"""Connections that a node registers again, and removes, at a time: so Redis is busy with them for below 10 ms."""

REDIS_MEMBERS_AT_ONCE: Final = 100
"""Users in one report about a topic, and about as many members in each step through those of a topic. Redis takes 1 ms
for it, and 100 infos of 1 KiB are 100 KB."""

REDIS_MEMBER_MESSAGES: Final = 200
"""Messages about the members of a topic that wait while all are read. Beyond it they are dropped, and all are read
again: a read takes milliseconds."""

REDIS_MEMBERS_SETTLE_SECONDS: Final = 1.0
"""Time for all nodes to fill a Redis that was emptied, before watchers are told who is in a topic: so that they hear of
nobody who never left. A node notices at the first report of any other, within milliseconds."""

REDIS_LEFT_SECONDS: Final = 60.0
REDIS_LEFT_TOPICS: Final = 10_000
"""Time, and number of topics, for which a node remembers that it has no member of them any more. A Redis that takes
over from another one within that time may not have heard of it."""

# --- functions of a template, in processes of their own ---------------------------------------------------------------

FUNCTION_PROCESSES: Final = 10
"""Processes of one function, where each runs one invocation at a time. More invocations wait in line: on AWS each would
get its own, but this is one machine."""

FUNCTION_PROCESS_IDLE_SECONDS: Final = 60.0
"""A process of a function that has run nothing for this long ends, unless it is the last one."""

WAITING_INVOCATIONS: Final = 1000
"""Invocations of one function that wait for a process. More are throttled."""

RUNTIME_CONNECTIONS: Final = 256
"""Connections of the runtimes of one function: each process has one or two."""

RUNTIME_HEAD_SECONDS: Final = 10.0
"""Time for the first request of a runtime's connection."""

OUTPUT_LINE_BYTES: Final = 64 * 1024
"""Longest line of a function's output; a longer one is cut into several."""

# --- the console ------------------------------------------------------------------------------------------------------

CONSOLE_SESSION_SECONDS: Final = 12 * 3600.0
"""The longest session of an operator: a working day."""

CONSOLE_IDLE_SECONDS: Final = 30 * 60.0
"""A session without a request for this long ends (OWASP: 15 to 30 minutes). An open page asks every few seconds."""

CONSOLE_ROWS: Final = 100
"""Rows of a list of the console."""

CONSOLE_SESSIONS: Final = 100
"""Sessions of one node at a time."""
