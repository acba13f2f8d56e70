#include "mrdo_hook.h"

#include <dlfcn.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MRDO_TEXT_(x) #x
#define MRDO_TEXT(x) MRDO_TEXT_(x)
#ifndef MRDO_PATCH_HASH
#define MRDO_PATCH_HASH unknown
#endif
#ifndef MRDO_DEPTH
#ifdef X265_DEPTH
#define MRDO_DEPTH X265_DEPTH
#else
#define MRDO_DEPTH 0
#endif
#endif

namespace mrdo {

static const double WEIGHT_MIN = 1.0 / 64, WEIGHT_MAX = 64.0, OFFSET_MAX = 51.0;
static const double LAMBDA_SCALE_MIN = 1.0 / 64, LAMBDA_SCALE_MAX = 64.0;
static const uint32_t CANDIDATES_MAX = 16;

const char *version()
{
    return "MRDO_HOOK abi=" MRDO_TEXT(MRDO_ABI) " patch=" MRDO_TEXT(MRDO_PATCH_HASH) " depth=" MRDO_TEXT(MRDO_DEPTH);
}

void die(const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    fprintf(stderr, "\nmrdo: error: %s\n", text);
    fflush(stderr);
    _exit(MRDO_EXIT_STATUS);
}

static uint32_t blocks(uint32_t samples, uint32_t side)
{
    return (samples + side - 1) / side;
}

static double clip(double low, double high, double value)
{
    return value < low ? low : value > high ? high : value;
}

/* x265 compiles with -ffast-math, which folds every comparison that would catch a NaN: look at the bits. */
static bool isNumber(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return (bits & 0x7F800000u) != 0x7F800000u;
}

static void checkGrid(const char *what, uint32_t cols, uint32_t rows, const mrdo_encoder_info &encoder, uint32_t side)
{
    const uint32_t wantCols = blocks(encoder.width, side), wantRows = blocks(encoder.height, side);
    if (cols != wantCols || rows != wantRows)
        die("%s of %ux%u blocks for %ux%u samples; expected %ux%u blocks", what, cols, rows, encoder.width,
            encoder.height, wantCols, wantRows);
}

static void checkLambdaScale(double scale)
{
    if (!isNumber((float)scale) || scale < LAMBDA_SCALE_MIN || scale > LAMBDA_SCALE_MAX)
        die("lambda scale %g from the plugin; expected 1/64 to 64", scale);
}

SideMap::SideMap(const mrdo_encoder_info &encoder, const mrdo_side_info &side)
    : m_weightCols(0), m_weightRows(0), m_qpCols(0), m_qpRows(0), m_judgeSplits(side.judge_splits),
      m_lambdaScale(side.lambda_scale), m_variesQp(false), m_chooseBySse(side.choose_by_sse != 0)
{
    checkLambdaScale(m_lambdaScale);
    readCandidates(encoder, side);
    if (side.qp_offset)
        readQp(encoder, side);
    if (side.weight)
        readWeight(encoder, side);
}

void SideMap::readQp(const mrdo_encoder_info &encoder, const mrdo_side_info &side)
{
    checkGrid("QP map", side.qp_cols, side.qp_rows, encoder, 16);
    m_qpCols = side.qp_cols;
    m_qpRows = side.qp_rows;
    bool zero = true;
    for (uint32_t i = 0; i < m_qpCols * m_qpRows; i++)
    {
        if (!isNumber(side.qp_offset[i]) || fabs(side.qp_offset[i]) > OFFSET_MAX)
            die("QP offset %g in block %u; expected -51 to 51", side.qp_offset[i], i);
        zero = zero && side.qp_offset[i] == 0;
    }
    if (!zero) /* cu_qp_delta costs bits and moves decisions even where it is always 0 */
        m_qp.assign(side.qp_offset, side.qp_offset + m_qpCols * m_qpRows);
}

void SideMap::readWeight(const mrdo_encoder_info &encoder, const mrdo_side_info &side)
{
    checkGrid("weight map", side.weight_cols, side.weight_rows, encoder, 8);
    m_weightCols = side.weight_cols;
    m_weightRows = side.weight_rows;
    m_weight.resize(m_weightCols * m_weightRows);
    for (uint32_t row = 0, i = 0; row < m_weightRows; row++)
        for (uint32_t col = 0; col < m_weightCols; col++, i++)
        {
            if (!isNumber(side.weight[i]) || side.weight[i] <= 0)
                die("weight %g in block %u; expected a positive number", side.weight[i], i);
            double full = side.weight[i];
            if (hasQp()) /* the host left out what the offset realises; at the frame's lambda it must be back in */
                full *= pow(2.0, -m_qp[clamp(row >> 1, m_qpRows) * m_qpCols + clamp(col >> 1, m_qpCols)] / 3);
            m_weight[i] = (uint32_t)(clip(WEIGHT_MIN, WEIGHT_MAX, full) * ONE + 0.5);
        }
}

void SideMap::readCandidates(const mrdo_encoder_info &encoder, const mrdo_side_info &side)
{
    const uint32_t count = side.candidate_count, cols = blocks(encoder.width, encoder.ctu_size),
                   rows = blocks(encoder.height, encoder.ctu_size);
    if (count > CANDIDATES_MAX || (count != 0) != (side.candidates != NULL))
        die("%u candidates%s; expected at most %u", count, side.candidates ? "" : ", none given", CANDIDATES_MAX);
    if (m_judgeSplits && m_judgeSplits != 16 && m_judgeSplits != 32 && m_judgeSplits != 64)
        die("splits to be judged down to %u; expected 16, 32 or 64", m_judgeSplits);
    for (uint32_t i = 0; i < count; i++)
    {
        const mrdo_candidate &c = side.candidates[i];
        if (!isNumber(c.delta_qp) || fabs(c.delta_qp) > OFFSET_MAX)
            die("candidate %u changes the QP by %g; expected -51 to 51", i, c.delta_qp);
        checkLambdaScale(c.lambda_scale);
        m_variesQp = m_variesQp || c.delta_qp != 0;
        m_candidates.push_back(c);
    }
    if (!side.candidate_mask)
        return;
    if (side.ctu_cols != cols || side.ctu_rows != rows)
        die("candidate mask of %ux%u CTUs; expected %ux%u", side.ctu_cols, side.ctu_rows, cols, rows);
    m_mask.assign(side.candidate_mask, side.candidate_mask + cols * rows);
    for (uint32_t i = 0; i < cols * rows; i++)
        if (!m_mask[i] || m_mask[i] >> count)
            die("candidate mask %#x of CTU %u; expected some of %u candidates", m_mask[i], i, count);
}

double SideMap::worth(uint32_t x, uint32_t y, uint32_t width, uint32_t height) const
{
    if (hasWeight())
        return (double)meanWeight(x, y, width, height) / ONE;
    return hasQp() ? pow(2.0, -qpOffset(x, y, width, height) / 3) : 1.0;
}

uint32_t SideMap::meanWeight(uint32_t x, uint32_t y, uint32_t width, uint32_t height) const
{
    if (width <= 8 && height <= 8)
        return weight(x, y);
    uint64_t sum = 0;
    uint32_t count = 0;
    for (uint32_t v = y; v < y + height; v += 8)
        for (uint32_t u = x; u < x + width; u += 8, count++)
            sum += weight(u, v);
    return (uint32_t)((sum + count / 2) / count);
}

double SideMap::qpOffset(uint32_t x, uint32_t y, uint32_t width, uint32_t height) const
{
    double sum = 0;
    uint32_t count = 0;
    for (uint32_t row = y >> 4; row <= (y + height - 1) >> 4 && row < m_qpRows; row++)
        for (uint32_t col = x >> 4; col <= (x + width - 1) >> 4 && col < m_qpCols; col++, count++)
            sum += m_qp[row * m_qpCols + col];
    return count ? sum / count : 0;
}

Plugin::Plugin() : m_library(0), m_state(0), m_table(0)
{
    memset(&m_encoder, 0, sizeof(m_encoder));
    memset(&m_info, 0, sizeof(m_info));
}

Plugin::~Plugin()
{
    if (m_state)
        m_table->close(m_state);
    if (m_library)
        dlclose(m_library);
}

void Plugin::load(const char *path)
{
    m_library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!m_library)
        die("cannot load the plugin: %s", dlerror());
    mrdo_plugin_get_fn get;
    void *symbol = dlsym(m_library, MRDO_PLUGIN_SYMBOL);
    if (!symbol)
        die("plugin %s has no function %s", path, MRDO_PLUGIN_SYMBOL);
    memcpy(&get, &symbol, sizeof(get)); /* C++98 forbids the cast */
    m_table = get(MRDO_ABI);
    if (!m_table || m_table->abi_version != MRDO_ABI)
        die("plugin %s speaks ABI %u; this encoder speaks %u: run mrdo build x265 again", path,
            m_table ? m_table->abi_version : 0u, (unsigned)MRDO_ABI);
    if (m_table->struct_size < sizeof(mrdo_plugin_table))
        die("plugin %s has a table of %u bytes; expected %u", path, m_table->struct_size,
            (unsigned)sizeof(mrdo_plugin_table));
    if (!m_table->open || !m_table->begin_frame || !m_table->end_frame || !m_table->last_error || !m_table->close)
        die("plugin %s leaves out a function of its table", path);
}

