/* The machine-rdo plugin interface, version 1. Valid as C99 and C++98.
 *
 * A plugin is a shared library that exports one function, mrdo_plugin_get. An encoder with the hook compiled in loads the
 * library named by the environment variable MRDO_PLUGIN and hands it the string in MRDO_PLUGIN_OPTIONS.
 *
 * Rules
 *  - Every structure opens with its size as the writer knew it. Members are only ever added at the end; a reader uses a
 *    member only when struct_size covers it.
 *  - All functions may be called from several threads at once, for different frames. State lives behind the pointer
 *    that open() returned, one per encoder object.
 *  - Functions that return int return 0 on success. After a failure last_error() describes it; the encoder prints
 *    "mrdo: error: <text>" and ends the process with status MRDO_EXIT_STATUS instead of writing on without the plugin.
 */
#ifndef MRDO_PLUGIN_H
#define MRDO_PLUGIN_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MRDO_ABI 1
#define MRDO_EXIT_STATUS 86
#define MRDO_PLUGIN_SYMBOL "mrdo_plugin_get"

/* mrdo_plugin_info.flags */
#define MRDO_WANTS_PLANES 1u /* begin_frame needs the source samples; otherwise plane_count is 0 */
#define MRDO_WANTS_CTUS 2u   /* end_frame needs mrdo_frame_result.ctus */

/* mrdo_plugin_info.quant_group */
#define MRDO_GROUP_CTU 1u /* one group a CTU */

/* mrdo_choice.level */
#define MRDO_CHOICE_CTU 0   /* trial.candidate is an index into mrdo_side_info.candidates */
#define MRDO_CHOICE_SPLIT 1 /* trial.candidate 0: the CU in one piece, 1: split into four */

/* mrdo_choice.neighbours: CTUs beside the choice's own that are coded already, in every run, whatever the threads */
#define MRDO_LEFT 1u
#define MRDO_ABOVE 2u
#define MRDO_ABOVE_LEFT 4u
#define MRDO_ABOVE_RIGHT 8u

/* mrdo_frame.slice_type */
#define MRDO_SLICE_B 0
#define MRDO_SLICE_P 1
#define MRDO_SLICE_I 2

/* What the encoder is, told once at open(). */
typedef struct mrdo_encoder_info
{
    uint32_t struct_size;
    uint32_t width; /* luma samples as shown, before any padding */
    uint32_t height;
    uint32_t chroma_format_idc; /* 0 4:0:0, 1 4:2:0, 2 4:2:2, 3 4:4:4 */
    uint32_t bit_depth;         /* of the samples the encoder works on */
    uint32_t ctu_size;
    uint32_t min_cu_size;
    uint32_t fps_num;
    uint32_t fps_den;
    uint32_t reserved;
    const char *encoder; /* "x265" */
    const char *version;
} mrdo_encoder_info;

/* What the plugin wants, filled in by open(). */
typedef struct mrdo_plugin_info
{
    uint32_t struct_size;
    uint32_t flags;
    uint32_t quant_group; /* side of a quantisation group, 16, 32 or 64 luma samples, or MRDO_GROUP_CTU;
                             0: 32, or the CTU where smaller */
    uint32_t reserved;
} mrdo_plugin_info;

typedef struct mrdo_plane
{
    uint32_t struct_size;
    uint32_t width;
    uint32_t height;
    uint32_t bit_depth;
    uint32_t bytes_per_sample;
    uint32_t reserved;
    int64_t stride; /* bytes from one row to the next */
    const void *samples;
} mrdo_plane;

typedef struct mrdo_frame
{
    uint32_t struct_size;
    int32_t slice_type;
    int64_t poc; /* display order from 0, over the whole encode */
    double qp;   /* QP of the frame as rate control gave it, before any offset */
    double lambda;      /* of D + lambda * R at that QP: D in squared error of bit_depth samples, R in bits */
    uint32_t keyframe;  /* 1: a decoder can start here */
    uint32_t plane_count;
    mrdo_plane planes[3];
} mrdo_frame;

/* One trial of level B: code the CTU at QP + delta_qp with lambda * lambda_scale. The QP that counts is the one after
 * qp_offset; lambda follows it unless weights hold it. */
typedef struct mrdo_candidate
{
    uint32_t struct_size;
    float delta_qp;
    float lambda_scale;
    uint32_t min_cu; /* side of the smallest CU the trial may use, in luma samples; 0: the encoder's own limit */
    uint32_t keep;   /* 1: code the partition and the intra modes of the CTU's first trial again, which is quick; has no
                        effect on that first one and outside intra slices */
} mrdo_candidate;

