/* Level B in VVenC: a CTU is coded once per candidate, the plugin judges the reconstructions, the best one goes on. */
#ifndef MRDO_TRIALS_H
#define MRDO_TRIALS_H

#include "mrdo_vvenc.h"

#include "CommonLib/Buffer.h"
#include "CommonLib/CodingStructure.h"

#include <memory>
#include <vector>

namespace vvenc {

class InterSearch;
struct AffineMVInfo;
struct BlkUniMvInfoBuffer;

/* VVenC's samples have 16 bits; a plugin gets 8-bit video in bytes, as from other encoders. */
void mrdoPack( mrdo_plane& plane, std::vector<uint8_t>& bytes );

/* What the motion search of a CTU line remembers. */
class MrdoSearchState
{
public:
  MrdoSearchState();
  ~MrdoSearchState();
  void take( const InterSearch& search );
  void restore( InterSearch& search ) const;

private:
  struct Reused { int index; std::vector<Mv> mvs; };
  std::unique_ptr<BlkUniMvInfoBuffer> m_uniMvs;
  std::vector<AffineMVInfo>           m_affine;
  int                                 m_affineIdx, m_affineSize;
  std::vector<Reused>                 m_reused;
};

/* A CTU as one candidate: its trees, which are the whole of it, and what the search learnt. */
struct MrdoTrial
{
  std::unique_ptr<CodingStructure> tree[MAX_NUM_CH];
  TreeType                         treeType[MAX_NUM_CH];
  bool                             separate; /* the second tree is in use */
  MrdoSearchState                  search;
  PelStorage                       shown; /* luma as it is shown, where the trees hold it reshaped */
  std::vector<uint8_t>             packed[MAX_NUM_COMP];

  ~MrdoTrial();
  bool   done( ChannelType ch ) const { return ch == CH_L || separate; }
  double bits() const;
};

/* One per EncCu, that is per thread. */
class MrdoTrials
{
public:
  std::vector<std::unique_ptr<MrdoTrial>> trials;
  MrdoTrial*                              running = nullptr;
  MrdoSearchState                         before;
};

}

#endif
