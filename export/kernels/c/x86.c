/* Integer dots for x86-64: AVX2, and the VNNI instructions of AVX-512 and AVX. The loops are the same; they are
 * compiled once for each set, with its way to multiply 32 bytes by 32 bytes.
 *
 * All sets multiply unsigned by signed bytes. VNNI adds 4 products in 32 bits and cannot overflow: activations become
 * unsigned by adding 128, which the row sums of the weights undo. AVX2 adds 2 products in 16 bits: it moves the sign of
 * the activations to the weights, so that a pair stays below 2^15 unless a weight is -128 (see dots.c). Nibbles of the
 * planes are unsigned already, and small. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "cpu.h"

#define INLINE static inline __attribute__((always_inline))
#define AVX512_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define AVX_VNNI __attribute__((target("avxvnni")))

/* sum + the products of the bytes of a and b, 4 in each 32-bit lane. */
typedef __m256i Dot(__m256i sum, __m256i a, __m256i b);

INLINE __m256i load(const void *p) { return _mm256_loadu_si256(p); }

INLINE __m256i add_pairs(__m256i sum, __m256i pairs) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

INLINE __m256i nibbles_avx2(__m256i sum, __m256i nibbles, __m256i q) {
    return add_pairs(sum, _mm256_maddubs_epi16(nibbles, q));
}
INLINE __m256i dot_avx2(__m256i sum, __m256i q, __m256i w) {
    return add_pairs(sum, _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(w, q)));
}
/* For any bytes. */
INLINE __m256i dot_wide(__m256i sum, __m256i q, __m256i w) {
    __m256i low = _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm256_castsi256_si128(q)),
                                    _mm256_cvtepi8_epi16(_mm256_castsi256_si128(w)));
    __m256i high = _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm256_extracti128_si256(q, 1)),
                                     _mm256_cvtepi8_epi16(_mm256_extracti128_si256(w, 1)));
    return _mm256_add_epi32(sum, _mm256_add_epi32(low, high));
}

/* q + 128, unsigned. */
INLINE __m256i above_zero(__m256i q) { return _mm256_xor_si256(q, _mm256_set1_epi8(INT8_MIN)); }

AVX_VNNI INLINE __m256i nibbles_avx_vnni(__m256i sum, __m256i nibbles, __m256i q) {
    return _mm256_dpbusd_avx_epi32(sum, nibbles, q);
}
AVX_VNNI INLINE __m256i dot_avx_vnni(__m256i sum, __m256i q, __m256i w) {
    return _mm256_dpbusd_avx_epi32(sum, above_zero(q), w);
}
AVX512_VNNI INLINE __m256i nibbles_avx512_vnni(__m256i sum, __m256i nibbles, __m256i q) {
    return _mm256_dpbusd_epi32(sum, nibbles, q);
}
AVX512_VNNI INLINE __m256i dot_avx512_vnni(__m256i sum, __m256i q, __m256i w) {
    return _mm256_dpbusd_epi32(sum, above_zero(q), w);
}

INLINE __m128i fold(__m256i a) { return _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1)); }

/* The sums of 4 vectors, in one. */
INLINE __m128i sum_each(const __m256i a[4]) {
    __m256i first = _mm256_add_epi32(_mm256_unpacklo_epi32(a[0], a[1]), _mm256_unpackhi_epi32(a[0], a[1]));
    __m256i second = _mm256_add_epi32(_mm256_unpacklo_epi32(a[2], a[3]), _mm256_unpackhi_epi32(a[2], a[3]));
    return fold(_mm256_add_epi32(_mm256_unpacklo_epi64(first, second), _mm256_unpackhi_epi64(first, second)));
}

/* 4 rows of weights by `tokens` rows of activations: y has `ldy` floats between tokens. `offset` is what `dot` adds to
 * q. */
INLINE void tile(const Int8Matrix *matrix, size_t n, const int8_t *q, const RowScale *rows, size_t tokens, float *y,
                 size_t ldy, Dot *dot, int offset) {
    size_t stride = matrix->stride;
    const int8_t *w = matrix->values + n * stride;
    __m256i sums[2][4] = {{{0}}};
    for (size_t k = 0; k < stride; k += 32)
        for (size_t t = 0; t < tokens; t++)
            for (size_t r = 0; r < 4; r++)
                sums[t][r] = dot(sums[t][r], load(q + t * stride + k), load(w + r * stride + k));
    for (size_t t = 0; t < tokens; t++) {
        __m128i zeros =
            _mm_mullo_epi32(_mm_loadu_si128((const void *)(matrix->sums + n)), _mm_set1_epi32(rows[t].zero + offset));
        __m128 scores = _mm_cvtepi32_ps(_mm_sub_epi32(sum_each(sums[t]), zeros));
        _mm_storeu_ps(y + t * ldy + n, _mm_mul_ps(scores, _mm_set1_ps(rows[t].scale * matrix->scale)));
    }
}

