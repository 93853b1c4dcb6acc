/* Integer dots for aarch64: NEON of ARMv8.0 (Cortex-A53), and the dotprod instructions of later cores.
 *
 * An ARMv8.0 core multiplies 8 bytes by 8 bytes into 16-bit lanes. Moving these into 32 bits costs an instruction per 8
 * products, as many as the products themselves; so 8 or 4 products are added in 16 bits first where the packer proved
 * that they fit (see dots.c). Stored nibbles are below 16, so 16 products fit a lane, those of 128 columns:
 * 16 * 15 * 128 < 2^15.
 *
 * Bound by multiplications: 8 columns per instruction. One token's activations stay in registers if they are 256 columns,
 * so a row of 256 columns takes 32 multiplications and 12 other instructions; one of the high plane 32 and 24, of which
 * 16 separate nibbles. With several tokens, a load of weights serves 3 of them and a load of activations 4 rows. */
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

/* Nothing behind this that depends on `pointer` is computed before `vector` is. It lets 2 chains of multiplications (3
 * with 3 tokens) run at once: fewer wait for each other, and of more the registers are spilled. */
#define IN_ORDER(vector, pointer) __asm__("" : "+w"(vector), "+r"(pointer))
/* The addition to `pointer` is not put off, so the load before it can do it. */
#define ADVANCED(pointer) __asm__("" : "+r"(pointer))
/* What is read of `array` is read here, and not kept in registers. */
#define IN_MEMORY(array) __asm__("" : "+m"(array))

typedef int8x16x4_t Columns; /* 64 columns of a row */

enum {
    IN_REGISTERS = 256, /* columns of activations that stay there */
    STRIP_BYTES = 8192, /* of weights, which stay in the first cache until all tokens have used them */
};

/* sum + the products of 64 columns. */
typedef int32x4_t Dot(int32x4_t sum, Columns w, Columns q);

/* sum + the products of 16 columns, 2 in each lane. */
INLINE int16x8_t add_products(int16x8_t sum, int8x16_t a, int8x16_t b) {
    return vmlal_high_s8(vmlal_s8(sum, vget_low_s8(a), vget_low_s8(b)), a, b);
}
INLINE int16x8_t products(int8x16_t a, int8x16_t b) {
    return vmlal_high_s8(vmull_s8(vget_low_s8(a), vget_low_s8(b)), a, b);
}

