#include "mrdo_trials.h"

#include "CommonLib/CodingStructure.h"
#include "CommonLib/Picture.h"
#include "CommonLib/UnitTools.h"
#include "EncoderLib/EncCu.h"
#include "vvenc/version.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace vvenc {

namespace {

const MrdoSide* weights( const CodingStructure& cs )
{
  const MrdoSide* side = cs.picture->mrdo;
  return side && side->hasWeight() ? side : nullptr;
}

void fillPlanes( mrdo_frame& out, std::vector<uint8_t> packed[], const Picture& pic, const mrdo_encoder_info& encoder )
{
  out.plane_count = encoder.chroma_format_idc ? 3 : 1;
  for( uint32_t i = 0; i < out.plane_count; i++ )
  {
    const ComponentID compID = ComponentID( i );
    const CPelBuf     source = pic.getOrigBuf( compID );
    const int         sx = getComponentScaleX( compID, pic.chromaFormat ), sy = getComponentScaleY( compID, pic.chromaFormat );
    mrdo_plane& plane      = out.planes[i];
    plane.struct_size      = sizeof( plane );
    plane.width            = ( encoder.width + ( 1 << sx ) - 1 ) >> sx;
    plane.height           = ( encoder.height + ( 1 << sy ) - 1 ) >> sy;
    plane.bit_depth        = encoder.bit_depth;
    plane.bytes_per_sample = sizeof( Pel );
    plane.reserved         = 0;
    plane.stride           = (int64_t)source.stride * sizeof( Pel );
    plane.samples          = source.buf;
    mrdoPack( plane, packed[i] );
  }
}

/* Depth of quantisation groups of a size, as far as the partitioning of a slice type allows (7.4.3.8). */
uint32_t subdivision( const PicHeader& header, const SPS& sps, uint32_t group, int inter )
{
  const int ctu = getLog2( sps.CTUSize ), wanted = 2 * ( ctu - getLog2( group ) );
  return std::min( wanted, 2 * ( ctu - getLog2( header.minQTSize[inter] ) ) + (int)header.maxMTTDepth[inter] );
}

int32_t sliceType( const Slice& slice )
{
  return slice.sliceType == VVENC_I_SLICE ? MRDO_SLICE_I : slice.sliceType == VVENC_P_SLICE ? MRDO_SLICE_P : MRDO_SLICE_B;
}

double meanQp( const std::vector<mrdo_ctu>& ctus, const mrdo_encoder_info& encoder, uint32_t cols )
{
  double sum = 0;
  for( uint32_t i = 0; i < ctus.size(); i++ )
  {
    const uint32_t width  = std::min( encoder.ctu_size, encoder.width - i % cols * encoder.ctu_size );
    const uint32_t height = std::min( encoder.ctu_size, encoder.height - i / cols * encoder.ctu_size );
    sum += (double)ctus[i].qp * width * height;
  }
  return sum / encoder.width / encoder.height;
}

}

MrdoEncoder::~MrdoEncoder()
{
  if( m_pps )
    m_pps->pcv = nullptr; /* belongs to the encoder's own PPS */
  delete m_pps;
}

void MrdoEncoder::open( const VVEncCfg& cfg, const SPS& sps, const PPS& pps )
{
  mrdo_encoder_info info;
  memset( &info, 0, sizeof( info ) );
  info.struct_size       = sizeof( info );
  info.width             = cfg.m_SourceWidth;
  info.height            = cfg.m_SourceHeight;
  info.chroma_format_idc = sps.chromaFormatIdc;
  info.bit_depth         = sps.bitDepths[CH_L];
  info.ctu_size          = sps.CTUSize;
  info.min_cu_size       = 1 << sps.log2MinCodingBlockSize;
  info.fps_num           = cfg.m_FrameRate;
  info.fps_den           = cfg.m_FrameScale;
  info.encoder           = "vvenc";
  info.version           = VVENC_VERSION;
  m_plugin->open( info );
  if( !m_plugin->active() )
    return;
  m_cfg          = &cfg;
  m_pps          = new PPS( pps );
  m_pps->ppsId   = pps.ppsId + 1;
  m_pps->useDQP  = true;
}

