/* The load side's inner loops: opening sockets, counting what arrives on them, and HTTP requests while it arrives.
 *
 * In C because the load must cost less than the server it measures. All calls have a timeout, and received messages are
 * counted on every socket, so that a loss cannot hide in a sum.
 *
 * Functions return 0 or -1. Sizes are bytes, times are nanoseconds unless the name says otherwise.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 256 * 1024, EVENTS = 1024, HEAD_BYTES = 1024, ANSWER_BYTES = 128 * 1024 };

/* One address has about 28,000 ports: the sockets of each group have a source address of their own, 127.0.0.1 first. */
enum { SOCKETS_PER_ADDRESS = 10000 };

/* A message that is timed has this mark and the nanoseconds at which it was sent, in so many digits. */
static const char MARK[] = "sent-at:";
enum { MARK_BYTES = sizeof MARK - 1, MARK_DIGITS = 19 };

static int64_t clock_ns(clockid_t which) {
    struct timespec at;
    clock_gettime(which, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static int64_t deadline_in(int timeout_ms) { return clock_ns(CLOCK_MONOTONIC) + timeout_ms * 1000000LL; }

/* Milliseconds until the deadline for epoll_wait; -1 when it has passed. */
static int ms_until(int64_t deadline) {
    int64_t left = deadline - clock_ns(CLOCK_MONOTONIC);
    return left <= 0 ? -1 : (int)(left / 1000000) + 1;
}

/* --- opening ----------------------------------------------------------------------------------------------------- */

struct opening {
    int asked;
    int have;
    char head[HEAD_BYTES];
};

static int start_connecting(int epoll, int port, uint32_t index) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    /* Closing resets: tens of thousands of sockets in TIME_WAIT would use up the ports of the next measurement. */
    struct linger reset = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + index / SOCKETS_PER_ADDRESS);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u32 = index};
    if ((index >= SOCKETS_PER_ADDRESS && bind(fd, (struct sockaddr *)&from, sizeof from) < 0) ||
        (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* One step of one socket: 1 when it is open, 0 when it waits, -1 when it failed (`why` says how). */
static int step_opening(struct opening *state, int fd, const char *request, size_t length, uint32_t ready, char *why) {
    if (!state->asked) {
        if (!(ready & EPOLLOUT)) return 0;
        if (length && send(fd, request, length, MSG_NOSIGNAL) != (ssize_t)length) {
            snprintf(why, HEAD_BYTES, "cannot connect or send: %s", strerror(errno));
            return -1;
        }
        state->asked = 1;
        if (!length) return 1;
    }
    for (;;) {
        ssize_t got = recv(fd, state->head + state->have, HEAD_BYTES - 1 - state->have, 0);
        if (got < 0 && errno == EAGAIN) return 0;
        if (got <= 0) {
            snprintf(why, HEAD_BYTES, "closed during the handshake: %.900s", got ? strerror(errno) : state->head);
            return -1;
        }
        state->have += (int)got;
        state->head[state->have] = 0;
        if (!strstr(state->head, "\r\n\r\n")) continue;
        if (!strncmp(state->head, "HTTP/1.1 101 ", 13) && !strcmp(state->head + state->have - 4, "\r\n\r\n")) return 1;
        snprintf(why, HEAD_BYTES, "%s", state->head);
        return -1;
    }
}

static int open_all(int epoll, int port, const char *blob, const int64_t *starts, int count, int window,
                    int64_t deadline, int *fds, struct opening *states, char *why) {
    struct epoll_event events[EVENTS];
    int started = 0, opened = 0;
    while (opened < count) {
        for (; started < count && started - opened < window; started++) {
            fds[started] = start_connecting(epoll, port, (uint32_t)started);
            if (fds[started] < 0) {
                snprintf(why, HEAD_BYTES, "cannot open a socket: %s", strerror(errno));
                return -1;
            }
        }
        int wait_ms = ms_until(deadline);
        if (wait_ms < 0) {
            snprintf(why, HEAD_BYTES, "out of time with %d of %d open", opened, count);
            return -1;
        }
        int ready = epoll_wait(epoll, events, EVENTS, wait_ms);
        for (int i = 0; i < ready; i++) {
            uint32_t index = events[i].data.u32;
            size_t length = (size_t)(starts[index + 1] - starts[index]);
            int step = step_opening(&states[index], fds[index], blob + starts[index], length, events[i].events, why);
            if (step < 0) return -1;
            if (!step) continue;
            epoll_ctl(epoll, EPOLL_CTL_DEL, fds[index], NULL);
            opened++;
        }
    }
    return 0;
}

/* Open `count` sockets to loopback, at most `window` at a time, and send each its request: bytes starts[i] to
 * starts[i + 1] of `blob`. Open means connected, or with a request: answered with 101. `fds` starts as -1s. */
int open_sockets(int port, const char *blob, const int64_t *starts, int count, int window, int timeout_ms, int *fds,
                 char *why) {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct opening *states = calloc((size_t)count, sizeof *states);
    int result = -1;
    if (epoll >= 0 && states)
        result = open_all(epoll, port, blob, starts, count, window, deadline_in(timeout_ms), fds, states, why);
    free(states);
    if (epoll >= 0) close(epoll);
    return result;
}

/* --- counting ---------------------------------------------------------------------------------------------------- */

/* Counts of received frames: text messages in one frame each; pings, which are answered and not in `bytes`; and strays,
 * which are anything else. */
struct received {
    int64_t messages, bytes, strays, closed, fewest, most, pings;
};

/* Counts of microseconds: exact below 128, above in 64 steps for each power of two (at most 1.6 % too few). */
enum { TIMES = 64 * 24 };

static void count_time(int64_t *times, int64_t nanoseconds) {
    uint64_t us = nanoseconds > 0 ? (uint64_t)nanoseconds / 1000 : 0;
    int power = us < 128 ? 0 : 57 - __builtin_clzll(us);
    uint64_t index = 64 * (uint64_t)power + (us >> power);
    times[index < TIMES ? index : TIMES - 1]++;
}

struct device {
    int fd;
    int have;
    uint8_t head[10];
    uint64_t left;
    int64_t messages;
};

struct fleet {
    int epoll;
    int count;
    struct device *devices;
    struct received total;
    int64_t times[TIMES]; /* of the messages with a mark, from sent to received */
    uint8_t buffer[READ_BYTES];
};

struct fleet *fleet_open(const int *fds, int count) {
    struct fleet *fleet = calloc(1, sizeof *fleet);
    if (!fleet) return NULL;
    fleet->epoll = epoll_create1(EPOLL_CLOEXEC);
    fleet->count = count;
    fleet->devices = calloc((size_t)count + 1, sizeof *fleet->devices);
    for (int i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        fleet->devices[i].fd = fds[i];
        epoll_ctl(fleet->epoll, EPOLL_CTL_ADD, fds[i], &event);
    }
    return fleet;
}

/* The sockets themselves belong to the caller. */
void fleet_free(struct fleet *fleet) {
    close(fleet->epoll);
    free(fleet->devices);
    free(fleet);
}

void fleet_received(struct fleet *fleet, struct received *out) {
    *out = fleet->total;
    out->fewest = fleet->count ? INT64_MAX : 0;
    for (int i = 0; i < fleet->count; i++) {
        int64_t messages = fleet->devices[i].messages;
        if (messages < out->fewest) out->fewest = messages;
        if (messages > out->most) out->most = messages;
        if (fleet->devices[i].left || fleet->devices[i].have) out->strays++;
    }
}

/* Counts of messages by device, and of times; see `count_time`. */
void fleet_counts(struct fleet *fleet, int64_t *messages, int64_t *times) {
    for (int i = 0; i < fleet->count; i++) messages[i] = fleet->devices[i].messages;
    memcpy(times, fleet->times, sizeof fleet->times);
}

void fleet_reset(struct fleet *fleet) {
    memset(&fleet->total, 0, sizeof fleet->total);
    memset(fleet->times, 0, sizeof fleet->times);
    for (int i = 0; i < fleet->count; i++) fleet->devices[i].messages = 0;
}

/* Read one more byte of a frame's head (RFC 6455 5.2, unmasked); true when it is complete. */
static int head_complete(struct device *device, uint8_t byte) {
    device->head[device->have++] = byte;
    if (device->have < 2) return 0;
    int extra = device->head[1] == 126 ? 2 : device->head[1] == 127 ? 8 : 0;
    if (device->have < 2 + extra) return 0;
    device->left = extra ? 0 : device->head[1];
    for (int i = 0; i < extra; i++) device->left = device->left << 8 | device->head[2 + i];
    device->have = 0;
    return 1;
}

static void count_frames(struct fleet *fleet, struct device *device, const uint8_t *data, size_t length) {
    fleet->total.bytes += (int64_t)length;
    while (length) {
        if (device->left) {
            size_t step = length < device->left ? length : (size_t)device->left;
            device->left -= step;
            data += step;
            length -= step;
        } else {
            length--;
            if (!head_complete(device, *data++)) continue;
        }
        if (device->left || device->have) continue;
        if (device->head[0] == 0x81) {
            device->messages++;
            fleet->total.messages++;
        } else if (device->head[0] == 0x89 && device->head[1] == 0) {
            static const uint8_t pong[] = {0x8a, 0x80, 0, 0, 0, 0};
            fleet->total.pings++;
            fleet->total.bytes -= 2;
            if (send(device->fd, pong, sizeof pong, MSG_NOSIGNAL) != sizeof pong) fleet->total.strays++;
        } else {
            fleet->total.strays++;
        }
    }
}

/* Time the messages with a mark. One that is cut in two reads is counted, but not timed. */
static void time_messages(struct fleet *fleet, const uint8_t *data, size_t length) {
    const uint8_t *end = data + length, *mark = data;
    int64_t now = 0;
    while ((mark = memmem(mark, (size_t)(end - mark), MARK, MARK_BYTES))) {
        mark += MARK_BYTES;
        if (end - mark < MARK_DIGITS) return;
        if (!now) now = clock_ns(CLOCK_MONOTONIC);
        int64_t sent_at = 0;
        for (int i = 0; i < MARK_DIGITS; i++) sent_at = 10 * sent_at + *mark++ - '0';
        count_time(fleet->times, now - sent_at);
    }
}

static void read_device(struct fleet *fleet, uint32_t index) {
    struct device *device = &fleet->devices[index];
    ssize_t got = recv(device->fd, fleet->buffer, READ_BYTES, 0);
    if (got > 0) {
        count_frames(fleet, device, fleet->buffer, (size_t)got);
        time_messages(fleet, fleet->buffer, (size_t)got);
    } else if (got == 0 || errno != EAGAIN) {
        fleet->total.closed++;
        epoll_ctl(fleet->epoll, EPOLL_CTL_DEL, device->fd, NULL);
    }
}

/* Read until `messages` have arrived since the last reset. 0 when they have, -1 when the time was up first. */
int fleet_drain(struct fleet *fleet, int64_t messages, int timeout_ms) {
    struct epoll_event events[EVENTS];
    int64_t deadline = deadline_in(timeout_ms);
    while (fleet->total.messages < messages) {
        int wait_ms = ms_until(deadline);
        if (wait_ms < 0) return -1;
        int ready = epoll_wait(fleet->epoll, events, EVENTS, wait_ms);
        for (int i = 0; i < ready; i++) read_device(fleet, events[i].data.u32);
    }
    return 0;
}

/* Send the same bytes from every device, `window` devices at a time: the next when one more has answered. Each is
 * answered with one message. -1 if a device cannot send, or if the time was up first. */
int fleet_ask(struct fleet *fleet, const char *data, int64_t length, int window, int timeout_ms) {
    int64_t deadline = deadline_in(timeout_ms);
    for (int sent = 0; sent < fleet->count;) {
        for (; sent < fleet->count && sent - fleet->total.messages < window; sent++)
            if (send(fleet->devices[sent].fd, data, (size_t)length, MSG_NOSIGNAL) != length) return -1;
        if (ms_until(deadline) < 0 || fleet_drain(fleet, sent - window + 1, ms_until(deadline)) < 0) return -1;
    }
    return ms_until(deadline) < 0 ? -1 : fleet_drain(fleet, fleet->count, ms_until(deadline));
}

/* --- publishing -------------------------------------------------------------------------------------------------- */

struct requests {
    char *blob;
    const int64_t *starts;
    int64_t count;
    int64_t messages;    /* that arrive at the fleet for all requests together */
    int64_t interval;    /* between two requests; 0: as soon as a client is free */
    int one_at_a_time;   /* the next request waits until the messages of the last have arrived: as many for each */
};

struct load {
    int64_t elapsed, cpu, sent, answered, delivered, began, latest; /* latest: most behind the pace */
    char why[HEAD_BYTES];
};

struct client {
    int fd;
    int busy;
    size_t have;
    char answer[ANSWER_BYTES];
};

/* Write the time into the marks of a request. */
static void stamp(char *data, size_t length) {
    char digits[MARK_DIGITS + 1];
    char *end = data + length, *mark = data;
    snprintf(digits, sizeof digits, "%0*ld", MARK_DIGITS, (long)clock_ns(CLOCK_MONOTONIC));
    while ((mark = memmem(mark, (size_t)(end - mark), MARK, MARK_BYTES))) {
        mark += MARK_BYTES;
        memcpy(mark, digits, MARK_DIGITS);
    }
}

static int send_request(struct client *client, const struct requests *requests, struct load *load) {
    char *data = requests->blob + requests->starts[load->sent];
    size_t left = (size_t)(requests->starts[load->sent + 1] - requests->starts[load->sent]);
    if (requests->interval) {
        int64_t behind = clock_ns(CLOCK_MONOTONIC) - load->began - load->sent * requests->interval;
        if (behind > load->latest) load->latest = behind;
        stamp(data, left);
    }
    while (left) {
        ssize_t sent = send(client->fd, data, left, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            struct pollfd writable = {client->fd, POLLOUT, 0};
            if (poll(&writable, 1, 1000) == 1) continue;
        }
        if (sent < 0) {
            snprintf(load->why, HEAD_BYTES, "cannot send a request: %s", strerror(errno));
            return -1;
        }
        data += sent;
        left -= (size_t)sent;
    }
    client->busy = 1;
    client->have = 0;
    load->sent++;
    return 0;
}

/* The sum of all `"delivered":<n>` in an answer. */
static int64_t delivered_in(const char *body) {
    static const char name[] = "\"delivered\":";
    int64_t sum = 0;
    while ((body = strstr(body, name))) {
        body += sizeof name - 1;
        sum += atoll(body);
    }
    return sum;
}

/* 1 when the answer is complete and 200, 0 when more is to come, -1 when it is anything else. */
static int read_answer(struct client *client, struct load *load) {
    ssize_t got = recv(client->fd, client->answer + client->have, ANSWER_BYTES - 1 - client->have, 0);
    if (got < 0 && errno == EAGAIN) return 0;
    if (got <= 0) {
        snprintf(load->why, HEAD_BYTES, "the server closed an HTTP connection");
        return -1;
    }
    client->have += (size_t)got;
    client->answer[client->have] = 0;
    char *body = strstr(client->answer, "\r\n\r\n");
    if (!body) return 0;
    body += 4;
    char *length = strcasestr(client->answer, "\r\ncontent-length:");
    if (strncmp(client->answer, "HTTP/1.1 200 ", 13) || !length || length > body) {
        snprintf(load->why, HEAD_BYTES, "%.1000s", client->answer);
        return -1;
    }
    if ((int64_t)client->have < body - client->answer + atoll(length + 17)) return 0;
    client->busy = 0;
    load->answered++;
    load->delivered += delivered_in(body);
    return 1;
}

static int may_send(const struct fleet *fleet, const struct requests *requests, const struct load *load) {
    return load->sent < requests->count &&
           (!requests->one_at_a_time ||
            fleet->total.messages * requests->count >= load->sent * requests->messages) &&
           (!requests->interval ||
            clock_ns(CLOCK_MONOTONIC) >= load->began + load->sent * requests->interval);
}

static int publish_all(struct fleet *fleet, struct client *clients, int count, const struct requests *requests,
                       int64_t deadline, struct load *load) {
    struct epoll_event events[EVENTS];
    int64_t messages = requests->messages;
    int next = 0;
    while (load->answered < requests->count || fleet->total.messages < messages) {
        /* In turn: the server closes a client that has nothing to send for some seconds. */
        for (int i = 0; i < count && may_send(fleet, requests, load); i++, next = (next + 1) % count)
            if (!clients[next].busy && send_request(&clients[next], requests, load) < 0) return -1;
        int wait_ms = ms_until(deadline);
        if (wait_ms < 0) {
            snprintf(load->why, HEAD_BYTES, "out of time: %ld of %ld requests answered, %ld of %ld messages received",
                     (long)load->answered, (long)requests->count, (long)fleet->total.messages, (long)messages);
            return -1;
        }
        if (requests->interval && load->sent < requests->count) wait_ms = 1;
        int ready = epoll_wait(fleet->epoll, events, EVENTS, wait_ms);
        for (int i = 0; i < ready; i++) {
            uint32_t index = events[i].data.u32;
            if (index < (uint32_t)fleet->count)
                read_device(fleet, index);
            else if (read_answer(&clients[index - (uint32_t)fleet->count], load) < 0)
                return -1;
        }
    }
    return 0;
}

/* Send all requests over `count` keep-alive connections, one outstanding on each, and read what arrives at the fleet,
 * until every request is answered and every message is there. The fleet was reset before. */
int publish(struct fleet *fleet, const int *fds, int count, const struct requests *requests, int timeout_ms,
            struct load *load) {
    struct client *clients = calloc((size_t)count, sizeof *clients);
    if (!clients) return -1;
    for (int i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)(fleet->count + i)};
        clients[i].fd = fds[i];
        epoll_ctl(fleet->epoll, EPOLL_CTL_ADD, fds[i], &event);
    }
    int64_t cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    load->began = clock_ns(CLOCK_MONOTONIC);
    int result = publish_all(fleet, clients, count, requests, deadline_in(timeout_ms), load);
    load->elapsed = clock_ns(CLOCK_MONOTONIC) - load->began;
    load->cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
    for (int i = 0; i < count; i++) epoll_ctl(fleet->epoll, EPOLL_CTL_DEL, fds[i], NULL);
    free(clients);
    return result;
}
