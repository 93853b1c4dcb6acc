/* Work on single rows of activations between the products: quantization, norm, GELU.
 *
 * Bound by the latency of short chains; together a few percent of a step. */
#ifndef TINYEDGE_ROWS_H
#define TINYEDGE_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "dots.h"
#include "status.h"

/* Quantizes as ONNX's DynamicQuantizeLinear does, less 128: the range of x and 0 becomes -128..127. q has `stride`
 * bytes, a multiple of 16; those behind width become 0. */
Status quantize_row(const float *x, size_t width, size_t stride, int8_t *q, RowScale *row);

/* x = norm(x + y) * scale + bias. All rows have room for width rounded up to 4. */
void add_and_norm(float *x, const float *y, const float *scale, const float *bias, size_t width);

/* x = x * P(N <= x) for a standard normal N, the GELU with erf. x has room for width rounded up to 4. */
void gelu(float *x, size_t width);

/* KERNELS_NOT_FINITE: a number of x is NaN or infinite. */
Status require_finite(const float *x, size_t width);

#endif
