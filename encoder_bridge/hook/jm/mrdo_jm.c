#include "mrdo_jm_state.h"

#include <math.h>

#include "enc_statistics.h"
#include "mbuffer.h"
#include "md_distortion.h"

static const struct mrdo_jm *weights(const Macroblock *currMB)
{
  const struct mrdo_jm *m = state(currMB);
  return m && mrdo_c_has_weight(m->side) ? m : NULL;
}

/* ---- the encoder ---- */

static void refuse(const InputParameters *p_Inp)
{
  if (p_Inp->PicInterlace || p_Inp->MbInterlace)
    mrdo_die("a plugin with interlaced coding; expected PicInterlace=0 MbInterlace=0");
  if (p_Inp->RDPictureDecision || p_Inp->redundant_pic_flag || p_Inp->num_of_views > 1)
    mrdo_die("a plugin with pictures that are coded twice; expected RDPictureDecision=0, one view, none redundant");
  if (p_Inp->RCEnable)
    mrdo_die("a plugin with rate control; expected RateControlEnable=0");
  if (p_Inp->yuv_format > YUV420)
    mrdo_die("a plugin with YUVFormat=%d; expected 0 or 1 (4:0:0, 4:2:0)", p_Inp->yuv_format);
}

void mrdo_open(VideoParameters *p_Vid)
{
  const InputParameters *p_Inp = p_Vid->p_Inp;
  mrdo_encoder_info info;
  MrdoPlugin *plugin;
  memset(&info, 0, sizeof(info));
  info.struct_size = sizeof(info);
  info.width = p_Inp->output.width[0];
  info.height = p_Inp->output.height[0];
  info.chroma_format_idc = p_Vid->yuv_format;
  info.bit_depth = p_Vid->bitdepth_luma;
  info.ctu_size = MB;
  info.min_cu_size = MB;
  info.fps_num = (uint32_t)(p_Inp->output.frame_rate * 1000 + 0.5);
  info.fps_den = 1000;
  info.encoder = "jm";
  info.version = VERSION;
  plugin = mrdo_c_open(&info);
  if (!plugin)
    return;
  refuse(p_Inp);
  p_Vid->mrdo = (struct mrdo_jm *)calloc(1, sizeof(struct mrdo_jm));
  if (!p_Vid->mrdo)
    no_mem_exit("mrdo_open");
  p_Vid->mrdo->plugin = plugin;
  p_Vid->mrdo->ctus = (mrdo_ctu *)calloc(p_Vid->FrameSizeInMbs, sizeof(mrdo_ctu));
  if (!p_Vid->mrdo->ctus)
    no_mem_exit("mrdo_open");
}

void mrdo_close(VideoParameters *p_Vid)
{
  struct mrdo_jm *m = p_Vid->mrdo;
  p_Vid->mrdo = NULL;
  if (!m)
    return;
  mrdo_c_close(m->plugin);
  free(m->ctus);
  free(m);
}

/* ---- frames ---- */

static void fill_planes(mrdo_frame *frame, const VideoParameters *p_Vid)
{
  const mrdo_encoder_info *encoder = mrdo_c_encoder(p_Vid->mrdo->plugin);
  uint32_t i;
  frame->plane_count = p_Vid->yuv_format == YUV400 ? 1 : 3;
  for (i = 0; i < frame->plane_count; i++)
  {
    imgpel **rows = p_Vid->pImgOrg[i];
    const uint32_t width = halved(encoder->width, i), height = halved(encoder->height, i);
    describe(&frame->planes[i], width, height, p_Vid->bitdepth_luma, sizeof(imgpel), row_bytes(rows), rows[0]);
  }
}

static int slice_type(int type)
{
  return type == I_SLICE || type == SI_SLICE ? MRDO_SLICE_I : type == B_SLICE ? MRDO_SLICE_B : MRDO_SLICE_P;
}

static void begin_frame(const Slice *currSlice)
{
  const VideoParameters *p_Vid = currSlice->p_Vid;
  struct mrdo_jm *m = p_Vid->mrdo;
  mrdo_frame frame;
  memset(&frame, 0, sizeof(frame));
  frame.struct_size = sizeof(frame);
  frame.slice_type = slice_type(currSlice->slice_type);
  frame.poc = p_Vid->frame_no;
  frame.qp = currSlice->qp;
  frame.lambda = p_Vid->lambda_md[currSlice->slice_type][currSlice->qp];
  frame.keyframe = p_Vid->currentPicture->idr_flag;
  if (mrdo_c_wants_planes(m->plugin))
    fill_planes(&frame, p_Vid);
  m->side = mrdo_c_begin(m->plugin, &frame);
  m->type = frame.slice_type;
  memset(m->ctus, 0, p_Vid->FrameSizeInMbs * sizeof(mrdo_ctu));
}