void Plugin::open(const mrdo_encoder_info &encoder)
{
    const char *path = getenv("MRDO_PLUGIN"), *options = getenv("MRDO_PLUGIN_OPTIONS");
    if (!path || !*path)
        return;
    load(path);
    m_encoder = encoder;
    m_info.struct_size = sizeof(m_info);
    m_state = m_table->open(options ? options : "", &m_encoder, &m_info);
    if (!m_state)
        die("plugin %s: %s", m_table->name ? m_table->name : path, m_table->last_error(0));
    quantGroup();
}

uint32_t Plugin::quantGroup() const
{
    const uint32_t ctu = m_encoder.ctu_size, least = m_encoder.min_cu_size, group = m_info.quant_group;
    if (!group)
        return ctu < 32 ? ctu : least > 32 ? least : 32;
    if (group == MRDO_GROUP_CTU)
        return ctu;
    if (group != 16 && group != 32 && group != 64)
        die("quantisation group %u; expected 16, 32 or 64", group);
    if (group > ctu || group < least)
        die("quantisation group %u outside %u (smallest CU) to %u (CTU); choose another group or --ctu", group, least,
            ctu);
    return group;
}

void Plugin::begin(const mrdo_frame &frame, mrdo_side_info &side) const
{
    memset(&side, 0, sizeof(side));
    side.struct_size = sizeof(side);
    side.lambda_scale = 1.0;
    if (m_table->begin_frame(m_state, &frame, &side))
        die("plugin %s, frame %lld: %s", m_table->name, (long long)frame.poc, m_table->last_error(m_state));
}

