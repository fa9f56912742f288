/* A fake AWS for posts of a broadcast: it answers at once, or after a delay, and does nothing else.
 *
 *     fake_aws <delay in milliseconds> < <response of DynamoDB, with its head>
 *
 * It prints the port it listens on (loopback).
 *
 *     POST …/@connections/<5 characters><6 digits><the rest>   200, without a body; counted, by the digits
 *     GET /received                                            the counts since the last time, as JSON
 *     anything else                                            the response of DynamoDB
 *
 * One request at a time on a connection. Unexpected input ends the program.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    BACKLOG = 1024,
    CONNECTIONS = 1024,
    EVENTS = 256,
    IDS = 4096,
    REQUEST_BYTES = 16 * 1024,
    PAGE_BYTES = 2 * 1024 * 1024,
    WRITABLE_MS = 10000
};

static const char POSTED[] =
    "HTTP/1.1 200 OK\r\n"
    "Date: Mon, 23 Nov 2026 14:15:07 GMT\r\n"
    "Content-Type: application/json\r\n"
    "Content-Length: 0\r\n"
    "Connection: keep-alive\r\n"
    "x-amzn-RequestId: 1f4c6a1e-8a0a-4f5f-9f63-0d9c6d7f5a0b\r\n"
    "x-amz-apigw-id: UZpXqGJHIAMEb0g=\r\n"
    "X-Amzn-Trace-Id: Root=1-65f0c1d2-0a1b2c3d4e5f60718293a4b5\r\n\r\n";

struct connection {
    int fd; /* -1: free */
    size_t have;
    char request[REQUEST_BYTES + 1];
};

/* Delayed responses. The delay is the same for all: first in, first out. */
struct waiting {
    struct connection *connection;
    int64_t due;
};

static struct connection connections[CONNECTIONS];
static struct waiting queue[CONNECTIONS];
static unsigned queue_first, queue_last;
static char page[PAGE_BYTES];
static size_t page_bytes;
static int64_t posts, bytes, seen[IDS];

static void fail(const char *what) {
    fprintf(stderr, "answers: %s: %s\n", what, errno ? strerror(errno) : "not expected");
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static int listen_on_loopback(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in at = {.sin_family = AF_INET};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof at;
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, length) < 0 || listen(fd, BACKLOG) < 0) fail("listen");
    getsockname(fd, (struct sockaddr *)&at, &length);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

static void send_whole(int fd, const char *data, size_t left) {
    while (left) {
        ssize_t sent = send(fd, data, left, MSG_NOSIGNAL);
        if (sent > 0) {
            data += sent;
            left -= (size_t)sent;
            continue;
        }
        struct pollfd writable = {fd, POLLOUT, 0};
        if (errno != EAGAIN || poll(&writable, 1, WRITABLE_MS) != 1) fail("send");
    }
}

static void send_received(int fd) {
    char body[256], head[256];
    int64_t fewest = INT64_MAX, most = 0, ids = 0;
    for (int i = 0; i < IDS; i++) {
        if (!seen[i]) continue;
        ids++;
        if (seen[i] < fewest) fewest = seen[i];
        if (seen[i] > most) most = seen[i];
    }
    int length = snprintf(body, sizeof body, "{\"posts\":%ld,\"bytes\":%ld,\"ids\":%ld,\"fewest\":%ld,\"most\":%ld}",
                          (long)posts, (long)bytes, (long)ids, ids ? (long)fewest : 0L, (long)most);
    int head_length = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", length);
    send_whole(fd, head, (size_t)head_length);
    send_whole(fd, body, (size_t)length);
    posts = bytes = 0;
    memset(seen, 0, sizeof seen);
}

static void answer(struct connection *connection) {
    char *request = connection->request;
    char *id = strstr(request, "/@connections/");
    connection->have = 0;
    if (!strncmp(request, "GET /received ", 14))
        send_received(connection->fd);
    else if (id)
        send_whole(connection->fd, POSTED, sizeof POSTED - 1);
    else
        send_whole(connection->fd, page, page_bytes);
}

/* Count a post when it is complete, not when it is answered: a delayed one has been received, too. */
static void count(const char *request, size_t body_bytes) {
    const char *id = strstr(request, "/@connections/");
    if (!id) return;
    char digits[7] = {0};
    memcpy(digits, id + sizeof "/@connections/" - 1 + 5, 6);
    long number = atol(digits);
    if (number < 0 || number >= IDS) fail("id");
    seen[number]++;
    posts++;
    bytes += (int64_t)body_bytes;
}

/* The size of a request's body when it is complete, -1 when more is to come. */
static long complete(struct connection *connection) {
    char *end = strstr(connection->request, "\r\n\r\n");
    if (!end) return -1;
    *end = 0;
    char *length = strcasestr(connection->request, "\r\ncontent-length:");
    long body_bytes = length ? atol(length + 17) : 0;
    *end = '\r';
    size_t whole = (size_t)(end + 4 - connection->request) + (size_t)body_bytes;
    if (connection->have > whole) fail("more than one request at a time");
    return connection->have == whole ? body_bytes : -1;
}

static void close_connection(struct connection *connection) {
    for (unsigned i = queue_first; i != queue_last; i++)
        if (queue[i % CONNECTIONS].connection == connection) fail("closed before it was answered");
    close(connection->fd);
    connection->fd = -1;
}

static void read_request(struct connection *connection, int64_t delay_ns) {
    size_t room = REQUEST_BYTES - connection->have;
    ssize_t got = recv(connection->fd, connection->request + connection->have, room, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        close_connection(connection);
        return;
    }
    connection->have += (size_t)got;
    connection->request[connection->have] = 0;
    long body_bytes = complete(connection);
    if (body_bytes < 0) {
        if (connection->have == REQUEST_BYTES) fail("a request too big");
        return;
    }
    count(connection->request, (size_t)body_bytes);
    if (delay_ns)
        queue[queue_last++ % CONNECTIONS] = (struct waiting){connection, now_ns() + delay_ns};
    else
        answer(connection);
}

static void accept_connection(int epoll, int listener) {
    int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    for (int i = 0; i < CONNECTIONS; i++) {
        if (connections[i].fd >= 0) continue;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &connections[i]};
        connections[i].fd = fd;
        connections[i].have = 0;
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll");
        return;
    }
    fail("too many connections");
}

/* Answer the requests whose delay has passed, and return the milliseconds until the next one: -1 if there is none. */
static int answer_due(void) {
    while (queue_first != queue_last) {
        struct waiting *next = &queue[queue_first % CONNECTIONS];
        int64_t left = next->due - now_ns();
        if (left > 0) return (int)(left / 1000000) + 1;
        queue_first++;
        answer(next->connection);
    }
    return -1;
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    int64_t delay_ns = atol(argv[1]) * 1000000LL;
    page_bytes = fread(page, 1, PAGE_BYTES, stdin);
    for (int i = 0; i < CONNECTIONS; i++) connections[i].fd = -1;
    int listener = listen_on_loopback(), epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN}, events[EVENTS];
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0) fail("epoll");
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, answer_due());
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr)
                read_request(events[i].data.ptr, delay_ns);
            else
                accept_connection(epoll, listener);
        }
    }
}
