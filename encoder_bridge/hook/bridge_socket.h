/* The plugin's side of the connection to its host: what bridge_plugin.c asks with. */
#ifndef BRIDGE_SOCKET_H
#define BRIDGE_SOCKET_H

#include "mrdo_wire.h"

#include <pthread.h>
#include <sys/un.h>

typedef struct bridge_link
{
    pthread_mutex_t lock;
    struct sockaddr_un address;
    int timeout_ms; /* the longest silence of the host */
    wire_hello hello;
    wire_hello_ok agreed;
    struct connection *idle;
} bridge_link;

/* Keeps the text for last_error() of this thread; returns -1. */
int bridge_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *bridge_error(void);

/* Opens the first connection. address, timeout_ms and hello are set by the caller. */
int bridge_link_open(bridge_link *b);
void bridge_link_close(bridge_link *b);

/* Sends a request, passed_fd with it unless -1, and returns the answer's payload (malloc'ed), or NULL. Each thread in a
 * call holds a connection of its own: a frame that waits does not block the others. */
void *bridge_call(bridge_link *b, uint16_t type, const void *payload, uint32_t size, int passed_fd, uint16_t answer,
                  uint32_t least, uint32_t *answer_size);

#endif
