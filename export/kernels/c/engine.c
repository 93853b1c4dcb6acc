/* ONNX Runtime as the engine; see engine.h.
 *
 * The library is opened with RTLD_LOCAL, so it does not meet the second copy of the engine that the onnxruntime package
 * holds in its Python module. It is never closed: C++ libraries leave threads and destructors behind.
 *
 * A forked child has no threads of its parent's pool. There the caller's thread computes alone, with the same results,
 * and nothing of ONNX Runtime is released, because that waits for threads that do not exist.
 *
 * Bound by loading: relocating and initializing ONNX Runtime's 35 MB costs more than all else here.
 */
#define _POSIX_C_SOURCE 200809L /* getpid */

#include "engine.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#include "ort_api.h"

#define DOMAIN "tinyedge"
#define OPERATOR "Run"
#define INPUT "request"
#define OUTPUT "done"

/* The operator as ONNX Runtime sees it; `engine` comes back to us in CreateKernelV2. */
typedef struct {
    OrtCustomOp base;
    Engine *engine;
} Operator;

struct Engine {
    const OrtApi *api;
    const char *version;
    OrtEnv *environment;
    OrtCustomOpDomain *domain;
    OrtMemoryInfo *memory;
    OrtSession *session;
    Operator operator;
    int threads;
    pid_t process; /* that created the session, and so has its threads */
};

struct Binding {
    Engine *engine;
    OrtIoBinding *handle;
    OrtValue *input, *output;
    uint8_t done; /* the output: a graph needs one */
};

/* The model, an ONNX ModelProto: tag, length, content. Its only node is done = tinyedge.Run(request), both uint8. */
static const char MODEL[] =
    "\x08\x08"                                                                 /* ir_version 8 */
    "\x42\x0c" "\x0a\x08" DOMAIN "\x10\x01"                                   /* opset_import: domain, version 1 */
    "\x3a\x42"                                                                 /* graph: */
    "\x0a\x1e"                                                                 /* node: */
    "\x0a\x07" INPUT "\x12\x04" OUTPUT "\x22\x03" OPERATOR "\x3a\x08" DOMAIN /* input, output, op_type, domain */
    "\x12\x01g"                                                                /* name */
    "\x5a\x0f" "\x0a\x07" INPUT "\x12\x04\x0a\x02\x08\x02"                   /* input: uint8, of any shape */
    "\x62\x0c" "\x0a\x04" OUTPUT "\x12\x04\x0a\x02\x08\x02";                 /* output: the same */

/* True if all went well; else the message is ONNX Runtime's. */
static bool succeeded(const OrtApi *api, OrtStatus *status, char *message) {
    if (!status) return true;
    snprintf(message, ENGINE_MESSAGE_BYTES, "ONNX Runtime: %s", api->GetErrorMessage(status));
    api->ReleaseStatus(status);
    return false;
}

/* A run's pool. */
typedef struct {
    const OrtApi *api;
    const OrtKernelContext *context;
    OrtStatus *failed;
} Crew;

static void crew_run(void *state, PoolTask *task, void *argument, size_t count) {
    Crew *crew = state;
    OrtStatus *status = crew->api->KernelContext_ParallelFor(crew->context, task, count, 0, argument);
    if (!status) return;
    if (crew->failed) crew->api->ReleaseStatus(crew->failed);
    crew->failed = status; /* fails the run */
}

static OrtStatus *compute(void *kernel, OrtKernelContext *context) {
    const Engine *engine = kernel;
    const OrtValue *input;
    void *data;
    OrtStatus *status = engine->api->KernelContext_GetInput(context, 0, &input);
    if (!status) status = engine->api->GetTensorMutableData((OrtValue *)(uintptr_t)input, &data);
    if (status) return status;
    Request *request = data;
    Crew crew = {engine->api, context, NULL};
    bool alone = engine->threads == 1 || engine->process != getpid();
    Pool pool = {alone ? NULL : crew_run, &crew, alone ? 1 : engine->threads};
    request->work(request, &pool);
    return crew.failed;
}

