/* Integer dots for aarch64: NEON of ARMv8.0 (Cortex-A53), and the dotprod instructions of later cores.
 *
 * An ARMv8.0 core multiplies 8 bytes by 8 bytes into 16-bit lanes. Moving these into 32 bits costs an instruction per 8
 * products, as many as the products themselves; so 4 products are added in 16 bits first where the packer proved that
 * they fit (see dots.c). Stored nibbles are below 16, so 16 products fit a lane, those of 128 columns:
 * 16 * 15 * 128 < 2^15.
 *
 * Bound by multiplications: 8 columns per instruction. A row of 128 columns takes 16 of them and 27 instructions in
 * all, a row of the high plane 30, with 8 to separate the nibbles and 4 for the bound. */
#if defined(__aarch64__)
#include <arm_neon.h>

#include "cpu.h"

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#define DOTPROD __attribute__((target("dotprod")))
#else
#define UNROLL _Pragma("GCC unroll 4")
#define DOTPROD __attribute__((target("arch=armv8.2-a+dotprod")))
#endif

/* Nothing behind this that depends on `pointer` is computed before `vector` is. Rows one after the other leave room for
 * the activations in the registers; the compiler would mix 4 rows and spill. */
#define IN_ORDER(vector, pointer) __asm__("" : "+w"(vector), "+r"(pointer))

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
INLINE Columns nibbles_of(uint8x16_t first, uint8x16_t second) {
    const uint8x16_t mask = vdupq_n_u8(15);
    return (Columns){{vreinterpretq_s8_u8(vandq_u8(first, mask)), vreinterpretq_s8_u8(vandq_u8(second, mask)),
                      vreinterpretq_s8_u8(vshrq_n_u8(first, 4)), vreinterpretq_s8_u8(vshrq_n_u8(second, 4))}};
}
INLINE Columns load_nibbles(const uint8_t *plane) {
    uint8x16x2_t bytes = vld1q_u8_x2(plane);
    return nibbles_of(bytes.val[0], bytes.val[1]);
}

/* A Dot for nibbles. */
INLINE int32x4_t nibbles_neon(int32x4_t sum, Columns w, Columns q) {
    int16x8_t lanes = vdupq_n_s16(0);
    for (int i = 0; i < 4; i++) lanes = add_products(lanes, w.val[i], q.val[i]);
    return vpadalq_s16(sum, lanes);
}
#define nibbles_dotprod dot_dotprod

/* The products of a plane's row of 128 columns. */
typedef int32x4_t Row128(const uint8_t *plane, Columns q0, Columns q1);

INLINE int32x4_t row128_neon(const uint8_t *plane, Columns q0, Columns q1) {
    uint8x16x4_t bytes = vld1q_u8_x4(plane);
    Columns w0 = nibbles_of(bytes.val[0], bytes.val[1]), w1 = nibbles_of(bytes.val[2], bytes.val[3]);
    int16x8_t lanes = vdupq_n_s16(0);
    for (int i = 0; i < 4; i++) lanes = add_products(lanes, w0.val[i], q0.val[i]);
    for (int i = 0; i < 4; i++) lanes = add_products(lanes, w1.val[i], q1.val[i]);
    return vpaddlq_s16(lanes);
}
DOTPROD INLINE int32x4_t row128_dotprod(const uint8_t *plane, Columns q0, Columns q1) {
    return dot_dotprod(dot_dotprod(vdupq_n_s32(0), load_nibbles(plane), q0), load_nibbles(plane + 32), q1);
}

/* The sums of 4 vectors, in one. */
INLINE int32x4_t sum_each(const int32x4_t a[4]) { return vpaddq_s32(vpaddq_s32(a[0], a[1]), vpaddq_s32(a[2], a[3])); }

/* Sums of 4 rows' products to 4 results. */
INLINE void write_results(const Int8Matrix *matrix, size_t n, const int32x4_t sums[4], RowScale row, float *y) {
    int32x4_t scores = vmlsq_n_s32(sum_each(sums), vld1q_s32(matrix->sums + n), row.zero);
    vst1q_f32(y + n, vmulq_n_f32(vcvtq_f32_s32(scores), row.scale * matrix->scale));
}

