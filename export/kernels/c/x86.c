/* Integer dots for x86-64: AVX2, and the VNNI instructions of AVX-512 and AVX. The loops are the same; they are
 * compiled once for each set, with its way to multiply 32 bytes by 32 bytes.
 *
 * All sets multiply unsigned by signed bytes. VNNI adds 4 products in 32 bits and cannot overflow: activations become
 * unsigned by adding 128, which the row sums of the weights undo. AVX2 adds 2 products in 16 bits: it moves the sign of
 * the activations to the weights, so that a pair stays below 2^15 unless a weight is -128 (see dots.c).
 *
 * With VNNI, a token is bound by the cache that holds the weights (1 MB in 12 us, of which reading alone takes 10), so
 * vectors of 64 bytes gain nothing. Nor do planes: an output that comes from a cache is multiplied in less time than
 * the bounds and the second plane of a few hundred rows cost. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "cpu.h"

#define INLINE static inline __attribute__((always_inline))
#define AVX512_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define AVX_VNNI __attribute__((target("avxvnni")))

/* sum + the products of the bytes of q and w, 4 in each 32-bit lane. */
typedef __m256i Dot(__m256i sum, __m256i q, __m256i w);

INLINE __m256i load(const void *p) { return _mm256_loadu_si256(p); }

INLINE __m256i dot_avx2(__m256i sum, __m256i q, __m256i w) {
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(w, q));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
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

AVX_VNNI INLINE __m256i dot_avx_vnni(__m256i sum, __m256i q, __m256i w) {
    return _mm256_dpbusd_avx_epi32(sum, above_zero(q), w);
}
AVX512_VNNI INLINE __m256i dot_avx512_vnni(__m256i sum, __m256i q, __m256i w) {
    return _mm256_dpbusd_epi32(sum, above_zero(q), w);
}

/* The sums of 4 vectors, in one. */
INLINE __m128i sum_each(const __m256i a[4]) {
    __m256i first = _mm256_add_epi32(_mm256_unpacklo_epi32(a[0], a[1]), _mm256_unpackhi_epi32(a[0], a[1]));
    __m256i second = _mm256_add_epi32(_mm256_unpacklo_epi32(a[2], a[3]), _mm256_unpackhi_epi32(a[2], a[3]));
    __m256i sums = _mm256_add_epi32(_mm256_unpacklo_epi64(first, second), _mm256_unpackhi_epi64(first, second));
    return _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
}

/* 4 rows of weights from w by `tokens` rows of activations, 1 or 2: y has `ldy` floats between tokens. `sums`: of the
 * rows' weights; `offset`: what `dot` adds to q; `scale`: of the weights. */
INLINE void tile(const int8_t *w, const int32_t *sums, float scale, size_t stride, const int8_t *q, const RowScale *rows,
                 size_t tokens, float *y, size_t ldy, Dot *dot, int offset) {
    __m256i products[2][4] = {{{0}}};
    for (size_t k = 0; k < stride; k += 32)
        for (size_t t = 0; t < tokens; t++)
            for (size_t r = 0; r < 4; r++) {
                const int8_t *weights = w + k / 64 * 256 + r * 64 + k % 64;
                products[t][r] = dot(products[t][r], load(q + t * stride + k), load(weights));
            }
    for (size_t t = 0; t < tokens; t++) {
        __m128i zeros = _mm_mullo_epi32(_mm_loadu_si128((const void *)sums), _mm_set1_epi32(rows[t].zero + offset));
        __m128 scores = _mm_cvtepi32_ps(_mm_sub_epi32(sum_each(products[t]), zeros));
        _mm_storeu_ps(y + t * ldy, _mm_mul_ps(scores, _mm_set1_ps(rows[t].scale * scale)));
    }
}

/* `careful` is for tiles where pairs do not fit, with offset 0; NULL if `dot` cannot overflow. `stride` is the matrix's and may
 * be a constant. */
INLINE void multiply(const Int8Matrix *matrix, const int8_t *q, const RowScale *rows, size_t tokens, size_t from,
                     size_t to, float *y, size_t ldy, size_t stride, Dot *dot, int offset, Dot *careful) {
    const Int8Matrix m = *matrix; /* y could overlap it, as far as a compiler knows */
    for (size_t n = from; n < to; n += 4) {
        const int8_t *w = m.values + n * stride;
        size_t t = 0;
        if (careful && m.fits[n / 4] == FITS_1)
            for (; t < tokens; t++)
                tile(w, m.sums + n, m.scale, stride, q + t * stride, rows + t, 1, y + t * ldy + n, ldy, careful, 0);
        for (; t + 2 <= tokens; t += 2)
            tile(w, m.sums + n, m.scale, stride, q + t * stride, rows + t, 2, y + t * ldy + n, ldy, dot, offset);
        if (t < tokens)
            tile(w, m.sums + n, m.scale, stride, q + t * stride, rows + t, 1, y + t * ldy + n, ldy, dot, offset);
    }
}

INLINE void product(const Int8Matrix *matrix, const int8_t *q, const RowScale *rows, size_t tokens, size_t from,
                    size_t to, float *y, size_t ldy, Dot *dot, int offset, Dot *careful) {
    if (tokens == 1 && matrix->stride == 128) { /* the default width: the activations stay in registers */
        const RowScale row = *rows;
        multiply(matrix, q, &row, 1, from, to, y, 0, 128, dot, offset, careful);
    } else {
        multiply(matrix, q, rows, tokens, from, to, y, ldy, matrix->stride, dot, offset, careful);
    }
}

/* The functions of a set: the loops above with its instructions, and no planes. */
#define SET(set, label, attributes, offset, careful)                                                                   \
    attributes static void product_##set(const Int8Matrix *matrix, const int8_t *q, const RowScale *rows,              \
                                         size_t tokens, size_t from, size_t to, float *y, size_t ldy) {                \
        product(matrix, q, rows, tokens, from, to, y, ldy, dot_##set, offset, careful);                                \
    }                                                                                                                  \
    const Kernels kernels_##set = {label, product_##set, NULL, NULL}

SET(avx2, "avx2", , 0, dot_wide);
SET(avx_vnni, "avx-vnni", AVX_VNNI, 128, NULL);
SET(avx512_vnni, "avx512-vnni", AVX512_VNNI, 128, NULL);
#endif