/* For FITS_8, FITS_4 and FITS_1. */
INLINE int32x4_t dot_neon(int32x4_t sum, Columns w, Columns q) {
    int16x8_t lanes = products(w.val[0], q.val[0]);
    for (int i = 1; i < 4; i++) lanes = add_products(lanes, w.val[i], q.val[i]);
    return vpadalq_s16(sum, lanes);
}
INLINE int32x4_t dot_neon4(int32x4_t sum, Columns w, Columns q) {
    for (int i = 0; i < 4; i += 2)
        sum = vpadalq_s16(sum, add_products(products(w.val[i], q.val[i]), w.val[i + 1], q.val[i + 1]));
    return sum;
}
INLINE int32x4_t dot_neon1(int32x4_t sum, Columns w, Columns q) {
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

/* sum + the products of 64 or 128 columns (n = 1 or 2) with nibbles, which are 0..15. */
typedef int32x4_t Nibbles(int32x4_t sum, const Columns *w, const Columns *q, size_t n);

INLINE int32x4_t nibbles_neon(int32x4_t sum, const Columns *w, const Columns *q, size_t n) {
    int16x8_t lanes = products(w->val[0], q->val[0]);
    for (size_t i = 1; i < 4 * n; i++) lanes = add_products(lanes, w[i / 4].val[i % 4], q[i / 4].val[i % 4]);
    return vpadalq_s16(sum, lanes);
}
DOTPROD INLINE int32x4_t nibbles_dotprod(int32x4_t sum, const Columns *w, const Columns *q, size_t n) {
    for (size_t i = 0; i < n; i++) sum = dot_dotprod(sum, w[i], q[i]);
    return sum;
}

INLINE Columns separate(uint8x16_t first, uint8x16_t second) {
    const uint8x16_t mask = vdupq_n_u8(15);
    return (Columns){{vreinterpretq_s8_u8(vandq_u8(first, mask)), vreinterpretq_s8_u8(vandq_u8(second, mask)),
                      vreinterpretq_s8_u8(vshrq_n_u8(first, 4)), vreinterpretq_s8_u8(vshrq_n_u8(second, 4))}};
}
INLINE void load_nibbles(const uint8_t *plane, size_t n, Columns *w) {
    if (n == 2) {
        uint8x16x4_t bytes = vld1q_u8_x4(plane);
        w[0] = separate(bytes.val[0], bytes.val[1]);
        w[1] = separate(bytes.val[2], bytes.val[3]);
    } else {
        uint8x16x2_t bytes = vld1q_u8_x2(plane);
        w[0] = separate(bytes.val[0], bytes.val[1]);
    }
}

INLINE void load_columns(const int8_t *q, size_t n, Columns *columns) {
    UNROLL
    for (size_t i = 0; i < n; i++) columns[i] = vld1q_s8_x4(q + 64 * i);
}

/* The sums of 4 vectors, in one. */
INLINE int32x4_t sum_each(const int32x4_t a[4]) { return vpaddq_s32(vpaddq_s32(a[0], a[1]), vpaddq_s32(a[2], a[3])); }

INLINE float32x4_t results_of(int32x4_t sums, float scale) { return vmulq_n_f32(vcvtq_f32_s32(sums), scale); }

/* The products of 4 rows of weights with 1 to 3 rows of activations. */
INLINE void tile(const int8_t *w, const int8_t *q, size_t stride, size_t tokens, Dot *dot, int32x4_t products[3]) {
    const int8_t *x[3], *end = q + stride;
    int32x4_t sums[3][4] = {{{0}}};
    UNROLL
    for (size_t t = 0; t < tokens; t++) x[t] = q + t * stride;
    do {
        Columns columns[3];
        UNROLL
        for (size_t t = 0; t < tokens; t++) {
            columns[t] = vld1q_s8_x4(x[t]);
            x[t] += 64;
            ADVANCED(x[t]);
        }
        UNROLL
        for (size_t r = 0; r < 4; r++) {
            Columns weights = vld1q_s8_x4(w);
            w += 64;
            ADVANCED(w);
            UNROLL
            for (size_t t = 0; t < tokens; t++) {
                sums[t][r] = dot(sums[t][r], weights, columns[t]);
                IN_ORDER(sums[t][r], w);
            }
        }
    } while (x[0] < end);
    UNROLL
    for (size_t t = 0; t < tokens; t++) products[t] = sum_each(sums[t]);
}

/* Rows of weights by 1 to 3 tokens. dot4 and dot1 are for tiles that fit less than 8; NULL if `dot` cannot overflow. */
INLINE void strip(const Int8Matrix *matrix, const int8_t *q, const RowScale *rows, size_t tokens, size_t from,
                  size_t to, float *y, size_t ldy, Dot *dot, Dot *dot4, Dot *dot1) {
    const size_t stride = matrix->stride;
    const int8_t *w = matrix->values + from * stride;
    const int32_t *row_sums = matrix->sums;
    const uint8_t *fits = matrix->fits;
    float32x4_t scales = vdupq_n_f32(0);
    int32x4_t zeros = vdupq_n_s32(0);
    UNROLL
    for (size_t t = 0; t < tokens; t++) {
        scales[t] = rows[t].scale * matrix->scale;
        zeros[t] = rows[t].zero;
    }
    for (size_t n = from; n < to; n += 4, w += 4 * stride) {
        int32x4_t products[3];
        if (!dot4 || fits[n / 4] == FITS_8)
            tile(w, q, stride, tokens, dot, products);
        else if (fits[n / 4] == FITS_4)
            tile(w, q, stride, tokens, dot4, products);
        else
            tile(w, q, stride, tokens, dot1, products);
        const int32x4_t sums = vld1q_s32(row_sums + n);
        UNROLL
        for (size_t t = 0; t < tokens; t++)
            vst1q_f32(y + t * ldy + n, results_of(vmlsq_n_s32(products[t], sums, zeros[t]), scales[t]));
    }
}

INLINE void product_of_many(const Int8Matrix *matrix, const int8_t *q, const RowScale *rows, size_t tokens, size_t from,
                            size_t to, float *y, size_t ldy, Dot *dot, Dot *dot4, Dot *dot1) {
    for (; tokens >= 3; tokens -= 3, q += 3 * matrix->stride, rows += 3, y += 3 * ldy)
        strip(matrix, q, rows, 3, from, to, y, ldy, dot, dot4, dot1);
    if (tokens == 2)
        strip(matrix, q, rows, 2, from, to, y, ldy, dot, dot4, dot1);
    else if (tokens)
        strip(matrix, q, rows, 1, from, to, y, ldy, dot, dot4, dot1);
}

/* The products of 4 rows with n times 64 columns. */
INLINE int32x4_t four_rows(const int8_t *w, const Columns *x, size_t n, Dot *dot) {
    int32x4_t sums[4];
    UNROLL
    for (size_t r = 0; r < 4; r++) sums[r] = vdupq_n_s32(0);
    UNROLL
    for (size_t i = 0; i < n; i++) {
        UNROLL
        for (size_t r = 0; r < 4; r++) {
            Columns weights = vld1q_s8_x4(w);
            w += 64;
            ADVANCED(w);
            sums[r] = dot(sums[r], weights, x[i]);
            IN_ORDER(sums[r], w);
        }
    }
    return sum_each(sums);
}

/* One token's products with rows of n times 64 columns. */
INLINE void narrow_rows(const Int8Matrix *matrix, const int8_t *q, RowScale row, size_t from, size_t to, float *y,
                        size_t n, Dot *dot, Dot *dot4, Dot *dot1) {
    const int8_t *w = matrix->values + from * 64 * n;
    const int32_t *row_sums = matrix->sums;
    const uint8_t *fits = matrix->fits + from / 4;
    const float scale = row.scale * matrix->scale;
    Columns x[IN_REGISTERS / 64];
    load_columns(q, n, x);
    for (size_t i = from; i < to; i += 4, w += 4 * 64 * n, fits++) {
        int32x4_t products;
        if (!dot4 || *fits == FITS_8)
            products = four_rows(w, x, n, dot);
        else if (*fits == FITS_4)
            products = four_rows(w, x, n, dot4);
        else
            products = four_rows(w, x, n, dot1);
        products = vmlsq_n_s32(products, vld1q_s32(row_sums + i), row.zero);
        vst1q_f32(y + i, results_of(products, scale));
    }
}

INLINE void product(const Int8Matrix *matrix, const int8_t *q, const RowScale *rows, size_t tokens, size_t from,
                    size_t to, float *y, size_t ldy, Dot *dot, Dot *dot4, Dot *dot1) {
    if (tokens == 1 && matrix->stride == 128) {
        narrow_rows(matrix, q, *rows, from, to, y, 2, dot, dot4, dot1);
        return;
    }
    if (tokens == 1 && matrix->stride == IN_REGISTERS) {
        narrow_rows(matrix, q, *rows, from, to, y, 4, dot, dot4, dot1);
        return;
    }
    size_t at_once = 4 + STRIP_BYTES / matrix->stride / 4 * 4;
    for (; from < to; from += at_once)
        product_of_many(matrix, q, rows, tokens, from, to - from < at_once ? to : from + at_once, y, ldy, dot, dot4,
                        dot1);
}

/* What row sums of the high plane need of the query to become bounds: zero, base, norm. */
INLINE int32x4_t bounds_of(int32x4_t sums, const uint32_t *row_limits, int32x4_t query) {
    int32x4_t limits = vreinterpretq_s32_u32(vld1q_u32(row_limits));
    int32x4_t step = vandq_s32(limits, vdupq_n_s32(LIMITS_STEP_MASK));
    int32x4_t error = vandq_s32(vshrq_n_s32(limits, LIMITS_ERROR_SHIFT), vdupq_n_s32(LIMITS_ERROR_MASK));
    int32x4_t units = vshlq_n_s32(vmlsq_laneq_s32(sums, vshrq_n_s32(limits, LIMITS_SUM_SHIFT), query, 0), 1);
    units = vaddq_s32(units, vdupq_laneq_s32(query, 1));
    return vmlaq_s32(vmulq_laneq_s32(error, query, 2), units, step);
}

/* Adds the products of 4 rows with n times 64 columns, of rows 0 and 1 to pairs[0]; returns where the plane goes on. */
INLINE const uint8_t *add_nibbles(const uint8_t *plane, const Columns *x, size_t n, Nibbles *nibbles,
                                  int32x4_t pairs[2]) {
    const size_t pair = n < 2 ? n : 2;
    int32x4_t sums[4];
    UNROLL
    for (size_t r = 0; r < 4; r++) {
        sums[r] = vdupq_n_s32(0);
        UNROLL
        for (size_t i = 0; i < n; i += pair) {
            Columns w[2];
            load_nibbles(plane, pair, w);
            plane += 32 * pair;
            ADVANCED(plane);
            sums[r] = nibbles(sums[r], w, x + i, pair);
            if ((r * n + i) / pair % 2) IN_ORDER(sums[r], plane);
        }
        if (r % 2) {
            pairs[r / 2] = vaddq_s32(pairs[r / 2], vpaddq_s32(sums[r - 1], sums[r]));
            IN_ORDER(pairs[r / 2], plane);
        }
    }
    return plane;
}

/* n: 64s of columns in a row, if they stay in registers, otherwise 0. */
INLINE void plane_tiles(const Planes *planes, const PlaneQuery *query, size_t from, size_t to, int32_t *upper, size_t n,
                        Nibbles *nibbles) {
    const size_t stride = planes->stride;
    const uint8_t *plane = planes->high + from * stride / 2;
    const uint32_t *limits = planes->limits + from, *end = planes->limits + to;
    int32_t numbers[4] = {query->zero, query->base, query->norm};
    Columns x[IN_REGISTERS / 64];
    if (n) load_columns(query->q, n, x);
    for (; limits < end; limits += 4, upper += 4) {
        int32x4_t pairs[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};
        if (n) {
            plane = add_nibbles(plane, x, n, nibbles, pairs);
        } else {
            const int8_t *q = query->q, *last = q + stride;
            for (; last - q >= IN_REGISTERS; q += IN_REGISTERS) {
                load_columns(q, 4, x);
                plane = add_nibbles(plane, x, 4, nibbles, pairs);
            }
            if (stride & 128) {
                load_columns(q, 2, x);
                plane = add_nibbles(plane, x, 2, nibbles, pairs);
            }
            if (stride & 64) {
                load_columns(last - 64, 1, x);
                plane = add_nibbles(plane, x, 1, nibbles, pairs);
            }
        }
        IN_MEMORY(numbers);
        vst1q_s32(upper, bounds_of(vpaddq_s32(pairs[0], pairs[1]), limits, vld1q_s32(numbers)));
    }
}

INLINE void plane_bounds(const Planes *planes, const PlaneQuery *query, size_t from, size_t to, int32_t *upper,
                         Nibbles *nibbles) {
    switch (planes->stride) {
        case 128: plane_tiles(planes, query, from, to, upper, 2, nibbles); break;
        case IN_REGISTERS: plane_tiles(planes, query, from, to, upper, 4, nibbles); break;
        default: plane_tiles(planes, query, from, to, upper, 0, nibbles);
    }
}

/* The sum of 64 columns' nibbles, 8 in each lane. */
INLINE int16x8_t sum_nibbles(Columns w) {
    return vpaddlq_s8(vaddq_s8(vaddq_s8(w.val[0], w.val[1]), vaddq_s8(w.val[2], w.val[3])));
}

/* Adds the products of n times 64 columns with a row of the low plane, and the sums of its nibbles. */
INLINE void add_low(const uint8_t *plane, const int8_t *q, size_t n, Nibbles *nibbles, int32x4_t *products,
                    int32x4_t *sums) {
    Columns w[2], x[2];
    load_nibbles(plane, n, w);
    load_columns(q, n, x);
    *products = nibbles(*products, w, x, n);
    int16x8_t sum = sum_nibbles(w[0]);
    *sums = vpadalq_s16(*sums, n == 2 ? vaddq_s16(sum, sum_nibbles(w[1])) : sum);
}

INLINE void low_rows(const Planes *planes, const PlaneQuery *query, size_t from, size_t to, int32_t *low,
                     Nibbles *nibbles, size_t stride) {
    const uint8_t *plane = planes->low + from * stride / 2;
    const int32x4_t zeros = vdupq_n_s32(query->zero);
    for (const int32_t *end = low + (to - from); low < end; low++, plane += stride / 2) {
        int32x4_t products = vdupq_n_s32(0), sums = products;
        size_t k = 0;
        for (; k + 128 <= stride; k += 128) add_low(plane + k / 2, query->q + k, 2, nibbles, &products, &sums);
        if (k < stride) add_low(plane + k / 2, query->q + k, 1, nibbles, &products, &sums);
        *low = vaddvq_s32(vmlsq_s32(products, sums, zeros));
    }
}

INLINE void plane_low(const Planes *planes, const PlaneQuery *query, size_t from, size_t to, int32_t *low,
                      Nibbles *nibbles) {
    if (planes->stride == 128)
        low_rows(planes, query, from, to, low, nibbles, 128);
    else
        low_rows(planes, query, from, to, low, nibbles, planes->stride);
}

/* The functions of a set: the loops above with its instructions. */
#define SET(set, label, attributes, dot4, dot1)                                                                        \
    attributes static void product_##set(const Int8Matrix *matrix, const int8_t *q, const RowScale *rows,              \
                                         size_t tokens, size_t from, size_t to, float *y, size_t ldy) {                \
        product(matrix, q, rows, tokens, from, to, y, ldy, dot_##set, dot4, dot1);                                     \
    }                                                                                                                  \
    attributes static void plane_bounds_##set(const Planes *planes, const PlaneQuery *query, size_t from, size_t to,   \
                                              int32_t *upper) {                                                        \
        plane_bounds(planes, query, from, to, upper, nibbles_##set);                                                   \
    }                                                                                                                  \
    attributes static void plane_low_##set(const Planes *planes, const PlaneQuery *query, size_t from, size_t to,      \
                                           int32_t *low) {                                                             \
        plane_low(planes, query, from, to, low, nibbles_##set);                                                        \
    }                                                                                                                  \
    const Kernels kernels_##set = {label, product_##set, plane_bounds_##set, plane_low_##set}

SET(neon, "neon", , dot_neon4, dot_neon1);
SET(dotprod, "dotprod", DOTPROD, NULL, NULL);
#endif
