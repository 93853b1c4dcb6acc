/* In the guest: one thread plays a team, so that the counts of several threads repeat to the instruction.
 *
 * Real threads of a guest do not repeat: which of them takes a piece, how long one spins, and whose lines stay in the
 * shared cache depend on this machine. Here each piece of a parallel region runs to its end before the next one begins,
 * in the caller's thread. Two calls tell a counting plugin who plays; no other program passes these numbers:
 *
 *   getsid(PLAY + n)   what follows is the work of thread n, with the first-level cache of core n
 *   getsid(ENDED)      the region has ended; what follows is the work of thread 0 alone
 *
 * It stands in for libgomp (LD_PRELOAD; the six functions that ncnn calls), and for ONNX Runtime under the native
 * kernels, whose library it loads from $TEAM_ONNXRUNTIME: the kernels open this file instead, and get a pool of as many
 * pieces as they ask for. Regions inside regions are played by their thread alone, as libgomp does it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ort_api.h"

enum { PLAY = 0x10000, ENDED = 0x20000 };

static int threads = 1; /* of the next region */
static int player, is_inside;

static void play(int number) {
    player = number;
    syscall(SYS_getsid, PLAY + number);
}

static void end_region(void) {
    player = 0;
    syscall(SYS_getsid, ENDED);
}

/* libgomp */
int omp_get_thread_num(void) { return player; }
int omp_get_num_threads(void) { return is_inside ? threads : 1; }
int omp_get_max_threads(void) { return threads; }
int omp_get_dynamic(void) { return 0; }
void omp_set_dynamic(int is_on) { (void)is_on; }
void omp_set_num_threads(int number) { threads = number; }

void GOMP_parallel(void (*work)(void *), void *data, unsigned number, unsigned flags) {
    (void)flags;
    int wanted = number ? (int)number : threads, before = threads, outer = player, was_inside = is_inside;
    if (is_inside || wanted == 1) {
        is_inside = 0, player = 0;
        work(data);
        is_inside = was_inside, player = outer;
        return;
    }
    threads = wanted, is_inside = 1;
    for (int i = 0; i < wanted; i++) {
        play(i);
        work(data);
    }
    threads = before, is_inside = 0;
    end_region();
}

/* ONNX Runtime, as far as export/kernels/c uses it. */
static const OrtApiBase *real;
static OrtApi changed;

static OrtStatus *parallel_for(const OrtKernelContext *context, void (*task)(void *, size_t), size_t total,
                               size_t batches, void *argument) {
    (void)context, (void)batches;
    for (size_t i = 0; i < total; i++) {
        play((int)i);
        task(argument, i);
    }
    end_region();
    return NULL;
}

static OrtStatus *start_no_threads(OrtSessionOptions *options, int number) {
    (void)number;
    return real->GetApi(ORT_API_VERSION_USED)->SetIntraOpNumThreads(options, 1);
}

static const OrtApi *get_api(uint32_t version) {
    const OrtApi *api = real->GetApi(version);
    if (!api) return NULL;
    changed = *api;
    changed.SetIntraOpNumThreads = start_no_threads;
    changed.KernelContext_ParallelFor = parallel_for;
    return &changed;
}

static const char *get_version(void) { return real->GetVersionString(); }

const OrtApiBase *OrtGetApiBase(void) {
    static const OrtApiBase base = {get_api, get_version};
    const char *path = getenv("TEAM_ONNXRUNTIME");
    void *library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    const OrtApiBase *(*get_base)(void) = NULL;
    if (library) *(void **)&get_base = dlsym(library, "OrtGetApiBase");
    if (!get_base) abort(); /* a count without it would be of something else */
    real = get_base();
    return &base;
}
