/* The load of `python -m bench peers`: devices on WebSockets of any server, and requests that publish to them.
 *
 * Every message has a mark with its run, its number and the time at which it was due. A delivery is a mark on a device;
 * each is counted once for its number and its device, so a loss, a double or a stray cannot hide in a sum. The time to
 * the device counts from when the message was due, not from when it was sent: a server that makes the load wait pays
 * for that, too.
 *
 * Functions return 0 or -1, with the reason in `why`. Sizes are bytes, times are nanoseconds unless the name says
 * otherwise.
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
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 256 * 1024, EVENTS = 512, WHY_BYTES = 1024, ANSWER_BYTES = 256 * 1024 };
enum { OPENING_BYTES = 64 * 1024, KEPT_BYTES = 8 * 1024, SMALL_BYTES = 125, HEARTBEATS = 4 };

/* One address has about 28,000 ports: the sockets of each group have a source address of their own, 127.0.0.1 first. */
enum { SOCKETS_PER_ADDRESS = 10000 };

/* A socket that will not be read holds little: without these the kernel takes megabytes before a server notices. */
enum { SLOW_RECEIVE_BYTES = 4096, SLOW_SEGMENT_BYTES = 1400 };

/* bench!RRR-NNNNNNNNNN-TTTTTTTTTTTTTTTTTTT: run, number, nanoseconds at which the message was due. */
static const char MARK[] = "bench!";
enum { WORD_BYTES = sizeof MARK - 1, RUN_AT = 6, NUMBER_AT = 10, TIME_AT = 21, MARK_BYTES = 40 };

