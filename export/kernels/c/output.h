/* The output: its weights, and what a state says about the next token.
 *
 * Its fp32 weights are a matrix, and so are int8 ones where a set of instructions has no planes, or where each token needs
 * all logits, of which the planes' bounds say nothing. Logits are the same
 * bits in all ways. */
#ifndef TINYEDGE_OUTPUT_H
#define TINYEDGE_OUTPUT_H

#include <stddef.h>
#include <stdint.h>

#include "matrix.h"
#include "model.h"
#include "planes.h"
#include "pool.h"
#include "status.h"

typedef struct {
    const Kernels *kernels;
    size_t rows, width; /* tokens and inputs */
    int in_planes; /* which of the two is in use */
    Planes planes;
    Matrix matrix;
} Output;

/* The last token's state, its quantization, and memory for all logits: rows rounded up to FLOAT_PANEL. */
typedef struct {
    const float *state;
    Quantized quantized;
    float *logits;
    void *scratch; /* output_scratch() bytes, aligned to 64 */
    int backwards; /* the order in which the rows of planes are read, see planes_largest */
} OutputState;

Status output_pack(Output *output, MatrixSource source, size_t width, size_t rows, int all_logits,
                   const Kernels *kernels);
void output_free(Output *output);
size_t output_bytes(const Output *output);
size_t output_scratch(const Output *output);

/* Quantizes the state, if the weights are int8. KERNELS_NOT_FINITE: it has NaN or infinity. */
Status output_begin(const Output *output, const OutputState *of);

/* Computes all logits. KERNELS_NOT_FINITE: one of them is NaN or infinite; so below. */
Status output_logits(const Output *output, const Pool *pool, const OutputState *of);

/* The `count` largest logits, largest first, of equal ones the lowest id first; 1 <= count <= rows. */
Status output_largest(const Output *output, const Pool *pool, const OutputState *of, size_t count, int32_t *ids,
                      float *values);

#endif
