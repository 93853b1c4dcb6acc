/* The output's weights in two planes of 4 bits, and the k largest logits from little more than one of them.
 *
 * A row of weights has a step s, the smallest of 1..16 that fits it:
 *
 *     w = s * high + s / 2 + low        high and low in -8..7, s / 2 rounded down
 *
 * The high plane alone leaves out the remainders r = w - s * (high + 1/2). By Cauchy and Schwarz,
 *
 *     | sum(w * x) - s * sum((high + 1/2) * x) |  =  | sum(r * x) |  <=  |r| * |x|
 *
 * All of it is kept in integers, doubled because of the 1/2: 2r is an integer, `error` is the norm of 2r and `norm` the
 * norm of x, each the smallest integer that is not below it. So the bounds are exact: nothing is ever rounded the wrong
 * way. They fit 32 bits: |s * (2 * high + 1)| <= 240, |x| <= 255, width <= 1024, error <= 544, norm <= 8160, so they
 * are below 2^27.
 *
 * planes_largest:
 *   1. an upper bound for every row, from the high plane and a word per row, the only pass over all rows (on threads,
 *      one time forwards, the next time backwards, so that it begins with what the second-level cache still has);
 *   2. rows that look best are finished with their low plane, half as many again as `count`: the count-th best score of
 *      theirs is a limit that `count` rows reach, so a row whose upper bound is below it is out;
 *   3. all rows whose bound reaches the limit are finished; the limit rises as better ones are found.
 * How good the rows of step 2 are decides how much is finished, never what comes out.
 *
 * Bound by DRAM and instructions alike: half a byte for each weight, and the other half for a few hundred rows. */
#include "planes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "largest.h"
#include "transpose.h"

enum { TILE = 4, ALIGNMENT = 64 };

static size_t rounded_up(size_t n, size_t to) { return (n + to - 1) / to * to; }
static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* The smallest integer whose square is not below n. A double's root is exact enough for 32 bits. */
static int32_t root_up(int32_t n) {
    int32_t root = (int32_t)sqrt(n);
    return root * root < n ? root + 1 : root;
}

/* The smallest step with -8 * step + step / 2 - 8 <= w <= 7 * step + step / 2 + 7 for all weights. Both bounds move by
 * 7.5 for each step, so it is a quotient by 15; it is at most 16. */
static int step_of(const int8_t *row, size_t width) {
    int8_t least = 0, most = 0;
    for (size_t k = 0; k < width; k++) {
        least = row[k] < least ? row[k] : least;
        most = row[k] > most ? row[k] : most;
    }
    int below = (-2 * least - 3) / 15, above = 2 * most / 15, step = below > above ? below : above;
    return step > 1 ? step : 1;
}

/* 8 columns, in types of GCC and Clang that are vectors on every machine: a loop over numbers is not made as short. */
typedef int8_t Bytes __attribute__((vector_size(8)));
typedef int16_t Shorts __attribute__((vector_size(16)));
typedef uint16_t UnsignedShorts __attribute__((vector_size(16)));

/* What 8 columns are in the planes: stored nibbles, 8 more (0..15). */
typedef struct {
    Shorts high, low;
} Nibbles;

/* Splits 8 columns; reciprocal = 4096 / step rounded up, exact for quotients of numbers below 16 * step. */
static inline Nibbles split(const int8_t *columns, int16_t step, int16_t reciprocal) {
    Bytes w;
    memcpy(&w, columns, sizeof w);
    Shorts x = __builtin_convertvector(w, Shorts) + (int16_t)(8 * step), most = (Shorts){0} + (int16_t)(16 * step - 1);
    Shorts above = x & (x > 0), fits = above < most;
    above = (above & fits) | (most & ~fits);
    Shorts high = (Shorts)((UnsignedShorts)above * (UnsignedShorts)((Shorts){0} + reciprocal) >> 12);
    return (Nibbles){high, x - high * step - (int16_t)(step / 2 - 8)};
}

