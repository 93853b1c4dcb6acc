/* One core of the board as the counter sees it: its caches, its branch predictor, and what it has counted. */
#ifndef COUNTER_CORE_H
#define COUNTER_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is counted, in the order of the output. */
enum {
    INSTRUCTIONS,
    CYCLES,        /* of the pipeline, if every access hits the first cache */
    MISPREDICTED,  /* branches */
    L1_MISSES,     /* of data, that the second cache has */
    FETCH_MISSES,  /* of code, that the second cache has */
    STREAMED,      /* lines from DRAM that follow others, so that the core has asked for them before */
    CROWDED,       /* the same, beside more others than the core follows at a time */
    RANDOM,        /* other lines from DRAM */
    WRITTEN,       /* lines that were changed and go back to DRAM */
    COUNTS
};

enum { L1_SETS = 128, L1_WAYS = 4, FETCH_SETS = 256, FETCH_WAYS = 2, STREAMS = 8, FOLLOWED = 2, PATTERNS = 4096, TARGETS = 256 };

/* The number of a line plus one, times two, plus one if the line was changed. */
typedef uint64_t Way;

/* Lines that were missed one after another. */
typedef struct {
    uint64_t last; /* line */
    int64_t step;  /* in lines; 0 before the second one */
} Stream;

/* A miss of the first cache that has not reached the second one. */
typedef struct {
    uint64_t cycle, line;
    Way evicted; /* by this line */
    bool is_store;
    int order; /* LONE, or place of its stream among those that were continued last */
} Miss;

typedef struct {
    uint64_t counts[COUNTS];
    /* The ways of a set, most recently used first; 0 is an empty way. */
    Way l1[L1_SETS][L1_WAYS], fetched[FETCH_SETS][FETCH_WAYS];
    uint64_t last_fetched;
    Stream streams[STREAMS]; /* most recently used first */
    uint32_t history;        /* of conditional branches, the last one in the lowest bit */
    uint8_t patterns[PATTERNS];
    uint64_t targets[TARGETS];
    Miss *kept; /* misses of the first cache while several cores are played in turn */
    size_t kept_count, kept_room;
} Core;

/* An access of data: `bytes` from `address`, which may lie in two lines. If `keeps`, the second cache does not see it yet. */
void access_data(Core *core, uint64_t address, unsigned bytes, bool is_store, bool keeps);

/* The misses that `count` cores have kept reach the second cache, in the order of the cycles after `since`, a core each. */
void replay_misses(Core *cores, int count, const uint64_t *since);

/* Execution of code from `start` to before `end`. */
void fetch_code(Core *core, uint64_t start, uint64_t end);

/* The outcome of the conditional branch before `address`, and of the indirect one. */
void resolve_conditional(Core *core, uint64_t address, bool is_taken);
void resolve_indirect(Core *core, uint64_t address, uint64_t target);

#endif
