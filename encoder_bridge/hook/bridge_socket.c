#define _GNU_SOURCE
#include "bridge_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MEMORY_STEP (256u << 10)

struct connection
{
    int fd;
    char *memory; /* shared with the host */
    uint64_t memory_size;
    int memory_fd; /* not sent yet, or -1 */
    struct connection *next;
};

static __thread char error_text[512];

int bridge_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error_text, sizeof(error_text), format, args);
    va_end(args);
    return -1;
}

const char *bridge_error(void)
{
    return error_text;
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int wait_for(const bridge_link *b, int fd, short events, int64_t deadline)
{
    for (;;)
    {
        struct pollfd p = { fd, events, 0 };
        const int64_t left = deadline - now_ms();
        const int n = left > 0 ? poll(&p, 1, (int)left) : 0;
        if (n > 0)
            return 0;
        if (n == 0)
            return bridge_fail("the host has been silent for %d s", b->timeout_ms / 1000);
        if (errno != EINTR)
            return bridge_fail("waiting for the host: %s", strerror(errno));
    }
}

static int lost(ssize_t n)
{
    if (n == 0 || errno == EPIPE || errno == ECONNRESET)
        return bridge_fail("the host is gone");
    return bridge_fail("talking to the host: %s", strerror(errno));
}

static int retry(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static void pass_descriptor(struct msghdr *message, char *control, size_t size, int fd)
{
    message->msg_control = control;
    message->msg_controllen = size;
    struct cmsghdr *c = CMSG_FIRSTHDR(message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(int));
}

static void skip(struct iovec *part, size_t *sent)
{
    const size_t n = *sent < part->iov_len ? *sent : part->iov_len;
    part->iov_base = (char *)part->iov_base + n;
    part->iov_len -= n;
    *sent -= n;
}

static int send_message(const bridge_link *b, int fd, wire_header head, const void *payload, int passed_fd)
{
    struct iovec parts[2] = { { &head, sizeof(head) }, { (void *)payload, head.size } };
    const int64_t deadline = now_ms() + b->timeout_ms;
    while (parts[0].iov_len + parts[1].iov_len)
    {
        char control[CMSG_SPACE(sizeof(int))] = { 0 };
        struct msghdr message = { 0 };
        message.msg_iov = parts;
        message.msg_iovlen = 2;
        if (passed_fd >= 0)
            pass_descriptor(&message, control, sizeof(control), passed_fd);
        const ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0)
        {
            size_t sent = (size_t)n;
            skip(&parts[0], &sent);
            skip(&parts[1], &sent);
            passed_fd = -1;
        }
        else if (!retry())
            return lost(-1);
        else if (wait_for(b, fd, POLLOUT, deadline))
            return -1;
    }
    return 0;
}

static int receive_all(const bridge_link *b, int fd, void *data, size_t size)
{
    char *at = (char *)data;
    const int64_t deadline = now_ms() + b->timeout_ms;
    while (size)
    {
        const ssize_t n = recv(fd, at, size, MSG_DONTWAIT);
        if (n > 0)
        {
            at += n;
            size -= (size_t)n;
        }
        else if (n == 0 || !retry())
            return lost(n);
        else if (wait_for(b, fd, POLLIN, deadline))
            return -1;
    }
    return 0;
}

static int host_error(const char *text, uint32_t size)
{
    return bridge_fail("%.*s", size > 500 ? 500 : (int)size, text);
}

void *bridge_ask(const bridge_link *b, connection *c, const bridge_request *r, uint32_t *answer_size)
{
    wire_header head = { r->size, r->type, MRDO_WIRE_VERSION };
    if (send_message(b, c->fd, head, r->payload, c->memory_fd >= 0 ? c->memory_fd : r->passed_fd))
        return NULL;
    if (c->memory_fd >= 0) /* the host has its own descriptor now */
        close(c->memory_fd);
    c->memory_fd = -1;
    do
        if (receive_all(b, c->fd, &head, sizeof(head)))
            return NULL;
    while (head.type == MRDO_WAIT && head.size == 0);
    if (head.version != MRDO_WIRE_VERSION || head.size > MRDO_WIRE_MAX)
        return bridge_fail("the host speaks another protocol (version %u, %u bytes)", head.version, head.size), NULL;
    void *data = malloc(head.size + 1);
    if (!data)
        return bridge_fail("out of memory"), NULL;
    if (receive_all(b, c->fd, data, head.size))
        ;
    else if (head.type == MRDO_ERROR)
        host_error((const char *)data, head.size);
    else if (head.type != r->answer || head.size < r->least)
        bridge_fail("the host sent message %u of %u bytes; expected %u", head.type, head.size, r->answer);
    else
    {
        *answer_size = head.size;
        return data;
    }
    free(data);
    return NULL;
}

int bridge_create_memory(uint64_t size, char **mapping)
{
    const int fd = memfd_create("mrdo-planes", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && !ftruncate(fd, (off_t)size) && !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
    {
        *mapping = (char *)mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (*mapping != MAP_FAILED)
            return fd;
    }
    bridge_fail("shared memory of %llu bytes: %s", (unsigned long long)size, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static void drop_memory(connection *c)
{
    if (c->memory)
        munmap(c->memory, c->memory_size);
    if (c->memory_fd >= 0)
        close(c->memory_fd);
    c->memory = NULL;
    c->memory_size = 0;
    c->memory_fd = -1;
}

char *bridge_memory(connection *c, uint64_t size)
{
    if (size > c->memory_size)
    {
        const uint64_t rounded = (size + MEMORY_STEP - 1) / MEMORY_STEP * MEMORY_STEP;
        char *mapping = NULL;
        drop_memory(c);
        if ((c->memory_fd = bridge_create_memory(rounded, &mapping)) < 0)
            return NULL;
        c->memory = mapping;
        c->memory_size = rounded;
    }
    return c->memory;
}

static void drop(connection *c)
{
    drop_memory(c);
    if (c->fd >= 0)
        close(c->fd);
    free(c);
}

static int connect_host(bridge_link *b, connection *c)
{
    const bridge_request hello = { MRDO_HELLO, MRDO_HELLO_OK, &b->hello, sizeof(b->hello), -1, sizeof(b->agreed) };
    uint32_t size;
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return bridge_fail("socket: %s", strerror(errno));
    if (connect(c->fd, (struct sockaddr *)&b->address, sizeof(b->address)))
        return bridge_fail("cannot reach the host at %s: %s", b->address.sun_path, strerror(errno));
    wire_hello_ok *ok = (wire_hello_ok *)bridge_ask(b, c, &hello, &size);
    if (!ok)
        return -1;
    b->agreed = *ok;
    free(ok);
    return 0;
}

static connection *new_connection(bridge_link *b)
{
    connection *c = (connection *)calloc(1, sizeof(*c));
    if (!c)
        return bridge_fail("out of memory"), NULL;
    c->memory_fd = -1;
    if (!connect_host(b, c))
        return c;
    drop(c);
    return NULL;
}

connection *bridge_take(bridge_link *b)
{
    pthread_mutex_lock(&b->lock);
    connection *c = b->idle;
    if (c)
        b->idle = c->next;
    else
        c = new_connection(b);
    pthread_mutex_unlock(&b->lock);
    return c;
}

void bridge_give(bridge_link *b, connection *c, int good)
{
    if (!good)
    {
        drop(c);
        return;
    }
    pthread_mutex_lock(&b->lock);
    c->next = b->idle;
    b->idle = c;
    pthread_mutex_unlock(&b->lock);
}

void *bridge_call(bridge_link *b, const bridge_request *request, uint32_t *answer_size)
{
    connection *c = bridge_take(b);
    if (!c)
        return NULL;
    void *data = bridge_ask(b, c, request, answer_size);
    bridge_give(b, c, data != NULL);
    return data;
}

int bridge_link_open(bridge_link *b)
{
    pthread_mutex_init(&b->lock, NULL);
    connection *first = bridge_take(b);
    if (!first)
        return -1;
    bridge_give(b, first, 1);
    return 0;
}

void bridge_link_close(bridge_link *b)
{
    const wire_header bye = { 0, MRDO_BYE, MRDO_WIRE_VERSION };
    while (b->idle)
    {
        connection *c = b->idle;
        b->idle = c->next;
        send_message(b, c->fd, bye, NULL, -1);
        drop(c);
    }
    pthread_mutex_destroy(&b->lock);
}
