/* Integer dots for aarch64: NEON of ARMv8.0 (Cortex-A53), and the dotprod instructions of later cores.
 *
 * An ARMv8.0 core multiplies 8 bytes by 8 bytes into 16-bit lanes. Moving these into 32 bits costs an instruction per 8
 * products, half as much as the products; so 4 products are added in 16 bits first where the packer proved that they fit
 * (see dots.c). Stored nibbles are below 16: 16 products with activations, 128 columns, fit a lane: 16 * 15 * 128 < 2^15.
 *
 * Bound by multiplications: 8 columns per instruction, plus a quarter for sums and loads. A row of the default model (128
 * columns) takes 23 instructions, of its high plane 30 with the bound. */
#if defined(__aarch64__)
#include <arm_neon.h>

#include "cpu.h"

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define DOTPROD __attribute__((target("dotprod")))
#else
#define DOTPROD __attribute__((target("+dotprod")))
#endif

typedef int8x16x4_t Columns; /* 64 columns of a row */

/* sum + the products of 64 columns. */
typedef int32x4_t Dot(int32x4_t sum, Columns w, Columns q);

/* sum + the products of 16 columns, 2 in each lane. */
INLINE int16x8_t add_products(int16x8_t sum, int8x16_t a, int8x16_t b) {
    return vmlal_high_s8(vmlal_s8(sum, vget_low_s8(a), vget_low_s8(b)), a, b);
}
INLINE int16x8_t products(int8x16_t a, int8x16_t b) {
    return vmlal_high_s8(vmull_s8(vget_low_s8(a), vget_low_s8(b)), a, b);
}

INLINE int32x4_t dot_neon(int32x4_t sum, Columns w, Columns q) {
    sum = vpadalq_s16(sum, add_products(products(w.val[0], q.val[0]), w.val[1], q.val[1]));
    return vpadalq_s16(sum, add_products(products(w.val[2], q.val[2]), w.val[3], q.val[3]));
}
/* For any bytes: one product in a lane. */
INLINE int32x4_t dot_wide(int32x4_t sum, Columns w, Columns q) {
    for (int i = 0; i < 4; i++) {
        sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(w.val[i]), vget_low_s8(q.val[i])));
        sum = vpadalq_s16(sum, vmull_high_s8(w.val[i], q.val[i]));
    }
    return sum;
}
DOTPROD INLINE int32x4_t dot_dotprod(int32x4_t sum, Columns w, Columns q) {
    for (int i = 0; i < 4; i++) sum = vdotq_s32(sum, w.val[i], q.val[i]);
    return sum;
}

/* The nibbles of 64 columns, which are 0..15. */
INLINE Columns nibbles_of(const uint8_t *plane) {
    uint8x16x2_t bytes = vld1q_u8_x2(plane);
    const uint8x16_t mask = vdupq_n_u8(15);
    Columns columns;
    for (int i = 0; i < 2; i++) {
        columns.val[i] = vreinterpretq_s8_u8(vandq_u8(bytes.val[i], mask));
        columns.val[i + 2] = vreinterpretq_s8_u8(vshrq_n_u8(bytes.val[i], 4));
    }
    return columns;
}

INLINE int32x4_t nibbles_neon(int32x4_t sum, Columns w, Columns q) {
    int16x8_t lanes = add_products(products(w.val[0], q.val[0]), w.val[1], q.val[1]);
    return vpadalq_s16(sum, add_products(add_products(lanes, w.val[2], q.val[2]), w.val[3], q.val[3]));
}
#define nibbles_dotprod dot_dotprod

/* The sums of 4 vectors, in one. */
INLINE int32x4_t sum_each(const int32x4_t a[4]) { return vpaddq_s32(vpaddq_s32(a[0], a[1]), vpaddq_s32(a[2], a[3])); }

/* 4 rows of weights by `tokens` rows of activations. */
INLINE void tile(const Int8Matrix *matrix, size_t n, const int8_t *q, const RowScale *rows, size_t tokens, float *y,
                 size_t ldy, Dot *dot, size_t stride) {
    const int8_t *w = matrix->values + n * stride;
    int32x4_t sums[2][4] = {{{0}}};
    for (size_t k = 0; k < stride; k += 64) {
        Columns x[2];
        for (size_t t = 0; t < tokens; t++) x[t] = vld1q_s8_x4(q + t * stride + k);
        for (size_t r = 0; r < 4; r++) {
            Columns columns = vld1q_s8_x4(w + r * stride + k);
            for (size_t t = 0; t < tokens; t++) sums[t][r] = dot(sums[t][r], columns, x[t]);
        }
    }
    int32x4_t row_sums = vld1q_s32(matrix->sums + n);
    for (size_t t = 0; t < tokens; t++) {
        float32x4_t scores = vcvtq_f32_s32(vmlsq_n_s32(sum_each(sums[t]), row_sums, rows[t].zero));
        vst1q_f32(y + t * ldy + n, vmulq_n_f32(scores, rows[t].scale * matrix->scale));
    }
}

