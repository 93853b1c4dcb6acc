/* The mixture of a model with a table of n-grams:
 *
 *     p(w) = (1 - weight) / sum * e^(logit(w) - highest) + weight * p_ngram(w)
 *     p_ngram(w) = alpha_3(w) + gamma_3 * (alpha_2(w) + gamma_2 * (alpha_1(w) + gamma_1 * unigram(w)))
 *
 * for rows of contexts of 1, 2 and 3 tokens; a row that does not exist has gamma 1 and no alphas. In this arithmetic:
 *
 *   - e^x in single precision, lanes_exp, so that nothing is below e^-87; its relative error is below 3.8e-7. The sum is
 *     made of sums of 1,024 tokens each, in single precision: 16 sums, of every 16th token, which are added as s[j] =
 *     (t[j] + t[j+1]) + (t[j+2] + t[j+3]) for j = 0, 4, 8, 12, then (s[0] + s[4]) + (s[8] + s[12]). These sums are added
 *     in double precision, one after the other.
 *   - The factors (1 - weight) / sum, weight, weight * gamma_3, weight * gamma_3 * gamma_2 and so on are products in
 *     double precision, in this order, each then rounded to single precision.
 *   - p = unigram * factor + (e * factor), the second product rounded first, both terms rounded as one, at
 *     least 2^-126; then for each row, the shortest context first, p = alpha * factor + p for each of its tokens, rounded once.
 *   - A logarithm is computed in double precision, then rounded: -87.4 at least. Its error is half a unit in the last
 *     place and 1e-15. Where the weight is 0, it is (logit - highest) - log(sum) in
 *     single precision, at least the lowest finite number: no exponential is zero then.
 *
 * Bound by arithmetic: some 20 instructions for 4 exponentials, and a fused addition for each n-gram of the rows. */
#include "mixture.h"

#include <float.h>
#include <math.h>

#include "lanes.h"

enum { GROUP = 4 * LANES, BLOCK = 1024 };
#define LN_2 0.69314718055994531

static float highest_of(const float *logits, size_t count) {
    Lanes most[4] = {lanes_all(logits[0]), lanes_all(logits[0]), lanes_all(logits[0]), lanes_all(logits[0])};
    size_t whole = count - count % GROUP;
    for (size_t i = 0; i < whole; i += GROUP)
        for (size_t j = 0; j < 4; j++) most[j] = lanes_max(most[j], lanes_load(logits + i + j * LANES));
    float highest = lanes_largest(lanes_max(lanes_max(most[0], most[1]), lanes_max(most[2], most[3])));
    for (size_t i = whole; i < count; i++) highest = logits[i] > highest ? logits[i] : highest;
    return highest;
}

/* Replaces up to BLOCK logits by their exponentials and returns their sum. keep: leaves the logits. */
INLINE float exponentials(float *logits, size_t count, Lanes highest, int keep) {
    Lanes sums[4] = {lanes_all(0.0f), lanes_all(0.0f), lanes_all(0.0f), lanes_all(0.0f)};
    size_t whole = count - count % GROUP;
    for (size_t i = 0; i < whole; i += GROUP) {
        Lanes e[4];
        for (size_t j = 0; j < 4; j++) e[j] = lanes_exp(lanes_subtract(lanes_load(logits + i + j * LANES), highest));
        for (size_t j = 0; j < 4; j++) sums[j] = lanes_add(sums[j], e[j]);
        for (size_t j = 0; j < 4 && !keep; j++) lanes_store(logits + i + j * LANES, e[j]);
    }
    for (size_t i = whole, j = 0; i < count; i += LANES, j++) {
        size_t present = count - i < LANES ? count - i : LANES;
        Lanes e = lanes_exp(lanes_subtract(lanes_load_part(logits + i, present), highest));
        float all[LANES];
        lanes_store(all, e);
        if (!keep) memcpy(logits + i, all, present * sizeof *all);
        sums[j] = lanes_add(sums[j], lanes_load_part(all, present));
    }
    return lanes_sum(lanes_sums(sums[0], sums[1], sums[2], sums[3]));
}