static int64_t clock_ns(clockid_t which) {
    struct timespec at;
    clock_gettime(which, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static int64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

static int64_t deadline_in(int timeout_ms) { return now_ns() + timeout_ms * 1000000LL; }

/* Wait for events until a time, to the microsecond. */
static int wait_until(int epoll, struct epoll_event *events, int64_t until) {
    int64_t left = until - now_ns();
    if (left < 0) left = 0;
    struct timespec timeout = {left / 1000000000, left % 1000000000};
    return epoll_pwait2(epoll, events, EVENTS, &timeout, NULL);
}

/* --- counts ------------------------------------------------------------------------------------------------------ */

/* Counts of microseconds: exact below 128, above in 64 steps for each power of two (at most 1.6 % too few). */
enum { TIMES = 64 * 24 };

static void count_time(int64_t *times, int64_t nanoseconds) {
    uint64_t us = nanoseconds > 0 ? (uint64_t)nanoseconds / 1000 : 0;
    int power = us < 128 ? 0 : 57 - __builtin_clzll(us);
    uint64_t index = 64 * (uint64_t)power + (us >> power);
    times[index < TIMES ? index : TIMES - 1]++;
}

/* Counts of a run. `strays`: marks of another run, of a number that was not sent, or on a device that should not have
 * them. `unordered`: a number below the last one of its device. */
struct counts {
    int64_t received, doubles, strays, unordered, closed, pings, heartbeats, bytes;
};

enum state { CLOSED, CONNECTING, HEAD, OPENING, READY };

struct device {
    int fd;
    enum state state;
    int is_read;
    int is_gone; /* closed by the server: its messages are missing */
    int step;
    uint8_t head[10];
    int head_have;
    uint64_t left, length;
    char tail[MARK_BYTES];
    int tail_have;
    char small[SMALL_BYTES]; /* of a frame that may be a ping, or a heartbeat */
    int small_have;
    int64_t last, received;
    char *text; /* while it opens: the head of the answer, then what came since its last word */
    int text_have;
    char *frame, *opened, *kept; /* with `keeps` only */
    int frame_have, opened_have, kept_have;
};

struct heartbeat {
    char text[SMALL_BYTES], answer[6 + SMALL_BYTES];
    int text_bytes, answer_bytes;
};

struct crowd {
    int epoll;
    int count;
    int keeps;
    struct device *devices;
    int heartbeat_count;
    struct heartbeat heartbeats[HEARTBEATS];
    /* of the opening */
    const char *blob;
    const int64_t *starts;
    int steps;
    int opened;
    char *why;
    /* of the run */
    int run;
    const int32_t *targets; /* the device of each number, again and again; NULL: all */
    int64_t target_count;
    int64_t numbers, sent;
    uint8_t *seen;
    struct counts counts;
    int64_t times[TIMES];
    uint8_t buffer[READ_BYTES];
};

struct crowd *crowd_new(int count, int keeps) {
    prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0); /* waits end when they should, not 50 microseconds later */
    struct crowd *crowd = calloc(1, sizeof *crowd);
    if (!crowd) return NULL;
    crowd->epoll = epoll_create1(EPOLL_CLOEXEC);
    crowd->count = count;
    crowd->keeps = keeps;
    crowd->devices = calloc((size_t)count + 1, sizeof *crowd->devices);
    for (int i = 0; i < count; i++) crowd->devices[i].fd = -1;
    return crowd;
}

/* Close devices `first` to `end`, by a reset. */
void crowd_close(struct crowd *crowd, int first, int end) {
    for (int i = first; i < end; i++) {
        struct device *device = &crowd->devices[i];
        if (device->fd >= 0) close(device->fd);
        free(device->text);
        device->fd = -1;
        device->state = CLOSED;
        device->is_read = device->is_gone = device->head_have = device->tail_have = device->text_have = device->frame_have = 0;
        device->left = 0;
        device->text = NULL;
    }
}

void crowd_free(struct crowd *crowd) {
    crowd_close(crowd, 0, crowd->count);
    for (int i = 0; i < crowd->count; i++) {
        free(crowd->devices[i].frame);
        free(crowd->devices[i].opened);
        free(crowd->devices[i].kept);
    }
    close(crowd->epoll);
    free(crowd->devices);
    free(crowd->seen);
    free(crowd);
}

/* A text of the server's heartbeat, and the complete frame that answers it. */
int crowd_add_heartbeat(struct crowd *crowd, const char *text, int text_bytes, const char *answer, int answer_bytes) {
    if (crowd->heartbeat_count == HEARTBEATS || text_bytes > SMALL_BYTES || answer_bytes > 6 + SMALL_BYTES) return -1;
    struct heartbeat *heartbeat = &crowd->heartbeats[crowd->heartbeat_count++];
    memcpy(heartbeat->text, text, (size_t)text_bytes);
    memcpy(heartbeat->answer, answer, (size_t)answer_bytes);
    heartbeat->text_bytes = text_bytes;
    heartbeat->answer_bytes = answer_bytes;
    return 0;
}

/* Begin a run of at most `numbers` messages. `targets` stays the caller's. */
int crowd_begin(struct crowd *crowd, int run, int64_t numbers, const int32_t *targets, int64_t target_count) {
    free(crowd->seen);
    crowd->seen = calloc((size_t)(targets ? numbers : numbers * crowd->count) / 8 + 1, 1);
    if (!crowd->seen) return -1;
    crowd->run = run;
    crowd->numbers = numbers;
    crowd->targets = targets;
    crowd->target_count = target_count;
    crowd->sent = 0;
    memset(&crowd->counts, 0, sizeof crowd->counts);
    memset(crowd->times, 0, sizeof crowd->times);
    for (int i = 0; i < crowd->count; i++) {
        crowd->devices[i].received = 0;
        crowd->devices[i].last = -1;
    }
    return 0;
}

void crowd_counts(const struct crowd *crowd, struct counts *counts, int64_t *times) {
    *counts = crowd->counts;
    memcpy(times, crowd->times, sizeof crowd->times);
}

/* Devices of which messages are expected: those that were opened, and are read, also if the server has closed them. */
int crowd_readers(const struct crowd *crowd) {
    int readers = 0;
    for (int i = 0; i < crowd->count; i++) readers += crowd->devices[i].state == READY && crowd->devices[i].is_read;
    return readers;
}

/* Devices that the server has closed. */
int crowd_gone(const struct crowd *crowd) {
    int gone = 0;
    for (int i = 0; i < crowd->count; i++) gone += crowd->devices[i].is_gone;
    return gone;
}

static int64_t seen_at(const struct crowd *crowd, int64_t number, int device) {
    return crowd->targets ? number : number * crowd->count + device;
}

static int is_seen(const struct crowd *crowd, int64_t at) { return crowd->seen[at / 8] >> at % 8 & 1; }

/* Count the deliveries that are missing, and write the first of them into `which`. */
int64_t crowd_missing(const struct crowd *crowd, char *which, int size) {
    int64_t missing = 0;
    int have = 0;
    which[0] = 0;
    for (int64_t number = 0; number < crowd->sent; number++) {
        int first = crowd->targets ? crowd->targets[number % crowd->target_count] : 0;
        int end = crowd->targets ? first + 1 : crowd->count;
        for (int device = first; device < end; device++) {
            if (!crowd->targets && !(crowd->devices[device].state == READY && crowd->devices[device].is_read)) continue;
            if (is_seen(crowd, seen_at(crowd, number, device))) continue;
            if (missing++ < 8 && have < size)
                have += snprintf(which + have, (size_t)(size - have), "%snumber %ld at device %d", have ? ", " : "",
                                 (long)number, device);
        }
    }
    return missing;
}

static int64_t digits(const char *text, int count) {
    int64_t value = 0;
    for (int i = 0; i < count; i++) value = 10 * value + (text[i] - '0');
    return value;
}

static void count_mark(struct crowd *crowd, int index, const char *mark, int64_t now) {
    struct device *device = &crowd->devices[index];
    int64_t number = digits(mark + NUMBER_AT, 10);
    int is_ours = digits(mark + RUN_AT, 3) == crowd->run && number >= 0 && number < crowd->sent;
    if (!is_ours || (crowd->targets && crowd->targets[number % crowd->target_count] != index)) {
        crowd->counts.strays++;
        return;
    }
    int64_t at = seen_at(crowd, number, index);
    if (is_seen(crowd, at)) {
        crowd->counts.doubles++;
        return;
    }
    crowd->seen[at / 8] |= (uint8_t)(1 << at % 8);
    crowd->counts.received++;
    device->received++;
    if (number < device->last) crowd->counts.unordered++;
    device->last = number;
    count_time(crowd->times, now - digits(mark + TIME_AT, 19));
}

/* Find the marks in a part of a device's data, also those that are cut by the parts. */
static void find_marks(struct crowd *crowd, int index, const char *data, size_t length, int64_t now) {
    struct device *device = &crowd->devices[index];
    size_t from = 0;
    if (device->tail_have) {
        char joint[2 * MARK_BYTES];
        size_t more = length < MARK_BYTES ? length : MARK_BYTES;
        memcpy(joint, device->tail, (size_t)device->tail_have);
        memcpy(joint + device->tail_have, data, more);
        size_t have = (size_t)device->tail_have + more;
        char *found = memmem(joint, have, MARK, WORD_BYTES);
        if (found && found < joint + device->tail_have && found + MARK_BYTES <= joint + have) {
            count_mark(crowd, index, found, now);
            from = (size_t)(found - joint) + MARK_BYTES - (size_t)device->tail_have;
        } else if (length < MARK_BYTES) {
            device->tail_have = have < MARK_BYTES - 1 ? (int)have : MARK_BYTES - 1;
            memcpy(device->tail, joint + have - (size_t)device->tail_have, (size_t)device->tail_have);
            return;
        }
        device->tail_have = 0;
    }
    const char *end = data + length, *mark = data + from;
    const char *after = mark;
    while ((mark = memmem(mark, (size_t)(end - mark), MARK, WORD_BYTES)) && end - mark >= MARK_BYTES) {
        count_mark(crowd, index, mark, now);
        after = mark += MARK_BYTES;
    }
    size_t left = (size_t)(end - after);
    device->tail_have = left < MARK_BYTES - 1 ? (int)left : MARK_BYTES - 1;
    memcpy(device->tail, end - device->tail_have, (size_t)device->tail_have);
}

/* --- opening ----------------------------------------------------------------------------------------------------- */

static int fail(struct crowd *crowd, const char *format, const char *detail) {
    if (crowd->why && !crowd->why[0]) snprintf(crowd->why, WHY_BYTES, format, detail);
    return -1;
}

/* Part `part` of a device's script: its request, then awaited and said for each step, then what makes it ready. */
static const char *script(const struct crowd *crowd, int index, int part, size_t *length) {
    const int64_t *start = crowd->starts + (int64_t)index * (2 * crowd->steps + 2) + part;
    *length = (size_t)(start[1] - start[0]);
    return crowd->blob + start[0];
}

static int say(struct crowd *crowd, int index, const char *data, size_t length) {
    if (send(crowd->devices[index].fd, data, length, MSG_NOSIGNAL) == (ssize_t)length) return 0;
    return fail(crowd, "cannot send while opening: %s", strerror(errno));
}

static char *copied(char *old, const char *data, int length) {
    char *copy = realloc(old, (size_t)length + 1);
    if (copy) memcpy(copy, data, (size_t)length);
    return copy;
}

static void become_ready(struct crowd *crowd, struct device *device) {
    if (crowd->keeps && device->text_have) {
        device->opened = copied(device->opened, device->text, device->text_have);
        device->opened_have = device->text_have;
    }
    free(device->text);
    device->text = NULL;
    device->text_have = 0;
    device->state = READY;
    crowd->opened++;
}

/* Take the steps for which what they await is there. */
static int advance(struct crowd *crowd, int index) {
    struct device *device = &crowd->devices[index];
    while (device->state == OPENING) {
        size_t length;
        int is_last = device->step == crowd->steps;
        const char *awaited = script(crowd, index, 1 + 2 * device->step, &length);
        char *found = device->text;
        if (length) found = memmem(device->text, (size_t)device->text_have, awaited, length);
        if (length && !found) return 0;
        if (is_last) {
            become_ready(crowd, device);
            return 0;
        }
        if (length) {
            device->text_have -= (int)(found + length - device->text);
            memmove(device->text, found + length, (size_t)device->text_have);
        }
        const char *said = script(crowd, index, 2 + 2 * device->step, &length);
        if (say(crowd, index, said, length) < 0) return -1;
        device->step++;
    }
    return 0;
}

static int start_connecting(struct crowd *crowd, int index, int port, int is_slow) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return fail(crowd, "cannot open a socket: %s", strerror(errno));
    int one = 1, receive = SLOW_RECEIVE_BYTES, segment = SLOW_SEGMENT_BYTES;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (is_slow) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive, sizeof receive);
        setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
    }
    /* Closing resets: tens of thousands of sockets in TIME_WAIT would use up the ports of the next measurement. */
    struct linger reset = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)index / SOCKETS_PER_ADDRESS);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.u32 = (uint32_t)index};
    struct device *device = &crowd->devices[index];
    device->text = malloc(OPENING_BYTES + 1);
    device->fd = fd;
    if (!device->text || bind(fd, (struct sockaddr *)&from, sizeof from) < 0 ||
        (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) ||
        epoll_ctl(crowd->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        return fail(crowd, "cannot connect: %s", strerror(errno));
    device->state = CONNECTING;
    device->step = 0;
    device->is_read = 1;
    return 0;
}

static int connected(struct crowd *crowd, int index) {
    struct device *device = &crowd->devices[index];
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(device->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) return fail(crowd, "cannot connect: %s", strerror(error));
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)index};
    epoll_ctl(crowd->epoll, EPOLL_CTL_MOD, device->fd, &event);
    device->state = HEAD;
    size_t length;
    const char *request = script(crowd, index, 0, &length);
    return say(crowd, index, request, length);
}

