/* ONNX Runtime as the engine: its library, loaded by path, runs a model of one operator, and that operator is ours.
 *
 * In: the path of libonnxruntime.so and, for each run, a request. Out: the request's work done on ONNX Runtime's threads.
 * Knows nothing of decoders or of Python. Functions that can fail return false and leave a sentence in `message`.
 */
#ifndef TINYEDGE_ENGINE_H
#define TINYEDGE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>

#include "pool.h"

enum { ENGINE_MESSAGE_BYTES = 512 };

/* The head of a request: what the operator calls in a run. The rest of the request follows it in memory. */
typedef struct Request {
    void (*work)(struct Request *request, const Pool *pool);
} Request;

typedef struct Engine Engine;
typedef struct Binding Binding;

/* Loads the library and creates a session with `threads` threads, the caller's included. */
bool engine_open(const char *library, int threads, Engine **engine, char message[ENGINE_MESSAGE_BYTES]);
void engine_close(Engine *engine); /* NULL: nothing to do */
const char *engine_version(const Engine *engine);

/* Binds a request once for many runs. It must stay where it is until binding_free. */
bool engine_bind(Engine *engine, Request *request, Binding **binding, char message[ENGINE_MESSAGE_BYTES]);
void binding_free(Binding *binding); /* NULL: nothing to do */

/* One run: the request's work, called once. Bindings of an engine can run at the same time, each in one thread. */
bool binding_run(Binding *binding, char message[ENGINE_MESSAGE_BYTES]);

#endif