/* `careful` is for tiles where pairs do not fit, with offset 0; NULL if `dot` cannot overflow. */
INLINE void product(const Int8Matrix *matrix, const int8_t *q, const RowScale *rows, size_t tokens, size_t from,
                    size_t to, float *y, size_t ldy, Dot *dot, int offset, Dot *careful) {
    for (size_t n = from; n < to; n += 4) {
        size_t t = 0;
        if (careful && matrix->fits[n / 4] == FITS_1)
            for (; t < tokens; t++) tile(matrix, n, q + t * matrix->stride, rows + t, 1, y + t * ldy, ldy, careful, 0);
        for (; t + 2 <= tokens; t += 2)
            tile(matrix, n, q + t * matrix->stride, rows + t, 2, y + t * ldy, ldy, dot, offset);
        if (t < tokens) tile(matrix, n, q + t * matrix->stride, rows + t, 1, y + t * ldy, ldy, dot, offset);
    }
}

INLINE __m256i low_nibbles(__m256i bytes) { return _mm256_and_si256(bytes, _mm256_set1_epi8(15)); }
INLINE __m256i high_nibbles(__m256i bytes) { return low_nibbles(_mm256_srli_epi16(bytes, 4)); }

INLINE void plane_bounds(const Planes *planes, const PlaneQuery *query, size_t from, size_t to, int32_t *upper,
                         Dot *nibbles) {
    size_t stride = planes->stride, half = stride / 2;
    const __m128i step_mask = _mm_set1_epi32(LIMITS_STEP_MASK), error_mask = _mm_set1_epi32(LIMITS_ERROR_MASK);
    const __m128i zeros = _mm_set1_epi32(2 * query->zero), base = _mm_set1_epi32(query->base);
    const __m128i norm = _mm_set1_epi32(query->norm);
    for (size_t n = from; n < to; n += 4) {
        __m256i sums[4] = {{0}};
        for (size_t k = 0; k < stride; k += 64) {
            __m256i first = load(query->q + k), second = load(query->q + k + 32);
            for (size_t r = 0; r < 4; r++) {
                __m256i bytes = load(planes->high + (n + r) * half + k / 2);
                sums[r] = nibbles(nibbles(sums[r], low_nibbles(bytes), first), high_nibbles(bytes), second);
            }
        }
        __m128i limits = _mm_loadu_si128((const void *)(planes->limits + n)), high = sum_each(sums);
        __m128i step = _mm_and_si128(limits, step_mask);
        __m128i error = _mm_and_si128(_mm_srli_epi32(limits, LIMITS_ERROR_SHIFT), error_mask);
        __m128i high_sum = _mm_srai_epi32(limits, LIMITS_SUM_SHIFT);
        __m128i units = _mm_sub_epi32(_mm_add_epi32(_mm_add_epi32(high, high), base), _mm_mullo_epi32(high_sum, zeros));
        __m128i bound = _mm_add_epi32(_mm_mullo_epi32(units, step), _mm_mullo_epi32(error, norm));
        _mm_storeu_si128((void *)(upper + n - from), bound);
    }
}

INLINE int32_t sum_all(__m256i a) {
    __m128i half = fold(a), quarter = _mm_add_epi32(half, _mm_unpackhi_epi64(half, half));
    return _mm_cvtsi128_si32(quarter) + _mm_extract_epi32(quarter, 1);
}

INLINE void plane_low(const Planes *planes, const PlaneQuery *query, size_t from, size_t to, int32_t *low,
                      Dot *nibbles) {
    size_t stride = planes->stride;
    for (size_t n = from; n < to; n++) {
        const uint8_t *row = planes->low + n * stride / 2;
        __m256i products = {0}, sums = {0}; /* sums: of the nibbles, in 64-bit lanes below 2^31 */
        for (size_t k = 0; k < stride; k += 64) {
            __m256i bytes = load(row + k / 2), first = low_nibbles(bytes), second = high_nibbles(bytes);
            products = nibbles(nibbles(products, first, load(query->q + k)), second, load(query->q + k + 32));
            sums = _mm256_add_epi64(sums, _mm256_sad_epu8(_mm256_add_epi8(first, second), _mm256_setzero_si256()));
        }
        low[n - from] = sum_all(products) - query->zero * sum_all(sums);
    }
}

/* The functions of a set: the loops above with its instructions. */
#define SET(set, label, attributes, offset, careful)                                                                   \
    attributes static void product_##set(const Int8Matrix *matrix, const int8_t *q, const RowScale *rows,              \
                                         size_t tokens, size_t from, size_t to, float *y, size_t ldy) {                \
        product(matrix, q, rows, tokens, from, to, y, ldy, dot_##set, offset, careful);                                \
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

SET(avx2, "avx2", , 0, dot_wide);
SET(avx_vnni, "avx-vnni", AVX_VNNI, 128, NULL);
SET(avx512_vnni, "avx512-vnni", AVX512_VNNI, 128, NULL);
#endif
