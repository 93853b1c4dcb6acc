/* The choice of a token among the largest logits: temperature, top-p, min-p, then one draw. And the sum that makes
 * probabilities of logits.
 *
 * The same doubles in the same order as tinyedge/runtime/sampler.py, with an exp() of its own: a C library's differs in
 * the last bit between machines, and so would the texts of a seed. */
#ifndef TINYEDGE_SAMPLING_H
#define TINYEDGE_SAMPLING_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    double temperature;    /* less than 1e-5: the largest logit, without a draw */
    double top_p, min_p;   /* 1 and 0 are off */
    int32_t top_k;         /* at least 1 */
    double point;          /* uniform in [0, 1): where in the cumulative weights the token is */
    const int32_t *banned; /* ids that must not be chosen, sorted, fewer than the vocabulary has */
    size_t banned_count;
} Draw;

/* As Draw needs them. */
void sort_ids(int32_t *ids, size_t count);

/* How many of the largest logits suffice to choose from, whichever of them are banned. */
size_t draw_candidates(const Draw *draw);

/* Chooses among `count` logits, largest first, and returns the id; -1 if all of them are banned.
 * ids and logits are overwritten; weights has room for count. */
int32_t draw_token(const Draw *draw, int32_t *ids, float *logits, size_t count, double *weights);

/* The logarithm of the sum of all e^logit, of at least one; they are finite. The error is a few ulp. */
double log_sum_exp(const float *logits, size_t count);

#endif
