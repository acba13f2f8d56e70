/* The hook's x265 side: what the lines inserted by patches/x265-3.5 and patches/x265-4.1 call. */
#ifndef MRDO_X265_H
#define MRDO_X265_H

#include "common.h"
#include "constants.h"
#include "cudata.h"
#include "framedata.h"
#include "mrdo_hook.h"
#include "primitives.h"
#include "rdcost.h"
#include "slice.h"
#include "yuv.h"

namespace X265_NS {

class Frame;
class NALList;

/* Side information of the frame being coded; FrameData::m_mrdo points here, or is NULL. */
class MrdoSide : public mrdo::SideMap
{
public:
    MrdoSide(const mrdo::Plugin& plugin, const mrdo_side_info& side, uint32_t ctus)
        : mrdo::SideMap(plugin.encoder(), side), m_plugin(plugin), m_trial(hasLevelB() ? ctus : 0, (const mrdo_candidate*)0)
        , m_kept(hasLevelB() ? ctus : 0, 0) {}

    const mrdo::Plugin& plugin() const { return m_plugin; }

    /* The candidate a CTU is being coded as, NULL outside trials. One thread at a time works on a CTU, but with --pmode
     * others look: hence kept here and not with the thread. */
    const mrdo_candidate* trial(uint32_t ctu) const { return m_trial.empty() ? NULL : m_trial[ctu]; }
    void setTrial(uint32_t ctu, const mrdo_candidate* candidate) { m_trial[ctu] = candidate; }
    uint32_t kept(uint32_t ctu) const { return m_kept.empty() ? 0 : m_kept[ctu]; }
    void keep(uint32_t ctu, uint32_t candidate) { m_kept[ctu] = (uint8_t)candidate; }

    double lambdaScaleOf(uint32_t ctu) const
    {
        const mrdo_candidate* t = trial(ctu);
        return t ? lambdaScale() * t->lambda_scale : lambdaScale();
    }

private:
    MrdoSide& operator=(const MrdoSide&);

    const mrdo::Plugin&                m_plugin;
    std::vector<const mrdo_candidate*> m_trial;
    std::vector<uint8_t>               m_kept;
};

/* One per Encoder object. */
class MrdoEncoder
{
public:
    MrdoEncoder() : m_depth(0), m_ppsSent(false) {}
    /* After initPPS: the parameters are final. */
    void open(const x265_param& param, const SPS& sps, const PPS& pps);
    /* After rateControlStart, where frames pass one at a time in coding order. Blocks until the plugin answers. */
    void beginFrame(Frame& frame, const PPS& pps, NALList& nals);
    void endFrame(Frame& frame, uint64_t bits);

private:
    void refuseUnsupported(const x265_param& param, const MrdoSide& side) const;
    void refuseLevelB(const x265_param& param, const MrdoSide& side) const;
    void useDeltaQp(Frame& frame, const PPS& pps, NALList& nals);

    mrdo::Plugin m_plugin;
    PPS          m_pps;     /* id 1: as the encoder's own, with cu_qp_delta; sent before the first picture with a map */
    uint32_t     m_depth;   /* of its quantisation groups */
    bool         m_ppsSent;
};

/* Weighted minus plain distortion of one plane of a block: added after each full-RD sse_pp. Modulo arithmetic of
 * sse_t makes negative differences come out right. absPartIdx is relative to the CU; width and height are samples of
 * the plane. */
sse_t mrdoExtraSse(const CUData& cu, uint32_t absPartIdx, int plane, int width, int height, const pixel* a,
                   intptr_t strideA, const pixel* b, intptr_t strideB);

inline const MrdoSide* mrdoWeights(const CUData& cu)
{
    const MrdoSide* side = cu.m_encData->m_mrdo;
    return side && side->hasWeight() ? side : NULL;
}

/* The same for a square transform block. */
inline sse_t mrdoExtraTu(const CUData& cu, uint32_t absPartIdx, int plane, uint32_t log2Size, const pixel* a,
                         intptr_t strideA, const pixel* b, intptr_t strideB)
{
    if (!mrdoWeights(cu))
        return 0;
    return mrdoExtraSse(cu, absPartIdx, plane, 1 << log2Size, 1 << log2Size, a, strideA, b, strideB);
}

inline sse_t mrdoExtraLuma(const CUData& cu, const Yuv& a, const Yuv& b)
{
    return mrdoExtraTu(cu, 0, 0, cu.m_log2CUSize[0], a.m_buf[0], a.m_size, b.m_buf[0], b.m_size);
}

inline sse_t mrdoExtraChroma(const CUData& cu, const Yuv& a, const Yuv& b)
{
    if (!mrdoWeights(cu) || cu.m_chromaFormat == X265_CSP_I400 || cu.m_encData->m_picCsp == X265_CSP_I400)
        return 0;
    const int width = 1 << (cu.m_log2CUSize[0] - cu.m_hChromaShift), height = 1 << (cu.m_log2CUSize[0] - cu.m_vChromaShift);
    return mrdoExtraSse(cu, 0, 1, width, height, a.m_buf[1], a.m_csize, b.m_buf[1], b.m_csize)
         + mrdoExtraSse(cu, 0, 2, width, height, a.m_buf[2], a.m_csize, b.m_buf[2], b.m_csize);
}

/* Weights the distortions of a whole inter CU in place. */
inline void mrdoWeightCu(const CUData& cu, const Yuv& fenc, const Yuv& recon, sse_t& luma, sse_t& chroma, sse_t& total)
{
    if (!mrdoWeights(cu))
        return;
    const sse_t extraLuma = mrdoExtraLuma(cu, fenc, recon), extraChroma = mrdoExtraChroma(cu, fenc, recon);
    luma += extraLuma;
    chroma += extraChroma;
    total += extraLuma + extraChroma;
}

/* QP of a CU as rate control and AQ want it, with the map's offset added. */
double mrdoQp(const CUData& ctu, const CUGeom& geom, double qp);

/* What differs between the versions: one picture and a pointer, or an array of them; a name or NULL, or an array. */
inline PicYuv* mrdoPicture(PicYuv* picture) { return picture; }
inline PicYuv* mrdoPicture(PicYuv* const* pictures) { return pictures[0]; }
inline bool mrdoNamed(const char* file) { return file && *file; }

/* Rate control's QP of a CTU, before any offset. */
int mrdoFrameQp(const CUData& cu);

/* After RDCost::setQP: lambda scale, and lambda at the frame's QP where weights and a QP map meet. */
void mrdoSetLambda(RDCost& cost, const CUData& ctu);

/* lambda^2 for RDOQ of one transform block: over the block's mean weight. */
int64_t mrdoRdoqLambda(const CUData& cu, uint32_t absPartIdx, uint32_t log2Size, bool luma, int64_t lambda2);

/* For the life of the object, SATD preselection of a block works with lambda over the root of its weight. */
class MrdoSatdLambda
{
public:
    MrdoSatdLambda(RDCost& cost, const CUData& cu, uint32_t absPartIdx, uint32_t log2Size);
    ~MrdoSatdLambda() { m_cost.m_lambda = m_lambda; }

private:
    MrdoSatdLambda& operator=(const MrdoSatdLambda&);
    RDCost&  m_cost;
    uint64_t m_lambda;
};

}

#endif
