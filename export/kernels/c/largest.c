/* The k largest of many scores.
 *
 * Most of the time of a simple heap goes to branches that no CPU can predict. So the k largest floats are first limited
 * to few more than k, almost without branches: the largest of each group of 16, the k-th largest of these, which is a limit
 * that at least k numbers reach, then the groups that reach it, then their members. */
#include "largest.h"

#include <math.h>
#include <string.h>

#include "lanes.h"

#include "planes.h"

/* Which child is smaller is a coin toss, so it is computed and not branched on. */
static void sift_down(Key *keys, size_t count, size_t at, Key key) {
    size_t child = 2 * at + 1;
    for (; child + 1 < count; child = 2 * at + 1) {
        child += keys[child + 1] < keys[child];
        if (key <= keys[child]) break;
        keys[at] = keys[child];
        at = child;
    }
    if (child + 1 == count && keys[child] < key) {
        keys[at] = keys[child];
        at = child;
    }
    keys[at] = key;
}

void heap_build(Key *keys, size_t count) {
    for (size_t i = count / 2; i-- > 0;) sift_down(keys, count, i, keys[i]);
}

void heap_replace(Key *keys, size_t count, Key key) { sift_down(keys, count, 0, key); }

void heap_drop(Key *keys, size_t count) { sift_down(keys, count - 1, 0, keys[count - 1]); }

void heap_sort(Key *keys, size_t count) {
    while (count > 1) {
        Key last = keys[--count];
        keys[count] = keys[0];
        sift_down(keys, count, 0, last);
    }
}

/* An integer that orders as the float does; -0 is 0. */
static int32_t ordered(float value) {
    int32_t bits;
    value += 0.0f;
    memcpy(&bits, &value, sizeof bits);
    return bits ^ ((bits >> 31) & INT32_MAX);
}

enum { GROUP = 16, FEW = 32 };

static float largest_of_group(const float *group) {
    Lanes low = lanes_max(lanes_load(group), lanes_load(group + 4));
    Lanes high = lanes_max(lanes_load(group + 8), lanes_load(group + 12));
    return lanes_largest(lanes_max(low, high));
}

/* A limit that at least `count` numbers reach, and few more: the count-th largest of the groups' maxima. No limit where
 * `count` is not small. heap: room for count keys. */
static float limit_of(const float *maxima, size_t groups, size_t count, Key *heap) {
    if (2 * count > groups) return -INFINITY;
    for (size_t i = 0; i < count; i++) heap[i] = key_of(ordered(maxima[i]), i);
    heap_build(heap, count);
    float limit = maxima[key_id(heap[0])];
    for (size_t i = count; i < groups; i++) {
        if (maxima[i] <= limit) continue;
        heap_replace(heap, count, key_of(ordered(maxima[i]), i));
        limit = maxima[key_id(heap[0])];
    }
    return limit;
}

/* The keys of all numbers that reach a limit; returns how many. Writes are unconditional, and kept if they count. */
static size_t collect(const float *numbers, size_t rows, const float *maxima, float limit, Key *keys) {
    size_t whole = rows - rows % GROUP, found = 0;
    for (size_t first = 0; first < whole; first += GROUP) {
        if (maxima[first / GROUP] < limit) continue;
        for (size_t id = first; id < first + GROUP; id++) {
            keys[found] = key_of(ordered(numbers[id]), id);
            found += numbers[id] >= limit;
        }
    }
    for (size_t id = whole; id < rows; id++) {
        keys[found] = key_of(ordered(numbers[id]), id);
        found += numbers[id] >= limit;
    }
    return found;
}

size_t largest_scratch(size_t rows) { return rows * sizeof(Key) + (rows / GROUP + 1) * sizeof(float); }

void largest_of(const float *logits, size_t rows, size_t count, int32_t *ids, float *values, void *scratch) {
    Key *keys = scratch;
    float *maxima = (float *)(void *)(keys + rows);
    size_t groups = rows / GROUP;
    for (size_t i = 0; i < groups; i++) maxima[i] = largest_of_group(logits + i * GROUP);
    float limit = limit_of(maxima, groups, count, keys);
    size_t found = collect(logits, rows, maxima, limit, keys);
    if (found <= FEW) { /* each one's rank is the number of larger ones */
        for (size_t i = 0; i < found; i++) {
            size_t rank = 0;
            for (size_t j = 0; j < found; j++) rank += keys[j] > keys[i];
            if (rank < count) ids[rank] = key_id(keys[i]);
        }
    } else {
        heap_build(keys, count);
        for (size_t i = count; i < found; i++)
            if (keys[i] > keys[0]) heap_replace(keys, count, keys[i]);
        heap_sort(keys, count);
        for (size_t i = 0; i < count; i++) ids[i] = key_id(keys[i]);
    }
    for (size_t i = 0; i < count; i++) values[i] = logits[ids[i]];
}