static inline void store_bytes(uint8_t *to, Shorts values) {
    Bytes bytes = __builtin_convertvector(values, Bytes);
    memcpy(to, &bytes, sizeof bytes);
}

static inline int32_t sum_of(Shorts values) {
    int32_t sum = 0;
    for (size_t i = 0; i < 8; i++) sum += values[i];
    return sum;
}

/* Writes row n of both planes; returns its limits. It has `stride` columns; those of the padding are set to what
 * both planes hold as 0. Of each 64 nibbles in a plane, the first 32 are the low halves of 32 bytes. */
static uint32_t pack_row(const Planes *planes, int8_t *row, size_t n) {
    const size_t width = planes->width, stride = planes->stride;
    uint8_t *low_plane = planes->low + n * stride / 2;
    int16_t step = (int16_t)step_of(row, width);
    int16_t reciprocal = (int16_t)((4096 + step - 1) / step);
    Shorts high = {0}, low = {0}, squares = {0}; /* 16 bits hold the sums over 1024 columns */
    memset(row + width, step / 2, stride - width);
    for (const int8_t *w = row; w < row + stride; w += 64) {
        uint8_t *high_plane = planes->high + high_offset(planes, n, (size_t)(w - row));
        for (size_t i = 0; i < 32; i += 8, high_plane += 8, low_plane += 8) {
            Nibbles a = split(w + i, step, reciprocal), b = split(w + i + 32, step, reciprocal);
            store_bytes(high_plane, a.high | b.high << 4);
            store_bytes(low_plane, a.low | b.low << 4);
            Shorts a_low = a.low - 8, b_low = b.low - 8;
            high += a.high + b.high - 16;
            low += a_low + b_low;
            squares += a_low * a_low + b_low * b_low;
        }
    }
    /* of doubled remainders: 2 * low, and 1 less where the step is odd */
    int32_t error = 4 * sum_of(squares) - (step & 1) * (4 * sum_of(low) - (int32_t)width);
    return (uint32_t)step | (uint32_t)root_up(error) << LIMITS_ERROR_SHIFT | (uint32_t)sum_of(high) << LIMITS_SUM_SHIFT;
}

static size_t plane_bytes(const Planes *planes) { return rounded_up(planes->rows, TILE) * planes->stride / 2; }

size_t planes_bytes(const Planes *planes) {
    return 2 * plane_bytes(planes) + rounded_up(planes->rows, TILE) * sizeof(uint32_t);
}

Status planes_pack(Planes *planes, const int8_t *values, size_t width, size_t rows, float scale) {
    enum { AT_ONCE = 64 }; /* rows: the source's lines are used whole */
    *planes = (Planes){.rows = rows, .width = width, .stride = rounded_up(width, 64), .scale = scale};
    size_t bytes = rounded_up(planes_bytes(planes), ALIGNMENT);
    uint8_t *memory = aligned_alloc(ALIGNMENT, bytes);
    int8_t *block = malloc(AT_ONCE * planes->stride); /* 64 kB at most */
    if (!memory || !block) {
        free(memory);
        free(block);
        return KERNELS_NO_MEMORY;
    }
    memset(memory, 0, bytes);
    planes->high = memory;
    planes->low = memory + plane_bytes(planes);
    planes->limits = (uint32_t *)(void *)(planes->low + plane_bytes(planes));
    for (size_t first = 0; first < rows; first += AT_ONCE) {
        size_t present = smaller(AT_ONCE, rows - first);
        transpose(values + first, rows, width, present, block, planes->stride);
        for (size_t n = 0; n < present; n++) {
            planes->limits[first + n] = pack_row(planes, block + n * planes->stride, first + n);
        }
    }
    free(block);
    return KERNELS_OK;
}

void planes_free(Planes *planes) {
    free(planes->high); /* and what lies behind it */
    memset(planes, 0, sizeof *planes);
}

