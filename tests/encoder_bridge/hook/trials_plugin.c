/* A plugin that drives level B by its options: "candidates=dqp:lambda:min_cu,...;splits=N;inside=1;group=G;mask=HEX;pick=NAME;
 * log=1". pick: sse (from the source planes), first, last, or hash (by position, so that CTUs differ). log writes each choice
 * and each finished CTU to stderr. Every trial's sse is compared with the plugin's own. */
#include "mrdo_plugin.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef struct { mrdo_candidate c[16]; uint32_t n, splits, inside, group, mask, log, cols, rows; char pick[16];
  mrdo_encoder_info e; struct { int64_t poc; unsigned char *p; } f[64]; pthread_mutex_t lock; uint16_t *masks; } state;
static const char *err(void *s) { (void)s; return "no error"; }
static void shut(void *s) { free(((state *)s)->masks); free(s); }
static void *op(const char *o, const mrdo_encoder_info *e, mrdo_plugin_info *i)
{
  state *s = calloc(1, sizeof *s); char t[512], *save, *p; strcpy(t, o); s->e = *e; strcpy(s->pick, "sse");
  pthread_mutex_init(&s->lock, 0);
  for (p = strtok_r(t, ";", &save); p; p = strtok_r(0, ";", &save)) {
    char *v = strchr(p, '=') + 1;
    if (!strncmp(p, "candidates", 10)) { char *q = v; while (q && *q) { mrdo_candidate *c = &s->c[s->n++]; c->struct_size = sizeof *c;
      sscanf(q, "%f:%f:%u", &c->delta_qp, &c->lambda_scale, &c->min_cu); q = strchr(q, ','); if (q) q++; } }
    else if (!strncmp(p, "splits", 6)) s->splits = atoi(v);
    else if (!strncmp(p, "inside", 6)) s->inside = atoi(v);
    else if (!strncmp(p, "group", 5)) s->group = atoi(v);
    else if (!strncmp(p, "mask", 4)) s->mask = strtoul(v, 0, 16);
    else if (!strncmp(p, "pick", 4)) strcpy(s->pick, v);
    else if (!strncmp(p, "log", 3)) s->log = atoi(v);
  }
  i->flags = MRDO_WANTS_PLANES | MRDO_WANTS_CTUS; i->quant_group = s->group;
  s->cols = (e->width + e->ctu_size - 1) / e->ctu_size; s->rows = (e->height + e->ctu_size - 1) / e->ctu_size;
  s->masks = malloc(2 * s->cols * s->rows);
  for (uint32_t k = 0; k < s->cols * s->rows; k++) s->masks[k] = s->mask;
  return s;
}
static size_t packed(const mrdo_frame *f) { size_t n = 0; for (uint32_t i = 0; i < f->plane_count; i++)
  n += (size_t)f->planes[i].width * f->planes[i].height * f->planes[i].bytes_per_sample; return n; }
static int begin(void *v, const mrdo_frame *f, mrdo_side_info *side)
{
  state *s = v; unsigned char *to = malloc(packed(f)), *at = to;
  for (uint32_t i = 0; i < f->plane_count; i++) for (uint32_t y = 0; y < f->planes[i].height; y++) {
    size_t n = (size_t)f->planes[i].width * f->planes[i].bytes_per_sample;
    memcpy(at, (const char *)f->planes[i].samples + y * f->planes[i].stride, n); at += n; }
  pthread_mutex_lock(&s->lock); free(s->f[f->poc % 64].p); s->f[f->poc % 64].poc = f->poc; s->f[f->poc % 64].p = to;
  pthread_mutex_unlock(&s->lock);
  if (s->n) { side->candidates = s->c; side->candidate_count = s->n; }
  if (s->mask) { side->candidate_mask = s->masks; side->ctu_cols = s->cols; side->ctu_rows = s->rows; }
  side->judge_splits = s->splits; side->choose_by_sse = s->inside; return 0;
}
static double error_of(state *s, const unsigned char *source, const mrdo_choice *c, const mrdo_trial *t)
{
  double sum = 0; uint32_t w = s->e.width, h = s->e.height; int cf = s->e.chroma_format_idc;
  for (uint32_t i = 0; i < t->plane_count; i++) {
    int sx = i && cf < 3, sy = i && cf == 1; uint32_t pw = (w + sx) >> sx, ph = (h + sy) >> sy; const mrdo_plane *p = &t->planes[i];
    for (uint32_t y = 0; y < p->height; y++) for (uint32_t x = 0; x < p->width; x++) {
      size_t at = (size_t)((c->y >> sy) + y) * pw + (c->x >> sx) + x; const char *row = (const char *)p->samples + y * p->stride;
      int a = p->bytes_per_sample == 1 ? ((unsigned char *)row)[x] : ((uint16_t *)row)[x];
      int b = p->bytes_per_sample == 1 ? source[at] : ((const uint16_t *)source)[at];
      sum += (double)((a - b) * (a - b)); }
    source += (size_t)pw * ph * p->bytes_per_sample; }
  return sum;
}
static int choose(void *v, const mrdo_choice *c, double *d)
{
  state *s = v; pthread_mutex_lock(&s->lock); const unsigned char *source = s->f[c->poc % 64].p; pthread_mutex_unlock(&s->lock);
  uint32_t pick = !strcmp(s->pick, "last") ? c->trial_count - 1 : !strcmp(s->pick, "hash") ? (c->x / 16 * 7 + c->y / 16 * 13 + c->poc) % c->trial_count : 0;
  for (uint32_t k = 0; k < c->trial_count; k++) {
    double sse = error_of(s, source, c, &c->trials[k]);
    if (sse != c->trials[k].sse) { fprintf(stderr, "WRONG SSE %f for %f\n", c->trials[k].sse, sse); }
    if (!strcmp(s->pick, "sse")) d[k] = sse; else d[k] = k == pick ? 0 : 1e30; }
  if (s->log) for (uint32_t k = 0; k < c->trial_count; k++)
    fprintf(stderr, "\nCHOICE %d %u %u %u %u %u %u %u %.17g %.17g %.17g %.17g %u\n", (int)c->poc, c->x, c->y, c->width, c->height, c->level,
            c->neighbours, c->trials[k].candidate, c->trials[k].bits, c->trials[k].sse, c->trials[k].rate_cost, c->lambda, k);
  return 0;
}
static int end(void *v, const mrdo_frame_result *r)
{
  state *s = v;
  for (uint32_t i = 0; i < r->ctu_cols * r->ctu_rows && s->log; i++)
    fprintf(stderr, "\nCTU %d %u %u %g %g\n", (int)r->poc, i, r->ctus[i].candidate, r->ctus[i].bits, r->ctus[i].qp);
  return 0;
}
static const mrdo_plugin_table table = { MRDO_ABI, sizeof table, "trials", op, begin, choose, end, err, shut };
const mrdo_plugin_table *mrdo_plugin_get(uint32_t abi) { return abi == MRDO_ABI ? &table : 0; }
