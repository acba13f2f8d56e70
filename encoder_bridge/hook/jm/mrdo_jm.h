/* The hook's JM side: what the lines inserted by patches/jm-19.1 call. Included at the end of JM's global.h. */
#ifndef MRDO_JM_H
#define MRDO_JM_H

#define MRDO_TRIALS 9 /* of a macroblock: as many QPs as JM itself tries with RDOQ_QP_Num */

const char *mrdo_version(void);

/* Once the parameters are final, and after the last frame. */
void mrdo_open(VideoParameters *p_Vid);
void mrdo_close(VideoParameters *p_Vid);

/* After a slice's lambdas are set. The frame's first slice waits for the plugin; returns whether macroblocks are coded
 * several times, so that trials need memory. */
int mrdo_begin_slice(Slice *currSlice);
void mrdo_end_frame(VideoParameters *p_Vid);

/* Some QP other than the slice's own may be coded. */
int mrdo_moves_qp(const VideoParameters *p_Vid);
/* QP of a macroblock: the slice's and the map's offset; without a map the one given. */
int mrdo_mb_qp(const Macroblock *currMB, int qp);
/* Lambda scale; lambda at the slice's QP where weights and a QP map meet; lambda of a trial. */
void mrdo_set_lambda(const Macroblock *currMB, RD_PARAMS *enc_mb);
/* The same for RDOQ of a block at (x, y) of the macroblock, size luma samples wide, over the block's mean weight. */
double mrdo_rdoq_lambda(const Macroblock *currMB, int x, int y, int size, double lambda);
/* Row of the block, for a function that is not told. */
void mrdo_set_y(const Macroblock *currMB, int y);
int mrdo_y(const Macroblock *currMB);

/* Weighted distortion of a luma block at (x, y) of the macroblock that crosses no 8x8 block. */
distblk mrdo_weigh(const Macroblock *currMB, int x, int y, distblk distortion);
/* Of the whole macroblock: its luma, and all of it. What is given comes back where nothing is weighted. */
distblk mrdo_mb_luma(const Macroblock *currMB, distblk distortion);
distblk mrdo_mb_distortion(const Macroblock *currMB, distblk distortion);

/* Level B. As with RDOQ_QP_Num above 1, a macroblock's parameters are kept for several passes: in rdopt.c. */
void mrdo_store_passes(Slice *currSlice);
/* Trials of a macroblock, 0 without; memory of the k-th. */
int mrdo_trials(const Slice *currSlice);
RD_DATA *mrdo_rddata(const Slice *currSlice, int k);
/* The k-th is not for this macroblock. */
int mrdo_skips(const Macroblock *currMB, int k);
/* Begins the k-th: what its QP adds to p_Vid->masterQP. Without candidates JM's own. */
int mrdo_delta_qp(const Macroblock *currMB, int k, int delta_qp);
/* Whether the trial in progress keeps the first one's macroblock type. */
int mrdo_keeps_type(const Macroblock *currMB);
/* Keeps the k-th aside, and has the plugin choose after the last; 0 without candidates. */
int mrdo_keep_trial(Macroblock *currMB, int k);

#endif