static PlaneQuery query_of(const Planes *planes, const int8_t *q, int32_t zero) {
    int32_t width = (int32_t)planes->width, sum = 0, squares = 0;
    for (size_t k = 0; k < planes->width; k++) {
        sum += q[k];
        squares += q[k] * q[k];
    }
    PlaneQuery query = {.q = q, .zero = zero, .sum = sum - width * zero};
    query.base = query.sum - 2 * 8 * sum; /* stored nibbles are 8 more */
    query.norm = root_up(squares - 2 * zero * sum + width * zero * zero);
    return query;
}

/* Work in pieces of whole blocks of rows. BOUNDED: rows whose bounds are computed at once. */
enum { BLOCK = 64, BOUNDED = 512 };

typedef struct {
    const Kernels *kernels;
    const Planes *planes;
    PlaneQuery query;
    int32_t low_offset; /* of a row's low products, because stored nibbles are 8 more, those of padding too */
    float scale;
    size_t rows_in_piece;
    int backwards; /* whether the last rows come first */
    int32_t *upper;
    float *logits;
} Work;

static Work work_of(const Kernels *kernels, const Pool *pool, const Planes *planes, const int8_t *q, RowScale row) {
    size_t pieces = pool_threads(pool);
    PlaneQuery query = query_of(planes, q, row.zero);
    return (Work){.kernels = kernels,
                  .planes = planes,
                  .query = query,
                  .low_offset = 8 * (query.sum - query.zero * (int32_t)(planes->stride - planes->width)),
                  .scale = row.scale * planes->scale,
                  .rows_in_piece = rounded_up((planes->rows + pieces - 1) / pieces, BLOCK)};
}

/* The exact score of a row, from its doubled score by the high plane and from its low plane's products. */
static int32_t score_of(const Work *work, size_t row, int32_t doubled, int32_t low) {
    int32_t odd = limits_step(work->planes->limits[row]) & 1;
    return (doubled - odd * work->query.sum) / 2 + low - work->low_offset;
}

static size_t pieces_of(const Work *work) {
    return (work->planes->rows + work->rows_in_piece - 1) / work->rows_in_piece;
}

static void write_bounds(void *argument, size_t piece) {
    const Work *work = argument;
    size_t from = piece * work->rows_in_piece;
    size_t to = smaller(from + work->rows_in_piece, rounded_up(work->planes->rows, TILE));
    size_t blocks = (to - from + BOUNDED - 1) / BOUNDED;
    for (size_t i = 0; i < blocks; i++) {
        size_t first = from + (work->backwards ? blocks - 1 - i : i) * BOUNDED;
        work->kernels->plane_bounds(work->planes, &work->query, first, smaller(first + BOUNDED, to),
                                    work->upper + first);
    }
}

static void write_logits(void *argument, size_t piece) {
    const Work *work = argument;
    const Planes *planes = work->planes;
    PlaneQuery query = work->query;
    query.norm = 0; /* so that bounds are scores */
    size_t from = piece * work->rows_in_piece, end = smaller(from + work->rows_in_piece, planes->rows);
    for (size_t first = from; first < end; first += BLOCK) {
        int32_t doubled[BLOCK], low[BLOCK];
        size_t present = smaller(BLOCK, end - first);
        work->kernels->plane_bounds(planes, &query, first, first + rounded_up(present, TILE), doubled);
        work->kernels->plane_low(planes, &query, first, first + present, low);
        for (size_t i = 0; i < present; i++)
            work->logits[first + i] = (float)score_of(work, first + i, doubled[i], low[i]) * work->scale;
    }
}

void planes_logits(const Kernels *kernels, const Pool *pool, const Planes *planes, const int8_t *q, RowScale row,
                   float *logits) {
    Work work = work_of(kernels, pool, planes, q, row);
    work.logits = logits;
    pool_run(pool, write_logits, &work, pieces_of(&work));
}