static OrtStatus *create_kernel(const OrtCustomOp *base, const OrtApi *api, const OrtKernelInfo *info, void **kernel) {
    (void)api, (void)info;
    *kernel = ((const Operator *)base)->engine;
    return NULL;
}

static void destroy_kernel(void *kernel) { (void)kernel; } /* the engine frees itself */
static const char *operator_name(const OrtCustomOp *base) { return (void)base, OPERATOR; }
static const char *operator_provider(const OrtCustomOp *base) { return (void)base, "CPUExecutionProvider"; }
static int type_of_all(const OrtCustomOp *base, size_t index) { return (void)base, (void)index, ORT_TENSOR_UINT8; }
static int zero_of_all(const OrtCustomOp *base, size_t index) { return (void)base, (void)index, 0; }
static size_t count_of_all(const OrtCustomOp *base) { return (void)base, 1; }
static int zero(const OrtCustomOp *base) { return (void)base, 0; }
static int version_one(const OrtCustomOp *base) { return (void)base, 1; }

static const OrtCustomOp OPERATOR_BASE = {
    .version = ORT_API_VERSION_USED,
    .GetName = operator_name,
    .GetExecutionProviderType = operator_provider,
    .GetInputType = type_of_all,
    .GetInputTypeCount = count_of_all,
    .GetOutputType = type_of_all,
    .GetOutputTypeCount = count_of_all,
    .KernelDestroy = destroy_kernel,
    .GetInputCharacteristic = zero_of_all,
    .GetOutputCharacteristic = zero_of_all,
    .GetInputMemoryType = zero_of_all,
    .GetVariadicInputMinArity = zero,
    .GetVariadicInputHomogeneity = zero,
    .GetVariadicOutputMinArity = zero,
    .GetVariadicOutputHomogeneity = zero,
    .CreateKernelV2 = create_kernel,
    .KernelComputeV2 = compute,
    .GetStartVersion = version_one,
    .GetEndVersion = version_one,
};

static bool load(Engine *engine, const char *library, char *message) {
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        snprintf(message, ENGINE_MESSAGE_BYTES, "ONNX Runtime cannot be loaded: %s", dlerror());
        return false;
    }
    const OrtApiBase *(*get_base)(void);
    *(void **)&get_base = dlsym(handle, "OrtGetApiBase");
    if (!get_base) {
        snprintf(message, ENGINE_MESSAGE_BYTES, "%s is not ONNX Runtime: it has no OrtGetApiBase", library);
        return false;
    }
    const OrtApiBase *base = get_base();
    engine->version = base->GetVersionString();
    engine->api = base->GetApi(ORT_API_VERSION_USED);
    if (!engine->api)
        snprintf(message, ENGINE_MESSAGE_BYTES, "ONNX Runtime %s is too old: 1.%d or later is needed", engine->version,
                 ORT_API_VERSION_USED);
    return engine->api;
}

/* A single node needs no arena, no plan of memory and no optimizer. Waiting threads must sleep, not spin. */
static OrtStatus *set_options(Engine *engine, OrtSessionOptions *options) {
    const OrtApi *api = engine->api;
    OrtStatus *status = api->SetIntraOpNumThreads(options, engine->threads);
    if (!status) status = api->SetInterOpNumThreads(options, 1);
    if (!status) status = api->AddSessionConfigEntry(options, "session.intra_op.allow_spinning", "0");
    if (!status) status = api->DisableCpuMemArena(options);
    if (!status) status = api->DisableMemPattern(options);
    if (!status) status = api->SetSessionGraphOptimizationLevel(options, ORT_DISABLE_ALL_OPTIMIZATIONS);
    if (!status) status = api->CreateCustomOpDomain(DOMAIN, &engine->domain);
    if (!status) status = api->CustomOpDomain_Add(engine->domain, &engine->operator.base);
    if (!status) status = api->AddCustomOpDomain(options, engine->domain);
    return status;
}

