/* Attention of one token to the cached keys and values of one head. */
#ifndef TINYEDGE_ATTENTION_H
#define TINYEDGE_ATTENTION_H

#include <stddef.h>

/* Keys of 4 positions are a tile: 16 floats of each of them, then the next 16, at last 8 if 8 are left. So a kernel that
 * scores 4 positions side by side reads one stream. `keys` has room for positions rounded up to 4. */
void store_key(float *keys, size_t position, const float *key, size_t width);

/* out = sum_p softmax_p(scale * query . keys[p]) * values[p], for p < count.
 *
 * keys: as store_key left them; values: (count, width); width is a multiple of 8. scores: scratch for count rounded up to 4. NaN and
 * infinite scores above all others make out NaN. */
void attend(const float *query, const float *keys, const float *values, size_t count, size_t width, float scale,
            float *restrict scores, float *restrict out);

#endif
