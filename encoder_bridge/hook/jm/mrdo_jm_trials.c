/* Level B in JM: RDOQ's loop over QPs, with candidates in place of QPs and the plugin in place of the cost. */
#include "mrdo_jm_state.h"

#include "mbuffer.h"
#include "rdoq.h"

int mrdo_trials(const Slice *currSlice)
{
  return currSlice->p_Vid->mrdo ? currSlice->p_Vid->mrdo->trials : 0;
}

RD_DATA *mrdo_rddata(const Slice *currSlice, int k)
{
  return &currSlice->p_Vid->mrdo->slots[k].data;
}

int mrdo_skips(const Macroblock *currMB, int k)
{
  const struct mrdo_jm *m = state(currMB);
  return m && m->trials && !(mrdo_c_mask(m->side, currMB->mbAddrX) >> k & 1);
}

int mrdo_delta_qp(const Macroblock *currMB, int k, int delta_qp)
{
  struct mrdo_jm *m = currMB->p_Vid->mrdo;
  if (!m || !m->trials)
    return delta_qp;
  if (!(mrdo_c_mask(m->side, currMB->mbAddrX) & ((1u << k) - 1)))
    m->tried_count = 0;
  m->trial = mrdo_c_candidate(m->side, k);
  m->qp = target_qp(m, currMB, m->trial->delta_qp);
  return m->qp - currMB->p_Vid->masterQP;
}

int mrdo_keeps_type(const Macroblock *currMB)
{
  const struct mrdo_jm *m = state(currMB);
  return m && m->trials && m->tried_count && m->trial->keep && m->type == MRDO_SLICE_I;
}

/* Planes and squared error of a trial, of the part that is shown. */
static void describe_trial(mrdo_trial *trial, mrdo_trial_data *slot, const Macroblock *currMB,
                           const mrdo_choice *choice)
{
  const VideoParameters *p_Vid = currMB->p_Vid;
  const int bytes = p_Vid->bitdepth_luma > 8 ? 2 : 1;
  uint32_t i, x, y;
  trial->struct_size = sizeof(*trial);
  trial->plane_count = p_Vid->yuv_format == YUV400 ? 1 : 3;
  for (i = 0; i < trial->plane_count; i++)
  {
    const uint32_t width = halved(choice->width, i), height = halved(choice->height, i);
    imgpel **rec = slot->data.rec_mb[i], **source = &p_Vid->pImgOrg[i][i ? currMB->opix_c_y : currMB->opix_y];
    const int left = i ? currMB->pix_c_x : currMB->pix_x;
    for (y = 0; y < height; y++)
      for (x = 0; x < width; x++)
      {
        trial->sse += iabs2(rec[y][x] - source[y][left + x]);
        slot->rec8[i][y * MB + x] = (byte)rec[y][x];
      }
    if (bytes == 1)
      describe(&trial->planes[i], width, height, 8, 1, MB, slot->rec8[i]);
    else
      describe(&trial->planes[i], width, height, p_Vid->bitdepth_luma, 2, row_bytes(rec), rec[0]);
  }
}

static uint32_t neighbours(const Macroblock *currMB, const mrdo_encoder_info *encoder)
{
  const int left = currMB->pix_x > 0, above = currMB->pix_y > 0, right = currMB->pix_x + MB < (int)encoder->width;
  return (left ? MRDO_LEFT : 0) | (above ? MRDO_ABOVE : 0) | (left && above ? MRDO_ABOVE_LEFT : 0)
         | (above && right ? MRDO_ABOVE_RIGHT : 0);
}

static uint32_t choose(struct mrdo_jm *m, const Macroblock *currMB)
{
  const Slice *currSlice = currMB->p_Slice;
  const mrdo_encoder_info *encoder = mrdo_c_encoder(m->plugin);
  mrdo_trial trials[MRDO_TRIALS];
  mrdo_choice choice;
  int i;
  memset(&choice, 0, sizeof(choice));
  memset(trials, 0, sizeof(trials));
  choice.struct_size = sizeof(choice);
  choice.x = currMB->pix_x;
  choice.y = currMB->pix_y;
  choice.width = least(MB, encoder->width - choice.x);
  choice.height = least(MB, encoder->height - choice.y);
  choice.trial_count = m->tried_count;
  choice.poc = currMB->p_Vid->frame_no;
  choice.trials = trials;
  choice.level = MRDO_CHOICE_CTU;
  choice.neighbours = neighbours(currMB, encoder);
  choice.lambda = currMB->p_Vid->lambda_md[currSlice->slice_type][currSlice->qp] * mrdo_c_lambda_scale(m->side)
                / mrdo_c_worth(m->side, choice.x, choice.y, choice.width, choice.height);
  for (i = 0; i < m->tried_count; i++)
  {
    trials[i].candidate = m->tried[i];
    trials[i].bits = m->bits[i];
    /* no bits at all: what JM's own decision takes for them */
    trials[i].rate_cost = choice.lambda * (m->bits[i] > 0 ? m->bits[i] : 0.5);
    describe_trial(&trials[i], &m->slots[m->tried[i]], currMB, &choice);
  }
  return mrdo_c_choose(m->plugin, m->side, &choice);
}

int mrdo_keep_trial(Macroblock *currMB, int k)
{
  struct mrdo_jm *m = currMB->p_Vid->mrdo;
  Slice *currSlice = currMB->p_Slice;
  uint32_t kept = 0;
  mrdo_ctu *ctu;
  if (!m || !m->trials)
    return 0;
  copy_rddata_trellis(currMB, &m->slots[k].data, currSlice->rddata);
  m->bits[m->tried_count] = currMB->min_bits;
  m->tried[m->tried_count++] = k;
  if (m->tried_count == 1) /* what a trial that keeps the macroblock type looks at */
    copy_rddata_trellis(currMB, &currSlice->rddata_trellis_best, currSlice->rddata);
  if (mrdo_c_mask(m->side, currMB->mbAddrX) >> k >> 1)
    return 1;
  if (m->tried_count > 1)
    kept = choose(m, currMB);
  copy_rddata_trellis(currMB, &currSlice->rddata_trellis_best, &m->slots[m->tried[kept]].data);
  ctu = &m->ctus[currMB->mbAddrX];
  ctu->struct_size = sizeof(*ctu);
  ctu->candidate = m->tried[kept];
  ctu->bits = (float)m->bits[kept];
  m->trial = NULL;
  return 1;
}
