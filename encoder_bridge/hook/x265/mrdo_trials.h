/* Level B in x265: a CTU is coded once per candidate, the plugin judges the reconstructions, the best is put back. */
#ifndef MRDO_TRIALS_H
#define MRDO_TRIALS_H

#include "mrdo_x265.h"

namespace X265_NS {

class Analysis;
class Entropy;
struct Mode;

/* All that coding a CTU leaves behind. The arrays of a CTU in the picture lie one behind the other, so that each kind is
 * one copy. */
class MrdoSnapshot
{
public:
    MrdoSnapshot() {}
    ~MrdoSnapshot() { m_recon.destroy(); }

    void take(const CUData& ctu, const Mode& best, const PicYuv& recon);
    /* Brings back the CTU's data and costs, and the reconstruction unless it still stands there. */
    void restore(CUData& ctu, Mode& best, PicYuv& recon, bool withRecon) const;
    /* Makes analysis find the CTU decided already, as it was in this trial. */
    void giveDecisions(CUData& ctu) const;
    const Yuv& recon() const { return m_recon; }
    uint32_t bits() const { return m_bits; }

private:
    MrdoSnapshot(const MrdoSnapshot&);
    MrdoSnapshot& operator=(const MrdoSnapshot&);

    std::vector<uint8_t>  m_parts;
    std::vector<MV>       m_mv;
    std::vector<sse_t>    m_distortion;
    std::vector<coeff_t>  m_coeff;
    std::vector<uint8_t>  m_costs;
    int8_t                m_refTuDepth[NUM_TU_DEPTH];
    FrameData::RCStatCU   m_stat;
    Yuv                   m_recon;
    uint32_t              m_bits;
};

/* One per Analysis, that is per worker thread. */
class MrdoTrials
{
public:
    MrdoTrials() {}
    ~MrdoTrials();

    /* Codes the CTU as each candidate and keeps the best; NULL where there is nothing to try, or inside a trial. */
    Mode* compress(Analysis& analysis, CUData& ctu, Frame& frame, const CUGeom& geom, const Entropy& context);
    /* Has the plugin decide between a CU in one piece and its split; the loser's cost is set not to win. */
    void judgeSplit(const CUData& ctu, const CUGeom& geom, Frame& frame, const Mode* whole, Mode& split) const;

private:
    MrdoTrials(const MrdoTrials&);
    MrdoTrials& operator=(const MrdoTrials&);

    uint32_t choose(const MrdoSide& side, const CUData& ctu, const Frame& frame, const uint32_t* tried, uint32_t count);

    std::vector<MrdoSnapshot*> m_snapshots;
};

/* Whether the trial in progress lets a CU be split further: its min_cu. */
bool mrdoMaySplit(const CUData& ctu, const CUGeom& geom);

}

#endif
