/* Random models, texts and calls for the native kernels, for builds with sanitizers (bench/kernels/sanitize.py).
 *
 *     fuzz SECONDS SEED [CASES]
 *
 * A case is a model that follows from its number: any shape, int8 or fp32 matrices, weights from harmless to NaN. It runs
 * on every instruction set, with and without threads, and all runs must agree in every bit. Half of the models are mixed
 * with a table of n-grams, whose numbers are valid or damaged; a table that is refused leaves the model alone. Whatever is computed must be
 * finite, sorted and inside the vocabulary. Some cases run out of memory on purpose. Tensors are allocated to the byte, so
 * that AddressSanitizer sees every read beyond them. A failure prints the number of its case: fuzz 0 NUMBER 1 repeats it. */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "decoder.h"
#include "model.h"

enum { MAX_LAYERS = 3, MAX_TENSORS = 2 + 8 * MAX_LAYERS + 1, MAX_THREADS = 4, MAX_BANNED = 8 };

static const char *const SETS[] = {"plain", "avx2", "avx-vnni", "avx512-vnni", "neon", "dotprod"};
enum { SET_COUNT = sizeof SETS / sizeof *SETS };

static uint64_t case_number;

static void fail(const char *what) {
    fprintf(stderr, "case %llu: %s\n", (unsigned long long)case_number, what);
    exit(1);
}

static void check(int ok, const char *what) {
    if (!ok) fail(what);
}

/* ---- random numbers: SplitMix64 (Steele, Lea and Flood, 2014) ---- */

typedef struct {
    uint64_t state;
} Random;

static uint64_t draw_bits(Random *random) {
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Uniform in [low, high]. */
static int draw_int(Random *random, int low, int high) {
    return low + (int)(draw_bits(random) % (uint64_t)(high - low + 1));
}

/* True once in `times`. */
static int once_in(Random *random, int times) { return draw_int(random, 1, times) == 1; }

static double draw_unit(Random *random) { return (double)(draw_bits(random) >> 11) * 0x1p-53; }

static float draw_extreme(Random *random) {
    static const float EXTREMES[] = {0.0f,    -0.0f,    NAN,   INFINITY, -INFINITY, FLT_MAX, -FLT_MAX,
                                     FLT_MIN, 1e-45f, -1e-45f, 1e30f,    -1e30f,    1e-30f,  1e19f};
    return EXTREMES[draw_bits(random) % (sizeof EXTREMES / sizeof *EXTREMES)];
}

/* Scales are checked before the kernels see them: finite and not negative. */
static float draw_extreme_scale(Random *random) {
    static const float EXTREMES[] = {0.0f, 1e-45f, 1e-40f, FLT_MIN, 1e-30f, 1e20f, FLT_MAX};
    return EXTREMES[draw_bits(random) % (sizeof EXTREMES / sizeof *EXTREMES)];
}

/* ---- threads: each run() starts its own, which ThreadSanitizer understands best ---- */

typedef struct {
    PoolTask *task;
    void *argument;
    size_t count;
    atomic_size_t next;
} Work;

static void *work_on(void *given) {
    Work *work = given;
    size_t index;
    /* relaxed: the counter must not order what the tasks do, or it would hide their races */
    while ((index = atomic_fetch_add_explicit(&work->next, 1, memory_order_relaxed)) < work->count)
        work->task(work->argument, index);
    return NULL;
}

static void run_on_threads(void *state, PoolTask *task, void *argument, size_t count) {
    const int threads = *(const int *)state;
    Work work = {task, argument, count, 0};
    pthread_t started[MAX_THREADS];
    int running = 0;
    while (running < threads - 1 && !pthread_create(&started[running], NULL, work_on, &work)) running++;
    work_on(&work);
    while (running) pthread_join(started[--running], NULL);
}

/* ---- allocations that fail: the linker's --wrap sends those of all objects through these ---- */

static atomic_long allocations_left = -1; /* negative: never fail */

static int allocation_fails(void) {
    return atomic_load(&allocations_left) >= 0 && atomic_fetch_sub(&allocations_left, 1) <= 0;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
int __real_posix_memalign(void **memory, size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size);

void *__wrap_malloc(size_t size) { return allocation_fails() ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t count, size_t size) { return allocation_fails() ? NULL : __real_calloc(count, size); }
void *__wrap_realloc(void *old, size_t size) { return allocation_fails() ? NULL : __real_realloc(old, size); }
void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    return allocation_fails() ? NULL : __real_aligned_alloc(alignment, size);
}
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size) {
    return allocation_fails() ? 12 /* ENOMEM */ : __real_posix_memalign(memory, alignment, size);
}

