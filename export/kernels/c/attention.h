/* Attention of one token to the cached keys and values of one head. */
#ifndef TINYEDGE_ATTENTION_H
#define TINYEDGE_ATTENTION_H

#include <stddef.h>

/* out = sum_p softmax_p(scale * query . keys[p]) * values[p], for p < count.
 *
 * keys and values: (count, width); width is a multiple of 8. scores: scratch for count rounded up to 4. NaN and
 * infinite scores above all others make out NaN. */
void attend(const float *query, const float *keys, const float *values, size_t count, size_t width, float scale,
            float *restrict scores, float *restrict out);

#endif