static int take_frames(struct crowd *crowd, int index, const uint8_t *data, size_t length);

/* Read the head of the answer. What comes behind it are frames. */
static int take_head(struct crowd *crowd, int index, const char *data, size_t length) {
    struct device *device = &crowd->devices[index];
    if (device->text_have + (int)length > OPENING_BYTES) return fail(crowd, "%s", "the answer has a very long head");
    memcpy(device->text + device->text_have, data, length);
    int before = device->text_have;
    device->text_have += (int)length;
    device->text[device->text_have] = 0;
    char *end = memmem(device->text, (size_t)device->text_have, "\r\n\r\n", 4);
    if (!end) return 0;
    if (strncmp(device->text, "HTTP/1.1 101", 12)) return fail(crowd, "a handshake was refused: %.900s", device->text);
    size_t of_head = (size_t)(end + 4 - device->text) - (size_t)before;
    device->text_have = 0;
    device->state = OPENING;
    if (advance(crowd, index) < 0) return -1;
    return take_frames(crowd, index, (const uint8_t *)data + of_head, length - of_head);
}

/* --- reading ----------------------------------------------------------------------------------------------------- */

/* Read one more byte of a frame's head (RFC 6455 5.2, unmasked); true when it is complete. */
static int head_complete(struct device *device, uint8_t byte) {
    device->head[device->head_have++] = byte;
    if (device->head_have < 2) return 0;
    int extra = device->head[1] == 126 ? 2 : device->head[1] == 127 ? 8 : 0;
    if (device->head_have < 2 + extra) return 0;
    device->left = extra ? 0 : device->head[1];
    for (int i = 0; i < extra; i++) device->left = device->left << 8 | device->head[2 + i];
    device->head_have = 0;
    device->length = device->left;
    device->small_have = 0;
    device->frame_have = 0;
    return 1;
}

