/* The output: logits as any other product, or the largest of them from the planes. */
#include "output.h"

#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "memory.h"
#include "rows.h"

Status output_pack(Output *output, MatrixSource source, size_t width, size_t rows, int all_logits,
                   const Kernels *kernels) {
    *output = (Output){.kernels = kernels, .rows = rows, .width = width};
    output->in_planes = source.scale && kernels->plane_bounds && !all_logits;
    if (!output->in_planes) return matrix_pack(&output->matrix, source, width, rows);
    float scale;
    memcpy(&scale, source.scale, sizeof scale);
    return planes_pack(&output->planes, source.values, width, rows, scale);
}

void output_free(Output *output) {
    if (output->in_planes)
        planes_free(&output->planes);
    else
        matrix_free(&output->matrix);
}

size_t output_bytes(const Output *output) {
    return output->in_planes ? planes_bytes(&output->planes) : matrix_bytes(&output->matrix);
}

size_t output_scratch(const Output *output) {
    size_t planes = output->in_planes ? planes_scratch(&output->planes) : 0, floats = largest_scratch(output->rows);
    return planes > floats ? planes : floats;
}

Status output_begin(const Output *output, const OutputState *of) {
    if (output->in_planes)
        return quantize_row(of->state, output->width, output->planes.stride, of->quantized.q, of->quantized.rows);
    Status status = require_finite(of->state, output->width);
    return status ? status : matrix_quantize(&output->matrix, of->state, 0, 1, of->quantized);
}

/* Whether logits are finite because they are integers below 2^31 times a moderate scale. */
static int is_finite_by_scale(const Output *output, const OutputState *of) {
    if (!output->in_planes && !output->matrix.is_int8) return 0;
    float scale = output->in_planes ? output->planes.scale : output->matrix.int8.scale;
    return of->quantized.rows->scale * scale < 0x1p96f;
}

Status output_logits(const Output *output, const Pool *pool, const OutputState *of) {
    if (output->in_planes)
        planes_logits(output->kernels, pool, &output->planes, of->quantized.q, *of->quantized.rows, of->logits);
    else
        matrix_multiply(output->kernels, pool, &output->matrix, of->state, 0, 1, 0, of->logits, 0, of->quantized);
    return is_finite_by_scale(output, of) ? KERNELS_OK : require_finite(of->logits, output->rows);
}

/* Whether the integer scores of planes order as their logits do, and none of these overflows: the scale is moderate, and
 * so are the scores, so that different ones are different floats. */
static int scores_order_as_logits(const Planes *planes, Quantized quantized) {
    float scale = quantized.rows->scale * planes->scale;
    size_t sum = 0;
    for (size_t k = 0; k < planes->width; k++) sum += (size_t)abs(quantized.q[k] - quantized.rows->zero);
    return scale > 0x1p-100f && scale < 0x1p100f && sum * 128 < (size_t)1 << 23;
}

Status output_largest(const Output *output, const Pool *pool, const OutputState *of, size_t count, int32_t *ids,
                      float *values) {
    if (output->in_planes && scores_order_as_logits(&output->planes, of->quantized)) {
        planes_largest(output->kernels, pool, &output->planes, of->quantized.q, *of->quantized.rows, of->backwards,
                       count, ids, values, of->scratch);
        return require_finite(values, count);
    }
    Status status = output_logits(output, pool, of);
    if (!status) largest_of(of->logits, output->rows, count, ids, values, of->scratch);
    return status;
}
