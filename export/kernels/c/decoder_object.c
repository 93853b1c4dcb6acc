/* The Python type Decoder: one text in progress. A call feeds tokens and asks one question, in one run of ONNX Runtime.
 *
 * Bound by ONNX Runtime's run, some 9,000 instructions. So the request is bound once and lives in the object, and nothing
 * but the result is created.
 */
#include "objects.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_ARGUMENTS = 8 };

typedef enum { FEED, LOGITS, LARGEST, SCORE, DRAW } Question;

static const char *const NAMES[][MAX_ARGUMENTS + 1] = {
    [FEED] = {"tokens", "start"},
    [LOGITS] = {"tokens", "start"},
    [LARGEST] = {"tokens", "start", "count"},
    [SCORE] = {"tokens", "start", "ids"},
    [DRAW] = {"tokens", "start", "temperature", "top_k", "top_p", "min_p", "point", "banned"},
};

/* A request to the operator, and its answer. */
typedef struct {
    Request head;
    Decoder *decoder;
    Question question;
    size_t start, count; /* tokens to feed */
    size_t wanted;       /* LARGEST, SCORE: how many */
    int32_t *tokens;     /* (context,) */
    int32_t *ids;        /* LARGEST: the answer; SCORE: whose logits */
    float *logits;       /* LARGEST, SCORE, or LOGITS: all of them */
    double total;        /* SCORE: the logarithm of the sum of all e^logit */
    Draw draw;
    int32_t token;       /* DRAW: the answer */
    bool fed;            /* feeding succeeded */
    Continuations continuations; /* what follows the text in the model's table of n-grams */
    bool mixes;                  /* the answer is about the mixture with them */
    Status status;
} Step;

typedef struct {
    PyObject_HEAD
    ModelObject *model;
    Binding *binding;
    Step step;       /* bound: ONNX Runtime holds its address */
    int32_t *given;  /* (vocabulary,) ids that a caller gave, once needed: DRAW's banned ones, or SCORE's */
    int32_t *ids;    /* room for `room` results of LARGEST */
    float *values;
    size_t room;
    int32_t *text; /* (context,) tokens that were fed */
    size_t length; /* positions that were fed; their keys and values are there */
    size_t end;    /* tokens that the last result is about; 0: there is none */
    bool busy;     /* a thread is in a call; read and written with the GIL held */
} DecoderObject;

/* Runs inside ONNX Runtime, without the GIL. */
static void work(Request *request, const Pool *pool) {
    Step *step = (Step *)request;
    step->status = step->count ? decoder_feed(step->decoder, pool, step->tokens, step->count, step->start) : KERNELS_OK;
    step->fed = step->status == KERNELS_OK;
    if (!step->fed) return;
    if (step->mixes) step->status = decoder_mix(step->decoder, pool, &step->continuations);
    if (step->status != KERNELS_OK) return;
    switch (step->question) {
    case FEED: break;
    case LOGITS: step->status = decoder_logits(step->decoder, pool, step->logits); break;
    case LARGEST: step->status = decoder_largest(step->decoder, pool, step->wanted, step->ids, step->logits); break;
    case SCORE:
        step->status = decoder_score(step->decoder, pool, step->ids, step->wanted, step->logits, &step->total);
        break;
    case DRAW: step->status = decoder_draw(step->decoder, pool, &step->draw, &step->token); break;
    }
}

/* Reads token ids into `ids`; ValueError: there are more than `most`, or one is outside the vocabulary. */
static bool read_ids(DecoderObject *self, PyObject *sequence, const char *name, size_t most, int32_t *ids,
                     size_t *count) {
    Py_ssize_t length = PySequence_Size(sequence);
    if (length < 0) return false;
    if ((size_t)length > most) {
        PyErr_Format(PyExc_ValueError, "%zd %s are more than the %zu for which there is room", length, name, most);
        return false;
    }
    for (Py_ssize_t i = 0; i < length; i++) {
        PyObject *item = PySequence_GetItem(sequence, i); /* not borrowed: __index__ can change the sequence */
        long long value;
        bool read = item && read_integer(item, "token", 0, self->model->config.vocab_size - 1, &value);
        Py_XDECREF(item);
        if (!read) return false;
        ids[i] = (int32_t)value;
    }
    *count = (size_t)length;
    return true;
}

/* Reads the tokens to feed and their place. */
static bool read_tokens(DecoderObject *self, PyObject *tokens, PyObject *start) {
    Step *step = &self->step;
    long long position;
    if (!read_integer(start, "start", 0, (long long)self->length, &position)) return false;
    step->start = (size_t)position;
    size_t room = (size_t)self->model->config.context - step->start;
    if (!read_ids(self, tokens, "tokens", room, step->tokens, &step->count)) return false;
    if (step->count) return true;
    if (self->end && step->start == self->end) return true;
    PyErr_Format(PyExc_ValueError, "no tokens were given and there is no result of %zu earlier ones", step->start);
    return false;
}

