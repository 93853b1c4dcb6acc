/* The pipeline of a Cortex-A53: how many cycles a block of code takes if every access hits the first cache. */
#ifndef COUNTER_PIPELINE_H
#define COUNTER_PIPELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* General registers, vector registers, the flags; the last one is written by nobody. */
enum { VECTOR_REGISTERS = 32, FLAGS = 64, NO_REGISTER = 65, REGISTERS = 66 };
enum { MAX_SOURCES = 4, MAX_RESULTS = 4 };

/* What an instruction occupies. */
typedef enum { ALU, MULTIPLY, DIVIDE, MEMORY, BRANCH, HALF_VECTOR, FULL_VECTOR } Unit;

typedef struct {
    Unit unit;
    uint8_t busy;          /* cycles that the unit takes no other instruction */
    uint8_t latency;       /* cycles until the first result can be used */
    uint8_t further;       /* cycles more for each further result */
    uint8_t forwarded;     /* cycles until the next one can add to the same sum */
    bool alone;            /* nothing else issues with it */
    uint8_t sources[MAX_SOURCES], results[MAX_RESULTS];
    uint8_t sum;           /* register to whose value it adds */
    uint8_t stored[MAX_SOURCES]; /* registers whose values a store needs, one cycle after it has issued */
    uint8_t address_result; /* base register that a load or store changes, one cycle later */
} Instruction;

/* When registers and units are ready, in cycles from the end of a block. */
typedef struct {
    int ready[REGISTERS];
    int sum_ready[REGISTERS];
    int memory, multiply, divide, vector[2];
    int slots; /* instructions that the last cycle has issued */
} Pipeline;

Instruction decode(uint32_t code);

/* Issues a block in order, two instructions a cycle at most, from `state`, which it changes.
 * Returns the cycles from the end of the block before to the end of this one. */
int schedule(const Instruction *block, size_t length, Pipeline *state);

#endif
