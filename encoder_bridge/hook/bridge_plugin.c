/* The plugin machine-rdo ships: asks a host process for the side information, so that one metric in Python serves every
 * encoder, and neither side can take the other down. Options: "socket=PATH;timeout=SECONDS".
 * Build alone:
 *   cc -std=gnu99 -shared -fPIC -fvisibility=hidden -pthread -o bridge_plugin.so bridge_plugin.c bridge_socket.c */
#define _GNU_SOURCE
#include "bridge_socket.h"
#include "mrdo_plugin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEFAULT_TIMEOUT_S 30

typedef struct frame_memory /* what begin_frame handed out, until end_frame */
{
    int64_t poc;
    void *payload;
    mrdo_candidate *candidates;
    struct frame_memory *next;
} frame_memory;

typedef struct bridge
{
    bridge_link link;
    pthread_mutex_t lock;
    frame_memory *frames;
} bridge;

static uint64_t describe_planes(const mrdo_plane *planes, uint32_t count, wire_plane *out, uint64_t offset)
{
    for (uint32_t i = 0; i < count; i++)
    {
        const mrdo_plane *p = &planes[i];
        const wire_plane w = { p->width, p->height, p->bit_depth, p->bytes_per_sample, offset };
        out[i] = w;
        offset += (uint64_t)p->width * p->height * p->bytes_per_sample;
    }
    return offset;
}

static void copy_planes(char *memory, const mrdo_plane *planes, uint32_t count, const wire_plane *where)
{
    for (uint32_t i = 0; i < count; i++)
    {
        const size_t row = (size_t)planes[i].width * planes[i].bytes_per_sample;
        for (uint32_t y = 0; y < planes[i].height; y++)
            memcpy(memory + where[i].offset + y * row, (const char *)planes[i].samples + y * planes[i].stride, row);
    }
}

