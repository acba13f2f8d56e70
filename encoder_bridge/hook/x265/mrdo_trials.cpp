#include "mrdo_trials.h"

#include "analysis.h"
#include "frame.h"
#include "picyuv.h"

#include <string.h>

using namespace X265_NS;

namespace {

template<typename T>
void copyTo(std::vector<T>& to, const T* from, size_t count)
{
    to.assign(from, from + count);
}

template<typename T>
void copyFrom(const std::vector<T>& from, T* to)
{
    memcpy(to, &from[0], from.size() * sizeof(T));
}

size_t partBytes(const CUData& ctu)
{
    return (size_t)ctu.m_numPartitions * (ctu.m_chromaFormat == X265_CSP_I400 ? CUData::BytesPerPartition - 4 : CUData::BytesPerPartition);
}

size_t coefficients(const CUData& ctu)
{
    const size_t luma = (size_t)ctu.m_numPartitions * 16;
    return ctu.m_chromaFormat == X265_CSP_I400 ? luma : luma + 2 * (luma >> (ctu.m_hChromaShift + ctu.m_vChromaShift));
}

/* A rectangle in luma samples that one choice is about. */
struct Block
{
    uint32_t x, y, width, height;

    Block(const CUData& ctu, uint32_t absPartIdx, uint32_t size, const mrdo_encoder_info& encoder)
        : x(ctu.m_cuPelX + g_zscanToPelX[absPartIdx]), y(ctu.m_cuPelY + g_zscanToPelY[absPartIdx])
        , width(X265_MIN(size, encoder.width - x)), height(X265_MIN(size, encoder.height - y)) {}
};

uint64_t squaredError(const pixel* a, intptr_t strideA, const pixel* b, intptr_t strideB, uint32_t width, uint32_t height)
{
    uint64_t sum = 0;
    for (uint32_t y = 0; y < height; y++, a += strideA, b += strideB)
    {
        uint64_t row = 0;
        for (uint32_t x = 0; x < width; x++)
        {
            const int d = (int)a[x] - b[x];
            row += (uint32_t)(d * d);
        }
        sum += row;
    }
    return sum;
}

/* planes and sse of a trial, whose reconstruction lies at the corner of recon. */
void describe(mrdo_trial& trial, const Block& block, const Yuv& recon, const PicYuv& source)
{
    uint64_t sse = 0;
    trial.struct_size = sizeof(trial);
    trial.plane_count = source.m_picCsp == X265_CSP_I400 ? 1 : 3;
    for (uint32_t i = 0; i < trial.plane_count; i++)
    {
        mrdo_plane& plane = trial.planes[i];
        const uint32_t sx = i ? CHROMA_H_SHIFT(source.m_picCsp) : 0, sy = i ? CHROMA_V_SHIFT(source.m_picCsp) : 0;
        const intptr_t stride = i ? recon.m_csize : recon.m_size, sourceStride = i ? source.m_strideC : source.m_stride;
        plane.struct_size = sizeof(plane);
        plane.width = (block.width + (1 << sx) - 1) >> sx;
        plane.height = (block.height + (1 << sy) - 1) >> sy;
        plane.bit_depth = X265_DEPTH;
        plane.bytes_per_sample = sizeof(pixel);
        plane.stride = stride * (intptr_t)sizeof(pixel);
        plane.samples = recon.m_buf[i];
        sse += squaredError(recon.m_buf[i], stride, source.m_picOrg[i] + (block.y >> sy) * sourceStride + (block.x >> sx),
                            sourceStride, plane.width, plane.height);
    }
    trial.sse = (double)sse;
}

uint32_t neighbours(const CUData& ctu)
{
    return (ctu.m_cuLeft ? MRDO_LEFT : 0) | (ctu.m_cuAbove ? MRDO_ABOVE : 0) | (ctu.m_cuAboveLeft ? MRDO_ABOVE_LEFT : 0)
         | (ctu.m_cuAboveRight ? MRDO_ABOVE_RIGHT : 0);
}

void fillChoice(mrdo_choice& choice, const MrdoSide& side, const CUData& ctu, const Frame& frame, const Block& block)
{
    memset(&choice, 0, sizeof(choice));
    choice.struct_size = sizeof(choice);
    choice.x = block.x;
    choice.y = block.y;
    choice.width = block.width;
    choice.height = block.height;
    choice.poc = frame.m_poc;
    choice.neighbours = neighbours(ctu);
    choice.lambda = x265_lambda2_tab[mrdoFrameQp(ctu)] * side.lambdaScale()
                  / side.worth(block.x, block.y, block.width, block.height);
}

}

