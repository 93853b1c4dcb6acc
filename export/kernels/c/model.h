/* A model's weights, packed once for the kernels. Read-only afterwards: any number of decoders and threads share it. */
#ifndef TINYEDGE_MODEL_H
#define TINYEDGE_MODEL_H

#include <stddef.h>

#include "dots.h"
#include "status.h"

/* head_width: width of a head in the cache, a multiple of 8; a narrower head is padded with zeros.
 * attention_scale: factor of the scores, from the width without padding. */
typedef struct {
    int vocab_size, d_model, heads, head_width, layers, feedforward, context;
    float attention_scale;
    int all_logits; /* whether each token needs all logits, so that the output is packed for that */
} Config;

/* A matrix as a bundle stores it, (inputs, outputs), row-major. Values may be unaligned.
 * scale: of int8 values; NULL if the values are fp32. */
typedef struct {
    const void *values;
    const float *scale;
} MatrixSource;

/* Shapes, with A = heads * head_width: qkv (d_model, 3 A), out (A, d_model), linear1 (d_model, feedforward),
 * linear2 (feedforward, d_model), norms (d_model,) in fp32. */
typedef struct {
    MatrixSource qkv, out, linear1, linear2;
    const void *norm1_scale, *norm1_bias, *norm2_scale, *norm2_bias;
} BlockSource;

/* embedding (vocab_size, d_model), positions (context, d_model) in fp32, output (d_model, vocab_size). */
typedef struct {
    MatrixSource embedding;
    const void *positions;
    const BlockSource *blocks; /* as many as config.layers */
    MatrixSource output;
} Source;

typedef struct Model Model;

/* Copies everything out of the source, which can be freed afterwards. The caller has checked all sizes. */
Status model_create(const Config *config, const Source *source, const Kernels *kernels, Model **model);
void model_free(Model *model); /* NULL is fine */
size_t model_bytes(const Model *model);

#endif
