/* The draw of a token. A few dozen candidates: a few microseconds. */
#include "sampling.h"

#include <string.h>

#define GREEDY_BELOW 1e-5 /* as in tinyedge/core/sampling.py */

/* x = n ln 2 + r, |r| <= ln 2 / 2; e^r is its series, whose rest after r^13 is less than 2^-57. Only sums and products,
 * in the order written: -ffp-contract=off keeps a compiler from fusing them. */
double draw_exp(double x) {
    static const double rounding = 6755399441055744.0; /* 1.5 * 2^52: a sum with it has no fraction */
    static const double ln2_high = 0x1.62e42fefp-1, ln2_low = 0x1.473de6af278edp-34; /* n * high is exact */
    static const double factors[] = {1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0,
                                     1.0 / 3628800.0,    1.0 / 362880.0,    1.0 / 40320.0,
                                     1.0 / 5040.0,       1.0 / 720.0,       1.0 / 120.0,
                                     1.0 / 24.0,         1.0 / 6.0,         1.0 / 2.0}; /* 1 / 13! ... 1 / 2! */
    if (!(x > -707.0)) return 0.0;
    double n = (x * 1.4426950408889634 + rounding) - rounding;
    double r = (x - n * ln2_high) - n * ln2_low, series = 0.0;
    for (size_t i = 0; i < sizeof factors / sizeof *factors; i++) series = series * r + factors[i];
    uint64_t bits = (uint64_t)((int64_t)n + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return (1.0 + (r + r * r * series)) * power;
}

static int is_greedy(const Draw *draw) { return draw->temperature < GREEDY_BELOW; }

size_t draw_candidates(const Draw *draw) { return (is_greedy(draw) ? 1 : (size_t)draw->top_k) + draw->banned_count; }

static int is_banned(const Draw *draw, int32_t id) {
    for (size_t i = 0; i < draw->banned_count; i++)
        if (draw->banned[i] == id) return 1;
    return 0;
}

static size_t remove_banned(const Draw *draw, int32_t *ids, float *logits, size_t count) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!is_banned(draw, ids[i])) {
            ids[kept] = ids[i];
            logits[kept++] = logits[i];
        }
    return kept;
}

/* Where the cumulative sum of the weights first reaches `least`, or is above it. The last one, if rounding hides that.
 */
static size_t reach(const double *weights, size_t count, double least, int above) {
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        sum += weights[i];
        if (above ? sum > least : sum >= least) return i;
    }
    return count - 1;
}

static double total(const double *weights, size_t count) {
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) sum += weights[i];
    return sum;
}

int32_t draw_token(const Draw *draw, int32_t *ids, float *logits, size_t count, double *weights) {
    count = remove_banned(draw, ids, logits, count);
    if (!count) return -1;
    if (is_greedy(draw)) return ids[0];
    if (count > (size_t)draw->top_k) count = (size_t)draw->top_k;
    for (size_t i = 0; i < count; i++)
        weights[i] = draw_exp(((double)logits[i] - (double)logits[0]) / draw->temperature);
    if (draw->top_p < 1.0) count = reach(weights, count, draw->top_p * total(weights, count), 0) + 1;
    size_t kept = count;
    if (draw->min_p > 0.0) /* weights fall, so those that remain come first */
        while (kept > 1 && weights[kept - 1] < draw->min_p) kept--;
    return ids[reach(weights, kept, draw->point * total(weights, kept), 1)];
}
