/* The k largest of many scores.
 *
 * Most of the time of a simple heap goes to branches that no CPU can predict. So the k largest floats are first limited
 * to few more than k, almost without branches: a limit that at least k of them reach, then the groups that reach it,
 * then their members. */
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

enum { GROUP = 16, STREAMS = 64, HALVINGS = 10, FEW = 128 };

/* A limit that at least `count` logits reach: as many of `streams` maxima do, each that of every streams-th logit. With
 * twice as many streams as are needed, few more than `count` logits reach it. No limit where `count` is not small. */
static float limit_of(const float *logits, size_t rows, size_t count, float *maxima) {
    size_t streams = (2 * count + STREAMS - 1) / STREAMS * STREAMS;
    if (2 * streams > rows) return -INFINITY;
    memcpy(maxima, logits, streams * sizeof *maxima);
    for (size_t first = streams; first < rows; first += streams) {
        size_t present = rows - first < streams ? rows - first : streams;
        for (size_t i = 0; i < present; i++)
            maxima[i] = maxima[i] < logits[first + i] ? logits[first + i] : maxima[i];
    }
    Lanes least = lanes_load(maxima), most = least;
    for (size_t i = LANES; i < streams; i += LANES) {
        least = lanes_min(least, lanes_load(maxima + i));
        most = lanes_max(most, lanes_load(maxima + i));
    }
    float low = lanes_smallest(least), high = lanes_largest(most);
    for (int i = 0; i < HALVINGS; i++) { /* low: all that were counted there reach it */
        float middle = low + 0.5f * (high - low);
        uint32_t reached = 0;
        for (size_t j = 0; j < streams; j++) reached += maxima[j] >= middle;
        if (reached >= count)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static int reaches(const float *group, float limit) {
    Lanes low = lanes_max(lanes_load(group), lanes_load(group + 4));
    Lanes high = lanes_max(lanes_load(group + 8), lanes_load(group + 12));
    return lanes_largest(lanes_max(low, high)) >= limit;
}

/* The keys of all logits that reach a limit; returns their number. Writes are unconditional, and kept if they count. */
static size_t collect(const float *logits, size_t rows, float limit, uint32_t *groups, Key *keys) {
    size_t whole = rows - rows % GROUP, chosen = 0, found = 0;
    for (size_t first = 0; first < whole; first += GROUP) {
        groups[chosen] = (uint32_t)first;
        chosen += (size_t)reaches(logits + first, limit);
    }
    for (size_t i = 0; i < chosen; i++)
        for (size_t id = groups[i]; id < groups[i] + GROUP; id++) {
            keys[found] = key_of(ordered(logits[id]), id);
            found += logits[id] >= limit;
        }
    for (size_t id = whole; id < rows; id++) {
        keys[found] = key_of(ordered(logits[id]), id);
        found += logits[id] >= limit;
    }
    return found;
}

size_t largest_scratch(size_t rows) { return rows * sizeof(Key) + (rows / GROUP + 1) * sizeof(uint32_t); }

void largest_of(const float *logits, size_t rows, size_t count, int32_t *ids, float *values, void *scratch) {
    Key *keys = scratch;
    float limit = limit_of(logits, rows, count, scratch);
    size_t found = collect(logits, rows, limit, (uint32_t *)(void *)(keys + rows), keys);
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