static void keep_part(struct device *device, const char *data, size_t length) {
    if (!device->frame) device->frame = malloc(KEPT_BYTES);
    if (!device->frame || device->frame_have + (int)length > KEPT_BYTES) return;
    memcpy(device->frame + device->frame_have, data, length);
    device->frame_have += (int)length;
}

static int take_part(struct crowd *crowd, int index, const char *data, size_t length, int64_t now) {
    struct device *device = &crowd->devices[index];
    if (device->length <= SMALL_BYTES) {
        memcpy(device->small + device->small_have, data, length);
        device->small_have += (int)length;
    }
    if ((device->head[0] & 0x0f) > 2) return 0;
    if (crowd->keeps) keep_part(device, data, length);
    find_marks(crowd, index, data, length, now);
    if (device->state != OPENING) return 0;
    if (device->text_have + (int)length > OPENING_BYTES) return fail(crowd, "%s", "not ready after 64 KiB");
    memcpy(device->text + device->text_have, data, length);
    device->text_have += (int)length;
    return advance(crowd, index);
}

static int answer_ping(struct crowd *crowd, const struct device *device) {
    char pong[6 + SMALL_BYTES] = {(char)0x8a, (char)(0x80 | device->small_have)};
    memcpy(pong + 6, device->small, (size_t)device->small_have);
    crowd->counts.pings++;
    ssize_t length = 6 + device->small_have;
    return send(device->fd, pong, (size_t)length, MSG_NOSIGNAL) == length ? 0 : -1;
}

