/* A weight matrix of a block, int8 or fp32. The products themselves are in dots.c and float_product.c. */
#include "matrix.h"

#include <string.h>

#include "memory.h"
#include "rows.h"

#define BYTES_PER_PIECE 131072 /* about 15 us of a Cortex-A53, several times what it costs to wake a thread */

typedef struct {
    const Kernels *kernels;
    const Matrix *matrix;
    const float *x;
    size_t ldx, tokens, from, to, step;
    float *y;
    size_t ldy;
    Quantized scratch;
} Product;

Status matrix_pack(Matrix *matrix, MatrixSource source, size_t inputs, size_t outputs) {
    matrix->is_int8 = source.scale != NULL;
    if (!matrix->is_int8) return float_matrix_pack(&matrix->fp32, source.values, inputs, outputs);
    float scale;
    memcpy(&scale, source.scale, sizeof scale);
    return int8_matrix_pack(&matrix->int8, source.values, inputs, outputs, scale);
}

void matrix_free(Matrix *matrix) {
    if (matrix->is_int8)
        int8_matrix_free(&matrix->int8);
    else
        float_matrix_free(&matrix->fp32);
}

size_t matrix_bytes(const Matrix *matrix) {
    return matrix->is_int8 ? int8_matrix_bytes(&matrix->int8) : float_matrix_bytes(&matrix->fp32);
}

size_t pieces_worth(const Pool *pool, size_t bytes) {
    size_t pieces = bytes / BYTES_PER_PIECE, threads = pool_threads(pool);
    return pieces > threads ? threads : pieces ? pieces : 1;
}

static void multiply_piece(void *argument, size_t index) {
    const Product *p = argument;
    size_t from = p->from + index * p->step, to = p->to - from < p->step ? p->to : from + p->step;
    if (p->matrix->is_int8)
        int8_product(p->kernels, &p->matrix->int8, p->scratch.q, p->scratch.rows, p->tokens, from, to, p->y, p->ldy);
    else
        float_product(&p->matrix->fp32, p->x, p->ldx, p->tokens, from, to, p->y, p->ldy);
}

Status matrix_quantize(const Matrix *matrix, const float *x, size_t ldx, size_t tokens, Quantized to) {
    const Int8Matrix *m = &matrix->int8;
    Status status = KERNELS_OK;
    for (size_t t = 0; t < tokens && matrix->is_int8 && !status; t++)
        status = quantize_row(x + t * ldx, m->width, m->stride, to.q + t * m->stride, to.rows + t);
    return status;
}

void matrix_multiply(const Kernels *kernels, const Pool *pool, const Matrix *matrix, const float *x, size_t ldx,
                     size_t tokens, size_t from, float *y, size_t ldy, Quantized quantized) {
    size_t to = matrix->is_int8 ? matrix->int8.rows : matrix->fp32.columns;
    if (!matrix->is_int8) from -= from % FLOAT_PANEL; /* pieces that share a panel would both write it */
    size_t pieces = pieces_worth(pool, matrix_bytes(matrix));
    size_t step = round_up((to - from + pieces - 1) / pieces, FLOAT_PANEL);
    Product product = {kernels, matrix, x, ldx, tokens, from, to, step, y, ldy, quantized};
    pool_run(pool, multiply_piece, &product, (to - from + step - 1) / step);
}

Status matrix_product(const Kernels *kernels, const Pool *pool, const Matrix *matrix, const float *x, size_t ldx,
                      size_t tokens, size_t from, float *y, size_t ldy, Quantized scratch) {
    Status status = matrix_quantize(matrix, x, ldx, tokens, scratch);
    if (status) return status;
    matrix_multiply(kernels, pool, matrix, x, ldx, tokens, from, y, ldy, scratch);
    for (size_t t = 0; t < tokens && !matrix->is_int8; t++)
        if (require_finite(y + t * ldy + from, matrix->fp32.columns - from)) return KERNELS_NOT_FINITE;
    return KERNELS_OK;
}