/* Memory of the fuzzer itself, which never fails. */
static void *allocate(size_t size) {
    void *memory = __real_malloc(size);
    check(memory != NULL, "out of memory");
    return memory;
}

/* ---- models ---- */

typedef struct {
    Config config;
    Source source;
    BlockSource blocks[MAX_LAYERS];
    void *tensors[MAX_TENSORS]; /* what free() takes */
    float scales[MAX_TENSORS];
    int tensor_count;
    int hostile;      /* extremes among the weights: 0 none, 1 a few, 2 half of them */
    int precision;    /* int8, fp32, or either for each matrix */
    int32_t *text;    /* config.context tokens */
    int has_table;
    uint8_t *file, *checked; /* of the table */
    size_t file_blocks;
    Ngrams ngrams; /* their layout; each run copies it */
} Case;

/* Memory of exactly `size` bytes behind the returned pointer, at any alignment. */
static void *add_tensor(Case *made, Random *random, size_t size) {
    const size_t offset = (size_t)draw_int(random, 0, 7);
    char *memory = allocate(offset + size);
    made->tensors[made->tensor_count++] = memory;
    return memory + offset;
}

static int is_extreme(const Case *made, Random *random, size_t size) {
    if (made->hostile == 0) return 0;
    return made->hostile == 2 ? once_in(random, 2) : draw_bits(random) % (4 * size) == 0;
}

static const void *add_floats(Case *made, Random *random, size_t size, float spread, float middle) {
    char *values = add_tensor(made, random, size * sizeof(float));
    for (size_t i = 0; i < size; i++) {
        float value = middle + spread * (float)(2 * draw_unit(random) - 1);
        if (is_extreme(made, random, size)) value = draw_extreme(random);
        memcpy(values + i * sizeof value, &value, sizeof value);
    }
    return values;
}

static MatrixSource add_matrix(Case *made, Random *random, int rows, int columns) {
    const size_t size = (size_t)rows * (size_t)columns;
    const float spread = 2 / sqrtf((float)rows);
    if (made->precision == 1 || (made->precision == 2 && once_in(random, 2)))
        return (MatrixSource){add_floats(made, random, size, spread, 0), NULL};
    float *scale = &made->scales[made->tensor_count];
    *scale = is_extreme(made, random, 2) ? draw_extreme_scale(random) : spread / 127;
    int8_t *values = add_tensor(made, random, size);
    const int same = once_in(random, 8) ? draw_int(random, -128, 127) : 0; /* the largest sums, and ties */
    const int low = once_in(random, 4) ? 120 : -128;
    for (size_t i = 0; i < size; i++) values[i] = (int8_t)(same ? same : draw_int(random, low, 127));
    return (MatrixSource){values, scale};
}

