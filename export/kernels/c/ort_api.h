/* The part of ONNX Runtime's C interface, version 20, that engine.c calls; 1.20 and all later releases have it.
 *
 * The interface is a table of function pointers that only ever grows at its end, so a function is known by its index in
 * the table. Indexes and arguments: include/onnxruntime/core/session/onnxruntime_c_api.h of release 1.20.0, compared with
 * 1.29.0. Functions that return OrtStatus * return NULL when all went well.
 */
#ifndef TINYEDGE_ORT_API_H
#define TINYEDGE_ORT_API_H

#include <stddef.h>
#include <stdint.h>

#define ORT_API_VERSION_USED 20

typedef struct OrtStatus OrtStatus;
typedef struct OrtEnv OrtEnv;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtCustomOpDomain OrtCustomOpDomain;
typedef struct OrtSession OrtSession;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtValue OrtValue;
typedef struct OrtIoBinding OrtIoBinding;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtKernelContext OrtKernelContext;
typedef struct OrtKernelInfo OrtKernelInfo;
typedef struct OrtCustomOp OrtCustomOp;

enum { ORT_LOGGING_FATAL = 4 };
enum { ORT_DISABLE_ALL_OPTIMIZATIONS = 0 };
enum { ORT_DEVICE_ALLOCATOR = 0 };
enum { ORT_MEMORY_DEFAULT = 0 };
enum { ORT_TENSOR_UINT8 = 2 };

typedef struct OrtApi {
    void *unused_0[2];
    const char *(*GetErrorMessage)(const OrtStatus *);                                      /* 2 */
    OrtStatus *(*CreateEnv)(int severity, const char *name, OrtEnv **);                     /* 3 */
    void *unused_4[2];
    OrtStatus *(*DisableTelemetryEvents)(const OrtEnv *);                                   /* 6 */
    void *unused_7;
    OrtStatus *(*CreateSessionFromArray)(const OrtEnv *, const void *model, size_t bytes, const OrtSessionOptions *,
                                         OrtSession **);                                    /* 8 */
    void *unused_9;
    OrtStatus *(*CreateSessionOptions)(OrtSessionOptions **);                               /* 10 */
    void *unused_11[6];
    OrtStatus *(*DisableMemPattern)(OrtSessionOptions *);                                   /* 17 */
    void *unused_18;
    OrtStatus *(*DisableCpuMemArena)(OrtSessionOptions *);                                  /* 19 */
    void *unused_20[3];
    OrtStatus *(*SetSessionGraphOptimizationLevel)(OrtSessionOptions *, int level);         /* 23 */
    OrtStatus *(*SetIntraOpNumThreads)(OrtSessionOptions *, int threads);                   /* 24 */
    OrtStatus *(*SetInterOpNumThreads)(OrtSessionOptions *, int threads);                   /* 25 */
    OrtStatus *(*CreateCustomOpDomain)(const char *domain, OrtCustomOpDomain **);           /* 26 */
    OrtStatus *(*CustomOpDomain_Add)(OrtCustomOpDomain *, const OrtCustomOp *);             /* 27 */
    OrtStatus *(*AddCustomOpDomain)(OrtSessionOptions *, OrtCustomOpDomain *);              /* 28 */
    void *unused_29[20];
    OrtStatus *(*CreateTensorWithDataAsOrtValue)(const OrtMemoryInfo *, void *data, size_t bytes, const int64_t *shape,
                                                 size_t dimensions, int type, OrtValue **); /* 49 */
    void *unused_50;
    OrtStatus *(*GetTensorMutableData)(OrtValue *, void **data);                            /* 51 */
    void *unused_52[17];
    OrtStatus *(*CreateCpuMemoryInfo)(int allocator, int memory, OrtMemoryInfo **);         /* 69 */
    void *unused_70[20];
    OrtStatus *(*KernelContext_GetInput)(const OrtKernelContext *, size_t, const OrtValue **); /* 90 */
    void *unused_91;
    void (*ReleaseEnv)(OrtEnv *);                                                           /* 92 */
    void (*ReleaseStatus)(OrtStatus *);                                                     /* 93 */
    void (*ReleaseMemoryInfo)(OrtMemoryInfo *);                                             /* 94 */
    void (*ReleaseSession)(OrtSession *);                                                   /* 95 */
    void (*ReleaseValue)(OrtValue *);                                                       /* 96 */
    void *unused_97[3];
    void (*ReleaseSessionOptions)(OrtSessionOptions *);                                     /* 100 */
    void (*ReleaseCustomOpDomain)(OrtCustomOpDomain *);                                     /* 101 */
    void *unused_102[28];
    OrtStatus *(*AddSessionConfigEntry)(OrtSessionOptions *, const char *key, const char *value); /* 130 */
    void *unused_131[2];
    OrtStatus *(*RunWithBinding)(OrtSession *, const OrtRunOptions *, const OrtIoBinding *); /* 133 */
    OrtStatus *(*CreateIoBinding)(OrtSession *, OrtIoBinding **);                           /* 134 */
    void (*ReleaseIoBinding)(OrtIoBinding *);                                               /* 135 */
    OrtStatus *(*BindInput)(OrtIoBinding *, const char *name, const OrtValue *);            /* 136 */
    OrtStatus *(*BindOutput)(OrtIoBinding *, const char *name, const OrtValue *);           /* 137 */
    void *unused_138[136];
    OrtStatus *(*KernelContext_ParallelFor)(const OrtKernelContext *, void (*)(void *, size_t), size_t total,
                                            size_t batches, void *argument);                /* 274 */
} OrtApi;

