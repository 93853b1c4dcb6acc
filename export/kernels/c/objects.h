/* What the extension's C files share: the types of Python's objects and the checks of arguments. */
#ifndef TINYEDGE_OBJECTS_H
#define TINYEDGE_OBJECTS_H

#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030b0000 /* Python 3.11 and all later ones */
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>

#include "decoder.h"
#include "engine.h"
#include "model.h"

typedef struct {
    PyObject *kernels_error, *not_finite_error, *ngrams_error;
    PyTypeObject *model_type, *decoder_type, *ngrams_type;
} ModuleState;

typedef struct NgramsObject NgramsObject;

typedef struct {
    PyObject_HEAD
    Config config;
    NgramsObject *ngrams; /* NULL: none */
    Model *model;
    Engine *engine;
    const char *instructions;
} ModelObject;

extern PyType_Spec model_spec, decoder_spec, ngrams_spec;

/* Model.decoder() */
PyObject *decoder_new(ModelObject *model);

size_t ngrams_object_vocab_size(const NgramsObject *self);

/* Functions of the module: timing_calls.c */
PyObject *call_time_adds(PyObject *module, PyObject *arguments);
PyObject *call_time_stream(PyObject *module, PyObject *arguments);
PyObject *call_time_chase(PyObject *module, PyObject *arguments);
PyObject *call_time_products(PyObject *module, PyObject *arguments);

static inline ModuleState *state_of(PyObject *object) { return PyType_GetModuleState(Py_TYPE(object)); }

/* These return false with an exception set. */

/* Finds what follows a text, of which the last `length` tokens are given; needs the GIL, and runs Python for blocks that
 * are read for the first time. */
bool ngrams_object_find(NgramsObject *self, const int32_t *text, size_t length, Continuations *found);

/* Raises KernelsError; the message may contain a path of any bytes, or end within a character. */
void raise_kernels_error(const ModuleState *state, const char *message);
/* Raises the error that belongs to a status. */
bool check_status(const ModuleState *state, Status status);
/* Reads an integer; ValueError: it is outside low..high. */
bool read_integer(PyObject *object, const char *name, long long low, long long high, long long *value);
/* Reads a float; ValueError: it is not finite, or outside low..high. */
bool read_float(PyObject *object, const char *name, double low, double high, double *value);
/* Sorts the arguments of a METH_FASTCALL | METH_KEYWORDS call by name. All names are required; the list ends with NULL. */
bool read_arguments(const char *const *names, PyObject *const *given, Py_ssize_t count, PyObject *keywords,
                    PyObject **arguments);

#endif
