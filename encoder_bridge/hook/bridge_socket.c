#define _GNU_SOURCE
#include "bridge_socket.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef struct connection
{
    int fd;
    struct connection *next;
} connection;

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

static int send_all(const bridge_link *b, int fd, const void *data, size_t size, int passed_fd)
{
    const char *at = (const char *)data;
    const int64_t deadline = now_ms() + b->timeout_ms;
    while (size)
    {
        char control[CMSG_SPACE(sizeof(int))] = { 0 };
        struct iovec part = { (void *)at, size };
        struct msghdr message = { 0 };
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        if (passed_fd >= 0)
        {
            message.msg_control = control;
            message.msg_controllen = sizeof(control);
            struct cmsghdr *c = CMSG_FIRSTHDR(&message);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(sizeof(int));
            memcpy(CMSG_DATA(c), &passed_fd, sizeof(int));
        }
        const ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0)
        {
            at += n;
            size -= (size_t)n;
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

static void *ask(const bridge_link *b, int fd, uint16_t type, const void *payload, uint32_t size, int passed_fd,
                 uint16_t answer, uint32_t least, uint32_t *answer_size)
{
    wire_header head = { size, type, MRDO_WIRE_VERSION };
    if (send_all(b, fd, &head, sizeof(head), passed_fd) || send_all(b, fd, payload, size, -1))
        return NULL;
    do
        if (receive_all(b, fd, &head, sizeof(head)))
            return NULL;
    while (head.type == MRDO_WAIT && head.size == 0);
    if (head.version != MRDO_WIRE_VERSION || head.size > MRDO_WIRE_MAX)
        return bridge_fail("the host speaks another protocol (version %u, %u bytes)", head.version, head.size), NULL;
    void *data = malloc(head.size + 1);
    if (!data)
        return bridge_fail("out of memory"), NULL;
    if (receive_all(b, fd, data, head.size))
        ;
    else if (head.type == MRDO_ERROR)
        host_error((const char *)data, head.size);
    else if (head.type != answer || head.size < least)
        bridge_fail("the host sent message %u of %u bytes; expected %u", head.type, head.size, answer);
    else
    {
        *answer_size = head.size;
        return data;
    }
    free(data);
    return NULL;
}

static int connect_host(bridge_link *b)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return bridge_fail("socket: %s", strerror(errno));
    if (connect(fd, (struct sockaddr *)&b->address, sizeof(b->address)))
        bridge_fail("cannot reach the host at %s: %s", b->address.sun_path, strerror(errno));
    else
    {
        uint32_t size;
        wire_hello_ok *ok = ask(b, fd, MRDO_HELLO, &b->hello, sizeof(b->hello), -1, MRDO_HELLO_OK, sizeof(*ok), &size);
        if (ok)
        {
            b->agreed = *ok;
            free(ok);
            return fd;
        }
    }
    close(fd);
    return -1;
}

static connection *take_connection(bridge_link *b)
{
    pthread_mutex_lock(&b->lock);
    connection *c = b->idle;
    if (c)
        b->idle = c->next;
    else if ((c = (connection *)malloc(sizeof(*c))) != NULL)
    {
        c->fd = connect_host(b);
        if (c->fd < 0)
        {
            free(c);
            c = NULL;
        }
    }
    else
        bridge_fail("out of memory");
    pthread_mutex_unlock(&b->lock);
    return c;
}

static void give_connection(bridge_link *b, connection *c, int good)
{
    if (!good)
    {
        close(c->fd);
        free(c);
        return;
    }
    pthread_mutex_lock(&b->lock);
    c->next = b->idle;
    b->idle = c;
    pthread_mutex_unlock(&b->lock);
}

void *bridge_call(bridge_link *b, uint16_t type, const void *payload, uint32_t size, int passed_fd, uint16_t answer,
                  uint32_t least, uint32_t *answer_size)
{
    connection *c = take_connection(b);
    if (!c)
        return NULL;
    void *data = ask(b, c->fd, type, payload, size, passed_fd, answer, least, answer_size);
    give_connection(b, c, data != NULL);
    return data;
}

int bridge_link_open(bridge_link *b)
{
    pthread_mutex_init(&b->lock, NULL);
    connection *first = take_connection(b);
    if (!first)
        return -1;
    give_connection(b, first, 1);
    return 0;
}

void bridge_link_close(bridge_link *b)
{
    const wire_header bye = { 0, MRDO_BYE, MRDO_WIRE_VERSION };
    while (b->idle)
    {
        connection *c = b->idle;
        b->idle = c->next;
        send_all(b, c->fd, &bye, sizeof(bye), -1);
        close(c->fd);
        free(c);
    }
    pthread_mutex_destroy(&b->lock);
}