enum { GROUP = 16 }; /* rows that are looked at together */

size_t planes_scratch(const Planes *planes) {
    return rounded_up(planes->rows, GROUP) * sizeof(int32_t) + planes->rows * sizeof(Key);
}

/* Chooses `count` different rows with large upper bounds, into a heap. For a small count the best rows of groups do:
 * the best rows are seldom in one group, and there are far fewer groups than rows. */
static void choose_promising(const int32_t *upper, size_t rows, size_t count, Key *heap) {
    size_t groups = rounded_up(rows, GROUP) / GROUP, by_groups = 2 * count <= groups, units = by_groups ? groups : rows;
    for (size_t i = 0; i < units; i++) {
        Key key = key_of(by_groups ? largest_among(upper + i * GROUP, GROUP) : upper[i], i);
        if (i < count) {
            heap[i] = key;
            if (i + 1 == count) heap_build(heap, count);
        } else if (key > heap[0]) {
            heap_replace(heap, count, key);
        }
    }
    for (size_t i = 0; i < count && by_groups; i++) {
        size_t row = (size_t)key_id(heap[i]) * GROUP;
        while (upper[row] != key_score(heap[i])) row++;
        heap[i] = key_of(upper[row], row);
    }
}

/* Finishes a row, once: its upper bound becomes the smallest number. */
static Key finish(const Work *work, size_t row) {
    int32_t low, doubled = work->upper[row] - limits_error(work->planes->limits[row]) * work->query.norm;
    work->upper[row] = INT32_MIN;
    work->kernels->plane_low(work->planes, &work->query, row, row + 1, &low);
    return key_of(score_of(work, row, doubled, low), row);
}

/* Finishes the rows of a group that reach the limit; returns the new limit. Out of line: the caller's loop stays short. */
static __attribute__((noinline)) int32_t finish_group(const Work *work, size_t first, int32_t limit, Key *heap,
                                                      size_t count) {
    for (const int32_t *four = work->upper + first; four < work->upper + first + GROUP; four += 4) {
        if (largest_among(four, 4) < limit) continue;
        for (const int32_t *upper = four; upper < four + 4; upper++) {
            if (*upper < limit) continue;
            Key key = finish(work, (size_t)(upper - work->upper));
            if (key <= heap[0]) continue;
            heap_replace(heap, count, key);
            limit = 2 * key_score(heap[0]);
        }
    }
    return limit;
}

void planes_largest(const Kernels *kernels, const Pool *pool, const Planes *planes, const int8_t *q, RowScale row,
                    int backwards, size_t count, int32_t *ids, float *values, void *scratch) {
    size_t rows = planes->rows, padded = rounded_up(rows, GROUP);
    int32_t *upper = scratch;
    Key *heap = (Key *)(void *)(upper + padded);
    Work work = work_of(kernels, pool, planes, q, row);
    work.upper = upper;
    work.backwards = backwards;
    pool_run(pool, write_bounds, &work, pieces_of(&work));
    for (size_t n = rows; n < padded; n++) upper[n] = INT32_MIN;

    /* A few more than `count`, because the count-th best of them is then hardly below the final one. */
    size_t promising = smaller(count + count / 2, rows);
    choose_promising(upper, rows, promising, heap);
    for (size_t i = 0; i < promising; i++) heap[i] = finish(&work, (size_t)key_id(heap[i]));
    heap_build(heap, promising);
    for (; promising > count; promising--) heap_drop(heap, promising);

    int32_t limit = 2 * key_score(heap[0]);
    for (size_t first = 0; first < padded; first += GROUP)
        if (largest_among(upper + first, GROUP) >= limit) limit = finish_group(&work, first, limit, heap, count);

    heap_sort(heap, count);
    for (size_t i = 0; i < count; i++) {
        ids[i] = key_id(heap[i]);
        values[i] = (float)key_score(heap[i]) * work.scale;
    }
}
