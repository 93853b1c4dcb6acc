/* The output's int8 matrix in two planes of 4 bits, and the choice of the largest logits, which seldom needs the
 * second.
 *
 * planes.c says how, and why the choice is exact. Scores are integers, so they compare exactly. */
#ifndef TINYEDGE_PLANES_H
#define TINYEDGE_PLANES_H

#include <stddef.h>
#include <stdint.h>

#include "dots.h"
#include "pool.h"
#include "status.h"

typedef struct {
    size_t rows, width;
    size_t stride;    /* width rounded up to 64; a row of a plane has half as many bytes */
    uint8_t *high;    /* in tiles of 4 rows: see high_offset; aligned to 64 bytes */
    uint8_t *low;     /* (rows rounded up to 4, stride / 2) */
    uint32_t *limits; /* of each row: step, sum and error of the high plane; see cpu.h */
    float scale;
} Planes;

/* Where the 64 columns from k of a row are in the high plane, 32 bytes. A tile of 4 rows has 256 columns of each of them,
 * then the next 256, at last 128 and 64 if they are left: a kernel reads it as one stream. */
static inline size_t high_offset(const Planes *planes, size_t row, size_t k) {
    size_t left = planes->stride - k / 256 * 256, in_part = k % 256, columns = left;
    if (left >= 256) columns = 256;
    else if (left >= 128) columns = in_part < 128 ? 128 : 64;
    size_t at = in_part % columns, part = k - at;
    return (row / 4 * 4 * planes->stride + 4 * part + row % 4 * columns + at) / 2;
}

/* Packs values of shape (width, rows), row-major as ONNX stores them. width <= 1024. */
Status planes_pack(Planes *planes, const int8_t *values, size_t width, size_t rows, float scale);
void planes_free(Planes *planes);
size_t planes_bytes(const Planes *planes);

/* Bytes that planes_largest needs, for any count and any number of threads; aligned to 64 bytes. */
size_t planes_scratch(const Planes *planes);

/* All logits of one row of activations (stride bytes, zero beyond width), the same bits as int8_product gives.
 * logits has room for rows rounded up to 4. */
void planes_logits(const Kernels *kernels, const Pool *pool, const Planes *planes, const int8_t *q, RowScale row,
                   float *logits);

/* The `count` largest logits, largest first, of equal scores the lowest id first. 1 <= count <= rows.
 *
 * backwards: whether the rows are read from the last to the first. A caller that alternates finds in the second-level
 * cache those that it read last; the results are the same. */
void planes_largest(const Kernels *kernels, const Pool *pool, const Planes *planes, const int8_t *q, RowScale row,
                    int backwards, size_t count, int32_t *ids, float *values, void *scratch);

/* The same for float logits, which are finite. scratch: largest_scratch(rows) bytes, aligned to 8. */
size_t largest_scratch(size_t rows);
void largest_of(const float *logits, size_t rows, size_t count, int32_t *ids, float *values, void *scratch);

#endif
