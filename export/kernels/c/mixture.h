/* The mixture of a model's next token with the n-grams that may follow its text: log probabilities. */
#ifndef TINYEDGE_MIXTURE_H
#define TINYEDGE_MIXTURE_H

#include <stddef.h>

#include "ngrams.h"

/* What the numbers of a mixture are: probabilities, or where the table has no weight, logits. Larger is more probable. */
typedef struct {
    int is_logits;
    float highest, log_sum; /* of logits: the largest, and the logarithm of the sum of all e^(logit - highest) */
} Mixture;

/* Replaces `count` finite logits. */
Mixture mixture_make(const Continuations *with, float *logits, size_t count);

/* The log probability of each number, finite; in place if both are the same. */
void mixture_logs(const Mixture *mixture, const float *numbers, size_t count, float *logs);

#endif
