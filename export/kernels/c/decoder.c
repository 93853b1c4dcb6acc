/* A decoder-only transformer, post-norm, with the cache of one text.
 *
 * Tokens are processed in chunks of rows, so that scratch is small and stays in the second-level cache. Rows depend on
 * each other only through the cache: a block's keys and values of all rows come first, then everything else of each row
 * alone. So threads divide the rows and meet once a block. A single row's products are divided by outputs instead,
 * where they are large. The last block computes only keys and values, except for the last token. */
#include "decoder.h"

#include <stdlib.h>
#include <string.h>

#include "attention.h"
#include "lanes.h"
#include "memory.h"
#include "rows.h"
#include "weights.h"

#define CHUNK 96         /* rows at a time: enough to use each weight often, few enough for the caches */
#define ROWS_PER_PIECE 4 /* fewer rows are not worth a thread, and the products take up to 4 rows at once */
#define PIECES (CHUNK / ROWS_PER_PIECE)
#define ARRAYS 14

struct Decoder {
    const Model *model;
    void *owned[ARRAYS]; /* all arrays below */
    size_t owned_count;
    int incomplete; /* whether one of them could not be allocated */
    float *cache;   /* (layers, keys and values, heads, context, head_width) */

    /* Scratch, CHUNK rows each; a row's width is rounded up to FLOAT_PANEL. */
    size_t ld_x, ld_qkv, ld_attended, ld_wide, q_stride;
    float *x, *qkv, *attended, *wide, *change; /* change: what a block adds to x, as wide as x */
    Quantized quantized;
    float *scores; /* (PIECES, context rounded up to 4) */

    OutputState output; /* about the last token; its state is a row of x, or NULL: there is none */
    /* The largest logits with their ids and weights; there is room for all. */
    float *largest;
    int32_t *ids;
    double *weights;
};

/* Work on some rows of a chunk. */
typedef struct {
    Decoder *decoder;
    const Pool *pool; /* for the products of these rows */
    const int32_t *tokens;
    size_t start, rows, pieces;
    size_t layer;
    int is_last; /* whether the last row is the text's last token */
    Status status[PIECES];
} Chunk;

static size_t largest_of_3(size_t a, size_t b, size_t c) { return a > b ? (a > c ? a : c) : (b > c ? b : c); }

/* Memory that decoder_free frees. Arrays are allocated one by one, so that a sanitizer sees where each of them ends. */
static void *take(Decoder *d, size_t count, size_t size) {
    void *memory = allocate(count, size);
    if (!memory) d->incomplete = 1;
    d->owned[d->owned_count++] = memory;
    return memory;
}

Status decoder_create(const Model *m, Decoder **created) {
    *created = NULL;
    Decoder *d = calloc(1, sizeof *d);
    if (!d) return KERNELS_NO_MEMORY;
    size_t context = round_up(m->context, LANES), vocab = round_up(m->vocab_size, FLOAT_PANEL);
    size_t inputs = largest_of_3(m->width, m->attended, m->feedforward); /* of the widest product */
    size_t layer = saturating_product(saturating_product(2 * m->attended, m->context), sizeof(float));
    d->model = m;
    d->ld_x = round_up(m->width, FLOAT_PANEL);
    d->ld_qkv = round_up(3 * m->attended, FLOAT_PANEL);
    d->ld_attended = round_up(m->attended, FLOAT_PANEL);
    d->ld_wide = round_up(m->feedforward, FLOAT_PANEL);
    d->q_stride = round_up(inputs, ALIGNMENT);
    d->cache = take(d, m->layers, layer);
    d->x = take(d, CHUNK * sizeof(float), d->ld_x);
    d->qkv = take(d, CHUNK * sizeof(float), d->ld_qkv);
    d->attended = take(d, CHUNK * sizeof(float), d->ld_attended);
    d->wide = take(d, CHUNK * sizeof(float), d->ld_wide);
    d->change = take(d, CHUNK * sizeof(float), d->ld_x);
    d->quantized.q = take(d, CHUNK, d->q_stride);
    d->quantized.rows = take(d, CHUNK, sizeof(RowScale));
    d->scores = take(d, PIECES * sizeof(float), context);
    d->output.quantized = d->quantized;
    d->output.logits = take(d, vocab, sizeof(float));
    d->output.scratch = take(d, 1, output_scratch(&m->output));
    d->largest = take(d, vocab, sizeof(float));
    d->ids = take(d, vocab, sizeof(int32_t));
    d->weights = take(d, vocab, sizeof(double));
    if (d->incomplete) {
        decoder_free(d);
        return KERNELS_NO_MEMORY;
    }
    *created = d;
    return KERNELS_OK;
}

