/* The draw of a token: a few dozen candidates, a few microseconds. Probabilities need e^x of all logits, which is
 * bound by arithmetic; so exp_of has no branches, and compilers make vectors of it. */
#include "sampling.h"

#include <stdlib.h>
#include <string.h>

#include "lanes.h"

#define GREEDY_BELOW 1e-5 /* as in tinyedge/core/sampling.py */
#define LN_2 0.69314718055994531
#define SUMS 4 /* of every 4th number each, so that an addition need not wait for the one before */

/* e^x for x <= 0: within 1 ulp of the exact value; 0 from x = -707 down.
 *
 * x = n ln 2 + r, |r| <= ln 2 / 2; e^r is its series, whose rest after r^13 is less than 2^-57. Only sums and products,
 * in the order written: -ffp-contract=off keeps a compiler from fusing them. */
static inline double exp_of(double x) {
    static const double rounding = 6755399441055744.0; /* 1.5 * 2^52: a sum with it has no fraction, and n lowest */
    static const double ln2_high = 0x1.62e42fefp-1, ln2_low = 0x1.473de6af278edp-34; /* n * high is exact */
    static const double factors[] = {1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0,
                                     1.0 / 3628800.0,    1.0 / 362880.0,    1.0 / 40320.0,
                                     1.0 / 5040.0,       1.0 / 720.0,       1.0 / 120.0,
                                     1.0 / 24.0,         1.0 / 6.0,         1.0 / 2.0}; /* 1 / 13! ... 1 / 2! */
    double sum = x * 1.4426950408889634 + rounding, n = sum - rounding;
    double r = (x - n * ln2_high) - n * ln2_low, series = 0.0;
    for (size_t i = 0; i < sizeof factors / sizeof *factors; i++) series = series * r + factors[i];
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    bits = (bits + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return x > -707.0 ? (1.0 + (r + r * r * series)) * power : 0.0;
}

/* ln x for x >= 1: Newton's method for e^y = x. With x = 2^k (1 + f), it begins at (k + f) ln 2, which is at most 0.06
 * too small, and squares the error each time. */
static double log_of(double x) {
    uint64_t bits, mantissa = ((uint64_t)1 << 52) - 1;
    memcpy(&bits, &x, sizeof bits);
    double y = ((double)(int64_t)((bits >> 52) - 1023) + (double)(bits & mantissa) * 0x1p-52) * LN_2;
    for (int i = 0; i < 4; i++) y += x * exp_of(-y) - 1.0;
    return y;
}

static float highest_of(const float *logits, size_t count) {
    size_t whole = count - count % LANES;
    Lanes lanes = lanes_all(logits[0]);
    for (size_t i = 0; i < whole; i += LANES) lanes = lanes_max(lanes, lanes_load(logits + i));
    float highest = lanes_largest(lanes);
    for (size_t i = whole; i < count; i++) highest = logits[i] > highest ? logits[i] : highest;
    return highest;
}

double log_sum_exp(const float *logits, size_t count) {
    double highest = (double)highest_of(logits, count), sums[SUMS] = {0.0};
    size_t whole = count - count % SUMS;
    for (size_t i = 0; i < whole; i += SUMS)
        for (size_t j = 0; j < SUMS; j++) sums[j] += exp_of((double)logits[i + j] - highest);
    for (size_t i = whole; i < count; i++) sums[i - whole] += exp_of((double)logits[i] - highest);
    return highest + log_of((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

static int is_greedy(const Draw *draw) { return draw->temperature < GREEDY_BELOW; }

size_t draw_candidates(const Draw *draw) { return (is_greedy(draw) ? 1 : (size_t)draw->top_k) + draw->banned_count; }

static int compare_ids(const void *a, const void *b) {
    int32_t left = *(const int32_t *)a, right = *(const int32_t *)b;
    return (left > right) - (left < right);
}

void sort_ids(int32_t *ids, size_t count) {
    if (count) qsort(ids, count, sizeof *ids, compare_ids);
}

static int is_banned(const Draw *draw, int32_t id) {
    return draw->banned_count && bsearch(&id, draw->banned, draw->banned_count, sizeof id, compare_ids);
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
        weights[i] = exp_of(((double)logits[i] - (double)logits[0]) / draw->temperature);
    if (draw->top_p < 1.0) count = reach(weights, count, draw->top_p * total(weights, count), 0) + 1;
    size_t kept = count;
    if (draw->min_p > 0.0) /* weights fall, so those that remain come first */
        while (kept > 1 && weights[kept - 1] < draw->min_p) kept--;
    return ids[reach(weights, kept, draw->point * total(weights, kept), 1)];
}
