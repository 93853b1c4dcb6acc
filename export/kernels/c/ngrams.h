/* The n-grams of a file ngrams.bin: what may follow a text, and how probable it is. tinyedge/ngram/layout.py describes the
 * file, tinyedge/ngram/lookup.py what the numbers mean.
 *
 * The file's memory is read where it is. A block of it is read only after the caller has compared it with its hash. Its
 * content is not trusted for that: row starts, tokens and sums are checked where they are used. */
#ifndef TINYEDGE_NGRAMS_H
#define TINYEDGE_NGRAMS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

enum { NGRAMS_MAX_ORDER = 4, NGRAMS_CODES = 256, NGRAMS_REASON_BYTES = 96 };

/* The n-grams of an order from 2 on. Offsets are in the file; all parts are inside it, in whole blocks after `body`. */
typedef struct {
    size_t rows;   /* uint32, 4-aligned: contexts + 1 of them */
    size_t tokens; /* uint16, 2-aligned: entries */
    size_t codes;  /* uint8: entries */
    size_t contexts, entries;
    float alphas[NGRAMS_CODES]; /* by code */
} NgramLevel;

typedef struct {
    const uint8_t *file;    /* 4-aligned */
    const uint8_t *checked; /* for each block from `body` on, 1 if it was compared with its hash; others may write it */
    size_t body, block_bytes;
    size_t order, vocab_size; /* 2..NGRAMS_MAX_ORDER; 1..65536 */
    size_t unigrams;          /* float, 4-aligned: vocab_size */
    NgramLevel levels[NGRAMS_MAX_ORDER - 1];
    float weights[NGRAMS_MAX_ORDER]; /* of the table in the mixture, 0..1, by the number of matched tokens */
    atomic_int has_valid_unigrams;
} Ngrams;

/* The continuations of a context. */
typedef struct {
    const uint16_t *tokens; /* increasing, below vocab_size */
    const uint8_t *codes;
    const float *alphas; /* by code */
    size_t count;        /* at least 1 */
    double gamma;        /* 1 - the sum of the alphas, 0..1 */
} NgramRow;

/* What may follow a text. */
typedef struct {
    const float *unigrams;
    NgramRow rows[NGRAMS_MAX_ORDER - 1]; /* those that exist, of the shortest context first */
    size_t row_count;
    float weight;
} Continuations;

/* Why there is no answer. KERNELS_UNCHECKED: the block that must be checked first; KERNELS_DAMAGED: what is wrong. */
typedef struct {
    size_t block;
    char reason[NGRAMS_REASON_BYTES];
} NgramsProblem;

/* Whether all alphas are what a file may have: 0, or 2^-29..1. */
int ngrams_alphas_are_valid(const NgramLevel *level);

/* Finds what follows a text, of which the last `length` tokens are given, fewer than the order; all below vocab_size. */
Status ngrams_find(Ngrams *ngrams, const int32_t *text, size_t length, Continuations *found, NgramsProblem *problem);

#endif