static void make_case(Case *made, Random *random) {
    memset(made, 0, sizeof *made);
    const int large = once_in(random, 40); /* enough that threads divide single products and heads */
    const int wide = once_in(random, 4);   /* rows of several tiles: 256 columns, then 256, 128 and 64 */
    made->config = (Config){
        .vocab_size = draw_int(random, 1, large ? 4000 : 300),
        .d_model = wide ? draw_int(random, 257, 512) : draw_int(random, 1, large ? 512 : 100),
        .heads = draw_int(random, 1, 8),
        .head_width = 8 * draw_int(random, 1, large ? 8 : 3),
        .layers = draw_int(random, 1, MAX_LAYERS),
        .feedforward = wide ? draw_int(random, 257, 512) : draw_int(random, 1, large ? 1024 : 150),
        .context = draw_int(random, 1, large ? 220 : 40), /* a prompt is computed in chunks of 96 */
        .attention_scale = 0.25f,
        .all_logits = once_in(random, 2),
    };
    const Config *c = &made->config;
    made->hostile = draw_int(random, 0, 2);
    made->precision = draw_int(random, 0, 2);
    const int attention = c->heads * c->head_width;
    const size_t width = (size_t)c->d_model;
    made->source.embedding = add_matrix(made, random, c->vocab_size, c->d_model);
    made->source.positions = add_floats(made, random, (size_t)c->context * width, 0.5f, 0);
    for (int i = 0; i < c->layers; i++) {
        made->blocks[i] = (BlockSource){
            .qkv = add_matrix(made, random, c->d_model, 3 * attention),
            .out = add_matrix(made, random, attention, c->d_model),
            .linear1 = add_matrix(made, random, c->d_model, c->feedforward),
            .linear2 = add_matrix(made, random, c->feedforward, c->d_model),
            .norm1_scale = add_floats(made, random, width, 0.5f, 1),
            .norm1_bias = add_floats(made, random, width, 0.5f, 0),
            .norm2_scale = add_floats(made, random, width, 0.5f, 1),
            .norm2_bias = add_floats(made, random, width, 0.5f, 0),
        };
    }
    made->source.blocks = made->blocks;
    made->source.output = add_matrix(made, random, c->d_model, c->vocab_size);
    made->text = allocate((size_t)c->context * sizeof *made->text);
    const int last = once_in(random, 2) ? c->vocab_size - 1 : (c->vocab_size - 1) / 16; /* the same ones often */
    for (int i = 0; i < c->context; i++) made->text[i] = draw_int(random, 0, last);
}

/* What a run computed, reduced to one number (FNV-1a), and the logits of its complete text. */
typedef struct {
    uint64_t hash;
    Status status;
    float *logits;
} Outcome;

static void record(Outcome *outcome, const void *data, size_t size) {
    for (size_t i = 0; i < size; i++) outcome->hash = (outcome->hash ^ ((const uint8_t *)data)[i]) * 0x100000001b3u;
}

/* ---- tables of n-grams ---- */

enum { BLOCK_BYTES = 256 };

/* Room for `count` items in a file; where it begins. */
static size_t take_part(size_t *end, size_t count, size_t size) {
    const size_t offset = (*end + 3) / 4 * 4;
    *end = offset + count * size;
    return offset;
}

/* Rows of increasing tokens, most of them short, with alphas whose sum is at most 1. Returns the number of n-grams. */
static size_t draw_level(const Case *made, Random *random, uint32_t *starts, size_t contexts, uint16_t *tokens,
                         uint8_t *codes, size_t most) {
    size_t count = 0;
    for (size_t context = 0; context < contexts; context++) {
        starts[context] = (uint32_t)count;
        int token = once_in(random, 3) ? -1 : made->config.vocab_size, step = once_in(random, 4) ? 2 : 60;
        while (count < most && (token += draw_int(random, 1, step)) < made->config.vocab_size) {
            tokens[count] = (uint16_t)token;
            codes[count++] = (uint8_t)(once_in(random, 4) ? 0 : draw_int(random, 0, 255));
        }
    }
    starts[contexts] = (uint32_t)count;
    return count;
}

/* Changes the text so that many of its tokens follow the one before in the table. */
static void follow(Case *made, Random *random, const uint32_t *starts, const uint16_t *tokens) {
    for (int i = 1; i < made->config.context; i++) {
        const uint32_t *row = starts + made->text[i - 1], count = row[1] - row[0];
        if (count && !once_in(random, 4)) made->text[i] = tokens[row[0] + draw_bits(random) % count];
    }
}

