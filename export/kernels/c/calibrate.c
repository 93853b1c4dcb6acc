/* Timed loops. Fresh memory for each call: where its pages lie decides which lines of the second cache they share. */
#define _GNU_SOURCE /* MAP_ANONYMOUS, madvise */

#include "calibrate.h"

#include <sys/mman.h>
#include <time.h>

#include "cpu.h"

typedef uint64_t Words __attribute__((vector_size(16)));

typedef union Line {
    union Line *next;
    uint64_t words[8];
    Words vectors[4];
} Line;

/* Hides a value from the compiler, which then cannot merge, drop or move what computes it. */
#define HIDE(value) __asm__ volatile("" : "+r"(value)::"memory")
#if defined(__aarch64__)
#define HIDE_VECTOR(value) __asm__ volatile("" : "+w"(value))
#elif defined(__x86_64__)
#define HIDE_VECTOR(value) __asm__ volatile("" : "+x"(value))
#else
#define HIDE_VECTOR(value) __asm__ volatile("" : "+m"(value))
#endif

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* In pages of the usual size, as a model's weights are: misses of the table of pages are part of a random line. */
static Line *map_lines(size_t count) {
    Line *lines = mmap(NULL, count * sizeof *lines, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (lines == MAP_FAILED) return NULL;
    madvise(lines, count * sizeof *lines, MADV_NOHUGEPAGE); /* fails where the kernel has no others */
    return lines;
}

static void unmap_lines(Line *lines, size_t count) { munmap(lines, count * sizeof *lines); }

#define TIMES_8(statement) statement statement statement statement statement statement statement statement
#define ADD                                   \
    sum += one;                               \
    __asm__ volatile("" : "+r"(sum));

/* One copy of each loop, so that the same code runs in every cache. */
#define LOOP static __attribute__((noinline)) uint64_t

LOOP add(size_t turns) {
    uint64_t sum = 0, one = 1; /* not a constant: some cores do not execute an addition of one */
    HIDE(one);
    for (size_t turn = 0; turn < turns; turn++) { TIMES_8(TIMES_8(TIMES_8(ADD))) }
    return sum;
}

Timing time_adds(size_t turns) {
    uint64_t start = now_ns(), sum = add(turns);
    return (Timing){now_ns() - start, (int64_t)sum};
}

LOOP stream(const Line *lines, size_t count, size_t turns) {
    Words a = {0}, b = {0}, c = {0}, d = {0};
    for (size_t turn = 0; turn < turns; turn++)
        for (const Line *line = lines; line < lines + count; line++) {
            a += line->vectors[0];
            b += line->vectors[1];
            c += line->vectors[2];
            d += line->vectors[3];
            HIDE_VECTOR(a); /* so that the loads stay 16 bytes wide */
            HIDE_VECTOR(b);
            HIDE_VECTOR(c);
            HIDE_VECTOR(d);
        }
    a += b + c + d;
    return a[0] + a[1];
}

Status time_stream(size_t lines, size_t turns, Timing *timing) {
    Line *memory = map_lines(lines);
    if (!memory) return KERNELS_NO_MEMORY;
    for (size_t i = 0; i < lines; i++)
        for (size_t k = 0; k < 8; k++) memory[i].words[k] = 8 * i + k;
    uint64_t untimed = stream(memory, lines, 1); /* fills the caches */
    HIDE(untimed);
    uint64_t start = now_ns(), sum = stream(memory, lines, turns);
    HIDE(sum);
    *timing = (Timing){now_ns() - start, (int64_t)sum};
    unmap_lines(memory, lines);
    return KERNELS_OK;
}

/* Marsaglia's xorshift; from 0 to below - 1. */
static size_t random_below(uint64_t *state, size_t below) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (size_t)((*state >> 32) * below >> 32);
}

/* Sattolo's shuffle: unlike a usual one, it makes a permutation of one cycle. */
static void link_cycle(Line *lines, size_t count, uint64_t seed) {
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1; /* seeds are small; the state must not be 0 */
    if (!state) state = 1;
    for (size_t i = 0; i < count; i++) lines[i].next = lines + i;
    for (size_t i = count - 1; i > 0; i--) {
        size_t j = random_below(&state, i);
        Line *next = lines[i].next;
        lines[i].next = lines[j].next;
        lines[j].next = next;
    }
}

#define STEP line = line->next;

LOOP chase(const Line *start, size_t turns) {
    const Line *line = start;
    uint64_t steps = 0;
    for (size_t turn = 0; turn < turns; turn++) do {
            TIMES_8(STEP STEP)
            steps += STEPS_PER_TURN;
        } while (line != start);
    return steps;
}

Status time_chase(size_t lines, size_t turns, uint64_t seed, Timing *timing) {
    Line *memory = map_lines(lines);
    if (!memory) return KERNELS_NO_MEMORY;
    link_cycle(memory, lines, seed);
    uint64_t untimed = chase(memory, 1); /* fills the caches */
    HIDE(untimed);
    uint64_t start = now_ns(), steps = chase(memory, turns);
    HIDE(steps);
    *timing = (Timing){now_ns() - start, (int64_t)steps};
    unmap_lines(memory, lines);
    return KERNELS_OK;
}

Status time_products(const Kernels *kernels, size_t turns, Timing *timing) {
    int8_t weights[PRODUCT_INPUTS * PRODUCT_OUTPUTS];
    _Alignas(64) int8_t q[PRODUCT_INPUTS];
    float y[PRODUCT_OUTPUTS];
    /* As small as those of an exported matrix, whose products are added in 16 bits. */
    for (int i = 0; i < PRODUCT_INPUTS * PRODUCT_OUTPUTS; i++) weights[i] = (int8_t)(i * 7 % 63 - 31);
    for (int k = 0; k < PRODUCT_INPUTS; k++) q[k] = (int8_t)(k * 5 % 255 - 127);
    RowScale row = {1.0f, 3};
    Int8Matrix matrix;
    Status status = int8_matrix_pack(&matrix, weights, PRODUCT_INPUTS, PRODUCT_OUTPUTS, 1.0f);
    if (status) return status;
    int8_product(kernels, &matrix, q, &row, 1, 0, PRODUCT_OUTPUTS, y, PRODUCT_OUTPUTS); /* fills the caches */
    uint64_t start = now_ns();
    for (size_t turn = 0; turn < turns; turn++)
        int8_product(kernels, &matrix, q, &row, 1, 0, PRODUCT_OUTPUTS, y, PRODUCT_OUTPUTS);
    timing->ns = now_ns() - start;
    timing->proof = 0;
    for (int n = 0; n < PRODUCT_OUTPUTS; n++) timing->proof += (int64_t)y[n];
    int8_matrix_free(&matrix);
    return KERNELS_OK;
}
