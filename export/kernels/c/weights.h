/* A model's weights as the decoder reads them. */
#ifndef TINYEDGE_WEIGHTS_H
#define TINYEDGE_WEIGHTS_H

#include <stdint.h>

#include "matrix.h"
#include "model.h"
#include "output.h"

typedef struct {
    Matrix qkv, out, linear1, linear2;
    float *norm1_scale, *norm1_bias, *norm2_scale, *norm2_bias; /* zeros up to a multiple of 4 */
} Block;

struct Model {
    const Kernels *kernels;
    size_t vocab_size, width, attended, feedforward, heads, head_width, layers,
        context; /* attended: heads * head_width */
    float attention_scale;
    int8_t *embedding_int8; /* (vocab_size, width), or NULL: the fp32 table is in use */
    float *embedding_fp32;
    float embedding_scale;
    float *positions; /* (context, width) */
    Block *blocks;
    Output output;
};

#endif
