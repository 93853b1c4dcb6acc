/* The Python type Ngrams: a mapped file of n-grams, whose blocks Python checks when they are first read.
 *
 * Only the offsets are trusted to the caller's sense, not to its care: each part must be inside the memory.
 */
#include "objects.h"

#include <string.h>

enum { MAX_VOCAB_SIZE = 65536, OFFSETS_OF_LEVEL = 5 };

struct NgramsObject {
    PyObject_HEAD
    Ngrams ngrams;
    Py_buffer file, checked; /* obj is NULL until they are held */
    PyObject *check;         /* called with a block: compares it with its hash, and sets its byte of `checked` */
};

size_t ngrams_object_vocab_size(const NgramsObject *self) { return self->ngrams.vocab_size; }

bool ngrams_object_find(NgramsObject *self, const int32_t *text, size_t length, Continuations *found) {
    size_t most = self->ngrams.order - 1, used = length < most ? length : most;
    for (;;) {
        NgramsProblem problem;
        Status status;
        Py_BEGIN_ALLOW_THREADS /* the file may be read from a disk */
        status = ngrams_find(&self->ngrams, text + length - used, used, found, &problem);
        Py_END_ALLOW_THREADS
        if (status == KERNELS_OK) return true;
        if (status == KERNELS_DAMAGED) {
            PyErr_SetString(state_of((PyObject *)self)->ngrams_error, problem.reason);
            return false;
        }
        PyObject *result = PyObject_CallFunction(self->check, "n", (Py_ssize_t)problem.block);
        if (!result) return false;
        Py_DECREF(result);
        if (!self->ngrams.checked[problem.block]) { /* it would be asked for without end */
            PyErr_Format(PyExc_RuntimeError, "block %zu was not checked", problem.block);
            return false;
        }
    }
}

static bool hold_buffer(PyObject *object, const char *name, Py_buffer *view) {
    if (PyObject_GetBuffer(object, view, PyBUF_SIMPLE) == 0) return true; /* simple: contiguous bytes */
    PyErr_Format(PyExc_TypeError, "%s is not a buffer of bytes", name);
    return false;
}

/* Reads an offset of `count` items; ValueError: they are not aligned, or not inside the file from `low` on. */
static bool read_offset(const NgramsObject *self, PyObject *object, const char *name, size_t low, size_t count,
                        size_t size, size_t *offset) {
    long long value;
    if (!read_integer(object, name, (long long)low, (long long)self->file.len, &value)) return false;
    *offset = (size_t)value;
    if (*offset % size == 0 && count <= ((size_t)self->file.len - *offset) / size) return true;
    PyErr_Format(PyExc_ValueError, "%s %zu is not aligned, or its %zu items are not in the file", name, *offset, count);
    return false;
}

/* Reads where the parts of an order are; `contexts`: n-grams of the order below, then of this one. */
static bool read_level(NgramsObject *self, PyObject *level, size_t order, size_t *contexts) {
    NgramLevel *to = &self->ngrams.levels[order - 2];
    size_t body = self->ngrams.body, alphas;
    long long entries;
    if (!PyTuple_Check(level) || PyTuple_Size(level) != OFFSETS_OF_LEVEL) {
        PyErr_Format(PyExc_TypeError, "a level is a tuple of %d integers", OFFSETS_OF_LEVEL);
        return false;
    }
    if (!read_integer(PyTuple_GetItem(level, 0), "entries", 0, UINT32_MAX, &entries)) return false;
    to->contexts = *contexts;
    to->entries = *contexts = (size_t)entries;
    if (!read_offset(self, PyTuple_GetItem(level, 1), "alphas", 0, NGRAMS_CODES, sizeof(float), &alphas) ||
        !read_offset(self, PyTuple_GetItem(level, 2), "rows", body, to->contexts + 1, sizeof(uint32_t), &to->rows) ||
        !read_offset(self, PyTuple_GetItem(level, 3), "tokens", body, to->entries, sizeof(uint16_t), &to->tokens) ||
        !read_offset(self, PyTuple_GetItem(level, 4), "codes", body, to->entries, 1, &to->codes))
        return false;
    memcpy(to->alphas, self->ngrams.file + alphas, sizeof to->alphas);
    if (ngrams_alphas_are_valid(to)) return true;
    PyErr_SetString(state_of((PyObject *)self)->ngrams_error, "has an invalid codebook");
    return false;
}