void MrdoEncoder::refuseUnsupported( const Picture& pic ) const
{
  const MrdoSide& side = *pic.mrdo;
  if( m_cfg->m_usePerceptQPA || m_cfg->m_blockImportanceMapping )
    mrdo::die( "side information with PerceptQPA or BIM, which choose the QP themselves; use --qpa 0 and BIM=0" );
  if( m_cfg->m_costMode != VVENC_COST_STANDARD_LOSSY || m_cfg->m_lumaLevelToDeltaQPEnabled )
    mrdo::die( "side information with CostMode or LumaLevelToDeltaQPMode; leave them out" );
  if( side.judgeSplits() )
    mrdo::die( "splits to be judged, which VVenC's hook has not; expected 0" );
  for( const mrdo_candidate& candidate : side.candidates() )
    if( candidate.min_cu )
      mrdo::die( "candidate with CUs of at least %u, which VVenC's hook has not; expected 0", candidate.min_cu );
  if( side.hasLevelB() && pic.useIBC )
    mrdo::die( "candidates with IBC, which VVenC found this screen content worth; use IBC=0" );
}

void MrdoEncoder::useDeltaQp( Picture& pic )
{
  Slice&     slice  = *pic.cs->slice;
  PicHeader& header = *slice.picHeader;
  pic.cs->pps = slice.pps = m_pps;
  header.ppsId                = m_pps->ppsId;
  header.cuQpDeltaSubdivIntra = subdivision( header, *slice.sps, m_plugin->quantGroup(), 0 );
  header.cuQpDeltaSubdivInter = subdivision( header, *slice.sps, m_plugin->quantGroup(), 1 );
}

bool MrdoEncoder::needsPps( const PPS& pps )
{
  const bool second = m_pps && pps.ppsId == m_pps->ppsId, needed = !m_sent[second];
  m_sent[second] = true;
  return needed && m_plugin->active();
}

void MrdoEncoder::begin( Picture& pic )
{
  if( !m_plugin->active() )
    return;
  const Slice& slice = *pic.cs->slice;
  mrdo_frame   info;
  memset( &info, 0, sizeof( info ) );
  std::vector<uint8_t> packed[MAX_NUM_COMP];
  info.struct_size = sizeof( info );
  info.slice_type  = sliceType( slice );
  info.poc         = pic.poc;
  info.qp          = slice.sliceQp;
  info.lambda      = slice.getLambdas()[0];
  info.keyframe    = slice.isIRAP();
  if( m_plugin->wantsPlanes() )
    fillPlanes( info, packed, pic, m_plugin->encoder() );

  mrdo_side_info answer;
  m_plugin->begin( info, answer );
  pic.mrdo = new MrdoSide( *m_plugin, answer, pic.cs->pcv->sizeInCtus );
  if( !pic.mrdo->neutral() )
    refuseUnsupported( pic );
  if( pic.mrdo->movesQp() )
    useDeltaQp( pic );
}

void MrdoEncoder::end( Picture& pic )
{
  if( !m_plugin->active() || !pic.mrdo )
    return;
  const std::vector<mrdo_ctu>& ctus = pic.mrdo->results();
  mrdo_frame_result            result;
  memset( &result, 0, sizeof( result ) );
  result.struct_size = sizeof( result );
  result.slice_type  = sliceType( *pic.slices[0] );
  result.poc         = pic.poc;
  result.bits        = pic.actualTotalBits;
  result.qp          = meanQp( ctus, m_plugin->encoder(), pic.cs->pcv->widthInCtus );
  if( m_plugin->wantsCtus() )
  {
    result.ctu_cols = pic.cs->pcv->widthInCtus;
    result.ctu_rows = pic.cs->pcv->heightInCtus;
    result.ctus     = ctus.data();
  }
  m_plugin->end( result );
  delete pic.mrdo;
  pic.mrdo = nullptr;
}