static int frame_complete(struct crowd *crowd, int index) {
    struct device *device = &crowd->devices[index];
    int opcode = device->head[0] & 0x0f;
    if (opcode == 9) return answer_ping(crowd, device);
    if (opcode == 8) crowd->counts.closed++;
    if (opcode > 2) return 0;
    if (crowd->keeps && device->frame_have && memmem(device->frame, (size_t)device->frame_have, MARK, WORD_BYTES)) {
        device->kept = copied(device->kept, device->frame, device->frame_have);
        device->kept_have = device->frame_have;
    }
    for (int i = 0; i < crowd->heartbeat_count && device->length <= SMALL_BYTES; i++) {
        struct heartbeat *heartbeat = &crowd->heartbeats[i];
        if (device->small_have != heartbeat->text_bytes) continue;
        if (memcmp(device->small, heartbeat->text, (size_t)heartbeat->text_bytes)) continue;
        crowd->counts.heartbeats++;
        if (send(device->fd, heartbeat->answer, (size_t)heartbeat->answer_bytes, MSG_NOSIGNAL) < 0) return -1;
    }
    return 0;
}

static int take_frames(struct crowd *crowd, int index, const uint8_t *data, size_t length) {
    struct device *device = &crowd->devices[index];
    int64_t now = now_ns();
    while (length) {
        if (device->left) {
            size_t step = length < device->left ? length : (size_t)device->left;
            device->left -= step;
            if (take_part(crowd, index, (const char *)data, step, now) < 0) return -1;
            data += step;
            length -= step;
        } else {
            length--;
            if (!head_complete(device, *data++)) continue;
        }
        if (!device->left && !device->head_have && frame_complete(crowd, index) < 0) return -1;
    }
    return 0;
}

static int read_device(struct crowd *crowd, int index) {
    struct device *device = &crowd->devices[index];
    ssize_t got = recv(device->fd, crowd->buffer, READ_BYTES, 0);
    if (got > 0) {
        crowd->counts.bytes += got;
        if (device->state == HEAD) return take_head(crowd, index, (char *)crowd->buffer, (size_t)got);
        return take_frames(crowd, index, crowd->buffer, (size_t)got);
    }
    if (got < 0 && errno == EAGAIN) return 0;
    if (device->state != READY) return fail(crowd, "%s", "the server closed a connection while it was opened");
    crowd->counts.closed++;
    device->is_gone = 1;
    epoll_ctl(crowd->epoll, EPOLL_CTL_DEL, device->fd, NULL);
    return 0;
}

static int take_event(struct crowd *crowd, const struct epoll_event *event) {
    int index = (int)event->data.u32;
    if (crowd->devices[index].state != CONNECTING) return read_device(crowd, index);
    return event->events & (EPOLLOUT | EPOLLERR | EPOLLHUP) ? connected(crowd, index) : 0;
}