void decoder_free(Decoder *d) {
    for (size_t i = 0; d && i < d->owned_count; i++) free(d->owned[i]);
    free(d);
}

/* The keys of a head, or its values (kind 1). */
static float *cached(const Decoder *d, size_t layer, size_t kind, size_t head) {
    const Model *m = d->model;
    return d->cache + ((layer * 2 + kind) * m->heads + head) * m->context * m->head_width;
}

static void embed(const Model *m, int32_t token, size_t position, float *x) {
    const float *p = m->positions + position * m->width;
    size_t from = (size_t)token * m->width;
    if (m->embedding_int8) {
        const int8_t *e = m->embedding_int8 + from;
        for (size_t i = 0; i < m->width; i++) x[i] = (float)e[i] * m->embedding_scale + p[i];
    } else {
        const float *e = m->embedding_fp32 + from;
        for (size_t i = 0; i < m->width; i++) x[i] = e[i] + p[i];
    }
}

/* Scratch of the products of rows from `row`. */
static Quantized quantized_from(const Decoder *d, size_t row) {
    return (Quantized){d->quantized.q + row * d->q_stride, d->quantized.rows + row};
}

static Status project(const Chunk *c, size_t row, size_t end, size_t from) {
    Decoder *d = c->decoder;
    return matrix_product(d->model->kernels, c->pool, &d->model->blocks[c->layer].qkv, d->x + row * d->ld_x, d->ld_x,
                          end - row, from, d->qkv + row * d->ld_qkv, d->ld_qkv, quantized_from(d, row));
}

/* Queries, keys and values of rows; keys and values go to the cache. In the last block, only the last token's query. */
static Status begin_block(const Chunk *c, size_t row, size_t end) {
    Decoder *d = c->decoder;
    const Model *m = d->model;
    size_t queries = row; /* the first row that needs queries */
    if (c->layer + 1 == m->layers) queries = c->is_last && end == c->rows ? end - 1 : end;
    if (row < queries && project(c, row, queries, m->attended)) return KERNELS_NOT_FINITE;
    if (queries < end && project(c, queries, end, 0)) return KERNELS_NOT_FINITE;
    for (size_t head = 0; head < m->heads; head++) {
        float *keys = cached(d, c->layer, 0, head) + c->start * m->head_width;
        float *values = cached(d, c->layer, 1, head) + c->start * m->head_width;
        for (size_t t = row; t < end; t++) {
            const float *key = d->qkv + t * d->ld_qkv + m->attended + head * m->head_width;
            memcpy(keys + t * m->head_width, key, m->head_width * sizeof *key);
            memcpy(values + t * m->head_width, key + m->attended, m->head_width * sizeof *key);
        }
    }
    return KERNELS_OK;
}

typedef struct {
    const Chunk *chunk;
    size_t layer, row, end, pieces;
    float *scores;
} Attention;

/* Attention of rows in a piece of the heads. */
static void attend_heads(void *argument, size_t piece) {
    const Attention *a = argument;
    Decoder *d = a->chunk->decoder;
    const Model *m = d->model;
    float *scores = a->scores + piece * round_up(m->context, LANES);
    for (size_t head = m->heads * piece / a->pieces; head < m->heads * (piece + 1) / a->pieces; head++)
        for (size_t row = a->row; row < a->end; row++)
            attend(d->qkv + row * d->ld_qkv + head * m->head_width, cached(d, a->layer, 0, head),
                   cached(d, a->layer, 1, head), a->chunk->start + row + 1, m->head_width, m->attention_scale, scores,
                   d->attended + row * d->ld_attended + head * m->head_width);
}

/* The rest of a block for rows: attention, feed-forward layer and the norms behind them. */
static Status finish_block(const Chunk *c, size_t layer, size_t row, size_t end, float *scores) {
    Decoder *d = c->decoder;
    const Model *m = d->model;
    const Block *block = &m->blocks[layer];
    size_t rows = end - row;
    float *x = d->x + row * d->ld_x, *change = d->change + row * d->ld_x;
    float *attended = d->attended + row * d->ld_attended, *wide = d->wide + row * d->ld_wide;
    Quantized quantized = quantized_from(d, row);

    size_t pieces = pieces_worth(c->pool, rows * (c->start + end) * 2 * m->attended * sizeof(float));
    if (pieces > m->heads) pieces = m->heads;
    if (pieces > PIECES) pieces = PIECES;
    Attention attention = {c, layer, row, end, pieces, scores};
    pool_run(c->pool, attend_heads, &attention, pieces);

    Status status =
        matrix_product(m->kernels, c->pool, &block->out, attended, d->ld_attended, rows, 0, change, d->ld_x, quantized);
    if (status) return status;
    for (size_t t = 0; t < rows; t++)
        add_and_norm(x + t * d->ld_x, change + t * d->ld_x, block->norm1_scale, block->norm1_bias, m->width);

    status = matrix_product(m->kernels, c->pool, &block->linear1, x, d->ld_x, rows, 0, wide, d->ld_wide, quantized);
    if (status) return status;
    for (size_t t = 0; t < rows; t++) gelu(wide + t * d->ld_wide, m->feedforward);
    status =
        matrix_product(m->kernels, c->pool, &block->linear2, wide, d->ld_wide, rows, 0, change, d->ld_x, quantized);
    if (status) return status;
    for (size_t t = 0; t < rows; t++)
        add_and_norm(x + t * d->ld_x, change + t * d->ld_x, block->norm2_scale, block->norm2_bias, m->width);
    return KERNELS_OK;
}