/* 4 rows of weights by 1 or 2 rows of activations. */
INLINE void tile(const Int8Matrix *matrix, size_t n, const int8_t *q, const RowScale *rows, size_t tokens, float *y,
                 size_t ldy, Dot *dot) {
    size_t stride = matrix->stride;
    const int8_t *w[4], *x[2] = {q, q + stride};
    int32x4_t sums[2][4] = {{{0}}};
    UNROLL
    for (size_t r = 0; r < 4; r++) w[r] = matrix->values + (n + r) * stride;
    for (const int8_t *end = x[0] + stride; x[0] < end;) {
        Columns columns[2];
        UNROLL
        for (size_t t = 0; t < tokens; t++) {
            columns[t] = vld1q_s8_x4(x[t]);
            x[t] += 64;
        }
        UNROLL
        for (size_t r = 0; r < 4; r++) {
            Columns weights = vld1q_s8_x4(w[r]);
            w[r] += 64;
            UNROLL
            for (size_t t = 0; t < tokens; t++) sums[t][r] = dot(sums[t][r], weights, columns[t]);
            IN_ORDER(sums[tokens - 1][r], w[(r + 1) % 4]);
        }
    }
    UNROLL
    for (size_t t = 0; t < tokens; t++) write_results(matrix, n, sums[t], rows[t], y + t * ldy);
}

INLINE void rows128(const int8_t *w, Columns q0, Columns q1, Dot *dot, int32x4_t sums[4]) {
    UNROLL
    for (int r = 0; r < 4; r++) {
        Columns first = vld1q_s8_x4(w);
        w += 64;
        __asm__("" : "+r"(w)); /* so that the load advances it */
        Columns second = vld1q_s8_x4(w);
        w += 64;
        sums[r] = dot(dot(vdupq_n_s32(0), first, q0), second, q1);
        IN_ORDER(sums[r], w);
    }
}

/* One token of the default width: its activations stay in registers. */
INLINE void product128(const Int8Matrix *matrix, const int8_t *q, RowScale row, size_t from, size_t to, float *y,
                       Dot *dot, Dot *careful) {
    const int8_t *w = matrix->values + from * 128;
    const Columns q0 = vld1q_s8_x4(q), q1 = vld1q_s8_x4(q + 64);
    for (size_t n = from; n < to; n += 4, w += 4 * 128) {
        int32x4_t sums[4];
        if (careful && matrix->wide[n / 4])
            rows128(w, q0, q1, careful, sums);
        else
            rows128(w, q0, q1, dot, sums);
        write_results(matrix, n, sums, row, y);
    }
}

/* `careful` is for tiles marked as wide; NULL if `dot` cannot overflow. */
INLINE void product(const Int8Matrix *matrix, const int8_t *q, const RowScale *rows, size_t tokens, size_t from,
                    size_t to, float *y, size_t ldy, Dot *dot, Dot *careful) {
    if (matrix->stride == 128 && tokens == 1) {
        product128(matrix, q, *rows, from, to, y, dot, careful);
        return;
    }
    for (size_t n = from; n < to; n += 4) {
        size_t t = 0, stride = matrix->stride;
        if (careful && matrix->wide[n / 4])
            for (; t < tokens; t++) tile(matrix, n, q + t * stride, rows + t, 1, y + t * ldy, ldy, careful);
        for (; t + 2 <= tokens; t += 2) tile(matrix, n, q + t * stride, rows + t, 2, y + t * ldy, ldy, dot);
        if (t < tokens) tile(matrix, n, q + t * stride, rows + t, 1, y + t * ldy, ldy, dot);
    }
}

/* The sums of 4 rows of the high plane to upper bounds. */
INLINE int32x4_t bounds_of(const int32x4_t sums[4], const uint32_t *row_limits, int32x4_t base, int32x4_t zeros,
                           int32x4_t norm) {
    int32x4_t limits = vreinterpretq_s32_u32(vld1q_u32(row_limits));
    int32x4_t step = vandq_s32(limits, vdupq_n_s32(LIMITS_STEP_MASK));
    int32x4_t error = vandq_s32(vshrq_n_s32(limits, LIMITS_ERROR_SHIFT), vdupq_n_s32(LIMITS_ERROR_MASK));
    int32x4_t units = vmlsq_s32(vshlq_n_s32(sum_each(sums), 1), vshrq_n_s32(limits, LIMITS_SUM_SHIFT), zeros);
    return vmlaq_s32(vmulq_s32(error, norm), vaddq_s32(units, base), step);
}