/* Changes a number of the table, half of the time one of a row that the text needs. */
static void damage(Case *made, Random *random, const uint32_t *starts) {
    const size_t order = (size_t)draw_int(random, 2, (int)made->ngrams.order);
    const NgramLevel *level = &made->ngrams.levels[order - 2];
    const int32_t context = made->text[draw_int(random, 0, made->config.context - 1)];
    const int is_needed = order == 2 && once_in(random, 2) && starts[context] < starts[context + 1];
    const uint32_t first = is_needed ? starts[context] : 0, end = is_needed ? starts[context + 1] : (uint32_t)level->entries;
    if (first == end) return;
    /* the last n-gram of a row limits all others */
    const size_t entry = once_in(random, 2) ? end - 1 : first + draw_bits(random) % (end - first);
    const uint16_t token = (uint16_t)(made->config.vocab_size + draw_int(random, -2, 40));
    const uint32_t start = (uint32_t)(once_in(random, 2) ? draw_bits(random) : level->entries + draw_bits(random) % 3);
    switch (draw_int(random, 0, 8)) {
    case 0:
        memcpy(made->file + level->rows + (is_needed ? (size_t)context + 1 : draw_bits(random) % level->contexts) * sizeof start,
               &start, sizeof start);
        break;
    case 1:
    case 2:
    case 3:
    case 4: memcpy(made->file + level->tokens + entry * sizeof token, &token, sizeof token); break;
    default: made->file[level->codes + entry] = (uint8_t)draw_int(random, 0, 255);
    }
}

static void make_table(Case *made, Random *random) {
    enum { MOST = 3000 };
    static uint32_t starts[NGRAMS_MAX_ORDER - 1][MOST + 4001];
    static uint16_t tokens[NGRAMS_MAX_ORDER - 1][MOST];
    static uint8_t codes[NGRAMS_MAX_ORDER - 1][MOST];
    Ngrams *n = &made->ngrams;
    const size_t size = (size_t)made->config.vocab_size;
    n->order = (size_t)draw_int(random, 2, NGRAMS_MAX_ORDER);
    n->vocab_size = size;
    n->block_bytes = BLOCK_BYTES;
    n->body = (size_t)draw_int(random, 0, 3) * 4;
    size_t end = n->body, contexts = size;
    n->unigrams = take_part(&end, size, sizeof(float));
    for (size_t i = 0; i + 1 < n->order; i++) {
        NgramLevel *level = &n->levels[i];
        level->contexts = contexts;
        level->entries = contexts = draw_level(made, random, starts[i], contexts, tokens[i], codes[i], MOST);
        level->rows = take_part(&end, level->contexts + 1, sizeof(uint32_t));
        level->tokens = take_part(&end, level->entries, sizeof(uint16_t));
        level->codes = take_part(&end, level->entries, 1);
        for (int code = 0; code < NGRAMS_CODES; code++) /* a row has 4000 n-grams at most */
            level->alphas[code] = code ? ldexpf(1.0f + (float)draw_unit(random), draw_int(random, -29, -13)) : 0.0f;
        if (once_in(random, 4)) level->alphas[255] = 0.5f; /* a few of them are too much */
    }
    for (size_t i = 0; i < n->order; i++)
        n->weights[i] = once_in(random, 4) ? (float)draw_int(random, 0, 1) : (float)draw_unit(random);
    made->file = allocate(end); /* aligned to 16 bytes, as malloc does */
    memset(made->file, 0, end);
    const float each = 1.0f / (float)size;
    for (size_t i = 0; i < size; i++) memcpy(made->file + n->unigrams + i * sizeof each, &each, sizeof each);
    for (size_t i = 0; i + 1 < n->order; i++) {
        const NgramLevel *level = &n->levels[i];
        memcpy(made->file + level->rows, starts[i], (level->contexts + 1) * sizeof **starts);
        memcpy(made->file + level->tokens, tokens[i], level->entries * sizeof **tokens);
        memcpy(made->file + level->codes, codes[i], level->entries);
    }
    follow(made, random, starts[0], tokens[0]);
    const int damages = once_in(random, 2) ? 0 : draw_int(random, 1, 40);
    for (int i = 0; i < damages; i++) damage(made, random, starts[0]);
    if (once_in(random, 16)) made->file[n->unigrams + draw_bits(random) % (size * sizeof each)] ^= 0xff;
    made->file_blocks = (end - n->body + BLOCK_BYTES - 1) / BLOCK_BYTES;
    made->checked = allocate(made->file_blocks);
    n->file = made->file;
    n->checked = made->checked;
    made->has_table = 1;
}

