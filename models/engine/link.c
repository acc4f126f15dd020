/* From sums to probabilities. */
#include <math.h>

#include "models/engine/engine.h"

/* Less the greatest, so that exp() does not overflow. */
static void softmax(double *out, uint32_t n)
{
	double greatest = out[0], sum = 0;

	for (uint32_t k = 1; k < n; k++)
		greatest = out[k] > greatest ? out[k] : greatest;
	for (uint32_t k = 0; k < n; k++) {
		out[k] = exp(out[k] - greatest);
		sum += out[k];
	}
	for (uint32_t k = 0; k < n; k++)
		out[k] /= sum;
}

void mdl_link_rows(const struct mdl_bundle *m, const struct mdl_rows *rows)
{
	if (m->link == MDL_IDENTITY)
		return;
	for (uint32_t row = 0; row < rows->count; row++) {
		double *out = rows->out + (size_t)row * m->output_count;

		if (m->link == MDL_SOFTMAX)
			softmax(out, m->output_count);
		else
			out[0] = 1 / (1 + exp(-out[0]));
	}
}
