#include "mrdo_x265.h"

#include "bitstream.h"
#include "entropy.h"
#include "frame.h"
#include "nal.h"
#include "picyuv.h"

#include <math.h>

using namespace X265_NS;

namespace {

/* Largest weighted squared error a sample may have: keeps the sum over a 64x64 CU of three full planes inside sse_t. */
const uint64_t MAX_SAMPLE_ERROR = sizeof(sse_t) > 4 ? (uint64_t)1 << 40 : 0xFFFFFFFFu / (64 * 64 * 3);

inline uint32_t lumaX(const CUData& cu, uint32_t absPartIdx) { return cu.m_cuPelX + g_zscanToPelX[absPartIdx]; }
inline uint32_t lumaY(const CUData& cu, uint32_t absPartIdx) { return cu.m_cuPelY + g_zscanToPelY[absPartIdx]; }

inline int tableQp(double qp) { return x265_clip3(QP_MIN, QP_MAX_MAX, (int)(qp + 0.5)); }

inline uint64_t fix8(double value) { return (uint64_t)floor(256.0 * value); }

/* Over the 4x4 blocks that are shown; x265's own average counts what the last CTUs have outside the picture. */
void addQp(const CUData& ctu, const mrdo_encoder_info& encoder, int64_t& sum, uint32_t& count)
{
    for (uint32_t part = 0; part < ctu.m_numPartitions; part++)
        if (lumaX(ctu, part) < encoder.width && lumaY(ctu, part) < encoder.height)
        {
            sum += ctu.m_qp[part];
            count++;
        }
}

double meanQp(const FrameData& data, const mrdo_encoder_info& encoder)
{
    int64_t sum = 0;
    uint32_t count = 0;
    for (uint32_t addr = 0; addr < data.m_slice->m_sps->numCUsInFrame; addr++)
        addQp(data.m_picCTU[addr], encoder, sum, count);
    return (double)sum / count;
}

mrdo_ctu ctuResult(const FrameData& data, uint32_t addr, const mrdo_encoder_info& encoder)
{
    int64_t sum = 0;
    uint32_t count = 0;
    addQp(data.m_picCTU[addr], encoder, sum, count);
    mrdo_ctu out;
    out.struct_size = sizeof(out);
    out.candidate = data.m_mrdo ? data.m_mrdo->kept(addr) : 0;
    out.bits = (float)data.m_cuStat[addr].totalBits;
    out.qp = (float)((double)sum / count);
    return out;
}

/* All-intra streams repeat the headers in every frame; the picture's own PPS then takes the place of the unused one. */
void dropLastPps(NALList& nals)
{
    if (nals.m_numNal && nals.m_nal[nals.m_numNal - 1].type == NAL_UNIT_PPS)
        nals.m_occupancy -= nals.m_nal[--nals.m_numNal].sizeBytes;
}

void fillPlanes(mrdo_frame& out, const PicYuv& pic, const mrdo_encoder_info& encoder)
{
    out.plane_count = pic.m_picCsp == X265_CSP_I400 ? 1 : 3;
    for (uint32_t i = 0; i < out.plane_count; i++)
    {
        mrdo_plane& plane = out.planes[i];
        const int sx = i ? CHROMA_H_SHIFT(pic.m_picCsp) : 0, sy = i ? CHROMA_V_SHIFT(pic.m_picCsp) : 0;
        plane.struct_size = sizeof(plane);
        plane.width = (encoder.width + (1 << sx) - 1) >> sx;
        plane.height = (encoder.height + (1 << sy) - 1) >> sy;
        plane.bit_depth = X265_DEPTH;
        plane.bytes_per_sample = sizeof(pixel);
        plane.reserved = 0;
        plane.stride = (int64_t)(i ? pic.m_strideC : pic.m_stride) * sizeof(pixel);
        plane.samples = pic.m_picOrg[i];
    }
}

}

