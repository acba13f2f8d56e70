#include "mrdo_c.h"

#include "mrdo_hook.h"

#include <stdarg.h>
#include <stdio.h>

struct MrdoPlugin : public mrdo::Plugin
{
};

struct MrdoSide : public mrdo::SideMap
{
    MrdoSide(const mrdo_encoder_info &encoder, const mrdo_side_info &side) : mrdo::SideMap(encoder, side) {}
};

extern "C" {

const char *mrdo_version(void)
{
    return mrdo::version();
}

void mrdo_die(const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    mrdo::die("%s", text);
}

MrdoPlugin *mrdo_c_open(const mrdo_encoder_info *encoder)
{
    MrdoPlugin *plugin = new MrdoPlugin;
    plugin->open(*encoder);
    if (plugin->active())
        return plugin;
    delete plugin;
    return NULL;
}

void mrdo_c_close(MrdoPlugin *plugin)
{
    delete plugin;
}

const mrdo_encoder_info *mrdo_c_encoder(const MrdoPlugin *plugin)
{
    return &plugin->encoder();
}

int mrdo_c_wants_planes(const MrdoPlugin *plugin)
{
    return plugin->wantsPlanes();
}

int mrdo_c_wants_ctus(const MrdoPlugin *plugin)
{
    return plugin->wantsCtus();
}

MrdoSide *mrdo_c_begin(MrdoPlugin *plugin, const mrdo_frame *frame)
{
    mrdo_side_info side;
    plugin->begin(*frame, side);
    return new MrdoSide(plugin->encoder(), side);
}

void mrdo_c_end(MrdoPlugin *plugin, MrdoSide *side, const mrdo_frame_result *result)
{
    plugin->end(*result);
    delete side;
}

uint32_t mrdo_c_choose(const MrdoPlugin *plugin, const MrdoSide *side, const mrdo_choice *choice)
{
    return plugin->choose(*choice, side->chooseBySse());
}

int mrdo_c_neutral(const MrdoSide *side)
{
    return side->neutral();
}

int mrdo_c_has_weight(const MrdoSide *side)
{
    return side->hasWeight();
}

int mrdo_c_has_qp(const MrdoSide *side)
{
    return side->hasQp();
}

int mrdo_c_fixes_lambda(const MrdoSide *side)
{
    return side->fixesLambda();
}

int mrdo_c_varies_qp(const MrdoSide *side)
{
    return side->variesQp();
}

uint32_t mrdo_c_judge_splits(const MrdoSide *side)
{
    return side->judgeSplits();
}

double mrdo_c_lambda_scale(const MrdoSide *side)
{
    return side->lambdaScale();
}

uint32_t mrdo_c_weight(const MrdoSide *side, uint32_t x, uint32_t y)
{
    return side->weight(x, y);
}

uint32_t mrdo_c_mean_weight(const MrdoSide *side, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
    return side->meanWeight(x, y, width, height);
}

double mrdo_c_qp_offset(const MrdoSide *side, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
    return side->qpOffset(x, y, width, height);
}

double mrdo_c_worth(const MrdoSide *side, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
    return side->worth(x, y, width, height);
}

uint32_t mrdo_c_candidates(const MrdoSide *side)
{
    return (uint32_t)side->candidates().size();
}

const mrdo_candidate *mrdo_c_candidate(const MrdoSide *side, uint32_t k)
{
    return &side->candidates()[k];
}

uint32_t mrdo_c_mask(const MrdoSide *side, uint32_t ctu)
{
    return side->candidateMask(ctu);
}

}
