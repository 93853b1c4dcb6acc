/* Memory for vectors: aligned to 64 bytes, a cache line and the largest vector, and sizes that cannot overflow. */
#ifndef TINYEDGE_MEMORY_H
#define TINYEDGE_MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define ALIGNMENT 64

static inline size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

/* count * size, or SIZE_MAX, which no allocation gives, if that is too large */
static inline size_t saturating_product(size_t count, size_t size) {
    return size && count > SIZE_MAX / size ? SIZE_MAX : count * size;
}

/* Not initialized; free() frees it. NULL: there is no such memory. */
static inline void *allocate(size_t count, size_t size) {
    size_t bytes = saturating_product(count, size);
    return bytes > PTRDIFF_MAX - ALIGNMENT ? NULL : aligned_alloc(ALIGNMENT, round_up(bytes ? bytes : 1, ALIGNMENT));
}

#endif