/* One piece of a chunk, from the keys and values of the block before to those of this one. */
static void advance(void *argument, size_t piece) {
    Chunk *c = argument;
    Decoder *d = c->decoder;
    size_t row = c->rows * piece / c->pieces, end = c->rows * (piece + 1) / c->pieces;
    Status status = KERNELS_OK;
    if (c->layer == 0)
        for (size_t t = row; t < end; t++) embed(d->model, c->tokens[t], c->start + t, d->x + t * d->ld_x);
    else
        status = finish_block(c, c->layer - 1, row, end, d->scores + piece * round_up(d->model->context, LANES));
    c->status[piece] = status ? status : begin_block(c, row, end);
}

static Status feed_chunk(Decoder *d, const Pool *pool, const int32_t *tokens, size_t rows, size_t start, int is_last) {
    size_t pieces = rows / ROWS_PER_PIECE, threads = pool_threads(pool);
    if (pieces > threads) pieces = threads;
    if (pieces == 0) pieces = 1;
    Chunk c = {.decoder = d, .pool = pieces == 1 ? pool : NULL, .tokens = tokens, .start = start, .rows = rows};
    c.pieces = pieces;
    c.is_last = is_last;
    for (; c.layer < d->model->layers; c.layer++) {
        pool_run(pool, advance, &c, pieces);
        for (size_t i = 0; i < pieces; i++)
            if (c.status[i]) return c.status[i];
    }
    c.pool = pool;
    return is_last ? finish_block(&c, d->model->layers - 1, rows - 1, rows, d->scores) : KERNELS_OK;
}

Status decoder_feed(Decoder *d, const Pool *pool, const int32_t *tokens, size_t count, size_t start) {
    const float *state = NULL;
    d->output.state = NULL;
    for (size_t done = 0; done < count;) {
        size_t rows = count - done < CHUNK ? count - done : CHUNK;
        Status status = feed_chunk(d, pool, tokens + done, rows, start + done, done + rows == count);
        if (status) return status;
        state = d->x + (rows - 1) * d->ld_x;
        done += rows;
    }
    d->output.state = state;
    Status status = output_begin(&d->model->output, &d->output);
    if (status) d->output.state = NULL;
    return status;
}

Status decoder_logits(Decoder *d, const Pool *pool, float *logits) {
    if (!d->output.state) return KERNELS_NOT_FINITE;
    Status status = output_logits(&d->model->output, pool, &d->output);
    if (!status) memcpy(logits, d->output.logits, d->model->vocab_size * sizeof *logits);
    return status;
}

Status decoder_largest(Decoder *d, const Pool *pool, size_t count, int32_t *ids, float *logits) {
    if (!d->output.state) return KERNELS_NOT_FINITE;
    d->output.backwards = !d->output.backwards;
    return output_largest(&d->model->output, pool, &d->output, count, ids, logits);
}

Status decoder_score(Decoder *d, const Pool *pool, const int32_t *ids, size_t count, float *logits, double *total) {
    if (!d->output.state) return KERNELS_NOT_FINITE;
    Status status = output_logits(&d->model->output, pool, &d->output);
    if (status) return status;
    for (size_t i = 0; i < count; i++) logits[i] = d->output.logits[ids[i]];
    *total = log_sum_exp(d->output.logits, d->model->vocab_size);
    return KERNELS_OK;
}

Status decoder_draw(Decoder *d, const Pool *pool, const Draw *draw, int32_t *token) {
    size_t count = draw_candidates(draw);
    if (count > d->model->vocab_size) count = d->model->vocab_size;
    Status status = decoder_largest(d, pool, count, d->ids, d->largest);
    if (status) return status;
    *token = draw_token(draw, d->ids, d->largest, count, d->weights);
    return *token < 0 ? KERNELS_NOT_FINITE : KERNELS_OK;
}
