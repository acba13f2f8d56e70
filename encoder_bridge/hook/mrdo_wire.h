/* Messages between bridge_plugin and its host, over a UNIX stream socket, in the machine's own byte order. The plugin
 * asks, the host answers; several connections may be open at once, one call on each at a time. encoder_bridge/wire.py
 * holds the same layouts as struct formats; a test compares the sizes.
 *
 *   HELLO  -> HELLO_OK      once per connection
 *   BEGIN  -> SIDE          planes, where asked for, in a sealed memory file of their own, passed with the message
 *   CHOOSE -> CHOSEN        reconstructions in the connection's memory file, valid until the answer; the file comes with
 *                           the first message that uses it, and a larger one takes its place when they outgrow it
 *   END    -> ACK           how the CTUs came out, where asked for
 *   BYE                     no answer
 * In place of any answer: ERROR with a text. Before it: any number of WAIT, the host's sign of life. */
#ifndef MRDO_WIRE_H
#define MRDO_WIRE_H

#include <stdint.h>

#define MRDO_WIRE_VERSION 3
#define MRDO_WIRE_MAX (64u << 20) /* bytes of one message */
#define MRDO_WIRE_MAX_TRIALS 16u

enum
{
    MRDO_HELLO = 1,
    MRDO_HELLO_OK,
    MRDO_BEGIN,
    MRDO_SIDE,
    MRDO_END,
    MRDO_ACK,
    MRDO_CHOOSE,
    MRDO_CHOSEN,
    MRDO_WAIT,
    MRDO_ERROR,
    MRDO_BYE
};

typedef struct wire_header
{
    uint32_t size; /* of what follows */
    uint16_t type;
    uint16_t version;
} wire_header;

typedef struct wire_hello
{
    uint32_t width, height, chroma_format_idc, bit_depth, ctu_size, min_cu_size, fps_num, fps_den;
    uint32_t pid, reserved;
    uint64_t encoder_id; /* tells encoder objects of one process apart */
    char encoder[32], version[64];
} wire_hello;

typedef struct wire_hello_ok
{
    uint32_t flags, quant_group;
} wire_hello_ok;

typedef struct wire_plane
{
    uint32_t width, height, bit_depth, bytes_per_sample;
    uint64_t offset; /* in the memory file; rows are packed */
} wire_plane;

typedef struct wire_begin
{
    int64_t poc;
    double qp, lambda;
    int32_t slice_type;
    uint32_t keyframe, plane_count, reserved;
    wire_plane planes[3];
} wire_begin;

typedef struct wire_side /* then weights, offsets, candidates, mask (uint16) */
{
    uint32_t weight_cols, weight_rows, qp_cols, qp_rows, mask_cols, mask_rows;
    uint32_t candidate_count, judge_splits, choose_by_sse, reserved;
    double lambda_scale;
} wire_side;

typedef struct wire_candidate
{
    float delta_qp, lambda_scale;
    uint32_t min_cu, keep;
} wire_candidate;

typedef struct wire_end /* then ctu_cols * ctu_rows wire_ctu */
{
    int64_t poc;
    uint64_t bits;
    double qp;
    int32_t slice_type;
    uint32_t ctu_cols, ctu_rows, reserved;
} wire_end;

typedef struct wire_ctu
{
    uint32_t candidate;
    float bits, qp;
} wire_ctu;

typedef struct wire_choose /* then trial_count wire_trial */
{
    int64_t poc;
    uint64_t called_ns; /* CLOCK_MONOTONIC when the encoder called choose() */
    double lambda;
    uint32_t x, y, width, height, trial_count, level, neighbours, reserved;
} wire_choose;

typedef struct wire_trial
{
    double bits, sse, rate_cost;
    uint32_t candidate, plane_count;
    wire_plane planes[3];
} wire_trial;

#endif
