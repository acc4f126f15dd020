/* Weighted sums, four rows at once: each sum has one order, so one row alone would wait for it. */
#include "models/engine/rank.h"

enum { ROWS_AT_ONCE = 4 };

/* Missing values by their imputed ones; says which rows are refused. */
static void impute(const struct mdl_bundle *m, const struct mdl_rows *rows)
{
	const uint32_t inputs = m->input_count;

	for (uint32_t row = 0; row < rows->count; row++) {
		const float *in = rows->inputs + (size_t)row * inputs;
		float *to = rows->imputed + (size_t)row * inputs;
		bool refused = false;

		for (uint32_t i = 0; i < inputs; i++) {
			bool there = mdl_is_there(in[i]);

			to[i] = there ? in[i] : m->inputs[i].imputed;
			refused |= !there & (m->inputs[i].missing == MDL_MISSING_REFUSED);
		}
		rows->refused[row] = refused;
	}
}

static void four_rows(const struct mdl_bundle *m, const float *in, double *out)
{
	const uint32_t n = m->input_count, outputs = m->output_count;

	for (uint32_t k = 0; k < outputs; k++) {
		const double *w = m->weight + (size_t)k * n;
		double a = 0, b = 0, c = 0, d = 0;

		for (uint32_t i = 0; i < n; i++) {
			a += w[i] * (double)in[i];
			b += w[i] * (double)in[n + i];
			c += w[i] * (double)in[2 * n + i];
			d += w[i] * (double)in[3 * n + i];
		}
		out[k] = a + m->bias[k];
		out[outputs + k] = b + m->bias[k];
		out[2 * outputs + k] = c + m->bias[k];
		out[3 * outputs + k] = d + m->bias[k];
	}
}

static void one_row(const struct mdl_bundle *m, const float *in, double *out)
{
	for (uint32_t k = 0; k < m->output_count; k++) {
		const double *w = m->weight + (size_t)k * m->input_count;
		double sum = 0;

		for (uint32_t i = 0; i < m->input_count; i++)
			sum += w[i] * (double)in[i];
		out[k] = sum + m->bias[k];
	}
}

void mdl_linear_rows(const struct mdl_bundle *m, const struct mdl_rows *rows)
{
	uint32_t row = 0;

	impute(m, rows);
	for (; row + ROWS_AT_ONCE <= rows->count; row += ROWS_AT_ONCE)
		four_rows(m, rows->imputed + (size_t)row * m->input_count,
			rows->out + (size_t)row * m->output_count);
	for (; row < rows->count; row++)
		one_row(m, rows->imputed + (size_t)row * m->input_count,
			rows->out + (size_t)row * m->output_count);
}
