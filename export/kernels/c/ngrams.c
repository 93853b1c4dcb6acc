/* The n-grams of a file; see ngrams.h.
 *
 * A context of n tokens is found from its first token on: that token's row of pairs, in it the second token by halving,
 * that pair's row, and so on. Of the rows on the way only what halving meets is read.
 *
 * The alphas of a row are added in double precision. They are 0 or 2^-29..1, so multiples of 2^-52, and a sum that is not
 * above 1 is exact in any order; a larger one is an error, however it was rounded.
 *
 * Bound by the sum of the longest row, some thousand additions, and by DRAM where halving goes. */
#include "ngrams.h"

#include <stdio.h>
#include <string.h>

#define MIN_ALPHA 0x1p-29f
#define SUM_ERROR 1e-3 /* how far from 1 the sum of the unigrams may be */
enum { SUMS = 4 };     /* of every 4th number each, so that an addition need not wait for the one before */

int ngrams_alphas_are_valid(const NgramLevel *level) {
    for (size_t i = 0; i < NGRAMS_CODES; i++) {
        float alpha = level->alphas[i];
        if (alpha != 0.0f && !(alpha >= MIN_ALPHA && alpha <= 1.0f)) return 0;
    }
    return 1;
}

/* Whether the bytes can be read: their blocks were checked. At least one byte. */
static Status require(const Ngrams *ngrams, size_t offset, size_t bytes, NgramsProblem *problem) {
    size_t last = (offset + bytes - 1 - ngrams->body) / ngrams->block_bytes;
    for (size_t block = (offset - ngrams->body) / ngrams->block_bytes; block <= last; block++) {
        /* acquire: what the checking thread read is what this one reads */
        if (__atomic_load_n(ngrams->checked + block, __ATOMIC_ACQUIRE)) continue;
        problem->block = block;
        return KERNELS_UNCHECKED;
    }
    return KERNELS_OK;
}

static const uint16_t *tokens_of(const Ngrams *ngrams, const NgramLevel *level, size_t entry) {
    return (const uint16_t *)(const void *)(ngrams->file + level->tokens) + entry;
}

static Status damaged(NgramsProblem *problem, const char *what, size_t context, size_t order, const char *how) {
    snprintf(problem->reason, sizeof problem->reason, "has %s row %zu of order %zu%s", what, context, order, how);
    return KERNELS_DAMAGED;
}

/* n-grams of an order: those of a context */
typedef struct {
    size_t first, end;
} Range;

static Status read_range(const Ngrams *ngrams, size_t order, size_t context, Range *range, NgramsProblem *problem) {
    const NgramLevel *level = &ngrams->levels[order - 2];
    size_t offset = level->rows + context * sizeof(uint32_t);
    Status status = require(ngrams, offset, 2 * sizeof(uint32_t), problem);
    if (status) return status;
    uint32_t starts[2];
    memcpy(starts, ngrams->file + offset, sizeof starts);
    *range = (Range){starts[0], starts[1]};
    if (range->first <= range->end && range->end <= level->entries && range->end - range->first <= ngrams->vocab_size)
        return KERNELS_OK;
    return damaged(problem, "an invalid", context, order, "");
}

/* Looks for a token in a range. *entry: its n-gram; range->end if there is none. */
static Status search(const Ngrams *ngrams, size_t order, Range range, int32_t token, size_t *entry,
                     NgramsProblem *problem) {
    const NgramLevel *level = &ngrams->levels[order - 2];
    size_t low = range.first, high = range.end;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        Status status = require(ngrams, level->tokens + middle * sizeof(uint16_t), sizeof(uint16_t), problem);
        if (status) return status;
        int32_t found = *tokens_of(ngrams, level, middle);
        if (found == token) {
            *entry = middle;
            return KERNELS_OK;
        }
        if (found < token)
            low = middle + 1;
        else
            high = middle;
    }
    *entry = range.end;
    return KERNELS_OK;
}

static int increase(const uint16_t *tokens, size_t count) {
    int wrong = 0;
    for (size_t i = 1; i < count; i++) wrong |= tokens[i] <= tokens[i - 1];
    return !wrong;
}

