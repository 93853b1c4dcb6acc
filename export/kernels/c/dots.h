/* Products of 8-bit activations with 8-bit weights, exact: every instruction set gives the same bits. */
#ifndef TINYEDGE_DOTS_H
#define TINYEDGE_DOTS_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

/* Of a tile of 4 rows, proved by the packer: 8 products fit a 16-bit lane, 4 (and a pair, for AVX2), or only one. */
enum { FITS_8, FITS_4, FITS_1 };

/* A weight matrix, one row for each output. Padding (columns up to the stride, rows up to a multiple of 4) is zero.
 *
 * Four rows are a tile: 64 columns of each of them, then the next 64 columns, so that a kernel reads one stream. */
typedef struct {
    size_t rows, width; /* outputs and inputs */
    size_t stride;      /* bytes of a row: width rounded up to 64 */
    int8_t *values;     /* (rows / 4 rounded up, stride / 64, 4, 64), aligned to 64 bytes */
    int32_t *sums;      /* of each row's values, as many as rows rounded up to 4 */
    uint8_t *fits;      /* of each 4 rows: how many products the fast kernels may add in 16 bits */
    float scale;
} Int8Matrix;

/* How a row of activations was quantized: value = scale * (q - zero), zero in -128..127. */
typedef struct {
    float scale;
    int32_t zero;
} RowScale;

/* The functions of one instruction set; their table is in cpu.h. */
typedef struct Kernels Kernels;

/* The best set that this CPU has. */
const Kernels *kernels_best(void);
/* A set by its name (avx512-vnni avx-vnni avx2 dotprod neon plain); NULL if this CPU or this build lacks it. */
const Kernels *kernels_named(const char *name);
const char *kernels_name(const Kernels *kernels);

/* Packs values of shape (width, rows), row-major as ONNX stores them. The matrix owns its memory afterwards. */
Status int8_matrix_pack(Int8Matrix *matrix, const int8_t *values, size_t width, size_t rows, float scale);
void int8_matrix_free(Int8Matrix *matrix);
size_t int8_matrix_bytes(const Int8Matrix *matrix);

/* y[t * ldy + n] = (float)sum_k((q[t][k] - zero) * w[n][k]) * (rows[t].scale * scale), for t < tokens, n in [from, to).
 *
 * q: (tokens, stride), zero beyond width. from: a multiple of 4. Up to 3 floats of y behind `to` are written too, if
 * `to` is not a multiple of 4, so each row of y has room for rows rounded up to 4. A token's results depend on its row
 * alone. */
void int8_product(const Kernels *kernels, const Int8Matrix *matrix, const int8_t *q, const RowScale *rows,
                  size_t tokens, size_t from, size_t to, float *y, size_t ldy);

#endif
