/* The timed loops as functions of the module; _kernels.pyi documents them. The GIL is released while they run. */
#include "objects.h"

#include "calibrate.h"

enum { MAX_TURNS = 1 << 16 };

static bool read_size(PyObject *object, const char *name, long long low, long long high, size_t *size) {
    long long value;
    if (!read_integer(object, name, low, high, &value)) return false;
    *size = (size_t)value;
    return true;
}

static bool read_lines(PyObject *object, size_t *lines) {
    if (!read_size(object, "lines", STEPS_PER_TURN, MAX_LINES, lines)) return false;
    if (!(*lines & (*lines - 1))) return true;
    PyErr_Format(PyExc_ValueError, "lines %zu is not a power of two", *lines);
    return false;
}

/* (ns, proof), or an exception where the loop failed. */
static PyObject *timing_or_error(PyObject *module, Status status, Timing timing) {
    if (!check_status(PyModule_GetState(module), status)) return NULL;
    return Py_BuildValue("KL", (unsigned long long)timing.ns, (long long)timing.proof);
}

PyObject *call_time_adds(PyObject *module, PyObject *arguments) {
    PyObject *given;
    size_t turns;
    if (!PyArg_ParseTuple(arguments, "O:time_adds", &given) || !read_size(given, "turns", 1, MAX_TURNS, &turns))
        return NULL;
    Timing timing;
    Py_BEGIN_ALLOW_THREADS;
    timing = time_adds(turns);
    Py_END_ALLOW_THREADS;
    return timing_or_error(module, KERNELS_OK, timing);
}

PyObject *call_time_stream(PyObject *module, PyObject *arguments) {
    PyObject *given[2];
    size_t lines, turns;
    if (!PyArg_ParseTuple(arguments, "OO:time_stream", given, given + 1) || !read_lines(given[0], &lines) ||
        !read_size(given[1], "turns", 1, MAX_TURNS, &turns))
        return NULL;
    Timing timing = {0};
    Status status;
    Py_BEGIN_ALLOW_THREADS;
    status = time_stream(lines, turns, &timing);
    Py_END_ALLOW_THREADS;
    return timing_or_error(module, status, timing);
}

PyObject *call_time_chase(PyObject *module, PyObject *arguments) {
    PyObject *given[3];
    size_t lines, turns, seed;
    if (!PyArg_ParseTuple(arguments, "OOO:time_chase", given, given + 1, given + 2) || !read_lines(given[0], &lines) ||
        !read_size(given[1], "turns", 1, MAX_TURNS, &turns) || !read_size(given[2], "seed", 0, INT64_MAX, &seed))
        return NULL;
    Timing timing = {0};
    Status status;
    Py_BEGIN_ALLOW_THREADS;
    status = time_chase(lines, turns, seed, &timing);
    Py_END_ALLOW_THREADS;
    return timing_or_error(module, status, timing);
}

PyObject *call_time_products(PyObject *module, PyObject *arguments) {
    PyObject *given;
    size_t turns;
    if (!PyArg_ParseTuple(arguments, "O:time_products", &given) || !read_size(given, "turns", 1, MAX_TURNS, &turns))
        return NULL;
    const Kernels *kernels = kernels_best();
    Timing timing = {0};
    Status status;
    Py_BEGIN_ALLOW_THREADS;
    status = time_products(kernels, turns, &timing);
    Py_END_ALLOW_THREADS;
    if (!check_status(PyModule_GetState(module), status)) return NULL;
    return Py_BuildValue("KLs", (unsigned long long)timing.ns, (long long)timing.proof, kernels_name(kernels));
}