MrdoBlock::MrdoBlock( RdCost& cost, const CodingStructure& cs, const CompArea& area )
  : m_cost( cost ), m_outer( cost.mrdo ), m_side( weights( cs ) )
{
  if( !m_side || !area.valid() )
    return;
  m_shiftX  = getComponentScaleX( area.compID, area.chromaFormat );
  m_shiftY  = getComponentScaleY( area.compID, area.chromaFormat );
  m_x       = area.x << m_shiftX;
  m_y       = area.y << m_shiftY;
  cost.mrdo = this;
}

/* x, y, width, height: samples of the component inside the block. */
Distortion MrdoBlock::unit( const DistParam& dp, int x, int y, int width, int height ) const
{
  if( dp.orgLuma ) /* its own weights by luma level */
  {
    DistParam     part = dp;
    const CPelBuf luma( dp.orgLuma->bufAt( x << m_shiftX, y << m_shiftY ), dp.orgLuma->stride, width << m_shiftX,
                        height << m_shiftY );
    part.org     = CPelBuf( dp.org.bufAt( x, y ), dp.org.stride, width, height );
    part.cur     = CPelBuf( dp.cur.bufAt( x, y ), dp.cur.stride, width, height );
    part.orgLuma = &luma;
    return m_cost.xGetSSE_WTD( part );
  }
  uint64_t sum = 0;
  for( int v = y; v < y + height; v++ )
  {
    const Pel *a = dp.org.bufAt( x, v ), *b = dp.cur.bufAt( x, v );
    uint32_t   row = 0;
    for( int u = 0; u < width; u++ )
    {
      const int d = a[u] - b[u];
      row += uint32_t( d * d );
    }
    sum += row;
  }
  return sum;
}

Distortion MrdoBlock::weigh( const DistParam& dp, Distortion dist ) const
{
  const int     width = dp.org.width, height = dp.org.height;
  const int64_t one = mrdo::SideMap::ONE;
  int64_t       extra = 0;
  for( int y = 0; y < height; )
  {
    const int lumaY = m_y + ( y << m_shiftY ), rows = std::min( height - y, ( 8 - ( lumaY & 7 ) ) >> m_shiftY );
    for( int x = 0; x < width; )
    {
      const int     lumaX = m_x + ( x << m_shiftX ), columns = std::min( width - x, ( 8 - ( lumaX & 7 ) ) >> m_shiftX );
      const int64_t more  = (int64_t)m_side->weight( lumaX, lumaY ) - one;
      if( more )
        extra += more * (int64_t)unit( dp, x, y, columns, rows );
      x += columns;
    }
    y += rows;
  }
  return Distortion( (int64_t)dist + ( extra < 0 ? -( ( one / 2 - extra ) / one ) : ( one / 2 + extra ) / one ) );
}

double MrdoSide::meanWeightOf( const CompArea& area ) const
{
  const int sx = getComponentScaleX( area.compID, area.chromaFormat ), sy = getComponentScaleY( area.compID, area.chromaFormat );
  return meanWeight( area.x << sx, area.y << sy, area.width << sx, area.height << sy ) / double( ONE );
}

Distortion mrdoWeigh( const CodingStructure& cs, const CompArea& area, int x, int y, int width, int height,
                      Distortion dist )
{
  const MrdoSide* side = weights( cs );
  const CompArea  part( area.compID, area.chromaFormat, Area( area.x + x, area.y + y, width, height ) );
  return side ? Distortion( dist * side->meanWeightOf( part ) ) : dist;
}

double mrdoRdoqScale( const CodingStructure& cs, const CompArea& area )
{
  const MrdoSide* side = weights( cs );
  return side ? 1.0 / side->meanWeightOf( area ) : 1.0;
}