INLINE void tiles(const Int8Matrix *matrix, const int8_t *q, const RowScale *rows, size_t tokens, size_t from, size_t to,
                  float *y, size_t ldy, Dot *dot, Dot *careful, size_t stride) {
    for (size_t n = from; n < to; n += 4) {
        size_t t = 0;
        if (careful && matrix->wide[n / 4])
            for (; t < tokens; t++) tile(matrix, n, q + t * stride, rows + t, 1, y + t * ldy, ldy, careful, stride);
        for (; t + 2 <= tokens; t += 2) tile(matrix, n, q + t * stride, rows + t, 2, y + t * ldy, ldy, dot, stride);
        if (t < tokens) tile(matrix, n, q + t * stride, rows + t, 1, y + t * ldy, ldy, dot, stride);
    }
}

/* `careful` is for tiles marked as wide; NULL if `dot` cannot overflow. One token of the default width gets loops of its
 * own, in which the compiler keeps the activations in registers. */
INLINE void product(const Int8Matrix *matrix, const int8_t *q, const RowScale *rows, size_t tokens, size_t from, size_t to,
                    float *y, size_t ldy, Dot *dot, Dot *careful) {
    if (matrix->stride == 128 && tokens == 1)
        tiles(matrix, q, rows, 1, from, to, y, ldy, dot, careful, 128);
    else
        tiles(matrix, q, rows, tokens, from, to, y, ldy, dot, careful, matrix->stride);
}

INLINE void bounds(const Planes *planes, const PlaneQuery *query, size_t from, size_t to, int32_t *upper, Dot *nibbles,
                   size_t stride) {
    const uint8_t *plane = planes->high + from * stride / 2;
    const int32x4_t step_mask = vdupq_n_s32(LIMITS_STEP_MASK), error_mask = vdupq_n_s32(LIMITS_ERROR_MASK);
    const int32x4_t base = vdupq_n_s32(query->base);
    for (size_t n = from; n < to; n += 4, plane += 2 * stride) {
        int32x4_t sums[4] = {{0}};
        for (size_t k = 0; k < stride; k += 64) {
            Columns x = vld1q_s8_x4(query->q + k);
            for (size_t r = 0; r < 4; r++) sums[r] = nibbles(sums[r], nibbles_of(plane + (r * stride + k) / 2), x);
        }
        int32x4_t limits = vreinterpretq_s32_u32(vld1q_u32(planes->limits + n));
        int32x4_t step = vandq_s32(limits, step_mask);
        int32x4_t error = vandq_s32(vshrq_n_s32(limits, LIMITS_ERROR_SHIFT), error_mask);
        int32x4_t units = vaddq_s32(vshlq_n_s32(sum_each(sums), 1), base);
        units = vmlaq_n_s32(units, vshrq_n_s32(limits, LIMITS_SUM_SHIFT), -2 * query->zero);
        vst1q_s32(upper + n - from, vmlaq_n_s32(vmulq_s32(units, step), error, query->norm));
    }
}

INLINE void plane_bounds(const Planes *planes, const PlaneQuery *query, size_t from, size_t to, int32_t *upper,
                         Dot *nibbles) {
    if (planes->stride == 128)
        bounds(planes, query, from, to, upper, nibbles, 128);
    else
        bounds(planes, query, from, to, upper, nibbles, planes->stride);
}

INLINE int32_t plane_low(const uint8_t *low, const int8_t *q, size_t stride, int32_t zero, Dot *nibbles) {
    int32x4_t scores = vdupq_n_s32(0), sums = scores;
    for (size_t k = 0; k < stride; k += 64) {
        Columns w = nibbles_of(low + k / 2);
        scores = nibbles(scores, w, vld1q_s8_x4(q + k));
        int8x16_t four = vaddq_s8(vaddq_s8(w.val[0], w.val[1]), vaddq_s8(w.val[2], w.val[3]));
        sums = vpadalq_s16(sums, vpaddlq_s8(four));
    }
    return vaddvq_s32(vmlsq_n_s32(scores, sums, zero));
}

/* The functions of a set: the loops above with its instructions. */
#define SET(set, label, attributes, careful)                                                                            \
    attributes static void product_##set(const Int8Matrix *matrix, const int8_t *q, const RowScale *rows,               \
                                         size_t tokens, size_t from, size_t to, float *y, size_t ldy) {                 \
        product(matrix, q, rows, tokens, from, to, y, ldy, dot_##set, careful);                                         \
    }                                                                                                                   \
    attributes static void plane_bounds_##set(const Planes *planes, const PlaneQuery *query, size_t from, size_t to,    \
                                              int32_t *upper) {                                                         \
        plane_bounds(planes, query, from, to, upper, nibbles_##set);                                                    \
    }                                                                                                                   \
    attributes static int32_t plane_low_##set(const uint8_t *low, const int8_t *q, size_t stride, int32_t zero) {       \
        return plane_low(low, q, stride, zero, nibbles_##set);                                                          \
    }                                                                                                                   \
    const Kernels kernels_##set = {label, product_##set, plane_bounds_##set, plane_low_##set}

SET(neon, "neon", , dot_wide);
SET(dotprod, "dotprod", DOTPROD, NULL);
#endif