struct opening {
    int first, end;     /* devices */
    int steps;          /* of a script */
    int window;         /* devices that are opened at once */
    int is_slow;        /* they will not be read */
    int timeout_ms;
    int64_t elapsed, cpu;
    char why[WHY_BYTES];
};

/* Open devices, each at its port, by its script: parts starts[i] to starts[i + 1] of `blob`, 2 * steps + 2 for each. */
int crowd_open(struct crowd *crowd, const int *ports, const char *blob, const int64_t *starts, struct opening *opening) {
    struct epoll_event events[EVENTS];
    int64_t began = now_ns(), cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID), deadline = deadline_in(opening->timeout_ms);
    int wanted = opening->end - opening->first, started = 0;
    crowd->blob = blob;
    /* So that a device's number finds its script. */
    crowd->starts = starts - (int64_t)opening->first * (2 * opening->steps + 2);
    crowd->steps = opening->steps;
    crowd->opened = 0;
    crowd->why = opening->why;
    while (crowd->opened < wanted) {
        for (; started < wanted && started - crowd->opened < opening->window; started++)
            if (start_connecting(crowd, opening->first + started, ports[started], opening->is_slow) < 0) return -1;
        if (now_ns() > deadline) {
            snprintf(opening->why, WHY_BYTES, "out of time with %d of %d open", crowd->opened, wanted);
            return -1;
        }
        int ready = wait_until(crowd->epoll, events, deadline);
        for (int i = 0; i < ready; i++)
            if (take_event(crowd, &events[i]) < 0) return fail(crowd, "%s", "a device cannot answer a ping");
    }
    opening->elapsed = now_ns() - began;
    opening->cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
    return 0;
}

/* Read no more from devices `first` to `end`; their connections stay open. */
void crowd_stop_reading(struct crowd *crowd, int first, int end) {
    for (int i = first; i < end; i++) {
        epoll_ctl(crowd->epoll, EPOLL_CTL_DEL, crowd->devices[i].fd, NULL);
        crowd->devices[i].is_read = 0;
    }
}

/* The last frame with a mark of a device, or with `of_opening` what made it ready; returns its length. */
int crowd_kept(const struct crowd *crowd, int index, int of_opening, const char **text) {
    const struct device *device = &crowd->devices[index];
    *text = of_opening ? device->opened : device->kept;
    return of_opening ? device->opened_have : device->kept_have;
}

/* Read until `received` deliveries have been counted in this run. 0 when they have, -1 when the time was up first. */
int crowd_drain(struct crowd *crowd, int64_t received, int timeout_ms) {
    struct epoll_event events[EVENTS];
    int64_t deadline = deadline_in(timeout_ms);
    crowd->why = NULL;
    while (crowd->counts.received < received) {
        if (now_ns() > deadline) return -1;
        int ready = wait_until(crowd->epoll, events, deadline);
        for (int i = 0; i < ready; i++)
            if (take_event(crowd, &events[i]) < 0) return -1;
    }
    return 0;
}

/* Answer the pings and heartbeats that are there, and wait for none. */
int crowd_tend(struct crowd *crowd) {
    struct epoll_event events[EVENTS];
    int ready;
    crowd->why = NULL;
    do {
        ready = epoll_wait(crowd->epoll, events, EVENTS, 0);
        for (int i = 0; i < ready; i++)
            if (take_event(crowd, &events[i]) < 0) return -1;
    } while (ready == EVENTS);
    return 0;
}

/* --- publishing -------------------------------------------------------------------------------------------------- */

enum { OF_HTTP, OF_LINES };

struct plan {
    char *blob; /* requests with marks, used again and again; the marks are written into it */
    const int64_t *starts;
    int64_t templates;
    int64_t lines;         /* marks in a request */
    int64_t most;          /* requests */
    int64_t duration;      /* after this time none is sent any more; 0: all are sent */
    int64_t interval;      /* between two requests, whatever has come of the ones before; 0: as soon as possible */
    int one_at_a_time;     /* the next request waits until all devices have the messages of the last */
    int waits;             /* for all deliveries */
    int answers;           /* OF_HTTP or OF_LINES */
    int timeout_ms;
    const char *refusal;   /* of an answer with status 200; NULL: there is none */
};

struct published {
    int64_t elapsed, cpu, sent, answered, expected, latest; /* latest: most behind the pace */
    char why[WHY_BYTES];
};

struct client {
    int fd;
    int is_waiting; /* for the answer to a request */
    size_t have;
    char answer[ANSWER_BYTES];
};