static OrtStatus *create_session(Engine *engine) {
    const OrtApi *api = engine->api;
    OrtSessionOptions *options = NULL;
    OrtStatus *status = api->CreateEnv(ORT_LOGGING_FATAL, DOMAIN, &engine->environment);
    if (!status) status = api->DisableTelemetryEvents(engine->environment);
    if (!status) status = api->CreateCpuMemoryInfo(ORT_DEVICE_ALLOCATOR, ORT_MEMORY_DEFAULT, &engine->memory);
    if (!status) status = api->CreateSessionOptions(&options);
    if (!status) status = set_options(engine, options);
    if (!status)
        status = api->CreateSessionFromArray(engine->environment, MODEL, sizeof MODEL - 1, options, &engine->session);
    if (options) api->ReleaseSessionOptions(options);
    return status;
}

bool engine_open(const char *library, int threads, Engine **result, char message[ENGINE_MESSAGE_BYTES]) {
    Engine *engine = calloc(1, sizeof *engine);
    if (!engine) {
        snprintf(message, ENGINE_MESSAGE_BYTES, "out of memory");
        return false;
    }
    engine->threads = threads;
    engine->process = getpid();
    engine->operator = (Operator){OPERATOR_BASE, engine};
    if (!load(engine, library, message) || !succeeded(engine->api, create_session(engine), message)) {
        engine_close(engine);
        return false;
    }
    *result = engine;
    return true;
}

void engine_close(Engine *engine) {
    if (!engine) return;
    const OrtApi *api = engine->api;
    if (api && engine->process == getpid()) {
        if (engine->session) api->ReleaseSession(engine->session);
        if (engine->domain) api->ReleaseCustomOpDomain(engine->domain);
        if (engine->memory) api->ReleaseMemoryInfo(engine->memory);
        if (engine->environment) api->ReleaseEnv(engine->environment);
    }
    free(engine);
}

const char *engine_version(const Engine *engine) { return engine->version; }

bool engine_bind(Engine *engine, Request *request, Binding **result, char message[ENGINE_MESSAGE_BYTES]) {
    Binding *binding = calloc(1, sizeof *binding);
    if (!binding) {
        snprintf(message, ENGINE_MESSAGE_BYTES, "out of memory");
        return false;
    }
    binding->engine = engine;
    const OrtApi *api = engine->api;
    const int64_t input_shape[] = {sizeof *request}, output_shape[] = {sizeof binding->done};
    OrtStatus *status = api->CreateTensorWithDataAsOrtValue(engine->memory, request, sizeof *request, input_shape, 1,
                                                            ORT_TENSOR_UINT8, &binding->input);
    if (!status)
        status = api->CreateTensorWithDataAsOrtValue(engine->memory, &binding->done, sizeof binding->done, output_shape,
                                                     1, ORT_TENSOR_UINT8, &binding->output);
    if (!status) status = api->CreateIoBinding(engine->session, &binding->handle);
    if (!status) status = api->BindInput(binding->handle, INPUT, binding->input);
    if (!status) status = api->BindOutput(binding->handle, OUTPUT, binding->output);
    if (!succeeded(api, status, message)) {
        binding_free(binding);
        return false;
    }
    *result = binding;
    return true;
}

void binding_free(Binding *binding) {
    if (!binding) return;
    const OrtApi *api = binding->engine->api;
    if (binding->engine->process == getpid()) {
        if (binding->handle) api->ReleaseIoBinding(binding->handle);
        if (binding->input) api->ReleaseValue(binding->input);
        if (binding->output) api->ReleaseValue(binding->output);
    }
    free(binding);
}

bool binding_run(Binding *binding, char message[ENGINE_MESSAGE_BYTES]) {
    const OrtApi *api = binding->engine->api;
    return succeeded(api, api->RunWithBinding(binding->engine->session, NULL, binding->handle), message);
}