/* The same for any number. */
static double exponentials_of_all(float *logits, size_t count, float highest, int keep) {
    double sum = 0.0;
    for (size_t i = 0; i < count; i += BLOCK) {
        size_t present = count - i < BLOCK ? count - i : BLOCK;
        sum += keep ? (double)exponentials(logits + i, present, lanes_all(highest), 1)
                    : (double)exponentials(logits + i, present, lanes_all(highest), 0);
    }
    return sum;
}

/* numbers = unigrams * factor + numbers * model_factor, at least 2^-126 */
static void add_unigrams(float *numbers, const float *unigrams, size_t count, float factor, float model_factor) {
    Lanes f = lanes_all(factor), m = lanes_all(model_factor), least = lanes_all(FLT_MIN);
    size_t whole = count - count % GROUP;
    for (size_t i = 0; i < whole; i += GROUP) {
        Lanes p[4];
        for (size_t j = 0; j < 4; j++) p[j] = lanes_multiply(lanes_load(numbers + i + j * LANES), m);
        for (size_t j = 0; j < 4; j++) p[j] = lanes_fma(lanes_load(unigrams + i + j * LANES), f, p[j]);
        for (size_t j = 0; j < 4; j++) lanes_store(numbers + i + j * LANES, lanes_max(least, p[j]));
    }
    for (size_t i = whole; i < count; i++) {
        float p = fmaf(unigrams[i], factor, numbers[i] * model_factor);
        numbers[i] = p > FLT_MIN ? p : FLT_MIN;
    }
}

static void add_row(float *numbers, const NgramRow *row, float factor) {
    for (size_t i = 0; i < row->count; i++) {
        float *number = numbers + row->tokens[i];
        *number = fmaf(row->alphas[row->codes[i]], factor, *number);
    }
}

/* ln x for 0 < x < infinity, normal. x = 2^e m with m around 1, s = (m - 1) / (m + 1): ln m = 2 (s + s^3 / 3 + s^5 / 5 ...),
 * where |s| <= 0.172, so that what follows s^17 / 17 is below 1e-15 of it. */
static inline double log_of(double x) {
    static const double factors[] = {1.0 / 17, 1.0 / 15, 1.0 / 13, 1.0 / 11, 1.0 / 9, 1.0 / 7, 1.0 / 5, 1.0 / 3};
    const uint64_t root = 0x3ff6a09e667f3bcd; /* of 2 */
    uint64_t bits, up;
    memcpy(&bits, &x, sizeof bits);
    up = bits + (0x3ff0000000000000 - root + ((uint64_t)1 << 52)); /* its exponent is e, biased */
    double exponent = (double)(int64_t)((up >> 52) - 1023), m;
    bits -= (uint64_t)(int64_t)exponent << 52;
    memcpy(&m, &bits, sizeof m);
    double s = (m - 1.0) / (m + 1.0), s2 = s * s, series = 0.0;
    for (size_t i = 0; i < sizeof factors / sizeof *factors; i++) series = (series + factors[i]) * s2;
    return exponent * LN_2 + 2.0 * (s + s * series);
}

Mixture mixture_make(const Continuations *with, float *logits, size_t count) {
    Mixture mixture = {with->weight == 0.0f, highest_of(logits, count), 0.0f};
    double sum = exponentials_of_all(logits, count, mixture.highest, mixture.is_logits);
    mixture.log_sum = (float)log_of(sum);
    if (mixture.is_logits) return mixture;
    float factors[NGRAMS_MAX_ORDER - 1];
    double factor = (double)with->weight;
    for (size_t i = with->row_count; i-- > 0;) {
        factors[i] = (float)factor;
        factor *= with->rows[i].gamma;
    }
    float model_factor = (float)((1.0 - (double)with->weight) / sum);
    add_unigrams(logits, with->unigrams, count, (float)factor, model_factor);
    for (size_t i = 0; i < with->row_count; i++) add_row(logits, &with->rows[i], factors[i]);
    return mixture;
}

void mixture_logs(const Mixture *mixture, const float *numbers, size_t count, float *logs) {
    if (mixture->is_logits) {
        for (size_t i = 0; i < count; i++) {
            float log = (numbers[i] - mixture->highest) - mixture->log_sum;
            logs[i] = log < -FLT_MAX ? -FLT_MAX : log;
        }
    } else {
        for (size_t i = 0; i < count; i++) logs[i] = (float)log_of((double)numbers[i]);
    }
}
