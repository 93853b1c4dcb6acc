/* The Python type Model: checks the tensors of a bundle against a configuration, packs them and opens ONNX Runtime.
 *
 * Nothing here trusts a bundle: the C core sees only buffers whose sizes were compared with the configuration, and
 * only configurations whose products fit.
 */
#include "objects.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DIMENSION = 65536 /* 255 * 128 * 65536 < 2^31 */, MAX_THREADS = 64, TENSORS_OF_BLOCK = 8 };
enum { MAX_WIDTH_OF_INT8_OUTPUT = 1024 }; /* of planes_pack */
#define MAX_ELEMENTS ((1LL << 31) - 1) /* of a matrix, the cache or a prompt's activations */

/* Reads the tuple of the model's sizes. */
static bool read_config(PyObject *sizes, Config *config) {
    static const char *const names[] = {"vocab_size", "d_model",     "heads",  "head_width",
                                        "layers",     "feedforward", "context"};
    int *const fields[] = {&config->vocab_size, &config->d_model,     &config->heads,  &config->head_width,
                           &config->layers,     &config->feedforward, &config->context};
    if (!PyTuple_Check(sizes) || PyTuple_Size(sizes) != 7) {
        PyErr_SetString(PyExc_TypeError, "config is a tuple of 7 integers: vocab_size, d_model, heads, head_width, "
                                         "layers, feedforward, context");
        return false;
    }
    for (Py_ssize_t i = 0; i < 7; i++) {
        long long value;
        if (!read_integer(PyTuple_GetItem(sizes, i), names[i], 1, MAX_DIMENSION, &value)) return false;
        *fields[i] = (int)value;
    }
    if (config->head_width % 8) {
        PyErr_Format(PyExc_ValueError, "head_width %d is not a multiple of 8", config->head_width);
        return false;
    }
    long long width = config->d_model, attention = 3LL * config->heads * config->head_width;
    long long context = config->context, rows = attention;
    if (rows < config->feedforward) rows = config->feedforward;
    if (attention > 3LL * MAX_DIMENSION) {
        PyErr_Format(PyExc_ValueError, "heads x head_width is above %d", MAX_DIMENSION);
        return false;
    }
    bool fits = rows * width <= MAX_ELEMENTS && rows * context <= MAX_ELEMENTS &&
                attention * context * config->layers <= MAX_ELEMENTS && width * config->vocab_size <= MAX_ELEMENTS &&
                width * context <= MAX_ELEMENTS;
    if (!fits) PyErr_SetString(PyExc_ValueError, "config asks for matrices of 2^31 elements or more");
    return fits;
}

/* The tensors' buffers, two for each: values and scale. They are held while the model is packed. */
typedef struct {
    Py_buffer *views;
    size_t count;
    PyObject *tensors; /* a tuple */
    size_t next;       /* tensor to read */
} Tensors;

static void tensors_release(Tensors *tensors) {
    for (size_t i = 0; i < tensors->count; i++) PyBuffer_Release(&tensors->views[i]);
    free(tensors->views);
    Py_XDECREF(tensors->tensors);
}

static bool tensors_take(Tensors *tensors, PyObject *sequence, size_t expected) {
    *tensors = (Tensors){0};
    tensors->tensors = PySequence_Tuple(sequence);
    if (!tensors->tensors) return false;
    if ((size_t)PyTuple_Size(tensors->tensors) != expected) {
        PyErr_Format(PyExc_ValueError, "%zd tensors were given, the configuration has %zu",
                     PyTuple_Size(tensors->tensors), expected);
        return false;
    }
    tensors->views = calloc(2 * expected, sizeof *tensors->views);
    if (!tensors->views) PyErr_NoMemory();
    return tensors->views != NULL;
}

/* Reads a buffer of exactly `bytes`; NULL with an exception otherwise. */
static const void *tensors_view(Tensors *tensors, PyObject *object, size_t bytes, const char *name) {
    Py_buffer *view = &tensors->views[tensors->count];
    if (PyObject_GetBuffer(object, view, PyBUF_SIMPLE) < 0) return NULL; /* simple: contiguous bytes */
    tensors->count++;
    if ((size_t)view->len == bytes) return view->buf;
    PyErr_Format(PyExc_ValueError, "tensor %zu (%s) has %zd bytes, the configuration has %zu", tensors->next, name,
                 view->len, bytes);
    return NULL;
}

