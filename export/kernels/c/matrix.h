/* A weight matrix of a block, int8 or fp32, and its product with rows of activations. */
#ifndef TINYEDGE_MATRIX_H
#define TINYEDGE_MATRIX_H

#include <stddef.h>

#include "dots.h"
#include "float_product.h"
#include "model.h"
#include "pool.h"
#include "status.h"

typedef struct {
    int is_int8; /* which of the two is in use */
    Int8Matrix int8;
    FloatMatrix fp32;
} Matrix;

/* Scratch of a product with an int8 matrix: (tokens, stride) and (tokens,). */
typedef struct {
    int8_t *q;
    RowScale *rows;
} Quantized;

Status matrix_pack(Matrix *matrix, MatrixSource source, size_t inputs, size_t outputs);
void matrix_free(Matrix *matrix);
size_t matrix_bytes(const Matrix *matrix);

/* Quantizes rows of x for products with an int8 matrix; for an fp32 one there is nothing to do. KERNELS_NOT_FINITE: NaN
 * or infinity in x. */
Status matrix_quantize(const Matrix *matrix, const float *x, size_t ldx, size_t tokens, Quantized to);

/* y[t][n] = sum_k x[t][k] * w[k][n] for n from `from`, a multiple of 4. Each row of y has room for the outputs rounded
 * up to FLOAT_PANEL, and what is before `from` in its panel is overwritten. x: for an fp32 matrix; quantized: for an
 * int8 one. */
void matrix_multiply(const Kernels *kernels, const Pool *pool, const Matrix *matrix, const float *x, size_t ldx,
                     size_t tokens, size_t from, float *y, size_t ldy, Quantized quantized);

/* Both. KERNELS_NOT_FINITE: NaN or infinity in x or y. */
Status matrix_product(const Kernels *kernels, const Pool *pool, const Matrix *matrix, const float *x, size_t ldx,
                      size_t tokens, size_t from, float *y, size_t ldy, Quantized scratch);

/* How many pieces work on `bytes` of weights is worth: a piece must outweigh the start of a thread. */
size_t pieces_worth(const Pool *pool, size_t bytes);

#endif
