/* Attention of one token in one head. A multiplication and half a load for each 4 floats of the cache bound it: about
 * 26 instructions for a position and a width of 32. The cache of a head is contiguous, so all reads are sequential. */
#include "attention.h"

#include <math.h>

#include "lanes.h"

/* Scores of all positions, and the largest. Inlined with a constant width, the query stays in registers. */
INLINE float score(const float *query, const float *keys, size_t count, size_t width, float scale, float *scores) {
    Lanes largest = lanes_all(-INFINITY);
    size_t p = 0;
    for (; p + LANES <= count; p += LANES) {
        const float *key = keys + p * width;
        Lanes a = lanes_all(0.0f), b = a, c = a, d = a;
        for (size_t i = 0; i < width; i += LANES) {
            Lanes q = lanes_load(query + i);
            a = lanes_fma(q, lanes_load(key + i), a);
            b = lanes_fma(q, lanes_load(key + width + i), b);
            c = lanes_fma(q, lanes_load(key + 2 * width + i), c);
            d = lanes_fma(q, lanes_load(key + 3 * width + i), d);
        }
        a = lanes_multiply(lanes_sums(a, b, c, d), lanes_all(scale));
        lanes_store(scores + p, a);
        largest = lanes_max(largest, a);
    }
    float most = lanes_largest(largest);
    for (; p < count; p++) {
        Lanes a = lanes_all(0.0f);
        for (size_t i = 0; i < width; i += LANES)
            a = lanes_fma(lanes_load(query + i), lanes_load(keys + p * width + i), a);
        scores[p] = lanes_sum(a) * scale;
        most = scores[p] > most ? scores[p] : most;
    }
    return most;
}

/* Replaces the scores by weights relative to the largest, and returns their sum. */
INLINE float weigh(float *scores, size_t count, float most) {
    Lanes sum = lanes_all(0.0f), m = lanes_all(most);
    size_t whole = count - count % LANES, rest = count - whole;
    for (size_t p = 0; p < whole; p += LANES) {
        Lanes e = lanes_exp(lanes_subtract(lanes_load(scores + p), m));
        lanes_store(scores + p, e);
        sum = lanes_add(sum, e);
    }
    if (rest) {
        Lanes e = lanes_exp(lanes_subtract(lanes_load_part(scores + whole, rest), m));
        e = lanes_first(e, rest);
        lanes_store(scores + whole, e);
        sum = lanes_add(sum, e);
    }
    return lanes_sum(sum);
}

/* Adds up the weighted values in `n` lanes, a constant, from one place of all positions. */
INLINE void mix(const float *weights, const float *values, size_t count, size_t width, size_t n, float factor, float *out) {
    Lanes sums[8];
    for (size_t i = 0; i < n; i++) sums[i] = lanes_all(0.0f);
    for (size_t p = 0; p < count; p++) {
        Lanes weight = lanes_all(weights[p]);
        for (size_t i = 0; i < n; i++) sums[i] = lanes_fma(weight, lanes_load(values + p * width + i * LANES), sums[i]);
    }
    for (size_t i = 0; i < n; i++) lanes_store(out + i * LANES, lanes_multiply(sums[i], lanes_all(factor)));
}

void attend(const float *query, const float *keys, const float *values, size_t count, size_t width, float scale, float *scores,
            float *out) {
    float most;
    switch (width) {
    case 16: most = score(query, keys, count, 16, scale, scores); break;
    case 32: most = score(query, keys, count, 32, scale, scores); break;
    case 64: most = score(query, keys, count, 64, scale, scores); break;
    default: most = score(query, keys, count, width, scale, scores);
    }
    float factor = 1.0f / weigh(scores, count, most);
    size_t i = 0;
    for (; i + 8 * LANES <= width; i += 8 * LANES) mix(scores, values + i, count, width, 8, factor, out + i);
    for (; i + 4 * LANES <= width; i += 4 * LANES) mix(scores, values + i, count, width, 4, factor, out + i);
    for (; i < width; i += 2 * LANES) mix(scores, values + i, count, width, 2, factor, out + i);
}
