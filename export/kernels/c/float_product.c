/* Products with fp32 matrices, in tiles of one panel by 4 tokens. One token is bound by reading the weights once from
 * memory; several are bound by multiplication: a load of 16 weights serves 4 tokens, and all 16 sums stay in registers.
 */
#include "float_product.h"

#include <string.h>

#include "lanes.h"
#include "memory.h"

#define TOKENS 4

/* The chains are independent, so AVX can take 8 at a time; elsewhere these are the 4 of lanes.h. */
#if defined(__AVX2__) && defined(__FMA__) && !defined(KERNELS_PLAIN)
typedef __m256 Wide;
#define WIDE 8
#define wide_load _mm256_loadu_ps
#define wide_store _mm256_storeu_ps
#define wide_all _mm256_set1_ps
#define wide_fma _mm256_fmadd_ps
#else
typedef Lanes Wide;
#define WIDE LANES
#define wide_load lanes_load
#define wide_store lanes_store
#define wide_all lanes_all
#define wide_fma lanes_fma
#endif
#define PARTS (FLOAT_PANEL / WIDE)

Status float_matrix_pack(FloatMatrix *matrix, const void *values, size_t rows, size_t columns) {
    size_t panels = round_up(columns, FLOAT_PANEL) / FLOAT_PANEL;
    *matrix = (FloatMatrix){rows, columns, allocate(saturating_product(panels, rows), FLOAT_PANEL * sizeof(float))};
    if (!matrix->values) return KERNELS_NO_MEMORY;
    const char *from = values;
    for (size_t k = 0; k < rows; k++)
        for (size_t panel = 0; panel < panels; panel++) {
            float *to = matrix->values + (panel * rows + k) * FLOAT_PANEL;
            size_t first = panel * FLOAT_PANEL, n = columns - first < FLOAT_PANEL ? columns - first : FLOAT_PANEL;
            memcpy(to, from + (k * columns + first) * sizeof *to, n * sizeof *to);
            memset(to + n, 0, (FLOAT_PANEL - n) * sizeof *to);
        }
    return KERNELS_OK;
}

void float_matrix_free(FloatMatrix *matrix) {
    free(matrix->values);
    matrix->values = NULL;
}

size_t float_matrix_bytes(const FloatMatrix *matrix) {
    return matrix->values ? round_up(matrix->columns, FLOAT_PANEL) * matrix->rows * sizeof(float) : 0;
}

INLINE void add_products(const float *weights, const float *x, size_t ldx, size_t tokens, Wide sums[TOKENS][PARTS]) {
    for (size_t t = 0; t < tokens; t++)
        for (size_t i = 0; i < PARTS; i++)
            sums[t][i] = wide_fma(wide_all(x[t * ldx]), wide_load(weights + i * WIDE), sums[t][i]);
}

/* One panel of `tokens` rows, a constant. */
INLINE void tile(const float *weights, size_t rows, const float *x, size_t ldx, size_t tokens, float *restrict y,
                 size_t ldy) {
    Wide sums[TOKENS][PARTS];
    size_t k = 0, whole = rows - rows % 4;
    for (size_t t = 0; t < tokens; t++)
        for (size_t i = 0; i < PARTS; i++) sums[t][i] = wide_all(0.0f);
    for (; k < whole; k += 4)
        for (size_t j = 0; j < 4; j++) add_products(weights + (k + j) * FLOAT_PANEL, x + k + j, ldx, tokens, sums);
    for (; k < rows; k++) add_products(weights + k * FLOAT_PANEL, x + k, ldx, tokens, sums);
    for (size_t t = 0; t < tokens; t++)
        for (size_t i = 0; i < PARTS; i++) wide_store(y + t * ldy + i * WIDE, sums[t][i]);
}

void float_product(const FloatMatrix *matrix, const float *x, size_t ldx, size_t tokens, size_t from, size_t to,
                   float *y, size_t ldy) {
    for (size_t n = from - from % FLOAT_PANEL; n < to; n += FLOAT_PANEL) {
        const float *weights = matrix->values + n * matrix->rows;
        size_t t = 0;
        for (; t + TOKENS <= tokens; t += TOKENS)
            tile(weights, matrix->rows, x + t * ldx, ldx, TOKENS, y + t * ldy + n, ldy);
        for (; t < tokens; t++) tile(weights, matrix->rows, x + t * ldx, ldx, 1, y + t * ldy + n, ldy);
    }
}