/* Mixes after the first `length` tokens; KERNELS_OK also where the table is refused. */
static Status mix_text(const Case *made, Ngrams *ngrams, Decoder *decoder, const Pool *pool, size_t length,
                       Outcome *outcome) {
    const size_t most = ngrams->order - 1, used = length < most ? length : most;
    Continuations found;
    NgramsProblem problem;
    Status status;
    size_t turns = 0;
    while ((status = ngrams_find(ngrams, made->text + length - used, used, &found, &problem)) == KERNELS_UNCHECKED) {
        check(problem.block < made->file_blocks, "a block that the table does not have");
        check(!made->checked[problem.block], "a checked block is asked for again");
        check(turns++ <= made->file_blocks, "a table without end");
        made->checked[problem.block] = 1;
    }
    record(outcome, &status, sizeof status);
    if (status == KERNELS_DAMAGED) {
        check(problem.reason[0] && memchr(problem.reason, 0, sizeof problem.reason), "no reason is given");
        return KERNELS_OK;
    }
    return decoder_mix(decoder, pool, &found);
}

static void free_case(Case *made) {
    free(made->file);
    free(made->checked);
    for (int i = 0; i < made->tensor_count; i++) free(made->tensors[i]);
    free(made->text);
}

/* ---- runs ---- */

/* Whether logit `id` comes before `other` among the largest. */
static int precedes(const float *logits, int32_t id, int32_t other) {
    return logits[id] > logits[other] || (logits[id] == logits[other] && id < other);
}

static void check_largest(const float *logits, int32_t size, const int32_t *ids, const float *values, int32_t count,
                          int is_mixed) {
    for (int32_t i = 0; i < count; i++) {
        check(ids[i] >= 0 && ids[i] < size, "an id outside the vocabulary");
        check(values[i] == logits[ids[i]], "a value that is not its logit");
        check(!i || precedes(logits, ids[i - 1], ids[i]), "the largest logits are not sorted");
    }
    int32_t better = 0, larger = 0;
    for (int32_t id = 0; id < size; id++) {
        better += precedes(logits, id, ids[count - 1]);
        larger += logits[id] > logits[ids[count - 1]];
    }
    /* in a mixture, the more probable of two tokens with the same logarithm is chosen */
    check(larger < count && better >= count - 1, "a larger logit is missing");
    check(better == count - 1 || is_mixed, "an equal logit with a lower id is missing");
}

static Status ask_largest(const Case *made, Random *random, Decoder *decoder, const Pool *pool, Outcome *outcome) {
    const int32_t size = made->config.vocab_size, count = draw_int(random, 1, once_in(random, 4) ? size : (size + 9) / 10);
    int32_t *ids = allocate((size_t)count * sizeof *ids);
    float *values = allocate((size_t)count * sizeof *values);
    const Status status = decoder_largest(decoder, pool, (size_t)count, ids, values);
    check(status != KERNELS_NOT_FINITE, "logits were finite, and the largest of them are not");
    if (status == KERNELS_OK) {
        check_largest(outcome->logits, size, ids, values, count, made->has_table);
        record(outcome, ids, (size_t)count * sizeof *ids);
    }
    free(ids);
    free(values);
    return status;
}