/* Reads ids into self->given. */
static bool read_given(DecoderObject *self, PyObject *sequence, const char *name, size_t most, size_t *count) {
    if (!self->given) self->given = malloc((size_t)self->model->config.vocab_size * sizeof *self->given);
    if (!self->given) return PyErr_NoMemory(), false;
    return read_ids(self, sequence, name, most, self->given, count);
}

static bool make_room(DecoderObject *self, size_t count) {
    if (count <= self->room) return true;
    free(self->ids), free(self->values);
    self->ids = malloc(count * sizeof *self->ids);
    self->values = malloc(count * sizeof *self->values);
    self->room = self->ids && self->values ? count : 0;
    if (!self->room) PyErr_NoMemory();
    return self->room;
}

/* arguments: temperature, top_k, top_p, min_p, point, banned */
static bool read_draw(DecoderObject *self, PyObject **arguments) {
    Draw *draw = &self->step.draw;
    size_t vocabulary = (size_t)self->model->config.vocab_size;
    long long top_k;
    if (!read_float(arguments[0], "temperature", 0, 1e9, &draw->temperature)) return false;
    if (!read_integer(arguments[1], "top_k", 1, INT32_MAX, &top_k)) return false;
    if (!read_float(arguments[2], "top_p", 0, 1, &draw->top_p)) return false;
    if (!read_float(arguments[3], "min_p", 0, 1, &draw->min_p)) return false;
    if (!read_float(arguments[4], "point", 0, 1, &draw->point)) return false;
    draw->top_k = top_k < (long long)vocabulary ? (int32_t)top_k : (int32_t)vocabulary;
    if (!read_given(self, arguments[5], "banned tokens", vocabulary - 1, &draw->banned_count)) return false;
    sort_ids(self->given, draw->banned_count);
    draw->banned = self->given;
    return true;
}

/* Reads what the question needs besides the tokens. `bytes`: for LOGITS, the object that gets them. */
static bool read_question(DecoderObject *self, PyObject **arguments, PyObject **bytes) {
    Step *step = &self->step;
    Py_ssize_t vocabulary = self->model->config.vocab_size;
    long long wanted;
    switch (step->question) {
    case FEED: return true;
    case LOGITS:
        *bytes = PyBytes_FromStringAndSize(NULL, vocabulary * (Py_ssize_t)sizeof(float));
        if (*bytes) step->logits = (float *)(void *)PyBytes_AsString(*bytes);
        return *bytes;
    case LARGEST:
        if (!read_integer(arguments[2], "count", 1, vocabulary, &wanted)) return false;
        if (!make_room(self, (size_t)wanted)) return false;
        step->wanted = (size_t)wanted;
        step->ids = self->ids;
        step->logits = self->values;
        return true;
    case SCORE:
        if (!read_given(self, arguments[2], "ids", (size_t)vocabulary, &step->wanted)) return false;
        if (!make_room(self, step->wanted)) return false;
        step->ids = self->given;
        step->logits = self->values;
        return true;
    case DRAW: return read_draw(self, arguments + 2);
    }
    return false;
}

/* Finds what follows the text in the model's table of n-grams: before the run, because that may need Python. */
static bool find_continuations(DecoderObject *self) {
    Step *step = &self->step;
    step->mixes = self->model->ngrams && step->question != FEED;
    if (!step->mixes) return true;
    int32_t last[NGRAMS_MAX_ORDER - 1];
    size_t end = step->start + step->count, length = end < NGRAMS_MAX_ORDER - 1 ? end : NGRAMS_MAX_ORDER - 1;
    for (size_t i = 0, at = end - length; i < length; i++, at++)
        last[i] = at < step->start ? self->text[at] : step->tokens[at - step->start];
    return ngrams_object_find(self->model->ngrams, last, length, &step->continuations);
}

/* One run of ONNX Runtime. */
static bool run(DecoderObject *self) {
    Step *step = &self->step;
    char message[ENGINE_MESSAGE_BYTES];
    bool ran;
    step->fed = false;
    Py_BEGIN_ALLOW_THREADS
    ran = binding_run(self->binding, message);
    Py_END_ALLOW_THREADS
    if (step->count) {
        memcpy(self->text + step->start, step->tokens, step->count * sizeof *self->text);
        self->end = ran && step->fed ? step->start + step->count : 0;
        if (!self->end) self->length = step->start;
        if (self->end > self->length) self->length = self->end;
    }
    const ModuleState *state = state_of((PyObject *)self);
    if (ran) return check_status(state, step->status);
    raise_kernels_error(state, message);
    return false;
}

/* A list of ids, or of logits; NULL with an exception. */
static PyObject *make_list(size_t count, const int32_t *ids, const float *logits) {
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list && i < count; i++) {
        PyObject *item = ids ? PyLong_FromLong(ids[i]) : PyFloat_FromDouble((double)logits[i]);
        if (item)
            PyList_SetItem(list, (Py_ssize_t)i, item);
        else
            Py_CLEAR(list);
    }
    return list;
}