static bool ngrams_fill(NgramsObject *self, PyObject *vocab_size, PyObject *block_bytes, PyObject *body,
                        PyObject *unigrams, PyObject *levels, PyObject *weights) {
    Ngrams *ngrams = &self->ngrams;
    ngrams->file = self->file.buf;
    ngrams->checked = self->checked.buf;
    long long tokens, bytes;
    if ((uintptr_t)self->file.buf % sizeof(uint32_t)) {
        PyErr_SetString(PyExc_ValueError, "the file is not aligned to 4 bytes");
        return false;
    }
    if (!read_integer(vocab_size, "vocab_size", 1, MAX_VOCAB_SIZE, &tokens)) return false;
    if (!read_integer(block_bytes, "block_bytes", 1, INT32_MAX, &bytes)) return false;
    ngrams->vocab_size = (size_t)tokens;
    ngrams->block_bytes = (size_t)bytes;
    if (!read_offset(self, body, "body", 0, 0, 1, &ngrams->body)) return false;
    size_t blocks = ((size_t)self->file.len - ngrams->body + ngrams->block_bytes - 1) / ngrams->block_bytes;
    if ((size_t)self->checked.len != blocks) {
        PyErr_Format(PyExc_ValueError, "checked has %zd bytes, the file %zu blocks", self->checked.len, blocks);
        return false;
    }
    if (!read_offset(self, unigrams, "unigrams", ngrams->body, ngrams->vocab_size, sizeof(float), &ngrams->unigrams))
        return false;
    ngrams->order = PyTuple_Check(levels) ? (size_t)PyTuple_Size(levels) + 1 : 0;
    if (ngrams->order < 2 || ngrams->order > NGRAMS_MAX_ORDER || !PyTuple_Check(weights) ||
        (size_t)PyTuple_Size(weights) != ngrams->order) {
        PyErr_SetString(PyExc_TypeError, "levels and weights are tuples, of 1-3 and one more");
        return false;
    }
    size_t contexts = ngrams->vocab_size;
    for (size_t order = 2; order <= ngrams->order; order++)
        if (!read_level(self, PyTuple_GetItem(levels, (Py_ssize_t)order - 2), order, &contexts)) return false;
    for (size_t i = 0; i < ngrams->order; i++) {
        double weight;
        if (!read_float(PyTuple_GetItem(weights, (Py_ssize_t)i), "weight", 0, 1, &weight)) return false;
        ngrams->weights[i] = (float)weight;
    }
    return true;
}

static PyObject *ngrams_new(PyTypeObject *type, PyObject *positional, PyObject *keywords) {
    static char *names[] = {"file", "checked", "check", "vocab_size", "block_bytes", "body", "unigrams", "levels",
                            "weights", NULL};
    PyObject *file, *checked, *check, *vocab_size, *block_bytes, *body, *unigrams, *levels, *weights;
    if (!PyArg_ParseTupleAndKeywords(positional, keywords, "OOOOOOOOO:Ngrams", names, &file, &checked, &check,
                                     &vocab_size, &block_bytes, &body, &unigrams, &levels, &weights))
        return NULL;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    NgramsObject *self = (NgramsObject *)allocate(type, 0);
    if (!self) return NULL;
    self->check = Py_NewRef(check);
    if (!hold_buffer(file, "file", &self->file) || !hold_buffer(checked, "checked", &self->checked) ||
        !ngrams_fill(self, vocab_size, block_bytes, body, unigrams, levels, weights))
        Py_CLEAR(self);
    return (PyObject *)self;
}

static void ngrams_dealloc(PyObject *object) {
    NgramsObject *self = (NgramsObject *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyBuffer_Release(&self->file);
    PyBuffer_Release(&self->checked);
    Py_XDECREF(self->check);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

static PyType_Slot ngrams_slots[] = {
    {Py_tp_doc, "Ngrams(file, checked, check, vocab_size, block_bytes, body, unigrams, levels, weights)\n--\n\n"
                "A table of n-grams in a mapped file."},
    {Py_tp_new, ngrams_new},
    {Py_tp_dealloc, ngrams_dealloc},
    {0, NULL},
};

PyType_Spec ngrams_spec = {
    .name = "tinyedge_kernels._kernels.Ngrams",
    .basicsize = sizeof(NgramsObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = ngrams_slots,
};