/* Reads the next tensor, (inputs, outputs): fp32, or int8 if it comes with a scale and `matrix` allows that. */
static bool tensors_read(Tensors *tensors, const char *name, size_t inputs, size_t outputs, bool matrix,
                         MatrixSource *source) {
    PyObject *pair = PyTuple_GetItem(tensors->tensors, (Py_ssize_t)tensors->next);
    if (!PyTuple_Check(pair) || PyTuple_Size(pair) != 2) {
        PyErr_Format(PyExc_TypeError, "tensor %zu (%s) is not a tuple of values and scale", tensors->next, name);
        return false;
    }
    PyObject *scale = PyTuple_GetItem(pair, 1);
    source->scale = NULL;
    if (scale != Py_None) {
        if (!matrix) {
            PyErr_Format(PyExc_ValueError, "tensor %zu (%s) must be fp32, so without a scale", tensors->next, name);
            return false;
        }
        source->scale = tensors_view(tensors, scale, sizeof(float), "its scale");
        if (!source->scale) return false;
        float value;
        memcpy(&value, source->scale, sizeof value);
        if (!isfinite(value) || value < 0) {
            PyErr_Format(PyExc_ValueError, "tensor %zu (%s) has a scale that is negative or not finite", tensors->next,
                         name);
            return false;
        }
    }
    size_t bytes = inputs * outputs * (source->scale ? 1 : sizeof(float));
    source->values = tensors_view(tensors, PyTuple_GetItem(pair, 0), bytes, name);
    tensors->next++;
    return source->values;
}

static bool read_row(Tensors *tensors, const char *name, size_t rows, size_t width, const void **values) {
    MatrixSource source;
    if (!tensors_read(tensors, name, rows, width, false, &source)) return false;
    *values = source.values;
    return true;
}

static bool read_block(Tensors *tensors, const Config *config, BlockSource *block) {
    size_t width = (size_t)config->d_model, inner = (size_t)config->feedforward;
    size_t attention = (size_t)config->heads * (size_t)config->head_width;
    return tensors_read(tensors, "qkv", width, 3 * attention, true, &block->qkv) &&
           tensors_read(tensors, "out", attention, width, true, &block->out) &&
           tensors_read(tensors, "linear1", width, inner, true, &block->linear1) &&
           tensors_read(tensors, "linear2", inner, width, true, &block->linear2) &&
           read_row(tensors, "norm1.scale", 1, width, &block->norm1_scale) &&
           read_row(tensors, "norm1.bias", 1, width, &block->norm1_bias) &&
           read_row(tensors, "norm2.scale", 1, width, &block->norm2_scale) &&
           read_row(tensors, "norm2.bias", 1, width, &block->norm2_bias);
}

static bool read_source(Tensors *tensors, const Config *config, BlockSource *blocks, Source *source) {
    size_t width = (size_t)config->d_model, vocabulary = (size_t)config->vocab_size;
    source->blocks = blocks;
    if (!tensors_read(tensors, "token_embedding", vocabulary, width, true, &source->embedding)) return false;
    if (!read_row(tensors, "position_embedding", (size_t)config->context, width, &source->positions)) return false;
    for (int i = 0; i < config->layers; i++)
        if (!read_block(tensors, config, &blocks[i])) return false;
    if (!tensors_read(tensors, "output", width, vocabulary, true, &source->output)) return false;
    if (!source->output.scale || width <= MAX_WIDTH_OF_INT8_OUTPUT) return true;
    PyErr_Format(PyExc_ValueError, "d_model %zu is outside 1-%d, the range with an int8 output", width,
                 MAX_WIDTH_OF_INT8_OUTPUT);
    return false;
}

static const Kernels *choose_kernels(const char *name) {
    const Kernels *kernels = *name ? kernels_named(name) : kernels_best();
    if (!kernels) PyErr_Format(PyExc_ValueError, "this CPU or this build has no instructions '%s'", name);
    return kernels;
}

/* Packs the tensors into self->model. */
static bool pack(ModelObject *self, PyObject *sequence, const Kernels *kernels) {
    const Config *config = &self->config;
    Tensors tensors;
    BlockSource *blocks = NULL;
    bool packed = false;
    if (tensors_take(&tensors, sequence, 3 + (size_t)config->layers * TENSORS_OF_BLOCK)) {
        Source source;
        blocks = calloc((size_t)config->layers, sizeof *blocks);
        if (!blocks) {
            PyErr_NoMemory();
        } else if (read_source(&tensors, config, blocks, &source)) {
            Status status;
            Py_BEGIN_ALLOW_THREADS
            status = model_create(config, &source, kernels, &self->model);
            Py_END_ALLOW_THREADS
            packed = check_status(state_of((PyObject *)self), status);
        }
    }
    free(blocks);
    tensors_release(&tensors);
    return packed;
}

