/* The Python extension tinyedge_kernels._kernels: its module, its errors and the checks of arguments.
 *
 * Written for Python's stable ABI, so one file serves Python 3.11 and all later ones.
 */
#include "objects.h" /* first: Python.h says which POSIX the others offer */

#include <math.h>
#include <string.h>

#include "drop_code.h"

void raise_kernels_error(const ModuleState *state, const char *message) {
    PyObject *text = PyUnicode_DecodeUTF8(message, (Py_ssize_t)strlen(message), "replace");
    if (text) PyErr_SetObject(state->kernels_error, text);
    Py_XDECREF(text);
}

bool check_status(const ModuleState *state, Status status) {
    if (status == KERNELS_OK) return true;
    if (status == KERNELS_NOT_FINITE)
        PyErr_SetString(state->not_finite_error, "a step of the model met NaN or infinity");
    else
        PyErr_NoMemory();
    return false;
}

bool read_integer(PyObject *object, const char *name, long long low, long long high, long long *value) {
    PyObject *index = PyNumber_Index(object); /* TypeError: not an integer */
    if (!index) return false;
    int overflow;
    *value = PyLong_AsLongLongAndOverflow(index, &overflow);
    bool inside = !overflow && low <= *value && *value <= high;
    if (!inside) PyErr_Format(PyExc_ValueError, "%s %S is outside %lld-%lld", name, index, low, high);
    Py_DECREF(index);
    return inside;
}

bool read_float(PyObject *object, const char *name, double low, double high, double *value) {
    *value = PyFloat_AsDouble(object);
    if (*value == -1.0 && PyErr_Occurred()) return false;
    if (isfinite(*value) && low <= *value && *value <= high) return true;
    PyErr_Format(PyExc_ValueError, "%s %S is outside its range", name, object);
    return false;
}

bool read_arguments(const char *const *names, PyObject *const *given, Py_ssize_t count, PyObject *keywords,
                    PyObject **arguments) {
    Py_ssize_t expected = 0;
    while (names[expected]) arguments[expected++] = NULL;
    if (count > expected) {
        PyErr_Format(PyExc_TypeError, "%zd arguments were given, %zd are expected", count, expected);
        return false;
    }
    for (Py_ssize_t i = 0; i < count; i++) arguments[i] = given[i];
    for (Py_ssize_t k = 0; keywords && k < PyTuple_Size(keywords); k++) {
        PyObject *keyword = PyTuple_GetItem(keywords, k);
        Py_ssize_t i = 0;
        while (names[i] && PyUnicode_CompareWithASCIIString(keyword, names[i]) != 0) i++;
        if (!names[i] || arguments[i]) {
            PyErr_Format(PyExc_TypeError, "argument %R is %s", keyword, names[i] ? "given twice" : "unknown");
            return false;
        }
        arguments[i] = given[count + k];
    }
    for (Py_ssize_t i = 0; i < expected; i++)
        if (!arguments[i]) {
            PyErr_Format(PyExc_TypeError, "argument '%s' is missing", names[i]);
            return false;
        }
    return true;
}

static PyObject *add_error(PyObject *module, const char *name, const char *full_name, const char *doc) {
    PyObject *error = PyErr_NewExceptionWithDoc(full_name, doc, NULL, NULL);
    if (error && PyModule_AddObjectRef(module, name, error) == 0) return error;
    Py_XDECREF(error);
    return NULL;
}

static PyTypeObject *add_type(PyObject *module, PyType_Spec *spec) {
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    if (type && PyModule_AddType(module, type) == 0) return type;
    Py_XDECREF((PyObject *)type);
    return NULL;
}

static int module_exec(PyObject *module) {
    ModuleState *state = PyModule_GetState(module);
    state->kernels_error = add_error(module, "KernelsError", "tinyedge_kernels._kernels.KernelsError",
                                     "ONNX Runtime cannot be loaded or used; the message says what it says.");
    state->not_finite_error = add_error(module, "NotFiniteError", "tinyedge_kernels._kernels.NotFiniteError",
                                        "A step of the model met NaN or infinity.");
    state->model_type = add_type(module, &model_spec);
    state->decoder_type = add_type(module, &decoder_spec);
    state->ngrams_error = add_error(module, "NgramsError", "tinyedge_kernels._kernels.NgramsError",
                                    "A table of n-grams has wrong content; the message continues its name.");
    state->ngrams_type = add_type(module, &ngrams_spec);
    return state->kernels_error && state->not_finite_error && state->model_type && state->decoder_type &&
                   state->ngrams_error && state->ngrams_type
               ? 0
               : -1;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
    ModuleState *state = PyModule_GetState(module);
    Py_VISIT(state->kernels_error);
    Py_VISIT(state->not_finite_error);
    Py_VISIT(state->model_type);
    Py_VISIT(state->decoder_type);
    Py_VISIT(state->ngrams_error);
    Py_VISIT(state->ngrams_type);
    return 0;
}

static int module_clear(PyObject *module) {
    ModuleState *state = PyModule_GetState(module);
    Py_CLEAR(state->kernels_error);
    Py_CLEAR(state->not_finite_error);
    Py_CLEAR(state->model_type);
    Py_CLEAR(state->decoder_type);
    Py_CLEAR(state->ngrams_error);
    Py_CLEAR(state->ngrams_type);
    return 0;
}

static void module_free(void *module) { module_clear(module); }

static PyObject *module_drop_executed_code(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    drop_executed_code();
    Py_RETURN_NONE;
}

static PyMethodDef module_methods[] = {
    {"drop_executed_code", module_drop_executed_code, METH_NOARGS,
     "drop_executed_code()\n--\n\nDrop the pages of code that this process has executed so far."},
    {"time_adds", call_time_adds, METH_VARARGS,
     "time_adds(turns, /)\n--\n\nTime dependent additions: ns, number of additions."},
    {"time_stream", call_time_stream, METH_VARARGS,
     "time_stream(lines, turns, /)\n--\n\nTime reading lines in their order: ns, sum of their words."},
    {"time_chase", call_time_chase, METH_VARARGS,
     "time_chase(lines, turns, seed, /)\n--\n\nTime a random cycle through lines: ns, number of loads."},
    {"time_products", call_time_products, METH_VARARGS,
     "time_products(turns, /)\n--\n\nTime products in the first cache: ns, sum of the outputs, instruction set."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_kernels",
    .m_doc = "Native kernels of tinyedge, run by ONNX Runtime.",
    .m_size = sizeof(ModuleState),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__kernels(void);
PyMODINIT_FUNC PyInit__kernels(void) { return PyModuleDef_Init(&module_definition); }