#define ORT_INDEX(name, index) \
    _Static_assert(offsetof(OrtApi, name) == (index) * sizeof(void *), #name " is at another index")
ORT_INDEX(CreateSessionOptions, 10);
ORT_INDEX(AddCustomOpDomain, 28);
ORT_INDEX(CreateCpuMemoryInfo, 69);
ORT_INDEX(ReleaseCustomOpDomain, 101);
ORT_INDEX(BindOutput, 137);
ORT_INDEX(KernelContext_ParallelFor, 274);
#undef ORT_INDEX

typedef struct OrtApiBase {
    const OrtApi *(*GetApi)(uint32_t version); /* NULL: the library is older */
    const char *(*GetVersionString)(void);
} OrtApiBase;

/* An operator of ours. ONNX Runtime reads `version` to know which fields are there. */
struct OrtCustomOp {
    uint32_t version;
    void *(*CreateKernel)(const OrtCustomOp *, const OrtApi *, const OrtKernelInfo *); /* before CreateKernelV2 */
    const char *(*GetName)(const OrtCustomOp *);
    const char *(*GetExecutionProviderType)(const OrtCustomOp *);
    int (*GetInputType)(const OrtCustomOp *, size_t);
    size_t (*GetInputTypeCount)(const OrtCustomOp *);
    int (*GetOutputType)(const OrtCustomOp *, size_t);
    size_t (*GetOutputTypeCount)(const OrtCustomOp *);
    void (*KernelCompute)(void *kernel, OrtKernelContext *); /* before KernelComputeV2 */
    void (*KernelDestroy)(void *kernel);
    int (*GetInputCharacteristic)(const OrtCustomOp *, size_t); /* 0: required */
    int (*GetOutputCharacteristic)(const OrtCustomOp *, size_t);
    int (*GetInputMemoryType)(const OrtCustomOp *, size_t);
    int (*GetVariadicInputMinArity)(const OrtCustomOp *);
    int (*GetVariadicInputHomogeneity)(const OrtCustomOp *);
    int (*GetVariadicOutputMinArity)(const OrtCustomOp *);
    int (*GetVariadicOutputHomogeneity)(const OrtCustomOp *);
    OrtStatus *(*CreateKernelV2)(const OrtCustomOp *, const OrtApi *, const OrtKernelInfo *, void **kernel);
    OrtStatus *(*KernelComputeV2)(void *kernel, OrtKernelContext *);
    OrtStatus *(*InferOutputShape)(const OrtCustomOp *, void *context); /* NULL: shapes are not inferred */
    int (*GetStartVersion)(const OrtCustomOp *);
    int (*GetEndVersion)(const OrtCustomOp *);
    size_t (*GetMayInplace)(int **inputs, int **outputs);
    void (*ReleaseMayInplace)(int *inputs, int *outputs);
    size_t (*GetAliasMap)(int **inputs, int **outputs);
    void (*ReleaseAliasMap)(int *inputs, int *outputs);
};

_Static_assert(sizeof(OrtCustomOp) == 26 * sizeof(void *), "a field of OrtCustomOp is missing");

#endif