struct publishing {
    struct crowd *crowd;
    const struct plan *plan;
    struct published *published;
    struct client *clients;
    int count;
    int *idle; /* the clients without a request; the last one is used first, so that at a slow pace some rest */
    int idle_count, alive;
    int64_t began, readers;
};

static void put_digits(char *at, int count, int64_t value) {
    for (int i = count; i--; value /= 10) at[i] = (char)('0' + value % 10);
}

/* Write run, number and time into the marks of a request. */
static void stamp(const struct publishing *all, char *data, size_t length, int64_t number, int64_t due) {
    char *end = data + length, *mark = data;
    while ((mark = memmem(mark, (size_t)(end - mark), MARK, WORD_BYTES))) {
        put_digits(mark + RUN_AT, 3, all->crowd->run);
        put_digits(mark + NUMBER_AT, 10, number++);
        put_digits(mark + TIME_AT, 19, due);
        mark += MARK_BYTES;
    }
}

static int send_all(int fd, const char *data, size_t left) {
    while (left) {
        ssize_t sent = send(fd, data, left, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            struct pollfd writable = {fd, POLLOUT, 0};
            if (poll(&writable, 1, 1000) == 1) continue;
        }
        if (sent < 0) return -1;
        data += sent;
        left -= (size_t)sent;
    }
    return 0;
}

static int send_request(struct publishing *all, int64_t now) {
    const struct plan *plan = all->plan;
    struct published *published = all->published;
    int64_t due = plan->interval ? all->began + published->sent * plan->interval : now;
    if (now - due > published->latest) published->latest = now - due;
    int64_t template = published->sent % plan->templates;
    char *data = plan->blob + plan->starts[template];
    size_t length = (size_t)(plan->starts[template + 1] - plan->starts[template]);
    stamp(all, data, length, published->sent * plan->lines, due);
    struct client *client = &all->clients[all->idle[--all->idle_count]];
    client->is_waiting = 1;
    published->sent++;
    published->expected += plan->lines * all->readers;
    all->crowd->sent += plan->lines;
    if (send_all(client->fd, data, length) == 0) return 0;
    snprintf(published->why, WHY_BYTES, "cannot send a request: %s", strerror(errno));
    return -1;
}

/* 1 when the answer is complete, 0 when more is to come, -1 when it is no answer of a peer that has done its work. */
static int is_complete(const struct client *client, int answers) {
    if (answers == OF_LINES) {
        if (client->answer[0] == '-') return -1;
        return client->have && client->answer[client->have - 1] == '\n';
    }
    const char *body = strstr(client->answer, "\r\n\r\n");
    if (!body) return 0;
    if (strncmp(client->answer, "HTTP/1.1 2", 10)) return -1;
    const char *length = strcasestr(client->answer, "\r\ncontent-length:");
    if (length && length < body) return client->have >= (size_t)(body + 4 - client->answer) + (size_t)atoll(length + 17);
    const char *chunked = strcasestr(client->answer, "\r\ntransfer-encoding: chunked");
    if (chunked && chunked < body) return strcmp(client->answer + client->have - 5, "0\r\n\r\n") == 0;
    return strncmp(client->answer, "HTTP/1.1 204", 12) == 0 ? 1 : -1;
}

static int is_all_sent(const struct publishing *all, int64_t now) {
    const struct plan *plan = all->plan;
    return all->published->sent >= plan->most || (plan->duration && now - all->began >= plan->duration);
}

/* A server may close a connection that has rested for long; others go on. */
static int lose_client(struct publishing *all, int index) {
    int at = 0;
    while (at < all->idle_count && all->idle[at] != index) at++;
    if (at == all->idle_count || (--all->alive == 0 && !is_all_sent(all, now_ns()))) {
        snprintf(all->published->why, WHY_BYTES, "the server closed a connection for requests");
        return -1;
    }
    memmove(all->idle + at, all->idle + at + 1, (size_t)(--all->idle_count - at) * sizeof *all->idle);
    epoll_ctl(all->crowd->epoll, EPOLL_CTL_DEL, all->clients[index].fd, NULL);
    return 0;
}

/* Answer the heartbeats of a protocol of lines, and leave them out of its answers. */
static void drop_pings(struct client *client) {
    static const char ping[] = "PING\r\n", pong[] = "PONG\r\n";
    char *found;
    while ((found = strstr(client->answer, ping))) {
        char *end = found + sizeof ping - 1;
        memmove(found, end, client->have - (size_t)(end - client->answer) + 1);
        client->have -= sizeof ping - 1;
        if (send(client->fd, pong, sizeof pong - 1, MSG_NOSIGNAL) < 0) return;
    }
}

