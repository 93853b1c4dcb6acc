/* Four floats at once, with one meaning on every machine: NEON, SSE with FMA, or plain C (-DKERNELS_PLAIN and compilers
 * for anything else). Every function rounds as IEEE says and has one order, so all three give the same bits.
 *
 * Two things differ, and no caller depends on them: the sign of a zero that is the larger of two zeros, and which of
 * two NaN a NaN comes from. */
#ifndef TINYEDGE_LANES_H
#define TINYEDGE_LANES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LANES 4
/* for functions that are called with constants, of which loops without a counter are made */
#define INLINE static inline __attribute__((always_inline))
#define ROUNDING 12582912.0f /* 1.5 * 2^23: a sum with it has no fraction, and the integer in its low bits */

#if defined(__aarch64__) && !defined(KERNELS_PLAIN)
#include <arm_neon.h>

typedef float32x4_t Lanes;

static inline Lanes lanes_load(const float *p) { return vld1q_f32(p); }
static inline void lanes_store(float *p, Lanes a) { vst1q_f32(p, a); }
static inline Lanes lanes_all(float x) { return vdupq_n_f32(x); }
static inline Lanes lanes_add(Lanes a, Lanes b) { return vaddq_f32(a, b); }
static inline Lanes lanes_subtract(Lanes a, Lanes b) { return vsubq_f32(a, b); }
static inline Lanes lanes_multiply(Lanes a, Lanes b) { return vmulq_f32(a, b); }
static inline Lanes lanes_divide(Lanes a, Lanes b) { return vdivq_f32(a, b); }
/* Nothing that is read behind this by way of p is read before a is: a core follows lines that are read in order. */
static inline void lanes_in_order(Lanes *a, const float **p) { __asm__("" : "+w"(*a), "+r"(*p)); }
/* a * b + c, rounded once */
static inline Lanes lanes_fma(Lanes a, Lanes b, Lanes c) { return vfmaq_f32(c, a, b); }
/* A NaN in b is kept. */
static inline Lanes lanes_max(Lanes a, Lanes b) { return vmaxq_f32(a, b); }
static inline Lanes lanes_min(Lanes a, Lanes b) { return vminq_f32(a, b); }
/* (a0 + a1) + (a2 + a3) */
static inline float lanes_sum(Lanes a) { return vaddvq_f32(a); }
/* the sums of four */
static inline Lanes lanes_sums(Lanes a, Lanes b, Lanes c, Lanes d) {
    return vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d));
}
static inline float lanes_largest(Lanes a) { return vmaxvq_f32(a); }
static inline float lanes_smallest(Lanes a) { return vminvq_f32(a); }
/* 2^n, with n = -126..127 in the low bits of a sum with ROUNDING + 127 */
static inline Lanes lanes_power_of_2(Lanes sum) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vreinterpretq_s32_f32(sum), 23));
}
/* Rounds 16 numbers below 2^15 to integers, ties to even; adds `zero` and keeps to int8's range. */
static inline void lanes_store_int8(int8_t *p, Lanes a, Lanes b, Lanes c, Lanes d, int32_t zero) {
    int16x8_t add = vdupq_n_s16((int16_t)zero);
    int16x8_t low = vqmovn_high_s32(vqmovn_s32(vcvtnq_s32_f32(a)), vcvtnq_s32_f32(b));
    int16x8_t high = vqmovn_high_s32(vqmovn_s32(vcvtnq_s32_f32(c)), vcvtnq_s32_f32(d));
    vst1q_s8(p, vqmovn_high_s16(vqmovn_s16(vqaddq_s16(low, add)), vqaddq_s16(high, add)));
}

#elif defined(__AVX2__) && defined(__FMA__) && !defined(KERNELS_PLAIN)
#include <immintrin.h>

typedef __m128 Lanes;

static inline Lanes lanes_load(const float *p) { return _mm_loadu_ps(p); }
static inline void lanes_store(float *p, Lanes a) { _mm_storeu_ps(p, a); }
static inline Lanes lanes_all(float x) { return _mm_set1_ps(x); }
static inline Lanes lanes_add(Lanes a, Lanes b) { return _mm_add_ps(a, b); }
static inline Lanes lanes_subtract(Lanes a, Lanes b) { return _mm_sub_ps(a, b); }
static inline Lanes lanes_multiply(Lanes a, Lanes b) { return _mm_mul_ps(a, b); }
static inline Lanes lanes_divide(Lanes a, Lanes b) { return _mm_div_ps(a, b); }
static inline Lanes lanes_fma(Lanes a, Lanes b, Lanes c) { return _mm_fmadd_ps(a, b, c); }
static inline Lanes lanes_max(Lanes a, Lanes b) { return _mm_max_ps(a, b); }
static inline Lanes lanes_min(Lanes a, Lanes b) { return _mm_min_ps(a, b); }
static inline Lanes lanes_sums(Lanes a, Lanes b, Lanes c, Lanes d) {
    return _mm_hadd_ps(_mm_hadd_ps(a, b), _mm_hadd_ps(c, d));
}
static inline float lanes_sum(Lanes a) { return _mm_cvtss_f32(lanes_sums(a, a, a, a)); }
static inline float lanes_largest(Lanes a) {
    a = _mm_max_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)));
}
static inline float lanes_smallest(Lanes a) {
    a = _mm_min_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_min_ss(a, _mm_movehdup_ps(a)));
}
static inline Lanes lanes_power_of_2(Lanes sum) { return _mm_castsi128_ps(_mm_slli_epi32(_mm_castps_si128(sum), 23)); }
static inline void lanes_store_int8(int8_t *p, Lanes a, Lanes b, Lanes c, Lanes d, int32_t zero) {
    __m128i add = _mm_set1_epi16((int16_t)zero);
    __m128i low = _mm_packs_epi32(_mm_cvtps_epi32(a), _mm_cvtps_epi32(b));
    __m128i high = _mm_packs_epi32(_mm_cvtps_epi32(c), _mm_cvtps_epi32(d));
    _mm_storeu_si128((__m128i *)(void *)p, _mm_packs_epi16(_mm_adds_epi16(low, add), _mm_adds_epi16(high, add)));
}

