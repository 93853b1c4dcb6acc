/* Products with fp32 matrices. Each result is one chain of fused multiply-adds over the inputs in order, so it does not
 * depend on how many are computed at once. */
#ifndef TINYEDGE_FLOAT_PRODUCT_H
#define TINYEDGE_FLOAT_PRODUCT_H

#include <stddef.h>

#include "status.h"

#define FLOAT_PANEL 16 /* columns that lie together: a cache line of one input's weights */

typedef struct {
    size_t rows, columns; /* inputs and outputs */
    float *values;        /* (panels, rows, FLOAT_PANEL), the last panel filled up with zeros */
} FloatMatrix;

/* Packs values of shape (rows, columns), row-major; they may be unaligned. */
Status float_matrix_pack(FloatMatrix *matrix, const void *values, size_t rows, size_t columns);
void float_matrix_free(FloatMatrix *matrix);
size_t float_matrix_bytes(const FloatMatrix *matrix);

/* y[t * ldy + n] = sum_k x[t * ldx + k] * w[k][n] for t < tokens and n in [from, to), and for the other columns of the
 * panels in which these are: each row of y has room for columns rounded up to FLOAT_PANEL. */
void float_product(const FloatMatrix *matrix, const float *x, size_t ldx, size_t tokens, size_t from, size_t to,
                   float *y, size_t ldy);

#endif
