/* What the files of the hook's JM side share. */
#ifndef MRDO_JM_STATE_H
#define MRDO_JM_STATE_H

#include "global.h"

#include <math.h>

#include "mrdo_c.h"

#define MB 16
#define REACH 25 /* mb_qp_delta goes no further, whatever the bit depth */

typedef struct mrdo_trial_data
{
  RD_DATA data;
  byte rec8[3][MB * MB]; /* an 8-bit encode keeps its samples in 16 bits */
} mrdo_trial_data;

struct mrdo_jm
{
  MrdoPlugin *plugin;
  MrdoSide *side; /* of the frame being coded */
  const mrdo_candidate *trial;
  int trials, tried_count, type, qp, y;
  uint32_t tried[MRDO_TRIALS];
  int bits[MRDO_TRIALS];
  mrdo_trial_data slots[MRDO_TRIALS];
  mrdo_ctu *ctus;
};

static inline const struct mrdo_jm *state(const Macroblock *currMB)
{
  const struct mrdo_jm *m = currMB->p_Vid->mrdo;
  return m && m->side ? m : NULL;
}

static inline uint32_t least(uint32_t a, uint32_t b)
{
  return a < b ? a : b;
}

static inline void describe(mrdo_plane *out, uint32_t width, uint32_t height, int depth, int bytes, int64_t stride,
                            const void *samples)
{
  out->struct_size = sizeof(*out);
  out->width = width;
  out->height = height;
  out->bit_depth = depth;
  out->bytes_per_sample = bytes;
  out->stride = stride;
  out->samples = samples;
}

/* Of a plane: chroma is 4:2:0. */
static inline uint32_t halved(uint32_t samples, uint32_t plane)
{
  return plane ? (samples + 1) / 2 : samples;
}

static inline int64_t row_bytes(imgpel **rows)
{
  return (char *)rows[1] - (char *)rows[0];
}

/* QP of a macroblock or of a trial of it. */
static inline int target_qp(const struct mrdo_jm *m, const Macroblock *currMB, double delta)
{
  const Slice *currSlice = currMB->p_Slice;
  const int lowest = imax(-currSlice->bitdepth_luma_qp_scale, currMB->prev_qp - REACH);
  const int highest = imin(51, currMB->prev_qp + REACH);
  double qp = currSlice->qp + delta;
  if (mrdo_c_has_qp(m->side))
    qp += mrdo_c_qp_offset(m->side, currMB->pix_x, currMB->pix_y, MB, MB);
  return iClip3(lowest, highest, (int)floor(qp + 0.5));
}

#endif
