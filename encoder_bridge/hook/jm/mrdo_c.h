/* mrdo_hook.h for an encoder written in C. */
#ifndef MRDO_C_H
#define MRDO_C_H

#include "mrdo_plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MRDO_ONE 65536u /* weight of 1 */

typedef struct MrdoPlugin MrdoPlugin;
typedef struct MrdoSide MrdoSide;

const char *mrdo_version(void);
void mrdo_die(const char *format, ...);

/* NULL while MRDO_PLUGIN is unset. */
MrdoPlugin *mrdo_c_open(const mrdo_encoder_info *encoder);
void mrdo_c_close(MrdoPlugin *plugin);
const mrdo_encoder_info *mrdo_c_encoder(const MrdoPlugin *plugin);
int mrdo_c_wants_planes(const MrdoPlugin *plugin);
int mrdo_c_wants_ctus(const MrdoPlugin *plugin);
/* Side information of one frame, until mrdo_c_end. */
MrdoSide *mrdo_c_begin(MrdoPlugin *plugin, const mrdo_frame *frame);
void mrdo_c_end(MrdoPlugin *plugin, MrdoSide *side, const mrdo_frame_result *result);
/* Index of the trial to keep. */
uint32_t mrdo_c_choose(const MrdoPlugin *plugin, const MrdoSide *side, const mrdo_choice *choice);

/* As in mrdo::SideMap. */
int mrdo_c_neutral(const MrdoSide *side);
int mrdo_c_has_weight(const MrdoSide *side);
int mrdo_c_has_qp(const MrdoSide *side);
int mrdo_c_fixes_lambda(const MrdoSide *side);
int mrdo_c_varies_qp(const MrdoSide *side);
uint32_t mrdo_c_judge_splits(const MrdoSide *side);
double mrdo_c_lambda_scale(const MrdoSide *side);
uint32_t mrdo_c_weight(const MrdoSide *side, uint32_t x, uint32_t y);
uint32_t mrdo_c_mean_weight(const MrdoSide *side, uint32_t x, uint32_t y, uint32_t width, uint32_t height);
double mrdo_c_qp_offset(const MrdoSide *side, uint32_t x, uint32_t y, uint32_t width, uint32_t height);
double mrdo_c_worth(const MrdoSide *side, uint32_t x, uint32_t y, uint32_t width, uint32_t height);
uint32_t mrdo_c_candidates(const MrdoSide *side);
const mrdo_candidate *mrdo_c_candidate(const MrdoSide *side, uint32_t k);
uint32_t mrdo_c_mask(const MrdoSide *side, uint32_t ctu);

#ifdef __cplusplus
}
#endif

#endif