/* Takes both, which may be NULL with an exception. */
static PyObject *make_pair(PyObject *first, PyObject *second) {
    PyObject *pair = first && second ? PyTuple_Pack(2, first, second) : NULL;
    Py_XDECREF(first);
    Py_XDECREF(second);
    return pair;
}

static PyObject *answer(DecoderObject *self, PyObject *const *given, Py_ssize_t count, PyObject *keywords) {
    const Step *step = &self->step;
    PyObject *arguments[MAX_ARGUMENTS], *bytes = NULL;
    bool done = read_arguments(NAMES[step->question], given, count, keywords, arguments) &&
                read_question(self, arguments, &bytes) && read_tokens(self, arguments[0], arguments[1]) &&
                find_continuations(self) && run(self);
    if (!done) {
        Py_XDECREF(bytes);
        return NULL;
    }
    switch (step->question) {
    case LOGITS: return bytes;
    case LARGEST: return make_pair(make_list(step->wanted, step->ids, NULL), make_list(step->wanted, NULL, step->logits));
    case SCORE: return make_pair(make_list(step->wanted, NULL, step->logits), PyFloat_FromDouble(step->total));
    case DRAW: return PyLong_FromLong(step->token);
    default: return Py_NewRef(Py_None);
    }
}

static PyObject *ask(PyObject *object, Question question, PyObject *const *given, Py_ssize_t count, PyObject *keywords) {
    DecoderObject *self = (DecoderObject *)object;
    if (self->busy) {
        PyErr_SetString(PyExc_RuntimeError, "another thread is in this decoder; create one for each thread");
        return NULL;
    }
    self->busy = true;
    self->step.question = question;
    PyObject *result = answer(self, given, count, keywords);
    self->busy = false;
    return result;
}

#define METHOD(name, question)                                                                                         \
    static PyObject *name(PyObject *self, PyObject *const *given, Py_ssize_t count, PyObject *keywords) {              \
        return ask(self, question, given, count, keywords);                                                            \
    }
METHOD(method_feed, FEED)
METHOD(method_logits, LOGITS)
METHOD(method_largest, LARGEST)
METHOD(method_score, SCORE)
METHOD(method_draw, DRAW)

PyObject *decoder_new(ModelObject *model) {
    const ModuleState *state = state_of((PyObject *)model);
    PyTypeObject *type = state->decoder_type;
    DecoderObject *self = (DecoderObject *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (!self) return NULL;
    self->model = (ModelObject *)Py_NewRef((PyObject *)model);
    self->step.head.work = work;
    self->step.tokens = malloc((size_t)model->config.context * sizeof *self->step.tokens);
    self->text = malloc((size_t)model->config.context * sizeof *self->text);
    char message[ENGINE_MESSAGE_BYTES];
    Status status = self->step.tokens && self->text ? decoder_create(model->model, &self->step.decoder) : KERNELS_NO_MEMORY;
    bool created = check_status(state, status);
    if (created && !engine_bind(model->engine, &self->step.head, &self->binding, message)) {
        raise_kernels_error(state, message);
        created = false;
    }
    if (!created) Py_CLEAR(self);
    return (PyObject *)self;
}

static void decoder_dealloc(PyObject *object) {
    DecoderObject *self = (DecoderObject *)object;
    PyTypeObject *type = Py_TYPE(object);
    binding_free(self->binding);
    decoder_free(self->step.decoder);
    free(self->step.tokens);
    free(self->text);
    free(self->given);
    free(self->ids);
    free(self->values);
    Py_XDECREF((PyObject *)self->model);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

#define ENTRY(name, function, doc) \
    {name, (PyCFunction)(void (*)(void))function, METH_FASTCALL | METH_KEYWORDS, doc}

static PyMethodDef decoder_methods[] = {
    ENTRY("feed", method_feed, "feed($self, tokens, start)\n--\n\nFeed tokens at the positions from `start`."),
    ENTRY("logits", method_logits,
          "logits($self, tokens, start)\n--\n\nFeed tokens and return the logits, as bytes of float32."),
    ENTRY("largest", method_largest,
          "largest($self, tokens, start, count)\n--\n\nFeed tokens and return the `count` largest logits: ids, values."),
    ENTRY("score", method_score,
          "score($self, tokens, start, ids)\n--\n\nFeed tokens and return the logits of `ids`, and the logarithm of the sum of all e^logit."),
    ENTRY("draw", method_draw,
          "draw($self, tokens, start, temperature, top_k, top_p, min_p, point, banned)\n--\n\nFeed tokens and choose the next."),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot decoder_slots[] = {
    {Py_tp_doc, "One text in progress, made by Model.decoder()."},
    {Py_tp_dealloc, decoder_dealloc},
    {Py_tp_methods, decoder_methods},
    {0, NULL},
};

PyType_Spec decoder_spec = {
    .name = "tinyedge_kernels._kernels.Decoder",
    .basicsize = sizeof(DecoderObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = decoder_slots,
};