namespace X265_NS {

void MrdoSnapshot::take(const CUData& ctu, const Mode& best, const PicYuv& recon)
{
    copyTo(m_parts, (const uint8_t*)ctu.m_qp, partBytes(ctu));
    copyTo(m_mv, ctu.m_mv[0], 4 * ctu.m_numPartitions);
    copyTo(m_distortion, ctu.m_distortion, ctu.m_numPartitions);
    copyTo(m_coeff, ctu.m_trCoeff[0], coefficients(ctu));
    copyTo(m_costs, (const uint8_t*)&best.rdCost, (const uint8_t*)(&best + 1) - (const uint8_t*)&best.rdCost);
    memcpy(m_refTuDepth, ctu.m_refTuDepth, sizeof(m_refTuDepth));
    m_stat = ctu.m_encData->m_cuStat[ctu.m_cuAddr];
    m_bits = best.totalBits;
    if (!m_recon.m_buf[0] && !m_recon.create(ctu.m_slice->m_param->maxCUSize, recon.m_picCsp))
        mrdo::die("out of memory for the candidates of a CTU");
    m_recon.copyFromPicYuv(recon, ctu.m_cuAddr, 0);
}

void MrdoSnapshot::restore(CUData& ctu, Mode& best, PicYuv& recon, bool withRecon) const
{
    copyFrom(m_parts, (uint8_t*)ctu.m_qp);
    copyFrom(m_mv, ctu.m_mv[0]);
    copyFrom(m_distortion, ctu.m_distortion);
    copyFrom(m_coeff, ctu.m_trCoeff[0]);
    copyFrom(m_costs, (uint8_t*)&best.rdCost);
    memcpy(ctu.m_refTuDepth, m_refTuDepth, sizeof(m_refTuDepth));
    ctu.m_encData->m_cuStat[ctu.m_cuAddr] = m_stat;
    if (withRecon)
        m_recon.copyToPicYuv(recon, ctu.m_cuAddr, 0);
}

void MrdoSnapshot::giveDecisions(CUData& ctu) const
{
    uint8_t* const parts[] = { ctu.m_cuDepth, ctu.m_partSize, ctu.m_lumaIntraDir, ctu.m_chromaIntraDir };
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        memcpy(parts[i], &m_parts[parts[i] - (uint8_t*)ctu.m_qp], ctu.m_numPartitions);
}

MrdoTrials::~MrdoTrials()
{
    for (size_t i = 0; i < m_snapshots.size(); i++)
        delete m_snapshots[i];
}

Mode* MrdoTrials::compress(Analysis& analysis, CUData& ctu, Frame& frame, const CUGeom& geom, const Entropy& context)
{
    MrdoSide* side = ctu.m_encData->m_mrdo;
    const uint32_t addr = ctu.m_cuAddr;
    if (!side || side->candidates().empty() || side->trial(addr))
        return NULL;
    const FrameData::RCStatCU before = ctu.m_encData->m_cuStat[addr];
    const bool vbvAffected = ctu.m_vbvAffected;
    const uint32_t mask = side->candidateMask(addr);
    uint32_t tried[32], count = 0;
    Mode* best = NULL;
    for (uint32_t k = 0; k < side->candidates().size(); k++)
    {
        if (!(mask >> k & 1))
            continue;
        if (count)
        {
            ctu.initCTU(frame, addr, ctu.m_slice->m_sliceQp, ctu.m_bFirstRowInSlice, ctu.m_bLastRowInSlice, ctu.m_bLastCuInSlice);
            ctu.m_vbvAffected = vbvAffected;
            ctu.m_encData->m_cuStat[addr] = before;
            if (side->candidates()[k].keep && ctu.m_slice->m_sliceType == I_SLICE)
                m_snapshots[0]->giveDecisions(ctu);
        }
        side->setTrial(addr, &side->candidates()[k]);
        best = &analysis.compressCTU(ctu, frame, geom, context);
        side->setTrial(addr, NULL);
        tried[count++] = k;
        if (!(mask >> k >> 1) && count == 1)
            break; /* the only one: it stands where it is */
        if (m_snapshots.size() < count)
            m_snapshots.push_back(new MrdoSnapshot);
        m_snapshots[count - 1]->take(ctu, *best, *mrdoPicture(frame.m_reconPic));
    }
    uint32_t kept = 0;
    if (count > 1)
    {
        kept = choose(*side, ctu, frame, tried, count);
        m_snapshots[kept]->restore(ctu, *best, *mrdoPicture(frame.m_reconPic), kept + 1 < count);
    }
    side->keep(addr, tried[kept]);
    return best;
}

uint32_t MrdoTrials::choose(const MrdoSide& side, const CUData& ctu, const Frame& frame, const uint32_t* tried, uint32_t count)
{
    const Block block(ctu, 0, ctu.m_slice->m_param->maxCUSize, side.plugin().encoder());
    std::vector<mrdo_trial> trials(count);
    mrdo_choice choice;
    fillChoice(choice, side, ctu, frame, block);
    choice.level = MRDO_CHOICE_CTU;
    choice.trial_count = count;
    choice.trials = &trials[0];
    for (uint32_t i = 0; i < count; i++)
    {
        memset(&trials[i], 0, sizeof(trials[i]));
        trials[i].candidate = tried[i];
        trials[i].bits = m_snapshots[i]->bits();
        trials[i].rate_cost = choice.lambda * trials[i].bits;
        describe(trials[i], block, m_snapshots[i]->recon(), *frame.m_fencPic);
    }
    return side.plugin().choose(choice, side.chooseBySse());
}

void MrdoTrials::judgeSplit(const CUData& ctu, const CUGeom& geom, Frame& frame, const Mode* whole, Mode& split) const
{
    const MrdoSide* side = ctu.m_encData->m_mrdo;
    const uint32_t size = 1 << geom.log2CUSize;
    if (!side || !side->judgeSplits() || size < side->judgeSplits() || !whole || whole == &split)
        return;
    const Block block(ctu, geom.absPartIdx, size, side->plugin().encoder());
    const Mode* modes[2] = { whole, &split };
    mrdo_trial trials[2];
    mrdo_choice choice;
    fillChoice(choice, *side, ctu, frame, block);
    choice.level = MRDO_CHOICE_SPLIT;
    choice.trial_count = 2;
    choice.trials = trials;
    memset(trials, 0, sizeof(trials));
    for (uint32_t i = 0; i < 2; i++)
    {
        trials[i].candidate = i;
        trials[i].bits = modes[i]->totalBits;
        trials[i].rate_cost = choice.lambda * trials[i].bits;
        describe(trials[i], block, modes[i]->reconYuv, *frame.m_fencPic);
    }
    if (side->plugin().choose(choice, side->chooseBySse()))
        split.rdCost = X265_MIN(split.rdCost, whole->rdCost ? whole->rdCost - 1 : 0);
    else
        split.rdCost = X265_MAX(split.rdCost, whole->rdCost);
}

bool mrdoMaySplit(const CUData& ctu, const CUGeom& geom)
{
    const MrdoSide* side = ctu.m_encData->m_mrdo;
    const mrdo_candidate* trial = side ? side->trial(ctu.m_cuAddr) : NULL;
    const bool must = (geom.flags & CUGeom::SPLIT_MANDATORY) || geom.log2CUSize == MAX_LOG2_CU_SIZE;
    return must || !trial || !trial->min_cu || (1u << geom.log2CUSize) > trial->min_cu;
}

}