/* What decides by other costs than these, or keeps a state of its own that a second trial would find changed. */
static void refuse_side(const Slice *currSlice, const MrdoSide *side)
{
  const InputParameters *p_Inp = currSlice->p_Inp;
  const uint32_t count = mrdo_c_candidates(side);
  uint32_t k;
  if (p_Inp->rdopt != 1 && p_Inp->rdopt != 2)
    mrdo_die("side information with RDOptimization=%d; expected 1 or 2", p_Inp->rdopt);
  if (p_Inp->RDOQ_QP_Num > 1 || p_Inp->CtxAdptLagrangeMult)
    mrdo_die("side information with RDOQ_QP_Num or CtxAdptLagrangeMult, which move QP and lambda; expected 1 and 0");
  if (p_Inp->LosslessCoding)
    mrdo_die("side information with LosslessCoding=1; expected 0");
  if (mrdo_c_judge_splits(side))
    mrdo_die("judged splits; AVC has no coding tree");
  if (!count)
    return;
  if (!p_Inp->UseRDOQuant || p_Inp->slice_mode != NO_SLICES || count > MRDO_TRIALS)
    mrdo_die("%u candidates; expected at most %d, UseRDOQuant=1 and SliceMode=0", count, MRDO_TRIALS);
  for (k = 0; k < count; k++)
    if (mrdo_c_candidate(side, k)->min_cu)
      mrdo_die("candidate %u wants a smallest CU; AVC has no coding tree", k);
}

int mrdo_begin_slice(Slice *currSlice)
{
  struct mrdo_jm *m = currSlice->p_Vid->mrdo;
  if (!m)
    return 0;
  if (!m->side)
    begin_frame(currSlice);
  m->trials = 0;
  m->trial = NULL;
  if (mrdo_c_neutral(m->side))
    return 0;
  refuse_side(currSlice, m->side);
  if (mrdo_moves_qp(currSlice->p_Vid))
    currSlice->set_lagrangian_multipliers(currSlice); /* again: now every QP's lambda is as the slice QP's */
  if (mrdo_c_candidates(m->side))
    m->trial = mrdo_c_candidate(m->side, 0);
  if (mrdo_c_candidates(m->side) < 2)
    return 0;
  mrdo_store_passes(currSlice);
  m->trials = currSlice->RDOQ_QP_Num = (int)mrdo_c_candidates(m->side);
  return 1;
}

/* How a macroblock came out; returns the samples of it that are shown. */
static uint32_t finish_ctu(const VideoParameters *p_Vid, uint32_t addr)
{
  const mrdo_encoder_info *encoder = mrdo_c_encoder(p_Vid->mrdo->plugin);
  const Macroblock *mb = &p_Vid->mb_data[addr];
  mrdo_ctu *ctu = &p_Vid->mrdo->ctus[addr];
  if (!ctu->struct_size)
    ctu->bits = (float)mb->min_bits;
  ctu->struct_size = sizeof(*ctu);
  ctu->qp = mb->qp;
  return least(MB, encoder->width - mb->pix_x) * least(MB, encoder->height - mb->pix_y);
}

void mrdo_end_frame(VideoParameters *p_Vid)
{
  struct mrdo_jm *m = p_Vid->mrdo;
  const StatParameters *stats = p_Vid->p_Stats;
  mrdo_frame_result result;
  uint32_t addr, shown, total = 0;
  if (!m)
    return;
  memset(&result, 0, sizeof(result));
  result.struct_size = sizeof(result);
  result.slice_type = m->type;
  result.poc = p_Vid->frame_no;
  result.bits = stats->bit_ctr - stats->bit_ctr_n + stats->bit_ctr_parametersets_n;
  for (addr = 0; addr < p_Vid->FrameSizeInMbs; addr++)
  {
    shown = finish_ctu(p_Vid, addr);
    result.qp += (double)m->ctus[addr].qp * shown;
    total += shown;
  }
  result.qp /= total;
  if (mrdo_c_wants_ctus(m->plugin))
  {
    result.ctu_cols = p_Vid->PicWidthInMbs;
    result.ctu_rows = p_Vid->FrameSizeInMbs / p_Vid->PicWidthInMbs;
    result.ctus = m->ctus;
  }
  mrdo_c_end(m->plugin, m->side, &result);
  m->side = NULL;
}

/* ---- QP and lambda ---- */

int mrdo_moves_qp(const VideoParameters *p_Vid)
{
  const struct mrdo_jm *m = p_Vid->mrdo;
  return m && m->side && (mrdo_c_has_qp(m->side) || mrdo_c_varies_qp(m->side));
}

int mrdo_mb_qp(const Macroblock *currMB, int qp)
{
  const struct mrdo_jm *m = state(currMB);
  if (!m || !mrdo_moves_qp(currMB->p_Vid))
    return qp;
  return target_qp(m, currMB, m->trial && !m->trials ? m->trial->delta_qp : 0);
}

static double lambda_scale(const struct mrdo_jm *m)
{
  return mrdo_c_lambda_scale(m->side) * (m->trial ? m->trial->lambda_scale : 1.0);
}