#else
#include <math.h>

typedef struct {
    float lane[LANES];
} Lanes;

#define LANEWISE(result)                                  \
    Lanes r;                                              \
    for (int i = 0; i < LANES; i++) r.lane[i] = (result); \
    return r

static inline Lanes lanes_load(const float *p) {
    Lanes r;
    memcpy(r.lane, p, sizeof r.lane);
    return r;
}
static inline void lanes_store(float *p, Lanes a) { memcpy(p, a.lane, sizeof a.lane); }
static inline Lanes lanes_all(float x) { LANEWISE(x); }
static inline Lanes lanes_add(Lanes a, Lanes b) { LANEWISE(a.lane[i] + b.lane[i]); }
static inline Lanes lanes_subtract(Lanes a, Lanes b) { LANEWISE(a.lane[i] - b.lane[i]); }
static inline Lanes lanes_multiply(Lanes a, Lanes b) { LANEWISE(a.lane[i] * b.lane[i]); }
static inline Lanes lanes_divide(Lanes a, Lanes b) { LANEWISE(a.lane[i] / b.lane[i]); }
static inline Lanes lanes_fma(Lanes a, Lanes b, Lanes c) { LANEWISE(fmaf(a.lane[i], b.lane[i], c.lane[i])); }
static inline Lanes lanes_max(Lanes a, Lanes b) { LANEWISE(a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]); }
static inline Lanes lanes_min(Lanes a, Lanes b) { LANEWISE(a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]); }
static inline float lanes_sum(Lanes a) { return (a.lane[0] + a.lane[1]) + (a.lane[2] + a.lane[3]); }
static inline Lanes lanes_sums(Lanes a, Lanes b, Lanes c, Lanes d) {
    return (Lanes){{lanes_sum(a), lanes_sum(b), lanes_sum(c), lanes_sum(d)}};
}
static inline float lanes_largest(Lanes a) {
    float r = a.lane[0];
    for (int i = 1; i < LANES; i++) r = a.lane[i] > r ? a.lane[i] : r;
    return r;
}
static inline float lanes_smallest(Lanes a) {
    float r = a.lane[0];
    for (int i = 1; i < LANES; i++) r = a.lane[i] < r ? a.lane[i] : r;
    return r;
}
static inline Lanes lanes_power_of_2(Lanes sum) {
    uint32_t bits[LANES];
    memcpy(bits, sum.lane, sizeof bits);
    for (int i = 0; i < LANES; i++) bits[i] <<= 23;
    memcpy(sum.lane, bits, sizeof bits);
    return sum;
}
static inline void lanes_store_int8(int8_t *p, Lanes a, Lanes b, Lanes c, Lanes d, int32_t zero) {
    const Lanes parts[] = {a, b, c, d};
    for (int i = 0; i < 4 * LANES; i++) {
        int32_t q = (int32_t)((parts[i / LANES].lane[i % LANES] + ROUNDING) - ROUNDING) + zero;
        p[i] = (int8_t)(q < -128 ? -128 : q > 127 ? 127 : q);
    }
}
#undef LANEWISE
#endif

#if !defined(__aarch64__) || defined(KERNELS_PLAIN)
static inline void lanes_in_order(Lanes *a, const float **p) { (void)a, (void)p; }
#endif

/* the first n of 4 numbers, then zeros */
static inline Lanes lanes_load_part(const float *p, size_t n) {
    float part[LANES] = {0};
    memcpy(part, p, n * sizeof *part);
    return lanes_load(part);
}
static inline Lanes lanes_first(Lanes a, size_t n) {
    float all[LANES];
    lanes_store(all, a);
    return lanes_load_part(all, n);
}

/* e^x for x <= 0, at least e^-87; NaN stays NaN. The relative error is at most 3.8e-7 (2^-21.3), above x = -10 it is
 * 2e-7.
 *
 * x = n ln 2 + r, |r| <= ln 2 / 2. ln 2 as one float is exact enough: its error counts n times, but then e^x is small.
 * e^r = 1 + r + r^2 p(r), where p is fitted to the smallest largest relative error. */
static inline Lanes lanes_exp(Lanes x) {
    x = lanes_max(lanes_all(-87.0f), x);
    Lanes n = lanes_fma(x, lanes_all(1.44269504f), lanes_all(ROUNDING + 127.0f));
    Lanes r = lanes_fma(lanes_subtract(n, lanes_all(ROUNDING + 127.0f)), lanes_all(-0.693147181f), x);
    Lanes r2 = lanes_multiply(r, r);
    Lanes low = lanes_fma(r, lanes_all(0.166671142f), lanes_all(0.499992311f));
    Lanes high = lanes_fma(r, lanes_all(0.00831252523f), lanes_all(0.0418901145f));
    Lanes p = lanes_fma(high, r2, low);
    return lanes_multiply(lanes_fma(p, r2, lanes_add(r, lanes_all(1.0f))), lanes_power_of_2(n));
}

#endif