static Status ask_score(const Case *made, Random *random, Decoder *decoder, const Pool *pool, Outcome *outcome) {
    enum { MAX_SCORED = 5 };
    int32_t ids[MAX_SCORED];
    float logits[MAX_SCORED];
    double total = 0;
    const size_t count = (size_t)draw_int(random, 0, MAX_SCORED);
    for (size_t i = 0; i < count; i++) ids[i] = draw_int(random, 0, made->config.vocab_size - 1);
    const Status status = decoder_score(decoder, pool, ids, count, logits, &total);
    check(status != KERNELS_NOT_FINITE, "logits were finite, and a score is not");
    if (status != KERNELS_OK) return status;
    check(isfinite(total) != 0, "the sum of all exponentials is not finite");
    for (size_t i = 0; i < count; i++) {
        check(logits[i] == outcome->logits[ids[i]], "a score is not the logit");
        check((double)logits[i] <= total + 1e-12 * fabs(total) + (made->has_table ? 1e-6 : 0), "a probability is above 1");
    }
    record(outcome, &total, sizeof total);
    return status;
}

static Status ask_draw(const Case *made, Random *random, Decoder *decoder, const Pool *pool, Outcome *outcome) {
    int32_t banned[MAX_BANNED];
    const int32_t size = made->config.vocab_size;
    const int count = draw_int(random, 0, size > MAX_BANNED ? MAX_BANNED : size - 1);
    for (int i = 0; i < count; i++) banned[i] = draw_int(random, 0, size - 1);
    sort_ids(banned, (size_t)count);
    const Draw draw = {
        .temperature = once_in(random, 4) ? 0 : once_in(random, 4) ? 2e-5 : 2 * draw_unit(random) + 0.01,
        .top_p = once_in(random, 2) ? 1 : draw_unit(random),
        .min_p = once_in(random, 2) ? 0 : draw_unit(random),
        .top_k = draw_int(random, 1, size),
        .point = draw_unit(random),
        .banned = banned,
        .banned_count = (size_t)count,
    };
    int32_t token = -1;
    const Status status = decoder_draw(decoder, pool, &draw, &token);
    check(status != KERNELS_NOT_FINITE, "logits were finite, and no token was drawn");
    if (status != KERNELS_OK) return status;
    check(token >= 0 && token < size, "a token outside the vocabulary was drawn");
    for (int i = 0; i < count; i++) check(token != banned[i], "a banned token was drawn");
    record(outcome, &token, sizeof token);
    return status;
}

static Status ask(const Case *made, Random *random, Decoder *decoder, const Pool *pool, Outcome *outcome) {
    const size_t size = (size_t)made->config.vocab_size;
    Status status = decoder_logits(decoder, pool, outcome->logits);
    if (status != KERNELS_OK) return status;
    for (size_t i = 0; i < size; i++) check(isfinite(outcome->logits[i]) != 0, "a logit is not finite");
    record(outcome, outcome->logits, size * sizeof *outcome->logits);
    status = ask_largest(made, random, decoder, pool, outcome);
    if (status == KERNELS_OK) status = ask_score(made, random, decoder, pool, outcome);
    return status == KERNELS_OK ? ask_draw(made, random, decoder, pool, outcome) : status;
}

/* Feeds the text in pieces, now and then from an earlier position again, and asks after each piece. */
static Status run_text(const Case *made, Random *random, Decoder *decoder, const Pool *pool, Outcome *outcome) {
    Ngrams ngrams = made->ngrams;
    if (made->has_table) memset(made->checked, 0, made->file_blocks);
    const int end = made->config.context;
    int start = 0;
    Status status = KERNELS_OK;
    while (start < end && status == KERNELS_OK) {
        const int count = draw_int(random, 1, once_in(random, 2) ? end - start : 1);
        status = decoder_feed(decoder, pool, made->text + start, (size_t)count, (size_t)start);
        if (status == KERNELS_OK && made->has_table)
            status = mix_text(made, &ngrams, decoder, pool, (size_t)(start + count), outcome);
        if (status == KERNELS_OK) status = ask(made, random, decoder, pool, outcome);
        start += count;
        if (start < end && once_in(random, 8)) start = draw_int(random, 0, start);
    }
    return status;
}

