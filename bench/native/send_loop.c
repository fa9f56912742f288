/* The baseline: the cost of the kernel alone. A server whose only work is one send() per connection and message.
 *
 *     send_loop <connections>
 *
 * It prints the port it listens on (loopback). The first connection is the control: it sends the length of the payload
 * (uint32, host order) and the payload. Then the devices connect; when all are here, the control is sent 'R'. From then
 * on each byte the control sends is a number of rounds: a round is one send() of the payload to every device. After it
 * the control is sent a `struct report`. It ends when the control closes.
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
#include <sys/prctl.h>
#include <sys/socket.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum { BACKLOG = 4096, PAYLOAD_BYTES = 64 * 1024, WRITABLE_MS = 10000 };

struct report {
    int64_t bytes, stalls, elapsed;
};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static int listen_on_loopback(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof at;
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, length) < 0 || listen(fd, BACKLOG) < 0) fail("listen");
    getsockname(fd, (struct sockaddr *)&at, &length);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

static void read_exactly(int fd, void *into, size_t length) {
    if (recv(fd, into, length, MSG_WAITALL) != (ssize_t)length) fail("control");
}

/* Send all bytes, and wait when the socket is full: the baseline must not lose anything either. */
static void send_whole(int fd, const char *payload, size_t length, struct report *report) {
    size_t done = 0;
    while (done < length) {
        ssize_t sent = send(fd, payload + done, length - done, MSG_NOSIGNAL);
        if (sent > 0) {
            done += (size_t)sent;
            report->bytes += sent;
            continue;
        }
        struct pollfd writable = {fd, POLLOUT, 0};
        if (errno != EAGAIN || poll(&writable, 1, WRITABLE_MS) != 1) fail("send");
        report->stalls++;
    }
}

int main(int argc, char **argv) {
    static char payload[PAYLOAD_BYTES];
    int count = argc == 2 ? atoi(argv[1]) : 0;
    int *devices = calloc((size_t)count + 1, sizeof *devices);
    if (count <= 0 || !devices) return 2;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    int listener = listen_on_loopback();
    int control = accept(listener, NULL, NULL);
    uint32_t length;
    read_exactly(control, &length, sizeof length);
    if (length > PAYLOAD_BYTES) return 2;
    read_exactly(control, payload, length);
    for (int i = 0; i < count; i++) {
        int one = 1;
        devices[i] = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (devices[i] < 0) fail("accept");
        setsockopt(devices[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    if (send(control, "R", 1, MSG_NOSIGNAL) != 1) fail("control");
    uint8_t rounds;
    while (recv(control, &rounds, 1, 0) == 1) {
        struct report report = {0};
        int64_t began = now_ns();
        for (int round = 0; round < rounds; round++)
            for (int i = 0; i < count; i++) send_whole(devices[i], payload, length, &report);
        report.elapsed = now_ns() - began;
        if (send(control, &report, sizeof report, MSG_NOSIGNAL) != sizeof report) fail("control");
    }
    return 0;
}