/* Lambda of a node of the coding tree, from its QP or from the slice's where weights hold it there. */
void EncCu::mrdoSetLambda( const CodingStructure& cs )
{
  const MrdoSide* side = cs.picture->mrdo;
  if( !side || side->neutral() )
    return;
  const Slice& slice = *cs.slice;
  const Area&  area  = cs.area.Y();
  double       scale = side->lambdaScaleOf( getCtuAddr( area.pos(), *cs.pcv ) );
  if( side->movesQp() && !side->fixesLambda() )
    scale *= pow( 2.0, ( cs.baseQP - slice.sliceQp ) / 3.0 );
  const double* own = slice.getLambdas();
  const double  lambdas[MAX_NUM_COMP] = { own[COMP_Y] * scale, own[COMP_Cb] * scale, own[COMP_Cr] * scale };
  m_cTrQuant.setLambdas( lambdas );
  m_cRdCost.setLambda( lambdas[COMP_Y], slice.sps->bitDepths );
  m_cRdCost.saveUnadjustedLambda();
  if( side->hasWeight() ) /* SATD decisions see no weights */
    m_cRdCost.mrdoSetMotionLambda( sqrt( lambdas[COMP_Y] / side->meanWeightOf( cs.area.Y() ) ) );
}

void EncCu::mrdoEnter( CodingStructure& temp, CodingStructure& best, const Partitioner& partitioner )
{
  const MrdoSide* side = temp.picture->mrdo;
  if( !side || side->neutral() )
    return;
  if( side->movesQp() && partitioner.currQgEnable() )
  {
    const Area&           area   = temp.area.Y();
    const mrdo_candidate* trial  = side->trial( getCtuAddr( area.pos(), *temp.pcv ) );
    double                offset = trial ? trial->delta_qp : 0;
    if( side->hasQp() )
      offset += side->qpOffset( area.x, area.y, area.width, area.height );
    const int qp = Clip3( -temp.sps->qpBDOffset[CH_L], MAX_QP, temp.slice->sliceQp + (int)floor( offset + 0.5 ) );
    temp.currQP[partitioner.chType] = temp.baseQP = best.currQP[partitioner.chType] = best.baseQP = qp;
  }
  mrdoSetLambda( temp );
}

/* Distortions are kept in units of the lambda of their node: then costs add up over groups of different QP. */
void EncCu::mrdoLeave( CodingStructure& part, const CodingStructure& whole )
{
  const MrdoSide* side = whole.picture->mrdo;
  if( !side || side->neutral() )
    return;
  if( part.baseQP != whole.baseQP && !side->fixesLambda() && part.dist != MAX_DISTORTION )
    part.dist = Distortion( part.dist * pow( 2.0, ( whole.baseQP - part.baseQP ) / 3.0 ) + 0.5 );
  mrdoSetLambda( whole );
}

void EncCu::mrdoDone( const CodingStructure& cs, const UnitArea& area, uint32_t ctu )
{
  MrdoSide* side = cs.picture->mrdo;
  if( !side )
    return;
  int64_t    sum = 0, count = 0;
  const Area picture( 0, 0, m_pcEncCfg->m_SourceWidth, m_pcEncCfg->m_SourceHeight );
  for( const auto& cu : cs.traverseCUs( CS::getArea( cs, area, CH_L, TREE_D ), CH_L ) )
  {
    if( !picture.contains( cu.lumaPos() ) )
      continue;
    const Area shown = clipArea( static_cast<const Area&>( cu.Y() ), picture );
    sum += (int64_t)cu.qp * shown.area();
    count += shown.area();
  }
  side->result( ctu ).bits = float( m_CABACEstimator->getEstFracBits() / double( 1 << SCALE_BITS ) );
  side->result( ctu ).qp   = count ? float( (double)sum / count ) : float( cs.slice->sliceQp );
}

}
