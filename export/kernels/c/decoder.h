/* One text in progress: the key-value cache and the steps of a decoder-only transformer on it.
 *
 * The logits of a text are the same bits on every instruction set, with any number of threads, and whether its tokens
 * came at once or one by one. A decoder serves one caller at a time. */
#ifndef TINYEDGE_DECODER_H
#define TINYEDGE_DECODER_H

#include <stddef.h>
#include <stdint.h>

#include "model.h"
#include "ngrams.h"
#include "pool.h"
#include "sampling.h"
#include "status.h"

typedef struct Decoder Decoder;

/* Allocates all memory that the calls below need. The model must outlive the decoder. */
Status decoder_create(const Model *model, Decoder **decoder);
void decoder_free(Decoder *decoder); /* NULL is fine */

/* Processes tokens at positions start, start + 1, ...; the earlier positions must have been fed. What was fed at start
 * and later is replaced. The caller has checked 1 <= count, start + count <= context and 0 <= token < vocab_size.
 *
 * Afterwards, the functions below use the last token's result. If this fails there is none, and they fail with
 * KERNELS_NOT_FINITE until a feed succeeds, which must begin at start or earlier. */
Status decoder_feed(Decoder *decoder, const Pool *pool, const int32_t *tokens, size_t count, size_t start);

/* Mixes the last token's result with what may follow its text in a table of n-grams. The functions below then use log
 * probabilities instead of logits, until tokens are fed; a second call changes nothing. */
Status decoder_mix(Decoder *decoder, const Pool *pool, const Continuations *with);

/* Writes vocab_size logits of the last token. KERNELS_NOT_FINITE: one of them is NaN or infinite. */
Status decoder_logits(Decoder *decoder, const Pool *pool, float *logits);

/* Writes the `count` largest logits, largest first, of equal ones the lowest id first; 1 <= count <= vocab_size. */
Status decoder_largest(Decoder *decoder, const Pool *pool, size_t count, int32_t *ids, float *logits);

/* Writes the logits of `count` tokens, ids below vocab_size, and the logarithm of the sum of all e^logit: 0 after
 * decoder_mix. */
Status decoder_score(Decoder *decoder, const Pool *pool, const int32_t *ids, size_t count, float *logits, double *total);

/* Chooses the next token; it is not fed. */
Status decoder_draw(Decoder *decoder, const Pool *pool, const Draw *draw, int32_t *token);

#endif
