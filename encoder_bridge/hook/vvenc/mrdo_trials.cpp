#include "mrdo_trials.h"

#include "CommonLib/Picture.h"
#include "CommonLib/UnitTools.h"
#include "EncoderLib/EncCu.h"
#include "EncoderLib/EncModeCtrl.h"
#include "EncoderLib/InterSearch.h"

#include <algorithm>
#include <cstring>
#include <mutex>

namespace vvenc {

namespace {

const int SIZES = 6, POSITIONS = 32;

template<typename T, typename Visit>
void visit( T& table, Visit each )
{
  auto* flat = &table[0][0][0][0];
  for( int i = 0; i < SIZES * SIZES * POSITIONS * POSITIONS; i++ )
    if( flat[i] )
      each( i, flat[i] );
}

uint32_t neighbours( uint32_t x, uint32_t y, uint32_t width, uint32_t cols, bool wavefront )
{
  const uint32_t left = x ? MRDO_LEFT : 0, above = y ? MRDO_ABOVE : 0;
  const bool     right = above && x / width + 1 < cols && !wavefront;
  return left | above | ( left && above ? MRDO_ABOVE_LEFT : 0 ) | ( right ? MRDO_ABOVE_RIGHT : 0 );
}

uint64_t squaredError( const mrdo_plane& plane, const CPelBuf& source )
{
  uint64_t   sum  = 0;
  const Pel* from = static_cast<const Pel*>( plane.samples );
  for( uint32_t y = 0; y < plane.height; y++, from += plane.stride / (int64_t)sizeof( Pel ) )
  {
    const Pel* org = source.bufAt( 0, y );
    for( uint32_t x = 0; x < plane.width; x++ )
    {
      const int d = from[x] - org[x];
      sum += uint32_t( d * d );
    }
  }
  return sum;
}

/* Planes and squared error of a trial; luma is brought back from the domain it was coded in. */
void describe( mrdo_trial& out, MrdoTrial& trial, const mrdo_choice& choice, const Picture& pic,
               const mrdo_encoder_info& encoder )
{
  uint64_t sse    = 0;
  out.struct_size = sizeof( out );
  out.plane_count = encoder.chroma_format_idc ? 3 : 1;
  for( uint32_t i = 0; i < out.plane_count; i++ )
  {
    const ComponentID compID = ComponentID( i );
    const int         sx = getComponentScaleX( compID, pic.chromaFormat ), sy = getComponentScaleY( compID, pic.chromaFormat );
    const int         width = ( choice.width + ( 1 << sx ) - 1 ) >> sx, height = ( choice.height + ( 1 << sy ) - 1 ) >> sy;
    const CompArea    area( compID, pic.chromaFormat, Area( choice.x >> sx, choice.y >> sy, width, height ) );
    CodingStructure&  tree = *trial.tree[i && trial.separate ? CH_C : CH_L];
    PelBuf            reco = tree.getRecoBuf( area );
    if( !i && pic.cs->picHeader->lmcsEnabled && pic.reshapeData.getCTUFlag() )
    {
      trial.shown.destroy();
      trial.shown.create( CHROMA_400, Area( 0, 0, area.width, area.height ) );
      PelBuf shown = trial.shown.Y();
      shown.rspSignal( reco, pic.reshapeData.getInvLUT() );
      reco = shown;
    }
    mrdo_plane& plane      = out.planes[i];
    plane.struct_size      = sizeof( plane );
    plane.width            = area.width;
    plane.height           = area.height;
    plane.bit_depth        = encoder.bit_depth;
    plane.bytes_per_sample = sizeof( Pel );
    plane.stride           = (int64_t)reco.stride * sizeof( Pel );
    plane.samples          = reco.buf;
    sse += squaredError( plane, pic.getOrigBuf( area ) );
    mrdoPack( plane, trial.packed[i] );
  }
  out.sse = (double)sse;
}

}

void mrdoPack( mrdo_plane& plane, std::vector<uint8_t>& bytes )
{
  if( plane.bit_depth > 8 )
    return;
  const Pel* from = static_cast<const Pel*>( plane.samples );
  bytes.clear();
  for( uint32_t y = 0; y < plane.height; y++, from += plane.stride / (int64_t)sizeof( Pel ) )
    bytes.insert( bytes.end(), from, from + plane.width );
  plane.bytes_per_sample = 1;
  plane.stride           = plane.width;
  plane.samples          = bytes.data();
}

MrdoSearchState::MrdoSearchState() : m_uniMvs( new BlkUniMvInfoBuffer ), m_affineIdx( 0 ), m_affineSize( 0 ) {}
MrdoSearchState::~MrdoSearchState() {}

void MrdoSearchState::take( const InterSearch& search )
{
  const AffineProfList& affine = *search.m_AffineProfList;
  *m_uniMvs    = *search.m_BlkUniMvInfoBuffer;
  m_affineIdx  = affine.m_affMVListIdx;
  m_affineSize = affine.m_affMVListSize;
  m_affine.assign( affine.m_affMVList, affine.m_affMVList + affine.m_affMVListMaxSize );
  m_reused.clear();
  visit( search.m_ReuseUniMv->m_reusedUniMVs, [this]( int i, const Mv* mvs ) {
    m_reused.push_back( Reused{ i, std::vector<Mv>( mvs, mvs + 2 * MAX_REF_PICS ) } );
  } );
}

void MrdoSearchState::restore( InterSearch& search ) const
{
  AffineProfList& affine       = *search.m_AffineProfList;
  *search.m_BlkUniMvInfoBuffer = *m_uniMvs;
  affine.m_affMVListIdx        = m_affineIdx;
  affine.m_affMVListSize       = m_affineSize;
  std::copy( m_affine.begin(), m_affine.end(), affine.m_affMVList );
  search.m_ReuseUniMv->resetReusedUniMvs();
  Mv** flat = &search.m_ReuseUniMv->m_reusedUniMVs[0][0][0][0];
  for( const Reused& reused : m_reused )
  {
    flat[reused.index] = new Mv[reused.mvs.size()];
    std::copy( reused.mvs.begin(), reused.mvs.end(), flat[reused.index] );
  }
}

MrdoTrial::~MrdoTrial()
{
  for( auto& structure : tree )
    if( structure )
      structure->destroy();
}

double MrdoTrial::bits() const
{
  return ( tree[CH_L]->fracBits + ( separate ? tree[CH_C]->fracBits : 0 ) ) / double( 1 << SCALE_BITS );
}

void CacheBlkInfoCtrl::mrdoForgetBlocks()
{
  visit( m_codedCUInfo, []( int, CodedCUInfo* info ) { info->poc = -1; } );
}

void BestEncInfoCache::mrdoForgetBest()
{
  if( m_reuseCuResults )
    visit( m_bestEncInfo, []( int, BestEncodingInfo* info ) { info->poc = -1; } );
}

/* Codes the CTU as each candidate and keeps the best; false where there is nothing to try, or inside a trial. */
bool EncCu::mrdoTryAll( CodingStructure& cs, const UnitArea& area, unsigned ctu, const int prevQP[] )
{
  MrdoSide* side = cs.picture->mrdo;
  if( !side || side->candidates().empty() || ( m_mrdo && m_mrdo->running ) )
    return false;
  if( !m_mrdo )
    m_mrdo.reset( new MrdoTrials );
  const uint32_t mask  = side->candidateMask( ctu );
  const TempCtx  start( m_CtxCache, m_CABACEstimator->getCtx() );
  std::vector<uint32_t> tried;
  m_mrdo->before.take( m_cInterSearch );
  for( uint32_t k = 0; k < side->candidates().size(); k++ )
  {
    if( !( mask >> k & 1 ) )
      continue;
    if( !tried.empty() )
    {
      m_CABACEstimator->getCtx() = start;
      m_mrdo->before.restore( m_cInterSearch );
      m_modeCtrl.mrdoForgetBlocks();
      m_modeCtrl.mrdoForgetBest();
    }
    if( m_mrdo->trials.size() == tried.size() )
      m_mrdo->trials.emplace_back( new MrdoTrial );
    m_mrdo->running           = m_mrdo->trials[tried.size()].get();
    m_mrdo->running->separate = false;
    side->setTrial( ctu, &side->candidates()[k] );
    xCompressCtu( cs, area, ctu, prevQP );
    side->setTrial( ctu, nullptr );
    m_mrdo->running->search.take( m_cInterSearch );
    m_mrdo->running = nullptr;
    tried.push_back( k );
  }
  const uint32_t kept = tried.size() > 1 ? mrdoChoose( cs, area, tried ) : 0;
  side->result( ctu ).candidate = tried[kept];
  mrdoUse( cs, area, *m_mrdo->trials[kept] );
  m_CABACEstimator->getCtx() = start;
  return true;
}

uint32_t EncCu::mrdoChoose( const CodingStructure& cs, const UnitArea& area, const std::vector<uint32_t>& tried )
{
  const MrdoSide&          side    = *cs.picture->mrdo;
  const mrdo_encoder_info& encoder = side.plugin().encoder();
  std::vector<mrdo_trial>  trials( tried.size() );
  mrdo_choice              choice;
  memset( &choice, 0, sizeof( choice ) );
  choice.struct_size = sizeof( choice );
  choice.x           = area.lx();
  choice.y           = area.ly();
  choice.width       = std::min( encoder.ctu_size, encoder.width - choice.x );
  choice.height      = std::min( encoder.ctu_size, encoder.height - choice.y );
  choice.poc         = cs.picture->poc;
  choice.level       = MRDO_CHOICE_CTU;
  choice.neighbours  = neighbours( choice.x, choice.y, encoder.ctu_size, cs.pcv->widthInCtus,
                                   m_pcEncCfg->m_entropyCodingSyncEnabled );
  choice.lambda      = cs.slice->getLambdas()[0] * side.lambdaScale()
                     / side.worth( choice.x, choice.y, choice.width, choice.height );
  choice.trial_count = (uint32_t)tried.size();
  choice.trials      = trials.data();
  for( size_t i = 0; i < tried.size(); i++ )
  {
    memset( &trials[i], 0, sizeof( trials[i] ) );
    trials[i].candidate = tried[i];
    trials[i].bits      = m_mrdo->trials[i]->bits();
    trials[i].rate_cost = choice.lambda * trials[i].bits;
    describe( trials[i], *m_mrdo->trials[i], choice, *cs.picture, encoder );
  }
  return side.plugin().choose( choice, side.chooseBySse() );
}

void EncCu::mrdoUse( CodingStructure& cs, const UnitArea& area, const MrdoTrial& trial )
{
  trial.search.restore( m_cInterSearch );
  std::unique_lock<std::mutex> lock;
  if( m_wppMutex )
    lock = std::unique_lock<std::mutex>( *m_wppMutex );
  for( const ChannelType ch : { CH_L, CH_C } )
    if( trial.done( ch ) )
      cs.useSubStructure( *trial.tree[ch], ch, TREE_D, CS::getArea( *trial.tree[ch], area, ch, trial.treeType[ch] ) );
}

/* Takes a finished tree out of the search, and puts another structure in its place. */
bool EncCu::mrdoCapture( CodingStructure& cs, CodingStructure*& best, const Partitioner& partitioner )
{
  if( !m_mrdo || !m_mrdo->running )
    return false;
  const ChannelType                 ch    = partitioner.chType;
  MrdoTrial&                        trial = *m_mrdo->running;
  std::unique_ptr<CodingStructure>& spare = trial.tree[ch];
  if( !spare )
  {
    spare.reset( new CodingStructure( m_unitCache, nullptr ) );
    const Area ctu( 0, 0, m_pcEncCfg->m_CTUSize, m_pcEncCfg->m_CTUSize );
    spare->createForSearch( m_pcEncCfg->m_internChromaFormat, ctu );
  }
  CodingStructure*& slot = m_pBestCS[0] == best ? m_pBestCS[0] : m_pTempCS[0];
  slot = spare.release();
  spare.reset( best );
  best               = slot;
  trial.treeType[ch] = partitioner.treeType;
  trial.separate     = ch == CH_C;
  const UnitArea shown = clipArea( CS::getArea( *spare, spare->area, ch, partitioner.treeType ), *cs.picture );
  cs.picture->getRecoBuf( shown ).copyFrom( spare->getRecoBuf( shown ) );
  return true;
}

/* Chroma of a trial finds the luma of the same trial, which is not in the picture. */
void EncCu::mrdoShowLuma( CodingStructure& temp, CodingStructure& best )
{
  temp.mrdoLuma = best.mrdoLuma = m_mrdo && m_mrdo->running ? m_mrdo->running->tree[CH_L].get() : nullptr;
  if( temp.mrdoLuma )
    temp.lumaCS = best.lumaCS = temp.mrdoLuma;
}

}
