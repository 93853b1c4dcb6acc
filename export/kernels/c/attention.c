/* Attention of one token in one head. A multiplication and half a load for each 4 floats of the cache bound it: on NEON
 * about 35 instructions for a position of width 32. A head's keys and its values are read as one stream each. */
#include "attention.h"

#include <math.h>

#include "lanes.h"

#if defined(__aarch64__)
enum { MIXED = 16 }; /* lanes of sums that fit the registers */
#else
enum { MIXED = 8 };
#endif
enum { TILE = LANES, PART = 4 * LANES }; /* positions, and floats of each of them */

void store_key(float *keys, size_t position, const float *key, size_t width) {
    float *tile = keys + position / TILE * TILE * width;
    for (size_t i = 0; i < width; i += PART) {
        size_t floats = width - i < PART ? width - i : PART;
        memcpy(tile + TILE * i + position % TILE * floats, key + i, floats * sizeof *key);
    }
}

/* Adds query . key by lanes, `n` of them from float i, of `positions` of a tile from `first`; n and positions are
 * constants. */
INLINE void add_dots(const float *query, const float *tile, size_t first, size_t positions, size_t i, size_t n,
                     Lanes *sums) {
    const float *keys = tile + TILE * i + first * n * LANES;
    for (size_t k = 0; k < n; k++) {
        for (size_t j = 0; j < positions; j++) {
            Lanes key = lanes_load(keys + (j * n + k) * LANES);
            if (k == 0) lanes_in_order(&key, &keys); /* a line of each position */
            sums[j] = lanes_fma(lanes_load(query + i + k * LANES), key, sums[j]);
        }
    }
}

INLINE void dots(const float *query, const float *tile, size_t width, size_t first, size_t positions, Lanes *sums) {
    size_t i = 0;
    for (size_t j = 0; j < positions; j++) sums[j] = lanes_all(0.0f);
    for (; i + PART <= width; i += PART) add_dots(query, tile, first, positions, i, 4, sums);
    for (; i < width; i += 2 * LANES) add_dots(query, tile, first, positions, i, 2, sums);
}

/* Scores of all positions, and the largest. With a constant width, the query stays in registers. */
INLINE float score(const float *query, const float *keys, size_t count, size_t width, float scale,
                   float *restrict scores) {
    Lanes largest = lanes_all(-INFINITY);
    size_t whole = count - count % LANES;
    for (size_t p = 0; p < whole; p += LANES) {
        Lanes sums[LANES];
        dots(query, keys + p * width, width, 0, TILE, sums);
        Lanes a = lanes_multiply(lanes_sums(sums[0], sums[1], sums[2], sums[3]), lanes_all(scale));
        lanes_store(scores + p, a);
        largest = lanes_max(largest, a);
    }
    float most = lanes_largest(largest);
    for (size_t p = whole; p < count; p++) {
        Lanes sum;
        dots(query, keys + whole * width, width, p - whole, 1, &sum);
        scores[p] = lanes_sum(sum) * scale;
        most = scores[p] > most ? scores[p] : most;
    }
    return most;
}

/* Replaces the scores by weights relative to the largest, and returns their sum: NaN if a score is infinite, which would
 * otherwise weigh nothing. */
INLINE float weigh(float *scores, size_t count, float most) {
    Lanes sum = lanes_all(0.0f), m = lanes_all(most), deepest = lanes_all(0.0f);
    size_t whole = count - count % LANES, rest = count - whole;
    for (size_t p = 0; p < whole; p += LANES) {
        Lanes below = lanes_subtract(lanes_load(scores + p), m);
        Lanes e = lanes_exp(below);
        deepest = lanes_min(deepest, below);
        lanes_store(scores + p, e);
        sum = lanes_add(sum, e);
    }
    if (rest) {
        Lanes below = lanes_first(lanes_subtract(lanes_load_part(scores + whole, rest), m), rest);
        Lanes e = lanes_first(lanes_exp(below), rest);
        deepest = lanes_min(deepest, below);
        lanes_store(scores + whole, e);
        sum = lanes_add(sum, e);
    }
    return lanes_largest(lanes_subtract(lanes_all(0.0f), deepest)) < INFINITY ? lanes_sum(sum) : NAN;
}

INLINE void add_weighted(float weight, const float *values, size_t n, Lanes *sums) {
    for (size_t i = 0; i < n; i++) sums[i] = lanes_fma(lanes_all(weight), lanes_load(values + i * LANES), sums[i]);
}

/* Adds up the weighted values of all positions in `n` of their lanes, a constant. */
INLINE void mix(const float *weights, const float *values, size_t count, size_t width, size_t n, float factor,
                float *restrict out) {
    Lanes sums[MIXED];
    for (size_t i = 0; i < n; i++) sums[i] = lanes_all(0.0f);
    size_t p = 0, whole = count - count % 4;
    for (; p < whole; p += 4)
        for (size_t j = 0; j < 4; j++) add_weighted(weights[p + j], values + (p + j) * width, n, sums);
    for (; p < count; p++) add_weighted(weights[p], values + p * width, n, sums);
    for (size_t i = 0; i < n; i++) lanes_store(out + i * LANES, lanes_multiply(sums[i], lanes_all(factor)));
}

INLINE void attend_width(const float *query, const float *keys, const float *values, size_t count, size_t width,
                         float scale, float *restrict scores, float *restrict out) {
    float most = score(query, keys, count, width, scale, scores);
    float factor = 1.0f / weigh(scores, count, most);
    size_t i = 0;
    for (; i + MIXED * LANES <= width; i += MIXED * LANES) mix(scores, values + i, count, width, MIXED, factor, out + i);
    for (; i + 8 * LANES <= width; i += 8 * LANES) mix(scores, values + i, count, width, 8, factor, out + i);
    for (; i + 4 * LANES <= width; i += 4 * LANES) mix(scores, values + i, count, width, 4, factor, out + i);
    for (; i < width; i += 2 * LANES) mix(scores, values + i, count, width, 2, factor, out + i);
}

void attend(const float *query, const float *keys, const float *values, size_t count, size_t width, float scale,
            float *restrict scores, float *restrict out) {
    switch (width) {
        case 32: attend_width(query, keys, values, count, 32, scale, scores, out); break;
        case 64: attend_width(query, keys, values, count, 64, scale, scores, out); break;
        default: attend_width(query, keys, values, count, width, scale, scores, out);
    }
}
