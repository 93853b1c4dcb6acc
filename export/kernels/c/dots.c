/* Products of 8-bit activations with 8-bit weights: packing, and the plain loops that define them.
 *
 * A token's products are bound by reading the weights once; many tokens' by multiplications. A tile of 4 rows is one
 * stream of lines, since a Cortex-A53 follows no more than two, and ends with 4 sums in one vector.
 *
 * The fast kernels of NEON and AVX2 add a few products in 16 bits. int8_matrix_pack looks at every weight and notes for
 * each tile of 4 rows how many products never overflow, whatever the activations; where few do, a slower way gives the
 * same result. */
#include "dots.h"

#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "transpose.h"

enum { TILE = 4, COLUMNS = 64, ALIGNMENT = 64 };

static size_t rounded_up(size_t n, size_t to) { return (n + to - 1) / to * to; }
static int16_t larger(int16_t a, int16_t b) { return a > b ? a : b; }

/* How many products fit a 16-bit lane. NEON adds those of weights that are 8 apart: their absolute values may sum to
 * 255, since activations reach -128 and 128 * 255 < 2^15. AVX2 adds the products of 2 neighbours after a sign change,
 * which -128 does not survive; without it, 2 * 128 * 127 < 2^15. */
static uint8_t fit_of(const int8_t *row, size_t stride) {
    enum { LANES = 8, LARGEST_SUM = 255 };
    int16_t of_4[LANES] = {0}, of_8[LANES] = {0};
    for (const int8_t *w = row; w < row + stride; w += 8 * LANES) {
        for (size_t i = 0; i < LANES; i++) {
            const int8_t *low = w + i, *high = low + 4 * LANES;
            int16_t a = (int16_t)(abs(low[0]) + abs(low[LANES]) + abs(low[2 * LANES]) + abs(low[3 * LANES]));
            int16_t b = (int16_t)(abs(high[0]) + abs(high[LANES]) + abs(high[2 * LANES]) + abs(high[3 * LANES]));
            of_4[i] = larger(of_4[i], larger(a, b));
            of_8[i] = larger(of_8[i], (int16_t)(a + b));
        }
    }
    for (size_t i = 1; i < LANES; i++) {
        of_4[0] = larger(of_4[0], of_4[i]);
        of_8[0] = larger(of_8[0], of_8[i]);
    }
    if (*of_4 > LARGEST_SUM || memchr(row, INT8_MIN, stride)) return FITS_1;
    return *of_8 > LARGEST_SUM ? FITS_4 : FITS_8;
}

/* Where 64 columns from k of row n are. */
static int8_t *columns_at(const Int8Matrix *matrix, size_t n, size_t k) {
    return matrix->values + n / TILE * TILE * matrix->stride + k * TILE + n % TILE * COLUMNS;
}

Status int8_matrix_pack(Int8Matrix *matrix, const int8_t *values, size_t width, size_t rows, float scale) {
    enum { AT_ONCE = 64 }; /* rows: a line of the source then stays in the cache until all of it is used */
    size_t stride = rounded_up(width, COLUMNS), padded = rounded_up(rows, TILE);
    size_t bytes = padded * stride + padded * sizeof(int32_t) + padded / TILE;
    int8_t *memory = aligned_alloc(ALIGNMENT, rounded_up(bytes, ALIGNMENT));
    int8_t *block = calloc(AT_ONCE, stride);
    if (!memory || !block) {
        free(memory);
        free(block);
        *matrix = (Int8Matrix){0};
        return KERNELS_NO_MEMORY;
    }
    memset(memory, 0, bytes);
    *matrix = (Int8Matrix){.rows = rows, .width = width, .stride = stride, .values = memory, .scale = scale};
    matrix->sums = (int32_t *)(void *)(memory + padded * stride);
    matrix->fits = (uint8_t *)(matrix->sums + padded);

    for (size_t first = 0; first < rows; first += AT_ONCE) {
        size_t present = rows - first < AT_ONCE ? rows - first : AT_ONCE;
        transpose(values + first, rows, width, present, block, stride);
        for (size_t n = first; n < first + present; n++) {
            const int8_t *row = block + (n - first) * stride;
            int32_t sum = 0;
            for (size_t k = 0; k < width; k++) sum += row[k];
            matrix->sums[n] = sum;
            uint8_t *fits = matrix->fits + n / TILE, fit = fit_of(row, stride);
            if (fit > *fits) *fits = fit;
            for (size_t k = 0; k < stride; k += COLUMNS) memcpy(columns_at(matrix, n, k), row + k, COLUMNS);
        }
    }
    free(block);
    return KERNELS_OK;
}

void int8_matrix_free(Int8Matrix *matrix) {
    free(matrix->values); /* and what lies behind them */
    memset(matrix, 0, sizeof *matrix);
}

size_t int8_matrix_bytes(const Int8Matrix *matrix) {
    size_t padded = rounded_up(matrix->rows, TILE);
    return padded * matrix->stride + padded * sizeof(int32_t) + padded / TILE;
}

void int8_product(const Kernels *kernels, const Int8Matrix *matrix, const int8_t *q, const RowScale *rows,
                  size_t tokens, size_t from, size_t to, float *y, size_t ldy) {
    kernels->product(matrix, q, rows, tokens, from, to, y, ldy);
}

static void product(const Int8Matrix *matrix, const int8_t *q, const RowScale *rows, size_t tokens, size_t from,
                    size_t to, float *y, size_t ldy) {
    for (size_t t = 0; t < tokens; t++) {
        for (size_t n = from; n < to; n++) {
            int32_t sum = 0;
            for (size_t k = 0; k < matrix->width; k++)
                sum += (q[t * matrix->stride + k] - rows[t].zero) *
                       columns_at(matrix, n, k / COLUMNS * COLUMNS)[k % COLUMNS];
            y[t * ldy + n] = (float)sum * (rows[t].scale * matrix->scale);
        }
    }
}

/* A nibble of 64 columns of a plane: the first 32 are the low halves of 32 bytes, the others the high halves. */
static int nibble(const uint8_t *columns, size_t k) {
    uint8_t byte = columns[k % 32];
    return k % 64 < 32 ? byte & 15 : byte >> 4;
}

static void plane_bounds(const Planes *planes, const PlaneQuery *query, size_t from, size_t to, int32_t *upper) {
    for (size_t n = from; n < to; n++) {
        int32_t high = 0;
        for (size_t k = 0; k < planes->stride; k++)
            high += query->q[k] * nibble(planes->high + high_offset(planes, n, k / 64 * 64), k);
        uint32_t limits = planes->limits[n];
        int32_t score = limits_step(limits) * (2 * high - 2 * query->zero * limits_sum(limits) + query->base);
        upper[n - from] = score + limits_error(limits) * query->norm;
    }
}

static void plane_low(const Planes *planes, const PlaneQuery *query, size_t from, size_t to, int32_t *low) {
    for (size_t n = from; n < to; n++) {
        low[n - from] = 0;
        for (size_t k = 0; k < planes->stride; k++)
            low[n - from] += (query->q[k] - query->zero) * nibble(planes->low + (n * planes->stride + k / 64 * 64) / 2, k);
    }
}

const Kernels kernels_plain = {"plain", product, plane_bounds, plane_low};