/* Side information of one frame. Any part may be absent (NULL, count 0). Arrays are row-major, belong to the plugin
 * and stay valid until end_frame() of the same frame.
 *
 * weight: distortion weight of each 8x8 luma block, mean 1; ceil(width/8) columns, ceil(height/8) rows. Co-located
 *   chroma takes the same weight. Clipped to [1/64, 64].
 * qp_offset: QP offset of each 16x16 luma block, added to rate control's own QP and averaged over the quantisation
 *   group; ceil(width/16) columns, ceil(height/16) rows. All zero is the same as absent.
 *
 * With qp_offset alone, lambda follows the QP of each group. With weight, lambda stays at the frame's QP, so that costs
 * of different groups can be compared. With both, weight is what remains to be weighted inside a block once its
 * qp_offset acts (the block's full weight times 2^(qp_offset/3)): nothing counts twice. */
typedef struct mrdo_side_info
{
    uint32_t struct_size;
    uint32_t weight_cols;
    uint32_t weight_rows;
    uint32_t qp_cols;
    uint32_t qp_rows;
    uint32_t candidate_count; /* at most 16; 0: level B is off */
    double lambda_scale;      /* factor on the frame's lambda; 1 where nothing is meant */
    const float *weight;
    const float *qp_offset;
    const mrdo_candidate *candidates; /* an encoder without level B stops with an error when this is not NULL */
    uint32_t ctu_cols;                /* of candidate_mask */
    uint32_t ctu_rows;
    uint32_t judge_splits; /* side of the smallest CU, 16, 32 or 64 luma samples, whose split goes to choose(); 0: none */
    uint32_t choose_by_sse;         /* 1: the encoder takes each trial's sse for its distortion and asks nobody */
    const uint16_t *candidate_mask; /* of each CTU: bit k stands for candidate k, at least one; NULL: all everywhere.
                                       A CTU with one candidate is coded that way without asking. */
} mrdo_side_info;

/* K ways to code one rectangle (luma coordinates), for choose(). */
typedef struct mrdo_trial
{
    uint32_t struct_size;
    uint32_t candidate; /* see mrdo_choice.level */
    double bits;
    double sse; /* plain squared error of luma and chroma together, of the part that is shown */
    uint32_t plane_count;
    uint32_t reserved;
    mrdo_plane planes[3]; /* reconstruction of the rectangle, before the loop filters */
    double rate_cost;     /* lambda * R: what the encoder adds to the trial's distortion */
} mrdo_trial;

typedef struct mrdo_choice
{
    uint32_t struct_size;
    uint32_t x;
    uint32_t y;
    uint32_t width;
    uint32_t height;
    uint32_t trial_count;
    int64_t poc;
    const mrdo_trial *trials;
    uint32_t level;
    uint32_t neighbours;
    double lambda; /* of this rectangle: the frame's over what weight and qp_offset together say an error there is worth */
} mrdo_choice;

/* How one CTU came out. */
typedef struct mrdo_ctu
{
    uint32_t struct_size;
    uint32_t candidate; /* that was kept; 0 without candidates */
    float bits;         /* as the encoder's decisions estimated them */
    float qp;           /* mean over the part that is shown */
} mrdo_ctu;

typedef struct mrdo_frame_result
{
    uint32_t struct_size;
    int32_t slice_type;
    int64_t poc;
    uint64_t bits; /* of the whole access unit */
    double qp;     /* mean over the blocks, after all offsets */
    uint32_t ctu_cols;
    uint32_t ctu_rows;
    const mrdo_ctu *ctus; /* row-major, or NULL */
} mrdo_frame_result;

typedef struct mrdo_plugin_table
{
    uint32_t abi_version;
    uint32_t struct_size;
    const char *name;
    /* Returns the plugin's state for one encoder, or NULL. options is never NULL. */
    void *(*open)(const char *options, const mrdo_encoder_info *encoder, mrdo_plugin_info *info);
    /* May block until the side information is there. */
    int (*begin_frame)(void *state, const mrdo_frame *frame, mrdo_side_info *side);
    /* Writes trial_count distortions in the units of sse; the encoder keeps the least distortion + rate_cost, the first
     * of equals. Called from several threads at once, also for one frame. NULL: the plugin offers no level B. */
    int (*choose)(void *state, const mrdo_choice *choice, double *distortion);
    int (*end_frame)(void *state, const mrdo_frame_result *result);
    /* Of the calling thread's latest failure; state may be NULL after a failed open(). Never NULL. */
    const char *(*last_error)(void *state);
    void (*close)(void *state);
} mrdo_plugin_table;

/* Returns the table, or NULL when the plugin does not speak that version. */
typedef const mrdo_plugin_table *(*mrdo_plugin_get_fn)(uint32_t abi);

#ifdef __cplusplus
}
#endif

#endif