static bool open_engine(ModelObject *self, const char *library, int threads) {
    char message[ENGINE_MESSAGE_BYTES];
    bool opened;
    Py_BEGIN_ALLOW_THREADS
    opened = engine_open(library, threads, &self->engine, message);
    Py_END_ALLOW_THREADS
    if (!opened) raise_kernels_error(state_of((PyObject *)self), message);
    return opened;
}

static bool take_ngrams(ModelObject *self, PyObject *ngrams) {
    if (!ngrams || ngrams == Py_None) return true;
    if (!PyObject_TypeCheck(ngrams, state_of((PyObject *)self)->ngrams_type)) {
        PyErr_Format(PyExc_TypeError, "ngrams is %R, not a table of n-grams", ngrams);
        return false;
    }
    size_t tokens = ngrams_object_vocab_size((NgramsObject *)ngrams);
    if (tokens != (size_t)self->config.vocab_size) {
        PyErr_Format(PyExc_ValueError, "ngrams has %zu tokens, the vocabulary has %d", tokens, self->config.vocab_size);
        return false;
    }
    self->ngrams = (NgramsObject *)Py_NewRef(ngrams);
    self->config.all_logits = 1;
    return true;
}

static bool model_fill(ModelObject *self, const char *library, PyObject *sizes, PyObject *attention_scale,
                       PyObject *tensors, PyObject *threads, const char *instructions, PyObject *ngrams) {
    double scale;
    long long thread_count = 1;
    if (!read_config(sizes, &self->config)) return false;
    if (!read_float(attention_scale, "attention_scale", -1e6, 1e6, &scale)) return false;
    if (threads && !read_integer(threads, "threads", 1, MAX_THREADS, &thread_count)) return false;
    self->config.attention_scale = (float)scale;
    if (!take_ngrams(self, ngrams)) return false;
    const Kernels *kernels = choose_kernels(instructions);
    if (!kernels) return false;
    self->instructions = kernels_name(kernels);
    /* Otherwise ONNX Runtime starts threads that send usage data. Set with the GIL held: Python's os.environ writes the
     * same memory. A value that is already set is kept. */
    setenv("ORT_DISABLE_TELEMETRY", "1", 0);
    return pack(self, tensors, kernels) && open_engine(self, library, (int)thread_count);
}

static PyObject *model_new(PyTypeObject *type, PyObject *positional, PyObject *keywords) {
    static char *names[] = {"library", "config", "attention_scale", "tensors", "threads", "instructions", "ngrams", NULL};
    PyObject *library = NULL, *sizes, *scale, *tensors, *threads = NULL, *ngrams = NULL;
    const char *instructions = "";
    if (!PyArg_ParseTupleAndKeywords(positional, keywords, "O&OOO|OsO:Model", names, PyUnicode_FSConverter, &library,
                                     &sizes, &scale, &tensors, &threads, &instructions, &ngrams))
        return NULL;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    ModelObject *self = (ModelObject *)allocate(type, 0);
    if (self && !model_fill(self, PyBytes_AsString(library), sizes, scale, tensors, threads, instructions, ngrams))
        Py_CLEAR(self);
    Py_DECREF(library);
    return (PyObject *)self;
}

static void model_dealloc(PyObject *object) {
    ModelObject *self = (ModelObject *)object;
    PyTypeObject *type = Py_TYPE(object);
    engine_close(self->engine);
    model_free(self->model);
    Py_XDECREF((PyObject *)self->ngrams);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

static PyObject *model_decoder(PyObject *self, PyObject *unused) {
    return (void)unused, decoder_new((ModelObject *)self);
}

static PyObject *model_instructions(PyObject *self, void *unused) {
    return (void)unused, PyUnicode_FromString(((ModelObject *)self)->instructions);
}

static PyObject *model_onnxruntime(PyObject *self, void *unused) {
    return (void)unused, PyUnicode_FromString(engine_version(((ModelObject *)self)->engine));
}

static PyMethodDef model_methods[] = {
    {"decoder", model_decoder, METH_NOARGS, "decoder($self, /)\n--\n\nCreate a decoder for a new text."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef model_properties[] = {
    {"instructions", model_instructions, NULL, "Name of the instruction set that computes.", NULL},
    {"onnxruntime", model_onnxruntime, NULL, "Version of ONNX Runtime's library.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot model_slots[] = {
    {Py_tp_doc, "Model(library, config, attention_scale, tensors, threads=1, instructions='', ngrams=None)\n--\n\nPacked weights."},
    {Py_tp_new, model_new},
    {Py_tp_dealloc, model_dealloc},
    {Py_tp_methods, model_methods},
    {Py_tp_getset, model_properties},
    {0, NULL},
};

PyType_Spec model_spec = {
    .name = "tinyedge_kernels._kernels.Model",
    .basicsize = sizeof(ModelObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = model_slots,
};
