/* The k largest of many scores.
 *
 * Bound by reading the scores once: 16 are skipped together unless one beats the k-th largest so far, and among n
 * scores in random order only about k * ln(n / k) do. */
#include "largest.h"

#include <string.h>

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

size_t largest_scratch(size_t count) { return count * sizeof(Key); }

/* An integer that orders as the float does; -0 is 0. */
static int32_t ordered(float value) {
    int32_t bits;
    value += 0.0f;
    memcpy(&bits, &value, sizeof bits);
    return bits ^ ((bits >> 31) & INT32_MAX);
}

void largest_of(const float *logits, size_t rows, size_t count, int32_t *ids, float *values, void *scratch) {
    Key *heap = scratch;
    for (size_t i = 0; i < count; i++) heap[i] = key_of(ordered(logits[i]), i);
    heap_build(heap, count);
    enum { GROUP = 16 };
    float limit = logits[key_id(heap[0])]; /* a later one that is equal has a higher id, so it is not better */
    for (size_t first = count; first < rows; first += GROUP) {
        const float *group = logits + first;
        size_t present = rows - first < GROUP ? rows - first : GROUP;
        int better = present < GROUP;
        for (int j = 0; j < GROUP && present == GROUP; j++) better |= group[j] > limit;
        for (size_t j = 0; better && j < present; j++) {
            if (!(group[j] > limit)) continue;
            heap_replace(heap, count, key_of(ordered(group[j]), first + j));
            limit = logits[key_id(heap[0])];
        }
    }
    heap_sort(heap, count);
    for (size_t i = 0; i < count; i++) {
        ids[i] = key_id(heap[i]);
        values[i] = logits[ids[i]];
    }
}
