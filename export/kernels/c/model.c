/* Packs a model's weights out of the arrays of a bundle. */
#include <string.h>

#include "lanes.h"
#include "memory.h"
#include "weights.h"

/* A copy with zeros up to `room` items; NULL without memory. */
static void *copy(const void *from, size_t count, size_t room, size_t size) {
    char *to = allocate(room, size);
    if (!to) return NULL;
    memcpy(to, from, count * size);
    memset(to + count * size, 0, (room - count) * size);
    return to;
}

static Status copy_embedding(Model *model, const Source *source) {
    size_t count = saturating_product(model->vocab_size, model->width);
    if (source->embedding.scale) {
        memcpy(&model->embedding_scale, source->embedding.scale, sizeof model->embedding_scale);
        model->embedding_int8 = copy(source->embedding.values, count, count, 1);
    } else {
        model->embedding_fp32 = copy(source->embedding.values, count, count, sizeof(float));
    }
    count = saturating_product(model->context, model->width);
    model->positions = copy(source->positions, count, count, sizeof(float));
    return model->positions && (model->embedding_int8 || model->embedding_fp32) ? KERNELS_OK : KERNELS_NO_MEMORY;
}

static Status pack_block(const Model *model, Block *block, const BlockSource *source) {
    size_t width = model->width, room = round_up(width, LANES);
    Status status = matrix_pack(&block->qkv, source->qkv, width, 3 * model->attended);
    if (!status) status = matrix_pack(&block->out, source->out, model->attended, width);
    if (!status) status = matrix_pack(&block->linear1, source->linear1, width, model->feedforward);
    if (!status) status = matrix_pack(&block->linear2, source->linear2, model->feedforward, width);
    if (status) return status;
    block->norm1_scale = copy(source->norm1_scale, width, room, sizeof(float));
    block->norm1_bias = copy(source->norm1_bias, width, room, sizeof(float));
    block->norm2_scale = copy(source->norm2_scale, width, room, sizeof(float));
    block->norm2_bias = copy(source->norm2_bias, width, room, sizeof(float));
    return block->norm1_scale && block->norm1_bias && block->norm2_scale && block->norm2_bias ? KERNELS_OK
                                                                                              : KERNELS_NO_MEMORY;
}

Status model_create(const Config *config, const Source *source, const Kernels *kernels, Model **created) {
    *created = NULL;
    Model *model = calloc(1, sizeof *model);
    if (!model) return KERNELS_NO_MEMORY;
    model->kernels = kernels;
    model->vocab_size = (size_t)config->vocab_size;
    model->width = (size_t)config->d_model;
    model->heads = (size_t)config->heads;
    model->head_width = (size_t)config->head_width;
    model->attended = model->heads * model->head_width;
    model->feedforward = (size_t)config->feedforward;
    model->layers = (size_t)config->layers;
    model->context = (size_t)config->context;
    model->attention_scale = config->attention_scale;
    model->blocks = calloc(model->layers, sizeof *model->blocks);
    Status status = model->blocks ? copy_embedding(model, source) : KERNELS_NO_MEMORY;
    for (size_t i = 0; i < model->layers && !status; i++)
        status = pack_block(model, &model->blocks[i], &source->blocks[i]);
    if (!status)
        status = output_pack(&model->output, source->output, model->width, model->vocab_size, config->all_logits, kernels);
    if (status)
        model_free(model);
    else
        *created = model;
    return status;
}

void model_free(Model *model) {
    if (!model) return;
    for (size_t i = 0; i < model->layers && model->blocks; i++) {
        Block *block = &model->blocks[i];
        matrix_free(&block->qkv);
        matrix_free(&block->out);
        matrix_free(&block->linear1);
        matrix_free(&block->linear2);
        free(block->norm1_scale);
        free(block->norm1_bias);
        free(block->norm2_scale);
        free(block->norm2_bias);
    }
    output_free(&model->output);
    free(model->embedding_int8);
    free(model->embedding_fp32);
    free(model->positions);
    free(model->blocks);
    free(model);
}

size_t model_bytes(const Model *model) {
    size_t embedding = model->vocab_size * model->width * (model->embedding_int8 ? 1 : sizeof(float));
    size_t bytes = sizeof *model + embedding + model->context * model->width * sizeof(float);
    for (size_t i = 0; i < model->layers; i++) {
        const Block *block = &model->blocks[i];
        bytes += sizeof *block + 4 * round_up(model->width, LANES) * sizeof(float);
        bytes += matrix_bytes(&block->qkv) + matrix_bytes(&block->out);
        bytes += matrix_bytes(&block->linear1) + matrix_bytes(&block->linear2);
    }
    return bytes + output_bytes(&model->output);
}