namespace X265_NS {

void MrdoEncoder::open(const x265_param& param, const SPS& sps, const PPS& pps)
{
    mrdo_encoder_info info;
    memset(&info, 0, sizeof(info));
    info.struct_size = sizeof(info);
    info.width = param.sourceWidth - (sps.conformanceWindow.bEnabled ? sps.conformanceWindow.rightOffset : 0);
    info.height = param.sourceHeight - (sps.conformanceWindow.bEnabled ? sps.conformanceWindow.bottomOffset : 0);
    info.chroma_format_idc = param.internalCsp;
    info.bit_depth = X265_DEPTH;
    info.ctu_size = param.maxCUSize;
    info.min_cu_size = param.minCUSize;
    info.fps_num = param.fpsNum;
    info.fps_den = param.fpsDenom;
    info.encoder = "x265";
    info.version = PFX(version_str);
    m_plugin.open(info);
    if (!m_plugin.active())
        return;
    m_depth = g_log2Size[param.maxCUSize] - g_log2Size[m_plugin.quantGroup()];
    m_pps = pps;
    m_pps.mrdoId = 1;
    m_pps.bUseDQP = true;
    m_pps.maxCuDQPDepth = X265_MAX(m_depth, pps.bUseDQP ? pps.maxCuDQPDepth : 0);
}

void MrdoEncoder::refuseUnsupported(const x265_param& param, const MrdoSide& side) const
{
    if (side.hasWeight() && (param.psyRd > 0 || param.psyRdoq > 0))
        mrdo::die("distortion weights with --psy-rd %g --psy-rdoq %g, which share lambda; use --psy-rd 0 --psy-rdoq 0",
                  param.psyRd, param.psyRdoq);
    if (side.hasWeight() && param.bSsimRd)
        mrdo::die("distortion weights with --ssim-rd, which replaces squared error; leave --ssim-rd out");
    if (mrdoNamed(param.analysisLoad) || param.analysisLoadReuseLevel)
        mrdo::die("side information with loaded analysis, which has decided already; leave --analysis-load out");
    if (side.hasQp() && param.bLossless)
        mrdo::die("QP map with --lossless, which has no QP; leave one of them out");
    if (side.hasQp() && (param.bEnableRdRefine || param.bOptCUDeltaQP))
        mrdo::die("QP map with --rd-refine or --opt-cu-delta-qp, which choose the QP themselves; leave them out");
    if (side.hasLevelB())
        refuseLevelB(param, side);
}

/* What keeps a state of its own that a second trial of a CTU would find changed. */
void MrdoEncoder::refuseLevelB(const x265_param& param, const MrdoSide& side) const
{
    if (param.noiseReductionIntra || param.noiseReductionInter)
        mrdo::die("candidates with --nr-intra or --nr-inter, which learn from every trial; leave them out");
    if (param.rc.vbvBufferSize)
        mrdo::die("candidates with --vbv-bufsize, which codes rows twice; leave it out");
    if (param.bEnableRdRefine || param.bOptCUDeltaQP || param.bDynamicRefine)
        mrdo::die("candidates with --rd-refine, --opt-cu-delta-qp or --dynamic-refine; leave them out");
    if (mrdoNamed(param.analysisSave) || param.analysisSaveReuseLevel || param.bCTUInfo || param.analysisMultiPassRefine)
        mrdo::die("candidates with saved or shared analysis, which would hold the last trial; leave it out");
    if (side.variesQp() && param.bLossless)
        mrdo::die("candidates that change the QP with --lossless, which has none; leave one of them out");
    if (side.judgeSplits() && param.rdLevel < 2)
        mrdo::die("judged splits with --rd %d, which compares no reconstructions; expected --rd 2 or more", param.rdLevel);
}

void MrdoEncoder::useDeltaQp(Frame& frame, const PPS& pps, NALList& nals)
{
    Slice* slice = frame.m_encData->m_slice;
    if (pps.bUseDQP && pps.maxCuDQPDepth == m_pps.maxCuDQPDepth)
        return;
    if (!m_ppsSent)
    {
        Bitstream bits;
        Entropy entropy;
        m_pps.numRefIdxDefault[0] = pps.numRefIdxDefault[0];
        m_pps.numRefIdxDefault[1] = pps.numRefIdxDefault[1];
        entropy.setBitstream(&bits);
        if (frame.m_param->keyframeMax == 1)
            dropLastPps(nals);
        entropy.codePPS(m_pps, frame.m_param->maxSlices <= 1, slice->m_iPPSQpMinus26);
        bits.writeByteAlignment();
        nals.serialize(NAL_UNIT_PPS, bits);
        m_ppsSent = true;
    }
    slice->m_pps = &m_pps;
}

void MrdoEncoder::beginFrame(Frame& frame, const PPS& pps, NALList& nals)
{
    if (!m_plugin.active())
        return;
    FrameData& data = *frame.m_encData;
    mrdo_frame info;
    memset(&info, 0, sizeof(info));
    info.struct_size = sizeof(info);
    info.slice_type = data.m_slice->m_sliceType;
    info.poc = frame.m_poc;
    info.qp = data.m_avgQpRc;
    info.lambda = x265_lambda2_tab[tableQp(info.qp)];
    info.keyframe = frame.m_lowres.bKeyframe;
    if (m_plugin.wantsPlanes())
        fillPlanes(info, *frame.m_fencPic, m_plugin.encoder());

    mrdo_side_info answer;
    m_plugin.begin(info, answer);
    MrdoSide* side = new MrdoSide(m_plugin, answer, data.m_slice->m_sps->numCUsInFrame);
    data.m_slice->m_pps = &pps; /* FrameData and its slice are used again and again */
    if (frame.m_lowres.bKeyframe && frame.m_param->bRepeatHeaders)
        m_ppsSent = false;
    if (!side->neutral())
        refuseUnsupported(*frame.m_param, *side);
    if (side->hasQp() || side->variesQp())
        useDeltaQp(frame, pps, nals);
    delete data.m_mrdo;
    data.m_mrdo = side;
}

void MrdoEncoder::endFrame(Frame& frame, uint64_t bits)
{
    if (!m_plugin.active())
        return;
    FrameData& data = *frame.m_encData;
    mrdo_frame_result result;
    memset(&result, 0, sizeof(result));
    result.struct_size = sizeof(result);
    result.slice_type = data.m_slice->m_sliceType;
    result.poc = frame.m_poc;
    result.bits = bits;
    result.qp = meanQp(data, m_plugin.encoder());
    std::vector<mrdo_ctu> ctus;
    if (m_plugin.wantsCtus())
    {
        result.ctu_cols = data.m_slice->m_sps->numCuInWidth;
        result.ctu_rows = data.m_slice->m_sps->numCuInHeight;
        for (uint32_t addr = 0; addr < data.m_slice->m_sps->numCUsInFrame; addr++)
            ctus.push_back(ctuResult(data, addr, m_plugin.encoder()));
        result.ctus = &ctus[0];
    }
    m_plugin.end(result);
    delete data.m_mrdo;
    data.m_mrdo = NULL;
}

sse_t mrdoExtraSse(const CUData& cu, uint32_t absPartIdx, int plane, int width, int height, const pixel* a,
                   intptr_t strideA, const pixel* b, intptr_t strideB)
{
    const MrdoSide& side = *cu.m_encData->m_mrdo;
    const int sx = plane ? cu.m_hChromaShift : 0, sy = plane ? cu.m_vChromaShift : 0;
    /* a unit never crosses a weight: 8x8 of luma, 4x4 of subsampled chroma */
    const int log2Unit = (sx | sy) || width < 8 || height < 8 ? 2 : 3, unit = 1 << log2Unit;
    const pixel_sse_t sse = primitives.cu[log2Unit - 2].sse_pp;
    const uint32_t x0 = lumaX(cu, absPartIdx), y0 = lumaY(cu, absPartIdx);
    uint64_t plain = 0, weighted = 0;
    for (int y = 0; y < height; y += unit)
        for (int x = 0; x < width; x += unit)
        {
            const uint64_t d = sse(a + y * strideA + x, strideA, b + y * strideB + x, strideB);
            plain += d;
            weighted += d * side.weight(x0 + (x << sx), y0 + (y << sy));
        }
    const uint64_t limit = MAX_SAMPLE_ERROR * width * height;
    weighted = (weighted + mrdo::SideMap::ONE / 2) / mrdo::SideMap::ONE;
    return (sse_t)(X265_MIN(weighted, limit) - plain);
}

double mrdoQp(const CUData& ctu, const CUGeom& geom, double qp)
{
    const MrdoSide* side = ctu.m_encData->m_mrdo;
    const mrdo_candidate* trial = side ? side->trial(ctu.m_cuAddr) : NULL;
    if (!side || (!side->hasQp() && !(trial && trial->delta_qp != 0)))
        return qp;
    const uint32_t size = 1 << geom.log2CUSize;
    double offset = trial ? trial->delta_qp : 0;
    if (side->hasQp())
        offset += side->qpOffset(lumaX(ctu, geom.absPartIdx), lumaY(ctu, geom.absPartIdx), size, size);
    /* rate control may stand above the largest codable QP; an offset must not lift a block there */
    return x265_clip3((double)QP_MIN, X265_MAX((double)QP_MAX_SPEC, qp), qp + offset);
}

int mrdoFrameQp(const CUData& cu)
{
    return tableQp(cu.m_encData->m_cuStat[cu.m_cuAddr].baseQp);
}

void mrdoSetLambda(RDCost& cost, const CUData& ctu)
{
    const MrdoSide* side = ctu.m_encData->m_mrdo;
    if (!side)
        return;
    const double scale = side->lambdaScaleOf(ctu.m_cuAddr);
    if (!side->fixesLambda() && scale == 1.0)
        return;
    /* m_lambda follows the QP: SATD decisions see no weights, the QP stands for them there */
    const int qp = side->fixesLambda() ? mrdoFrameQp(ctu) : cost.m_qp;
    cost.m_lambda2 = fix8(x265_lambda2_tab[qp] * scale);
    cost.m_lambda = fix8(x265_lambda_tab[cost.m_qp] * sqrt(scale));
}

int64_t mrdoRdoqLambda(const CUData& cu, uint32_t absPartIdx, uint32_t log2Size, bool luma, int64_t lambda2)
{
    const MrdoSide* side = cu.m_encData->m_mrdo;
    if (!side)
        return lambda2;
    double factor = side->lambdaScaleOf(cu.m_cuAddr);
    if (!side->hasWeight() && factor == 1.0)
        return lambda2;
    if (side->fixesLambda())
        factor *= x265_lambda2_tab[mrdoFrameQp(cu)] / x265_lambda2_tab[x265_clip3(QP_MIN, QP_MAX_SPEC, (int)cu.m_qp[absPartIdx])];
    if (side->hasWeight())
    {
        const uint32_t width = 1 << (log2Size + (luma ? 0 : cu.m_hChromaShift));
        const uint32_t height = 1 << (log2Size + (luma ? 0 : cu.m_vChromaShift));
        factor *= (double)mrdo::SideMap::ONE / side->meanWeight(lumaX(cu, absPartIdx), lumaY(cu, absPartIdx), width, height);
    }
    return (int64_t)(lambda2 * factor + 0.5);
}

MrdoSatdLambda::MrdoSatdLambda(RDCost& cost, const CUData& cu, uint32_t absPartIdx, uint32_t log2Size)
    : m_cost(cost), m_lambda(cost.m_lambda)
{
    const MrdoSide* side = mrdoWeights(cu);
    if (!side)
        return;
    const uint32_t size = 1 << log2Size;
    const double weight = side->meanWeight(lumaX(cu, absPartIdx), lumaY(cu, absPartIdx), size, size);
    const int qp = side->fixesLambda() ? mrdoFrameQp(cu) : cost.m_qp;
    cost.m_lambda = fix8(x265_lambda_tab[qp] * sqrt(side->lambdaScaleOf(cu.m_cuAddr) * mrdo::SideMap::ONE / weight));
}

}