void mrdo_set_lambda(const Macroblock *currMB, RD_PARAMS *enc_mb)
{
  const struct mrdo_jm *m = state(currMB);
  const VideoParameters *p_Vid = currMB->p_Vid;
  const int type = currMB->p_Slice->slice_type;
  double scale;
  int i;
  if (!m || (!m->trial && !mrdo_c_fixes_lambda(m->side) && mrdo_c_lambda_scale(m->side) == 1.0))
    return;
  scale = lambda_scale(m);
  enc_mb->lambda_md = scale * p_Vid->lambda_md[type][mrdo_c_fixes_lambda(m->side) ? currMB->p_Slice->qp : p_Vid->qp];
  enc_mb->lambda_mdfp = LAMBDA_FACTOR(enc_mb->lambda_md);
  for (i = 0; i < 3; i++) /* these follow the QP: motion search sees no weights, the QP stands for them there */
  {
    enc_mb->lambda_me[i] = p_Vid->lambda_me[type][p_Vid->qp][i] * sqrt(scale);
    enc_mb->lambda_mf[i] = scale == 1.0 ? p_Vid->lambda_mf[type][p_Vid->qp][i] : LAMBDA_FACTOR(enc_mb->lambda_me[i]);
  }
}

double mrdo_rdoq_lambda(const Macroblock *currMB, int x, int y, int size, double lambda)
{
  const struct mrdo_jm *m = state(currMB);
  const VideoParameters *p_Vid = currMB->p_Vid;
  int qp;
  if (!m || (!m->trial && !mrdo_c_has_weight(m->side) && mrdo_c_lambda_scale(m->side) == 1.0))
    return lambda;
  qp = mrdo_c_fixes_lambda(m->side) ? currMB->p_Slice->qp : m->trials ? m->qp : p_Vid->masterQP;
  lambda = p_Vid->lambda_rdoq[p_Vid->type][qp];
  if (mrdo_c_has_weight(m->side))
    lambda *= (double)MRDO_ONE / mrdo_c_mean_weight(m->side, currMB->pix_x + x, currMB->pix_y + y, size, size);
  return lambda * lambda_scale(m);
}

void mrdo_set_y(const Macroblock *currMB, int y)
{
  if (currMB->p_Vid->mrdo)
    currMB->p_Vid->mrdo->y = y;
}

int mrdo_y(const Macroblock *currMB)
{
  return currMB->p_Vid->mrdo ? currMB->p_Vid->mrdo->y : 0;
}

/* ---- weights ---- */

static distblk times(distblk distortion, uint32_t weight)
{
  return (distortion * weight + MRDO_ONE / 2) / MRDO_ONE;
}

distblk mrdo_weigh(const Macroblock *currMB, int x, int y, distblk distortion)
{
  const struct mrdo_jm *m = weights(currMB);
  return m ? times(distortion, mrdo_c_weight(m->side, currMB->pix_x + x, currMB->pix_y + y)) : distortion;
}

distblk mrdo_mb_luma(const Macroblock *currMB, distblk distortion)
{
  imgpel **source = &currMB->p_Vid->pCurImg[currMB->opix_y];
  imgpel **coded = &currMB->p_Vid->enc_picture->p_curr_img[currMB->pix_y];
  const int left = currMB->pix_x;
  int x, y;
  if (!weights(currMB))
    return distortion;
  distortion = 0;
  for (y = 0; y < MB; y += 8)
    for (x = 0; x < MB; x += 8)
      distortion += mrdo_weigh(currMB, x, y, compute_SSE8x8(source + y, coded + y, left + x, left + x));
  return distortion;
}

static distblk mb_chroma(const Macroblock *currMB, int plane)
{
  const VideoParameters *p_Vid = currMB->p_Vid;
  imgpel **source = &p_Vid->pImgOrg[plane][currMB->opix_c_y];
  imgpel **coded = &p_Vid->enc_picture->imgUV[plane - 1][currMB->pix_c_y];
  const int left = currMB->pix_c_x;
  distblk sum = 0;
  int x, y;
  for (y = 0; y < MB / 2; y += 4)
    for (x = 0; x < MB / 2; x += 4)
      sum += mrdo_weigh(currMB, 2 * x, 2 * y, compute_SSE4x4(source + y, coded + y, left + x, left + x));
  return sum;
}

distblk mrdo_mb_distortion(const Macroblock *currMB, distblk distortion)
{
  const InputParameters *p_Inp = currMB->p_Inp;
  if (!weights(currMB))
    return distortion;
  distortion = (distblk)(mrdo_mb_luma(currMB, 0) * p_Inp->WeightY);
  if (currMB->p_Vid->yuv_format != YUV400)
    distortion += (distblk)(mb_chroma(currMB, 1) * p_Inp->WeightCb + mb_chroma(currMB, 2) * p_Inp->WeightCr);
  return distortion < DISTBLK_MAX ? distortion : DISTBLK_MAX - 1; /* some mode must win */
}
