/* The hook's VVenC side: what the lines inserted by patches/vvenc-* call. */
#ifndef MRDO_VVENC_H
#define MRDO_VVENC_H

#include "mrdo_hook.h"

#include "CommonLib/CommonDef.h"
#include "CommonLib/RdCost.h"
#include "CommonLib/Slice.h"

#include <memory>

namespace vvenc {

struct Picture;
struct TransformUnit;
class CodingStructure;

/* Side information of the picture being coded; Picture::mrdo points here, or is null. Threads code different CTUs. */
class MrdoSide : public mrdo::SideMap
{
public:
  MrdoSide( const mrdo::Plugin& plugin, const mrdo_side_info& side, uint32_t ctus )
    : mrdo::SideMap( plugin.encoder(), side ), m_plugin( plugin ), m_trial( hasLevelB() ? ctus : 0, nullptr )
  {
    mrdo_ctu none = mrdo_ctu();
    none.struct_size = sizeof( none );
    m_ctus.assign( ctus, none );
  }

  const mrdo::Plugin& plugin() const { return m_plugin; }
  bool movesQp() const { return hasQp() || variesQp(); }

  /* The candidate a CTU is being coded as, null outside trials. */
  const mrdo_candidate* trial( uint32_t ctu ) const { return m_trial.empty() ? nullptr : m_trial[ctu]; }
  void setTrial( uint32_t ctu, const mrdo_candidate* candidate ) { m_trial[ctu] = candidate; }
  double lambdaScaleOf( uint32_t ctu ) const
  {
    return lambdaScale() * ( trial( ctu ) ? trial( ctu )->lambda_scale : 1.0 );
  }
  /* Mean weight of an area of any component. */
  double meanWeightOf( const CompArea& area ) const;

  mrdo_ctu& result( uint32_t ctu ) { return m_ctus[ctu]; }
  const std::vector<mrdo_ctu>& results() const { return m_ctus; }

private:
  const mrdo::Plugin&                m_plugin;
  std::vector<const mrdo_candidate*> m_trial;
  std::vector<mrdo_ctu>              m_ctus;
};

/* One per EncGOP; only that of the final pass has a plugin. */
class MrdoEncoder
{
public:
  MrdoEncoder() : m_plugin( new mrdo::Plugin ) {}
  ~MrdoEncoder();
  /* After the parameter sets are there. */
  void open( const VVEncCfg& cfg, const SPS& sps, const PPS& pps );
  /* After QP and lambda of the picture are known, before its first CTU. Blocks until the plugin answers. */
  void begin( Picture& pic );
  /* After the picture was written. */
  void end( Picture& pic );
  /* What headers a picture still needs: a second PPS, with cu_qp_delta, goes before the first picture with a map. */
  void forgetPps() { m_sent[0] = m_sent[1] = false; }
  bool needsPps( const PPS& pps );

private:
  void refuseUnsupported( const Picture& pic ) const;
  void useDeltaQp( Picture& pic );

  std::unique_ptr<mrdo::Plugin> m_plugin;
  const VVEncCfg*               m_cfg     = nullptr;
  PPS*                          m_pps     = nullptr; /* shares the pre-calculated values of the encoder's own */
  bool                          m_sent[2] = { false, false };
};

/* For the life of the object, squared errors that a RdCost computes are weighted as those of a block. */
class MrdoBlock
{
public:
  MrdoBlock( RdCost& cost, const CodingStructure& cs, const CompArea& area );
  ~MrdoBlock() { m_cost.mrdo = m_outer; }
  MrdoBlock( const MrdoBlock& )            = delete;
  MrdoBlock& operator=( const MrdoBlock& ) = delete;

  /* The weighted distortion, where the plain one is dist. */
  Distortion weigh( const DistParam& dp, Distortion dist ) const;

private:
  Distortion unit( const DistParam& dp, int x, int y, int width, int height ) const;

  RdCost&          m_cost;
  const MrdoBlock* m_outer;
  const MrdoSide*  m_side;
  int              m_x, m_y, m_shiftX, m_shiftY; /* luma position; subsampling */
};

/* A sum of squared errors over part of an area, times its mean weight. */
Distortion mrdoWeigh( const CodingStructure& cs, const CompArea& area, int x, int y, int width, int height,
                      Distortion dist );

/* What to multiply RDOQ's lambda of a block with: one over its mean weight. */
double mrdoRdoqScale( const CodingStructure& cs, const CompArea& area );

}

#endif