static int create_memory(uint64_t size, char **memory)
{
    const int fd = memfd_create("mrdo-planes", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)size))
        bridge_fail("shared memory of %llu bytes: %s", (unsigned long long)size, strerror(errno));
    else
    {
        *memory = (char *)mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (*memory != MAP_FAILED)
            return fd;
        bridge_fail("shared memory of %llu bytes: %s", (unsigned long long)size, strerror(errno));
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

static int read_options(bridge *b, const char *options)
{
    char text[1024], *save = NULL;
    if (strlen(options) >= sizeof(text))
        return bridge_fail("options of %u characters; expected fewer than %u", (unsigned)strlen(options),
                    (unsigned)sizeof(text));
    strcpy(text, options);
    b->link.timeout_ms = DEFAULT_TIMEOUT_S * 1000;
    for (char *part = strtok_r(text, ";", &save); part; part = strtok_r(NULL, ";", &save))
    {
        if (!strncmp(part, "socket=", 7) && strlen(part + 7) < sizeof(b->link.address.sun_path))
            strcpy(b->link.address.sun_path, part + 7);
        else if (!strncmp(part, "timeout=", 8) && atof(part + 8) >= 0.1 && atof(part + 8) <= 1e6)
            b->link.timeout_ms = (int)(atof(part + 8) * 1000);
        else
            return bridge_fail("option \"%s\"; expected socket=PATH (up to %u characters) and timeout=SECONDS", part,
                        (unsigned)sizeof(b->link.address.sun_path) - 1);
    }
    return b->link.address.sun_path[0] ? 0 : bridge_fail("no host: set MRDO_PLUGIN_OPTIONS=socket=PATH");
}

static void bridge_close(void *state)
{
    bridge *b = (bridge *)state;
    bridge_link_close(&b->link);
    while (b->frames)
    {
        frame_memory *f = b->frames;
        b->frames = f->next;
        free(f->payload);
        free(f->candidates);
        free(f);
    }
    pthread_mutex_destroy(&b->lock);
    free(b);
}

static void fill_hello(bridge *b, const mrdo_encoder_info *e)
{
    wire_hello *h = &b->link.hello;
    h->width = e->width;
    h->height = e->height;
    h->chroma_format_idc = e->chroma_format_idc;
    h->bit_depth = e->bit_depth;
    h->ctu_size = e->ctu_size;
    h->min_cu_size = e->min_cu_size;
    h->fps_num = e->fps_num;
    h->fps_den = e->fps_den;
    h->pid = (uint32_t)getpid();
    h->encoder_id = (uint64_t)(uintptr_t)b;
    snprintf(h->encoder, sizeof(h->encoder), "%s", e->encoder ? e->encoder : "");
    snprintf(h->version, sizeof(h->version), "%s", e->version ? e->version : "");
}

static void *bridge_open(const char *options, const mrdo_encoder_info *encoder, mrdo_plugin_info *info)
{
    bridge *b = (bridge *)calloc(1, sizeof(*b));
    if (!b)
        return bridge_fail("out of memory"), NULL;
    b->link.address.sun_family = AF_UNIX;
    pthread_mutex_init(&b->lock, NULL);
    fill_hello(b, encoder);
    if (read_options(b, options) || bridge_link_open(&b->link))
    {
        bridge_close(b);
        return NULL;
    }
    info->flags = b->link.agreed.flags;
    info->quant_group = b->link.agreed.quant_group;
    return b;
}

static int remember(bridge *b, int64_t poc, void *payload, mrdo_candidate *candidates)
{
    frame_memory *f = (frame_memory *)malloc(sizeof(*f));
    if (!f)
    {
        free(payload);
        free(candidates);
        return bridge_fail("out of memory");
    }
    f->poc = poc;
    f->payload = payload;
    f->candidates = candidates;
    pthread_mutex_lock(&b->lock);
    f->next = b->frames;
    b->frames = f;
    pthread_mutex_unlock(&b->lock);
    return 0;
}

static void forget(bridge *b, int64_t poc)
{
    frame_memory *gone = NULL;
    pthread_mutex_lock(&b->lock);
    for (frame_memory **at = &b->frames; *at; at = &(*at)->next)
        if ((*at)->poc == poc)
        {
            gone = *at;
            *at = gone->next;
            break;
        }
    pthread_mutex_unlock(&b->lock);
    if (gone)
    {
        free(gone->payload);
        free(gone->candidates);
        free(gone);
    }
}

static int fill_side(bridge *b, int64_t poc, void *payload, uint32_t size, mrdo_side_info *side)
{
    const wire_side *w = (const wire_side *)payload;
    const uint64_t weights = (uint64_t)w->weight_cols * w->weight_rows, offsets = (uint64_t)w->qp_cols * w->qp_rows;
    const uint64_t expected = sizeof(*w) + 4 * (weights + offsets) + sizeof(wire_candidate) * (uint64_t)w->candidate_count;
    mrdo_candidate *candidates = NULL;
    if (size != expected || w->candidate_count > 16)
    {
        free(payload);
        return bridge_fail("side information of %u bytes; expected %llu", size, (unsigned long long)expected);
    }
    const float *values = (const float *)(w + 1);
    side->weight_cols = w->weight_cols;
    side->weight_rows = w->weight_rows;
    side->weight = weights ? values : NULL;
    side->qp_cols = w->qp_cols;
    side->qp_rows = w->qp_rows;
    side->qp_offset = offsets ? values + weights : NULL;
    side->lambda_scale = w->lambda_scale;
    side->candidate_count = w->candidate_count;
    if (w->candidate_count && (candidates = (mrdo_candidate *)calloc(w->candidate_count, sizeof(*candidates))) != NULL)
        for (uint32_t i = 0; i < w->candidate_count; i++)
        {
            const wire_candidate *c = (const wire_candidate *)(values + weights + offsets) + i;
            candidates[i].struct_size = sizeof(*candidates);
            candidates[i].delta_qp = c->delta_qp;
            candidates[i].lambda_scale = c->lambda_scale;
        }
    side->candidates = candidates;
    return remember(b, poc, payload, candidates);
}

static int bridge_begin_frame(void *state, const mrdo_frame *frame, mrdo_side_info *side)
{
    bridge *b = (bridge *)state;
    wire_begin m;
    char *memory = NULL;
    int fd = -1;
    uint32_t size = 0;
    memset(&m, 0, sizeof(m));
    m.poc = frame->poc;
    m.qp = frame->qp;
    m.lambda = frame->lambda;
    m.slice_type = frame->slice_type;
    m.keyframe = frame->keyframe;
    if (b->link.agreed.flags & MRDO_WANTS_PLANES)
        m.plane_count = frame->plane_count;
    if (m.plane_count)
    {
        const uint64_t bytes = describe_planes(frame->planes, m.plane_count, m.planes, 0);
        if ((fd = create_memory(bytes, &memory)) < 0)
            return -1;
        copy_planes(memory, frame->planes, m.plane_count, m.planes);
        munmap(memory, bytes);
    }
    void *payload = bridge_call(&b->link, MRDO_BEGIN, &m, sizeof(m), fd, MRDO_SIDE, sizeof(wire_side), &size);
    if (fd >= 0)
        close(fd);
    return payload ? fill_side(b, frame->poc, payload, size, side) : -1;
}

static int bridge_end_frame(void *state, const mrdo_frame_result *result)
{
    bridge *b = (bridge *)state;
    const wire_end m = { result->poc, result->bits, result->qp, result->slice_type, 0 };
    uint32_t size = 0;
    forget(b, result->poc);
    void *ack = bridge_call(&b->link, MRDO_END, &m, sizeof(m), -1, MRDO_ACK, 0, &size);
    free(ack);
    return ack ? 0 : -1;
}

/* The message and the memory file of a choice. */
static wire_choose *pack_choice(const mrdo_choice *choice, uint32_t *size, int *fd)
{
    const uint32_t count = choice->trial_count;
    *size = (uint32_t)(sizeof(wire_choose) + count * sizeof(wire_trial));
    wire_choose *m = (wire_choose *)calloc(1, *size);
    if (!m)
        return bridge_fail("out of memory"), NULL;
    const wire_choose head = { choice->poc, choice->x, choice->y, choice->width, choice->height, count, 0 };
    wire_trial *trials = (wire_trial *)(m + 1);
    uint64_t bytes = 0;
    char *memory;
    *m = head;
    for (uint32_t i = 0; i < count; i++)
    {
        const mrdo_trial *t = &choice->trials[i];
        trials[i].bits = t->bits;
        trials[i].sse = t->sse;
        trials[i].candidate = t->candidate;
        trials[i].plane_count = t->plane_count;
        bytes = describe_planes(t->planes, t->plane_count, trials[i].planes, bytes);
    }
    if ((*fd = create_memory(bytes, &memory)) < 0)
    {
        free(m);
        return NULL;
    }
    for (uint32_t i = 0; i < count; i++)
        copy_planes(memory, choice->trials[i].planes, choice->trials[i].plane_count, trials[i].planes);
    munmap(memory, bytes);
    return m;
}

static int bridge_choose(void *state, const mrdo_choice *choice, double *distortion)
{
    uint32_t size = 0, got = 0;
    const uint32_t wanted = (uint32_t)(choice->trial_count * sizeof(double));
    int fd = -1;
    wire_choose *m = pack_choice(choice, &size, &fd);
    if (!m)
        return -1;
    void *answer = bridge_call(&((bridge *)state)->link, MRDO_CHOOSE, m, size, fd, MRDO_CHOSEN, wanted, &got);
    close(fd);
    free(m);
    if (!answer)
        return -1;
    memcpy(distortion, answer, wanted);
    free(answer);
    return 0;
}

static const char *bridge_last_error(void *state)
{
    (void)state;
    return bridge_error();
}

__attribute__((visibility("default"))) const mrdo_plugin_table *mrdo_plugin_get(uint32_t abi)
{
    static const mrdo_plugin_table table = {
        MRDO_ABI,        sizeof(mrdo_plugin_table), "bridge",          bridge_open, bridge_begin_frame, bridge_choose,
        bridge_end_frame, bridge_last_error,        bridge_close,
    };
    return abi == MRDO_ABI ? &table : NULL;
}
