/* How work is spread over threads. The kernels start no threads themselves: the caller lends its own. */
#ifndef TINYEDGE_POOL_H
#define TINYEDGE_POOL_H

#include <stddef.h>

typedef void PoolTask(void *argument, size_t index);

typedef struct Pool {
    /* Calls task(argument, i) once for each i below count, on any threads, and returns when all are done.
     * NULL: the caller's thread does everything. */
    void (*run)(void *state, PoolTask *task, void *argument, size_t count);
    void *state;
    int threads; /* how many pieces are worth having, at least 1 */
} Pool;

/* The number of pieces to cut work into. A NULL pool is one thread too. */
static inline size_t pool_threads(const Pool *pool) {
    return pool && pool->run && pool->threads > 1 ? (size_t)pool->threads : 1;
}

static inline void pool_run(const Pool *pool, PoolTask *task, void *argument, size_t count) {
    if (count > 1 && pool_threads(pool) > 1) {
        pool->run(pool->state, task, argument, count);
        return;
    }
    for (size_t i = 0; i < count; i++) task(argument, i);
}

#endif
