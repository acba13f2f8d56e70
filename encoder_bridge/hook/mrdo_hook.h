/* The part of the hook that knows no encoder: loads the plugin, checks what it says, keeps one frame's side information
 * in the form an encoder's inner loops want. gnu++98, no globals: all state belongs to one encoder object. */
#ifndef MRDO_HOOK_H
#define MRDO_HOOK_H

#include "mrdo_plugin.h"
#include <vector>

namespace mrdo {

/* "MRDO_HOOK abi=1 patch=<16 hex digits> depth=8": how a hooked binary is told from a plain one. */
const char *version();

/* Prints "mrdo: error: ..." on stderr and ends the process with MRDO_EXIT_STATUS. Used from worker threads, so no
 * destructors run. */
void die(const char *format, ...)
#ifdef __GNUC__
    __attribute__((noreturn, format(printf, 1, 2)))
#endif
    ;

/* Side information of one frame, validated. Positions outside the grid take the nearest block, so that pictures padded
 * by the encoder need no special case. */
class SideMap
{
public:
    static const uint32_t ONE = 1u << 16; /* weights are 16.16 fixed point: a weight of 1 is exact */

    SideMap(const mrdo_encoder_info &encoder, const mrdo_side_info &side);

    bool hasWeight() const { return !m_weight.empty(); }
    bool hasQp() const { return !m_qp.empty(); }
    /* Weights and a QP that varies: lambda stays at the frame's QP and weight() is the full one. */
    bool fixesLambda() const { return hasWeight() && (hasQp() || m_variesQp); }
    double lambdaScale() const { return m_lambdaScale; }
    bool neutral() const { return !hasWeight() && !hasQp() && m_lambdaScale == 1.0 && !hasLevelB(); }

    /* Level B: either part of it. */
    bool hasLevelB() const { return !m_candidates.empty() || m_judgeSplits; }
    const std::vector<mrdo_candidate> &candidates() const { return m_candidates; }
    /* Bit k: try candidate k in that CTU (raster order). */
    uint32_t candidateMask(uint32_t ctu) const { return m_mask.empty() ? (1u << m_candidates.size()) - 1 : m_mask[ctu]; }
    /* Some candidate changes the QP. */
    bool variesQp() const { return m_variesQp; }
    uint32_t judgeSplits() const { return m_judgeSplits; }
    bool chooseBySse() const { return m_chooseBySse; }
    /* What weights and QP offsets together say a squared error in the rectangle is worth; 1 without either. */
    double worth(uint32_t x, uint32_t y, uint32_t width, uint32_t height) const;

    /* Weight of the 8x8 block that holds luma sample (x, y). */
    uint32_t weight(uint32_t x, uint32_t y) const
    {
        return m_weight[clamp(y >> 3, m_weightRows) * m_weightCols + clamp(x >> 3, m_weightCols)];
    }
    /* Mean weight of a rectangle, in luma samples. */
    uint32_t meanWeight(uint32_t x, uint32_t y, uint32_t width, uint32_t height) const;
    /* Mean QP offset of a rectangle; the part outside the picture does not count. */
    double qpOffset(uint32_t x, uint32_t y, uint32_t width, uint32_t height) const;

private:
    static uint32_t clamp(uint32_t i, uint32_t count) { return i < count ? i : count - 1; }
    void readQp(const mrdo_encoder_info &encoder, const mrdo_side_info &side);
    void readWeight(const mrdo_encoder_info &encoder, const mrdo_side_info &side);
    void readCandidates(const mrdo_encoder_info &encoder, const mrdo_side_info &side);

    uint32_t m_weightCols, m_weightRows, m_qpCols, m_qpRows, m_judgeSplits;
    double m_lambdaScale;
    bool m_variesQp, m_chooseBySse;
    std::vector<mrdo_candidate> m_candidates;
    std::vector<uint16_t> m_mask;
    std::vector<uint32_t> m_weight;
    std::vector<float> m_qp;
};

/* The plugin as one encoder sees it; inactive while MRDO_PLUGIN is unset. Any failure ends the process. */
class Plugin
{
public:
    Plugin();
    ~Plugin();

    void open(const mrdo_encoder_info &encoder);
    bool active() const { return m_state != 0; }
    const mrdo_encoder_info &encoder() const { return m_encoder; }
    bool wantsPlanes() const { return (m_info.flags & MRDO_WANTS_PLANES) != 0; }
    bool wantsCtus() const { return (m_info.flags & MRDO_WANTS_CTUS) != 0; }
    /* Group size the plugin asked for, checked against the encoder's block sizes. */
    uint32_t quantGroup() const;
    /* Blocks until the plugin has answered; what side points to lives until end(). */
    void begin(const mrdo_frame &frame, mrdo_side_info &side) const;
    void end(const mrdo_frame_result &result) const;
    /* Index of the trial to keep. */
    uint32_t choose(const mrdo_choice &choice, bool bySse) const;

private:
    Plugin(const Plugin &);
    Plugin &operator=(const Plugin &);
    void load(const char *path);

    void *m_library;
    void *m_state;
    const mrdo_plugin_table *m_table;
    mrdo_encoder_info m_encoder;
    mrdo_plugin_info m_info;
};

} // namespace mrdo

#endif
