/* The k largest of many scores: a heap of keys in which one comparison decides by score, then by the lower id. */
#ifndef TINYEDGE_LARGEST_H
#define TINYEDGE_LARGEST_H

#include <stddef.h>
#include <stdint.h>

/* Larger is better: the score above, the id complemented below. */
typedef int64_t Key;

static inline Key key_of(int32_t score, size_t id) { return (Key)score * ((Key)1 << 32) | (uint32_t)~(uint32_t)id; }
static inline int32_t key_score(Key key) { return (int32_t)(key >> 32); }
static inline int32_t key_id(Key key) { return (int32_t)~(uint32_t)key; }

static inline int32_t largest_among(const int32_t *scores, int count) {
    int32_t largest = scores[0];
    for (int i = 1; i < count; i++) largest = scores[i] > largest ? scores[i] : largest;
    return largest;
}

/* A heap has its smallest key in front, so that keys[0] is what a new key must beat. */
void heap_build(Key *keys, size_t count);
/* Replaces the smallest key. */
void heap_replace(Key *keys, size_t count, Key key);
/* Removes the smallest key: count - 1 remain. */
void heap_drop(Key *keys, size_t count);
/* Sorts a heap, largest first. */
void heap_sort(Key *keys, size_t count);

#endif
