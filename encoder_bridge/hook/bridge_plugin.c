/* The plugin machine-rdo ships: asks a host process for the side information, so that one metric in Python serves every
 * encoder, and neither side can take the other down. Options: "socket=PATH;timeout=SECONDS".
 * Build alone:
 *   cc -std=gnu99 -shared -fPIC -fvisibility=hidden -pthread -o bridge_plugin.so bridge_plugin.c bridge_socket.c */
#define _GNU_SOURCE
#include "bridge_socket.h"
#include "mrdo_plugin.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_TIMEOUT_S 30
/* Whether the structure at hand, as its writer knew it, has the member. */
#define COVERS(pointer, type, member) \
    ((pointer)->struct_size >= offsetof(type, member) + sizeof(((type *)0)->member))

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

static mrdo_candidate *read_candidates(const void *from, uint32_t count)
{
    const wire_candidate *c = (const wire_candidate *)from;
    mrdo_candidate *candidates = (mrdo_candidate *)calloc(count, sizeof(*candidates));
    for (uint32_t i = 0; candidates && i < count; i++)
    {
        candidates[i].struct_size = sizeof(*candidates);
        candidates[i].delta_qp = c[i].delta_qp;
        candidates[i].lambda_scale = c[i].lambda_scale;
        candidates[i].min_cu = c[i].min_cu;
        candidates[i].keep = c[i].keep;
    }
    return candidates;
}

static void fill_maps(const wire_side *w, const float *values, mrdo_side_info *side)
{
    const uint32_t weights = w->weight_cols * w->weight_rows, offsets = w->qp_cols * w->qp_rows;
    side->weight_cols = w->weight_cols;
    side->weight_rows = w->weight_rows;
    side->weight = weights ? values : NULL;
    side->qp_cols = w->qp_cols;
    side->qp_rows = w->qp_rows;
    side->qp_offset = offsets ? values + weights : NULL;
    side->lambda_scale = w->lambda_scale;
}

/* 0: nothing of level B was sent, 1: filled in, -1: failure. */
static int fill_level_b(const wire_side *w, const void *candidates, mrdo_side_info *side)
{
    const wire_candidate *from = (const wire_candidate *)candidates;
    if (!w->candidate_count && !w->judge_splits)
        return 0;
    if (!COVERS(side, mrdo_side_info, candidate_mask))
        return bridge_fail("the host sent candidates, but this encoder knows none; run: mrdo build again");
    if (w->candidate_count && !(side->candidates = read_candidates(from, w->candidate_count)))
        return bridge_fail("out of memory");
    side->candidate_count = w->candidate_count;
    side->judge_splits = w->judge_splits;
    side->choose_by_sse = w->choose_by_sse;
    side->ctu_cols = w->mask_cols;
    side->ctu_rows = w->mask_rows;
    side->candidate_mask = w->mask_cols ? (const uint16_t *)(from + w->candidate_count) : NULL;
    return 1;
}

static int fill_side(bridge *b, int64_t poc, void *payload, uint32_t size, mrdo_side_info *side)
{
    const wire_side *w = (const wire_side *)payload;
    const uint64_t values = (uint64_t)w->weight_cols * w->weight_rows + (uint64_t)w->qp_cols * w->qp_rows;
    const uint64_t mask = (uint64_t)w->mask_cols * w->mask_rows;
    const uint64_t expected = sizeof(*w) + 4 * values + sizeof(wire_candidate) * (uint64_t)w->candidate_count + 2 * mask;
    int level_b;
    if (size != expected || w->candidate_count > MRDO_WIRE_MAX_TRIALS)
    {
        free(payload);
        return bridge_fail("side information of %u bytes; expected %llu", size, (unsigned long long)expected);
    }
    fill_maps(w, (const float *)(w + 1), side);
    level_b = fill_level_b(w, (const float *)(w + 1) + values, side);
    if (level_b >= 0)
        return remember(b, poc, payload, level_b ? (mrdo_candidate *)side->candidates : NULL);
    free(payload);
    return -1;
}

static int bridge_begin_frame(void *state, const mrdo_frame *frame, mrdo_side_info *side)
{
    bridge *b = (bridge *)state;
    wire_begin m;
    bridge_request r = { MRDO_BEGIN, MRDO_SIDE, &m, sizeof(m), -1, sizeof(wire_side) };
    char *memory = NULL;
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
        if ((r.passed_fd = bridge_create_memory(bytes, &memory)) < 0)
            return -1;
        copy_planes(memory, frame->planes, m.plane_count, m.planes);
        munmap(memory, bytes);
    }
    void *payload = bridge_call(&b->link, &r, &size);
    if (r.passed_fd >= 0)
        close(r.passed_fd);
    return payload ? fill_side(b, frame->poc, payload, size, side) : -1;
}

