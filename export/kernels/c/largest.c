/* The k largest of many scores.
 *
 * Bound by reading the scores once: a group of 16 is skipped after one vector maximum unless it beats the k-th largest
 * so far, and among n scores in random order only about k * ln(n / k) get further. */
#include "largest.h"

#include <string.h>

#include "planes.h"

static void sift_down(Key *keys, size_t count, size_t at, Key key) {
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && keys[child + 1] < keys[child]) child++;
        if (key <= keys[child]) break;
        keys[at] = keys[child];
    }
    keys[at] = key;
}

void heap_build(Key *keys, size_t count) {
    for (size_t i = count / 2; i-- > 0;) sift_down(keys, count, i, keys[i]);
}

void heap_replace(Key *keys, size_t count, Key key) { sift_down(keys, count, 0, key); }

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
    int32_t scores[GROUP];
    for (size_t i = count; i < rows; i += GROUP) {
        size_t present = rows - i < GROUP ? rows - i : GROUP;
        for (size_t j = 0; j < GROUP; j++) scores[j] = j < present ? ordered(logits[i + j]) : INT32_MIN;
        if (largest_in_group(scores) < key_score(heap[0])) continue;
        for (size_t j = 0; j < present; j++) {
            Key key = key_of(scores[j], i + j);
            if (key > heap[0]) heap_replace(heap, count, key);
        }
    }
    heap_sort(heap, count);
    for (size_t i = 0; i < count; i++) {
        ids[i] = key_id(heap[i]);
        values[i] = logits[ids[i]];
    }
}
