/* The functions that every instruction set has. All of them give the same integers. */
#ifndef TINYEDGE_CPU_H
#define TINYEDGE_CPU_H

#include <stddef.h>
#include <stdint.h>

#include "dots.h"
#include "planes.h"

/* A row's limits in one word: its step in the lowest 5 bits, 10 bits of its error (the norm of its doubled remainders,
 * rounded up), at the top 14 signed bits of the sum of its high nibbles. One word, because the bounds of all rows are
 * computed for each token, and reading 4 bytes instead of 12 saves as much as the shifts cost several times over. */
enum { LIMITS_ERROR_SHIFT = 5, LIMITS_SUM_SHIFT = 18, LIMITS_STEP_MASK = 31, LIMITS_ERROR_MASK = 1023 };

static inline int32_t limits_step(uint32_t limits) { return (int32_t)(limits & LIMITS_STEP_MASK); }
static inline int32_t limits_error(uint32_t limits) {
    return (int32_t)(limits >> LIMITS_ERROR_SHIFT & LIMITS_ERROR_MASK);
}
static inline int32_t limits_sum(uint32_t limits) { return (int32_t)limits >> LIMITS_SUM_SHIFT; }

/* A row of activations q as the planes need it; x = q - zero. */
typedef struct {
    const int8_t *q;
    int32_t zero;
    int32_t sum;  /* of x */
    int32_t base; /* the doubled score of a row is step * (2 * sum(q * stored high) - 2 * zero * high sum + base) */
    int32_t norm; /* Euclidean norm of x, rounded up */
} PlaneQuery;

struct Kernels {
    const char *name;
    /* int8_product */
    void (*product)(const Int8Matrix *matrix, const int8_t *q, const RowScale *rows, size_t tokens, size_t from,
                    size_t to, float *y, size_t ldy);
    /* For an output in planes; NULL in both: this set takes its matrix as it is, see output.h.
     * upper[n - from] = upper bound of row n's doubled score, for n in [from, to), both multiples of 4; see planes.c */
    void (*plane_bounds)(const Planes *planes, const PlaneQuery *query, size_t from, size_t to, int32_t *upper);
    /* low[n - from] = sum of row n's stored low nibbles times x, for n in [from, to) */
    void (*plane_low)(const Planes *planes, const PlaneQuery *query, size_t from, size_t to, int32_t *low);
};

extern const Kernels kernels_plain;
#if defined(__aarch64__)
extern const Kernels kernels_neon, kernels_dotprod;
#elif defined(__x86_64__)
extern const Kernels kernels_avx2, kernels_avx_vnni, kernels_avx512_vnni;
#endif

#endif