/* The message of a finished frame, malloc'ed. */
static wire_end *pack_end(const mrdo_frame_result *result, int wants_ctus, uint32_t *size)
{
    const int has_ctus = wants_ctus && COVERS(result, mrdo_frame_result, ctus) && result->ctus;
    const uint32_t cols = has_ctus ? result->ctu_cols : 0, rows = has_ctus ? result->ctu_rows : 0;
    const wire_end head = { result->poc, result->bits, result->qp, result->slice_type, cols, rows, 0 };
    *size = (uint32_t)(sizeof(head) + (size_t)cols * rows * sizeof(wire_ctu));
    wire_end *m = (wire_end *)malloc(*size);
    if (!m)
        return bridge_fail("out of memory"), NULL;
    *m = head;
    wire_ctu *out = (wire_ctu *)(m + 1);
    for (uint32_t i = 0; i < cols * rows; i++)
    {
        const mrdo_ctu *c = (const mrdo_ctu *)((const char *)result->ctus + (size_t)i * result->ctus->struct_size);
        const wire_ctu w = { c->candidate, c->bits, c->qp };
        out[i] = w;
    }
    return m;
}

static int bridge_end_frame(void *state, const mrdo_frame_result *result)
{
    bridge *b = (bridge *)state;
    bridge_request r = { MRDO_END, MRDO_ACK, NULL, 0, -1, 0 };
    uint32_t size = 0;
    forget(b, result->poc);
    wire_end *m = pack_end(result, b->link.agreed.flags & MRDO_WANTS_CTUS, &r.size);
    if (!m)
        return -1;
    r.payload = m;
    void *ack = bridge_call(&b->link, &r, &size);
    free(m);
    free(ack);
    return ack ? 0 : -1;
}

typedef struct choose_message
{
    wire_choose head;
    wire_trial trials[MRDO_WIRE_MAX_TRIALS];
} choose_message;

static const mrdo_trial *trial_of(const mrdo_choice *choice, uint32_t i)
{
    return (const mrdo_trial *)((const char *)choice->trials + (size_t)i * choice->trials->struct_size);
}

static void pack_head(const mrdo_choice *choice, wire_choose *head)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    memset(head, 0, sizeof(*head));
    head->called_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    head->poc = choice->poc;
    head->x = choice->x;
    head->y = choice->y;
    head->width = choice->width;
    head->height = choice->height;
    head->trial_count = choice->trial_count;
    head->level = COVERS(choice, mrdo_choice, level) ? choice->level : MRDO_CHOICE_CTU;
    head->neighbours = COVERS(choice, mrdo_choice, neighbours) ? choice->neighbours : 0;
    head->lambda = COVERS(choice, mrdo_choice, lambda) ? choice->lambda : 0;
}

/* Copies the reconstructions into the connection's memory, their one copy. */
static int pack_trials(const mrdo_choice *choice, wire_trial *out, connection *c)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < choice->trial_count; i++)
    {
        const mrdo_trial *t = trial_of(choice, i);
        memset(&out[i], 0, sizeof(out[i]));
        out[i].bits = t->bits;
        out[i].sse = t->sse;
        out[i].rate_cost = COVERS(t, mrdo_trial, rate_cost) ? t->rate_cost : 0;
        out[i].candidate = t->candidate;
        out[i].plane_count = t->plane_count;
        bytes = describe_planes(t->planes, t->plane_count, out[i].planes, bytes);
    }
    char *memory = bytes ? bridge_memory(c, bytes) : NULL;
    if (bytes && !memory)
        return -1;
    for (uint32_t i = 0; i < choice->trial_count; i++)
        copy_planes(memory, trial_of(choice, i)->planes, out[i].plane_count, out[i].planes);
    return 0;
}

static int bridge_choose(void *state, const mrdo_choice *choice, double *distortion)
{
    bridge_link *link = &((bridge *)state)->link;
    const uint32_t count = choice->trial_count, wanted = (uint32_t)(count * sizeof(double));
    choose_message m;
    const bridge_request r = {
        MRDO_CHOOSE, MRDO_CHOSEN, &m, (uint32_t)(sizeof(m.head) + count * sizeof(m.trials[0])), -1, wanted,
    };
    uint32_t got = 0;
    if (!count || count > MRDO_WIRE_MAX_TRIALS)
        return bridge_fail("a choice of %u; expected 1 to %u", count, MRDO_WIRE_MAX_TRIALS);
    pack_head(choice, &m.head);
    connection *c = bridge_take(link);
    if (!c)
        return -1;
    double *answer = pack_trials(choice, m.trials, c) ? NULL : (double *)bridge_ask(link, c, &r, &got);
    bridge_give(link, c, answer != NULL);
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