static double sum_of(const float *alphas, const uint8_t *codes, size_t count) {
    double sums[SUMS] = {0.0};
    size_t whole = count - count % SUMS;
    for (size_t i = 0; i < whole; i += SUMS)
        for (size_t j = 0; j < SUMS; j++) sums[j] += (double)alphas[codes[i + j]];
    for (size_t i = whole; i < count; i++) sums[0] += (double)alphas[codes[i]];
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/* Reads and checks the row of a range that is not empty; `context` is for messages. */
static Status read_row(const Ngrams *ngrams, size_t order, size_t context, Range range, NgramRow *row,
                       NgramsProblem *problem) {
    const NgramLevel *level = &ngrams->levels[order - 2];
    *row = (NgramRow){tokens_of(ngrams, level, range.first), ngrams->file + level->codes + range.first, level->alphas,
                      range.end - range.first, 0.0};
    Status status =
        require(ngrams, level->tokens + range.first * sizeof(uint16_t), row->count * sizeof(uint16_t), problem);
    if (!status) status = require(ngrams, level->codes + range.first, row->count, problem);
    if (status) return status;
    row->gamma = 1.0 - sum_of(row->alphas, row->codes, row->count);
    if (!increase(row->tokens, row->count) || row->tokens[row->count - 1] >= ngrams->vocab_size)
        return damaged(problem, "tokens in", context, order, " that do not increase");
    if (row->gamma < 0.0) return damaged(problem, "probabilities in", context, order, " with a sum above 1");
    return KERNELS_OK;
}

/* Finds the row of a context, if it has one. */
static Status find_row(const Ngrams *ngrams, const int32_t *context, size_t length, Continuations *found,
                       NgramsProblem *problem) {
    size_t at = (size_t)context[0]; /* the context so far, among the n-grams of its order */
    Range range;
    Status status = read_range(ngrams, 2, at, &range, problem);
    for (size_t i = 1; i < length && !status; i++) {
        size_t entry;
        status = search(ngrams, i + 1, range, context[i], &entry, problem);
        if (status || entry == range.end) return status;
        at = entry;
        status = read_range(ngrams, i + 2, at, &range, problem);
    }
    if (status || range.first == range.end) return status;
    status = read_row(ngrams, length + 1, at, range, &found->rows[found->row_count], problem);
    found->row_count += !status;
    found->weight = ngrams->weights[length];
    return status;
}

static Status check_unigrams(Ngrams *ngrams, NgramsProblem *problem) {
    if (atomic_load_explicit(&ngrams->has_valid_unigrams, memory_order_relaxed)) return KERNELS_OK;
    Status status = require(ngrams, ngrams->unigrams, ngrams->vocab_size * sizeof(float), problem);
    if (status) return status;
    const float *values = (const float *)(const void *)(ngrams->file + ngrams->unigrams);
    double sum = 0.0;
    int positive = 1;
    for (size_t i = 0; i < ngrams->vocab_size; i++) {
        positive &= values[i] > 0.0f;
        sum += (double)values[i];
    }
    if (positive && sum > 1.0 - SUM_ERROR && sum < 1.0 + SUM_ERROR) {
        atomic_store_explicit(&ngrams->has_valid_unigrams, 1, memory_order_relaxed);
        return KERNELS_OK;
    }
    snprintf(problem->reason, sizeof problem->reason,
             "has probabilities of tokens that are not positive with a sum of 1");
    return KERNELS_DAMAGED;
}

Status ngrams_find(Ngrams *ngrams, const int32_t *text, size_t length, Continuations *found, NgramsProblem *problem) {
    Status status = check_unigrams(ngrams, problem);
    *found = (Continuations){.unigrams = (const float *)(const void *)(ngrams->file + ngrams->unigrams),
                             .weight = ngrams->weights[0]};
    for (size_t n = 1; n <= length && !status; n++) status = find_row(ngrams, text + length - n, n, found, problem);
    return status;
}
