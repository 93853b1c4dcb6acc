/* Rows of activations: quantization, norm, GELU. Everything but the few sums is one instruction for 4 floats. */
#include "rows.h"

#include <math.h>

#include "lanes.h"

#define EPSILON 1e-5f /* torch.nn.LayerNorm's default */
#define BLOCK 16      /* floats that make one vector of int8 */

/* The extremes of a row and 0. Every number times 0 is 0, but infinity and NaN give NaN. */
typedef struct {
    Lanes low, high, zero;
} Range;

static inline void range_add(Range *range, const float *x) {
    for (size_t i = 0; i < BLOCK; i += LANES) {
        Lanes a = lanes_load(x + i);
        range->low = lanes_min(range->low, a);
        range->high = lanes_max(range->high, a);
        range->zero = lanes_fma(a, lanes_all(0.0f), range->zero);
    }
}

static inline void quantize_block(const float *x, RowScale row, int8_t *q) {
    Lanes scale = lanes_all(row.scale);
    lanes_store_int8(q, lanes_divide(lanes_load(x), scale), lanes_divide(lanes_load(x + 4), scale),
                     lanes_divide(lanes_load(x + 8), scale), lanes_divide(lanes_load(x + 12), scale), row.zero);
}

Status quantize_row(const float *x, size_t width, size_t stride, int8_t *q, RowScale *row) {
    size_t whole = width - width % BLOCK;
    float rest[BLOCK] = {0};
    memcpy(rest, x + whole, (width - whole) * sizeof *x);

    Range range = {lanes_all(0.0f), lanes_all(0.0f), lanes_all(0.0f)};
    for (size_t i = 0; i < whole; i += BLOCK) range_add(&range, x + i);
    if (whole < width) range_add(&range, rest);
    float low = lanes_smallest(range.low), high = lanes_largest(range.high);
    float scale = (high - low) / 255.0f;
    if (scale == 0.0f) scale = 1.0f; /* all zeros, or so close that the division has no result */
    if (lanes_sum(range.zero) != 0.0f || !isfinite(scale)) return KERNELS_NOT_FINITE;
    float zero = 0.0f - low / scale;
    zero = zero > 255.0f ? 255.0f : zero;
    RowScale found = {scale, (int32_t)((zero + ROUNDING) - ROUNDING) - 128};
    *row = found;

    for (size_t i = 0; i < whole; i += BLOCK) quantize_block(x + i, found, q + i);
    if (whole < width) quantize_block(rest, found, q + whole);
    memset(q + width, 0, stride - width);
    return KERNELS_OK;
}

void add_and_norm(float *x, const float *y, const float *scale, const float *bias, size_t width) {
    size_t whole = width - width % LANES, rest = width - whole;
    Lanes sum = lanes_all(0.0f), squares = lanes_all(0.0f);
    for (size_t i = 0; i < whole; i += LANES) {
        Lanes a = lanes_add(lanes_load(x + i), lanes_load(y + i));
        sum = lanes_add(sum, a);
        lanes_store(x + i, a);
    }
    if (rest) {
        Lanes a = lanes_add(lanes_load_part(x + whole, rest), lanes_load_part(y + whole, rest));
        sum = lanes_add(sum, a);
        lanes_store(x + whole, a);
    }
    Lanes mean = lanes_all(lanes_sum(sum) / (float)width);
    for (size_t i = 0; i < whole; i += LANES) {
        Lanes a = lanes_subtract(lanes_load(x + i), mean);
        squares = lanes_fma(a, a, squares);
        lanes_store(x + i, a);
    }
    if (rest) {
        Lanes a = lanes_first(lanes_subtract(lanes_load(x + whole), mean), rest);
        squares = lanes_fma(a, a, squares);
        lanes_store(x + whole, a);
    }
    float variance = lanes_sum(squares) / (float)width;
    /* An infinite one would make the row 0, and nobody would see that numbers overflowed. */
    Lanes inverse = lanes_all(variance < INFINITY ? 1.0f / sqrtf(variance + EPSILON) : NAN);
    for (size_t i = 0; i < width; i += LANES) {
        Lanes a = lanes_multiply(lanes_load(x + i), inverse);
        lanes_store(x + i, lanes_fma(a, lanes_load(scale + i), lanes_load(bias + i)));
    }
}

/* P(N <= x) = 1/2 + x p(x^2), where p has degree 13 in u = 2 (x / 5.25)^2 - 1, which keeps its coefficients small. They
 * are fitted (least squares, reweighted until the errors level out) so that the largest error is smallest and x = 5.25
 * gives exactly 1. With rounding, the error is less than 2.3e-7; as erf, twice that. Groups of 4 coefficients make
 * short chains. */
static inline Lanes normal_cdf(Lanes x) {
    x = lanes_min(lanes_all(5.25f), lanes_max(lanes_all(-5.25f), x));
    Lanes u = lanes_fma(lanes_multiply(x, x), lanes_all(0.0725623593f), lanes_all(-1.0f));
    Lanes u2 = lanes_multiply(u, u), u3 = lanes_multiply(u2, u), u4 = lanes_multiply(u2, u2);
    Lanes a = lanes_fma(u, lanes_all(-0.0671266094f), lanes_all(0.134659365f));
    a = lanes_fma(u2, lanes_all(0.049643863f), a);
    a = lanes_fma(u3, lanes_all(-0.0397700891f), a);
    Lanes b = lanes_fma(u, lanes_all(-0.0249819681f), lanes_all(0.0320647061f));
    b = lanes_fma(u2, lanes_all(0.0183240417f), b);
    b = lanes_fma(u3, lanes_all(-0.0130032608f), b);
    Lanes c = lanes_fma(u, lanes_all(-0.00503129372f), lanes_all(0.00907420553f));
    c = lanes_fma(u2, lanes_all(0.00186604203f), c);
    c = lanes_fma(u3, lanes_all(-0.00140296516f), c);
    Lanes d = lanes_fma(u, lanes_all(-0.000535670551f), lanes_all(0.00145772798f));
    Lanes p = lanes_fma(u4, lanes_fma(u4, lanes_fma(u4, d, c), b), a);
    return lanes_add(lanes_multiply(x, p), lanes_all(0.5f));
}

void gelu(float *x, size_t width) {
    size_t whole = width - width % LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        Lanes a = lanes_load(x + i);
        lanes_store(x + i, lanes_multiply(a, normal_cdf(a)));
    }
    if (whole < width) {
        Lanes a = lanes_load_part(x + whole, width - whole);
        lanes_store(x + whole, lanes_multiply(a, normal_cdf(a)));
    }
}

Status require_finite(const float *x, size_t width) {
    Lanes zeros[BLOCK / LANES]; /* more than one, so that an addition need not wait for the one before */
    size_t whole = width - width % BLOCK;
    float rest[BLOCK] = {0};
    memcpy(rest, x + whole, (width - whole) * sizeof *x);
    for (size_t j = 0; j < BLOCK / LANES; j++) zeros[j] = lanes_multiply(lanes_load(rest + j * LANES), lanes_all(0.0f));
    for (size_t i = 0; i < whole; i += BLOCK)
        for (size_t j = 0; j < BLOCK / LANES; j++)
            zeros[j] = lanes_fma(lanes_load(x + i + j * LANES), lanes_all(0.0f), zeros[j]);
    return lanes_sum(lanes_sums(zeros[0], zeros[1], zeros[2], zeros[3])) == 0.0f ? KERNELS_OK : KERNELS_NOT_FINITE;
}