void Plugin::end(const mrdo_frame_result &result) const
{
    if (m_table->end_frame(m_state, &result))
        die("plugin %s, frame %lld: %s", m_table->name, (long long)result.poc, m_table->last_error(m_state));
}

uint32_t Plugin::choose(const mrdo_choice &choice, bool bySse) const
{
    double distortion[CANDIDATES_MAX];
    if (!bySse && !m_table->choose)
        die("plugin %s sent candidates and has no function to choose among them", m_table->name);
    if (!bySse && m_table->choose(m_state, &choice, distortion))
        die("plugin %s, frame %lld, block %u,%u: %s", m_table->name, (long long)choice.poc, choice.x, choice.y,
            m_table->last_error(m_state));
    uint32_t best = 0;
    double least = 0;
    for (uint32_t i = 0; i < choice.trial_count; i++)
    {
        const double d = bySse ? choice.trials[i].sse : distortion[i];
        if (!isNumber((float)d))
            die("plugin %s, frame %lld, block %u,%u: distortion of trial %u is not a number", m_table->name,
                (long long)choice.poc, choice.x, choice.y, i);
        const double cost = d + choice.trials[i].rate_cost;
        if (!i || cost < least)
        {
            least = cost;
            best = i;
        }
    }
    return best;
}

} // namespace mrdo
