/* Timed loops that measure what the time of a step is modelled from: the clock, the caches, the memory, the core.
 *
 * Each loop also returns a number that proves what it did. Nothing here is used by a model. */
#ifndef TINYEDGE_CALIBRATE_H
#define TINYEDGE_CALIBRATE_H

#include <stddef.h>
#include <stdint.h>

#include "dots.h"
#include "status.h"

enum {
    ADDS_PER_TURN = 512,  /* so many that the branch behind them takes less than 1% of a turn */
    STEPS_PER_TURN = 16,  /* of a chase, between two comparisons with its start */
    MAX_LINES = 1 << 19,  /* 32 MiB: 64 times the second cache of a Cortex-A53 */
    PRODUCT_INPUTS = 128, /* the weights of a product, 8 KiB, and its rows fit the first cache of any board */
    PRODUCT_OUTPUTS = 64,
};

typedef struct {
    uint64_t ns;   /* of CLOCK_MONOTONIC */
    int64_t proof; /* what the loop's own sentence says */
} Timing;

/* turns * ADDS_PER_TURN additions, each of which needs the one before it: one cycle each on every core that is known
 * here. proof: the number of additions. */
Timing time_adds(size_t turns);

/* Reads lines of 64 bytes in their order, 16 bytes at a time, `turns` times. proof: the sum of their words, where word
 * i is i. */
Status time_stream(size_t lines, size_t turns, Timing *timing);

/* Follows a random cycle that visits each line of 64 bytes once, `turns` times; each load needs the one before it.
 *
 * lines: a power of two, from STEPS_PER_TURN on. seed: chooses the cycle. proof: the number of loads until the start is
 * reached for the `turns`-th time; it is lines * turns only if no cycle is shorter. */
Status time_chase(size_t lines, size_t turns, uint64_t seed, Timing *timing);

/* `turns` products of one row of activations with PRODUCT_INPUTS x PRODUCT_OUTPUTS weights: what a token's time mostly
 * is, without its memory. proof: the sum of a product's outputs. */
Status time_products(const Kernels *kernels, size_t turns, Timing *timing);

#endif