INLINE void plane_bounds(const Planes *planes, const PlaneQuery *query, size_t from, size_t to, int32_t *upper,
                         Dot *nibbles, Row128 *row128) {
    size_t stride = planes->stride;
    const uint8_t *plane = planes->high + from * stride / 2;
    const uint32_t *limits = planes->limits + from, *end = planes->limits + to;
    const int32x4_t base = vdupq_n_s32(query->base), zeros = vdupq_n_s32(2 * query->zero);
    const int32x4_t norm = vdupq_n_s32(query->norm);
    const int8_t *q = query->q;
    if (stride == 128) { /* the default width: the activations stay in registers */
        const Columns q0 = vld1q_s8_x4(q), q1 = vld1q_s8_x4(q + 64);
        for (; limits < end; limits += 4, upper += 4) {
            int32x4_t sums[4];
            UNROLL
            for (int r = 0; r < 4; r++) {
                sums[r] = row128(plane, q0, q1);
                plane += 64;
                IN_ORDER(sums[r], plane);
            }
            vst1q_s32(upper, bounds_of(sums, limits, base, zeros, norm));
        }
        return;
    }
    for (; limits < end; limits += 4, upper += 4, plane += 2 * stride) {
        int32x4_t sums[4] = {{0}};
        for (size_t k = 0; k < stride; k += 64) {
            Columns x = vld1q_s8_x4(q + k);
            for (size_t r = 0; r < 4; r++) sums[r] = nibbles(sums[r], load_nibbles(plane + (r * stride + k) / 2), x);
        }
        vst1q_s32(upper, bounds_of(sums, limits, base, zeros, norm));
    }
}

/* The sum of 64 columns' nibbles, 8 in each lane. */
INLINE int16x8_t sum_nibbles(Columns w) {
    return vpaddlq_s8(vaddq_s8(vaddq_s8(w.val[0], w.val[1]), vaddq_s8(w.val[2], w.val[3])));
}

INLINE void low_rows(const Planes *planes, const PlaneQuery *query, size_t from, size_t to, int32_t *low, Dot *nibbles,
                     size_t stride) {
    const uint8_t *plane = planes->low + from * stride / 2;
    const int32x4_t zeros = vdupq_n_s32(query->zero);
    const int8_t *q = query->q;
    for (const int32_t *end = low + (to - from); low < end; low++, plane += stride / 2) {
        int32x4_t products = vdupq_n_s32(0), sums = products;
        for (size_t k = 0; k < stride; k += 64) {
            Columns w = load_nibbles(plane + k / 2);
            products = nibbles(products, w, vld1q_s8_x4(q + k));
            sums = vpadalq_s16(sums, sum_nibbles(w));
        }
        *low = vaddvq_s32(vmlsq_s32(products, sums, zeros));
    }
}

INLINE void plane_low(const Planes *planes, const PlaneQuery *query, size_t from, size_t to, int32_t *low,
                      Dot *nibbles) {
    if (planes->stride == 128)
        low_rows(planes, query, from, to, low, nibbles, 128);
    else
        low_rows(planes, query, from, to, low, nibbles, planes->stride);
}

/* The functions of a set: the loops above with its instructions. */
#define SET(set, label, attributes, careful)                                                                           \
    attributes static void product_##set(const Int8Matrix *matrix, const int8_t *q, const RowScale *rows,              \
                                         size_t tokens, size_t from, size_t to, float *y, size_t ldy) {                \
        product(matrix, q, rows, tokens, from, to, y, ldy, dot_##set, careful);                                        \
    }                                                                                                                  \
    attributes static void plane_bounds_##set(const Planes *planes, const PlaneQuery *query, size_t from, size_t to,   \
                                              int32_t *upper) {                                                        \
        plane_bounds(planes, query, from, to, upper, nibbles_##set, row128_##set);                                     \
    }                                                                                                                  \
    attributes static void plane_low_##set(const Planes *planes, const PlaneQuery *query, size_t from, size_t to,      \
                                           int32_t *low) {                                                             \
        plane_low(planes, query, from, to, low, nibbles_##set);                                                        \
    }                                                                                                                  \
    const Kernels kernels_##set = {label, product_##set, plane_bounds_##set, plane_low_##set}

SET(neon, "neon", , dot_wide);
SET(dotprod, "dotprod", DOTPROD, NULL);
#endif