static int read_answer(struct publishing *all, int index) {
    struct client *client = &all->clients[index];
    struct published *published = all->published;
    ssize_t got = recv(client->fd, client->answer + client->have, ANSWER_BYTES - 1 - client->have, 0);
    if (got < 0 && errno == EAGAIN) return 0;
    if (got <= 0) return lose_client(all, index);
    client->have += (size_t)got;
    client->answer[client->have] = 0;
    if (all->plan->answers == OF_LINES) drop_pings(client);
    if (!client->is_waiting) {
        if (all->plan->answers == OF_LINES && !strchr(client->answer, '\n')) return 0; /* a ping, or a part of one */
        snprintf(published->why, WHY_BYTES, "an answer to no request: %.900s", client->answer);
        return -1;
    }
    int complete = is_complete(client, all->plan->answers);
    if (complete < 0 || (complete && all->plan->refusal && strstr(client->answer, all->plan->refusal))) {
        snprintf(published->why, WHY_BYTES, "a publish was refused: %.900s", client->answer);
        return -1;
    }
    if (!complete) return 0;
    published->answered++;
    client->is_waiting = 0;
    client->have = 0;
    client->answer[0] = 0;
    all->idle[all->idle_count++] = index;
    return 0;
}

static int may_send(const struct publishing *all, int64_t now) {
    const struct plan *plan = all->plan;
    if (!all->idle_count || is_all_sent(all, now)) return 0;
    if (plan->one_at_a_time && all->crowd->counts.received < all->published->expected) return 0;
    return !plan->interval || now >= all->began + all->published->sent * plan->interval;
}

static int is_over(const struct publishing *all, int64_t now) {
    const struct published *published = all->published;
    return is_all_sent(all, now) && published->answered == published->sent &&
           (!all->plan->waits || all->crowd->counts.received >= published->expected);
}

static int publish_all(struct publishing *all) {
    struct epoll_event events[EVENTS];
    struct published *published = all->published;
    int64_t deadline = deadline_in(all->plan->timeout_ms), now;
    while (now = now_ns(), !is_over(all, now)) {
        for (; may_send(all, now); now = now_ns())
            if (send_request(all, now) < 0) return -1;
        if (now > deadline) {
            snprintf(published->why, WHY_BYTES, "out of time: %ld of %ld requests answered, %ld of %ld deliveries",
                     (long)published->answered, (long)published->sent, (long)all->crowd->counts.received,
                     (long)published->expected);
            return -1;
        }
        int64_t until = deadline;
        if (all->plan->interval && all->idle_count && !is_all_sent(all, now))
            until = all->began + published->sent * all->plan->interval;
        int ready = wait_until(all->crowd->epoll, events, until);
        for (int i = 0; i < ready; i++) {
            int index = (int)events[i].data.u32 - all->crowd->count;
            if ((index < 0 ? take_event(all->crowd, &events[i]) : read_answer(all, index)) < 0) return -1;
        }
    }
    return 0;
}

/* Publish over `count` connections, one request outstanding on each, and read what arrives at the devices meanwhile.
 * `readers`: the devices that get each message. */
int crowd_publish(struct crowd *crowd, const int *fds, int count, int readers, const struct plan *plan,
                  struct published *published) {
    struct publishing all = {.crowd = crowd, .plan = plan, .published = published, .count = count, .readers = readers};
    all.clients = calloc((size_t)count, sizeof *all.clients);
    all.idle = calloc((size_t)count, sizeof *all.idle);
    all.idle_count = all.alive = count;
    crowd->why = NULL;
    int result = -1;
    if (all.clients && all.idle) {
        for (int i = 0; i < count; i++) {
            struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)(crowd->count + i)};
            all.clients[i].fd = fds[i];
            all.idle[i] = count - 1 - i;
            epoll_ctl(crowd->epoll, EPOLL_CTL_ADD, fds[i], &event);
        }
        int64_t cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        all.began = now_ns();
        result = publish_all(&all);
        published->elapsed = now_ns() - all.began;
        published->cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
        for (int i = 0; i < count; i++) epoll_ctl(crowd->epoll, EPOLL_CTL_DEL, fds[i], NULL);
    }
    free(all.clients);
    free(all.idle);
    return result;
}
