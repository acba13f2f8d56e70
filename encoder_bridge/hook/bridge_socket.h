/* The plugin's side of the connection to its host: what bridge_plugin.c asks with. */
#ifndef BRIDGE_SOCKET_H
#define BRIDGE_SOCKET_H

#include "mrdo_wire.h"

#include <pthread.h>
#include <sys/un.h>

typedef struct connection connection;

typedef struct bridge_link
{
    pthread_mutex_t lock;
    struct sockaddr_un address;
    int timeout_ms; /* the longest silence of the host */
    wire_hello hello;
    wire_hello_ok agreed;
    connection *idle;
} bridge_link;

typedef struct bridge_request
{
    uint16_t type, answer; /* message types */
    const void *payload;
    uint32_t size;
    int passed_fd;  /* goes with the message, unless -1 */
    uint32_t least; /* bytes of the answer */
} bridge_request;

/* Keeps the text for last_error() of this thread; returns -1. */
int bridge_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *bridge_error(void);

/* Opens the first connection. address, timeout_ms and hello are set by the caller. */
int bridge_link_open(bridge_link *b);
void bridge_link_close(bridge_link *b);

/* A connection for one request, or NULL. Each thread in a call holds one of its own: a frame that waits does not block
 * the others. */
connection *bridge_take(bridge_link *b);
void bridge_give(bridge_link *b, connection *c, int good);

/* Sends a request and returns the answer's payload (malloc'ed), or NULL; then the connection is no longer good. */
void *bridge_ask(const bridge_link *b, connection *c, const bridge_request *request, uint32_t *answer_size);

/* Take, ask, give. */
void *bridge_call(bridge_link *b, const bridge_request *request, uint32_t *answer_size);

/* A sealed memory file of that size and its mapping; -1 on failure. */
int bridge_create_memory(uint64_t size, char **mapping);

/* The connection's own memory, at least that large, which the next request hands to the host where it is new. NULL on
 * failure. */
char *bridge_memory(connection *c, uint64_t size);

#endif