static Outcome run_case(const Case *made, const Kernels *kernels, int threads, uint64_t seed) {
    const Pool pool = {run_on_threads, &threads, threads};
    Random random = {seed};
    /* to the byte, so that a write of a padded row beyond the logits is seen */
    Outcome outcome = {0xcbf29ce484222325u, KERNELS_OK, allocate((size_t)made->config.vocab_size * sizeof(float))};
    Model *model = NULL;
    Decoder *decoder = NULL;
    outcome.status = model_create(&made->config, &made->source, kernels, &model);
    if (outcome.status == KERNELS_OK) {
        outcome.status = decoder_create(model, &decoder);
        if (outcome.status == KERNELS_OK) {
            outcome.status = run_text(made, &random, decoder, threads > 1 ? &pool : NULL, &outcome);
            decoder_free(decoder);
        }
        model_free(model);
    }
    record(&outcome, &outcome.status, sizeof outcome.status);
    return outcome;
}

static void run_out_of_memory(const Case *made, Random *random) {
    atomic_store(&allocations_left, draw_int(random, 0, 40));
    Outcome outcome = run_case(made, kernels_best(), 1, case_number);
    atomic_store(&allocations_left, -1);
    free(outcome.logits);
}

/* Runs one case in all ways. Returns its status. */
static Status run_everywhere(const Case *made, Random *random) {
    Outcome first = run_case(made, kernels_named("plain"), 1, case_number);
    for (int i = 0; i < SET_COUNT; i++) {
        const Kernels *kernels = kernels_named(SETS[i]);
        if (!kernels) continue;
        Outcome other = run_case(made, kernels, draw_int(random, 1, MAX_THREADS), case_number);
        check(other.status == first.status, "two instruction sets end with different statuses");
        check(other.hash == first.hash, "two instruction sets compute different bits");
        free(other.logits);
    }
    Outcome cut = run_case(made, kernels_best(), 1, ~case_number); /* the same text in other pieces */
    /* where one way meets NaN, another may not: the last block computes only the last row of a piece */
    if (first.status == KERNELS_OK && cut.status == KERNELS_OK)
        check(!memcmp(first.logits, cut.logits, (size_t)made->config.vocab_size * sizeof(float)),
              "the logits of a text depend on the pieces it came in");
    free(cut.logits);
    free(first.logits);
    return first.status;
}

/* ---- the program ---- */

void __sanitizer_set_death_callback(void (*callback)(void));

static void name_case(void) { fprintf(stderr, "in case %llu\n", (unsigned long long)case_number); }

static double read_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int main(int count, char **arguments) {
    if (count < 3) return fprintf(stderr, "usage: fuzz SECONDS SEED [CASES]\n"), 2;
    const double end = read_seconds() + atof(arguments[1]);
    const uint64_t seed = strtoull(arguments[2], NULL, 10);
    const uint64_t at_least = count > 3 ? strtoull(arguments[3], NULL, 10) : 1;
    uint64_t cases = 0, finite = 0;
    __sanitizer_set_death_callback(name_case);
    while (cases < at_least || read_seconds() < end) {
        case_number = seed + cases++;
        Random random = {case_number};
        Case made;
        make_case(&made, &random);
        if (once_in(&random, 2)) make_table(&made, &random);
        if (once_in(&random, 4)) run_out_of_memory(&made, &random);
        finite += run_everywhere(&made, &random) == KERNELS_OK;
        free_case(&made);
    }
    printf("%llu models, %llu of them finite, on", (unsigned long long)cases, (unsigned long long)finite);
    for (int i = 0; i < SET_COUNT; i++)
        if (kernels_named(SETS[i])) printf(" %s", SETS[i]);
    printf("\n");
    return 0;
}
