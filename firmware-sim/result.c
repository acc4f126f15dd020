/* The end of a run. */
#include "firmware-sim/result.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

double fws_process_cpu_seconds(int pid)
{
	char path[64], line[1024];
	unsigned long user, system;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return -1;

	size_t n = fread(line, 1, sizeof(line) - 1, f);

	fclose(f);
	line[n] = '\0';

	/* The second field is a name in brackets that may hold anything; times are 14 and 15. */
	const char *after = strrchr(line, ')');

	if (!after || sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
			      &user, &system) != 2)
		return -1;
	return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static double per(double a, double b)
{
	return b > 0 ? a / b : 0;
}

static uint64_t missing(const struct fws_result *r)
{
	uint64_t expected = fws_result_expected(r);

	return r->verify->distinct < expected ? expected - r->verify->distinct : 0;
}

/* Readings of our sensors that this run has not sent, by their number or by their count. */
static uint64_t unsent(const struct fws_result *r)
{
	uint64_t expected = fws_result_expected(r), distinct = r->verify->distinct;

	return r->verify->unsent + (distinct > expected ? distinct - expected : 0);
}

bool fws_result_good(const struct fws_result *r)
{
	return !r->verify || (!r->verify->error && fws_result_expected(r) && !missing(r) &&
				     !unsent(r) && !r->verify->duplicates);
}

/* Messages/s for each 1 % of a core: the length of the run cancels out. */
static double messages_per_percent(const struct fws_result *r)
{
	return per((double)r->run.sent.datagrams, r->daemon_cpu_seconds * 100);
}

/* Whether some readings are made before the message that they travel in. */
static bool waits(const struct fws_fleet_config *c)
{
	return c->readings > 1 || c->batch > 1;
}

static void print_latency(FILE *to, const char *what, const struct fws_hist *h)
{
	if (!h->count)
		return;
	fprintf(to, "%-12s p50 %.3f ms, p99 %.3f, p99.9 %.3f, max %.3f\n", what,
		(double)fws_hist_quantile(h, 0.5) / 1e6, (double)fws_hist_quantile(h, 0.99) / 1e6,
		(double)fws_hist_quantile(h, 0.999) / 1e6, (double)h->max_ns / 1e6);
}

static void print_verify(const struct fws_result *r, const struct fws_options *o, FILE *to)
{
	const struct fws_verify_result *v = r->verify;

	fprintf(to,
		"read back    %" PRIu64 " of %" PRIu64 " readings (%.4f %%), missing %" PRIu64
		", duplicates %" PRIu64 ", out of order %" PRIu64 "\n",
		v->distinct, fws_result_expected(r),
		100 * per((double)v->distinct, (double)fws_result_expected(r)), missing(r),
		v->duplicates, v->out_of_order);
	if (!fws_result_expected(r))
		fputs("nothing was taken by the kernel: this proves nothing\n", to);
	if (unsent(r))
		fprintf(to,
			"not sent     %" PRIu64
			" readings of these sensors: another sender has the same ids?\n",
			unsent(r));
	if (v->unparsed)
		fprintf(to, "unparsed     %" PRIu64 " lines that are no record\n", v->unparsed);
	if (v->error)
		fprintf(to, "trouble      reading %s: %s\n", o->verify_where, strerror(-v->error));
	if (v->distinct)
		fprintf(to, "latency      of each reading, from its event time%s\n",
			waits(&o->fleet) ? ": the wait of the older ones in the device included"
					 : "");
	print_latency(to, "to arrival", &v->arrival);
	print_latency(to, "to broker", &v->broker);
	print_latency(to, "to read", &v->read);
}

/* A rate for each, since they asked for different ones. */
static void print_phases(const struct fws_run_result *u, FILE *to)
{
	for (uint32_t i = 0; i < u->phase_count; i++) {
		const struct fws_phase_result *p = &u->phases[i];

		if (u->phase_count == 1)
			fputs("rate         ", to);
		else
			fprintf(to, "phase %-7u%" PRIu64 " messages in %.3f s: ", i + 1,
				p->messages, p->seconds);
		fprintf(to, "%.1f messages/s, %.1f readings/s",
			per((double)p->messages, p->seconds), per((double)p->readings, p->seconds));
		if (p->rate_asked > 0)
			fprintf(to, "; asked for %.10g", p->rate_asked);
		fputc('\n', to);
	}
}

void fws_result_print(const struct fws_result *r, const struct fws_options *o, FILE *to)
{
	const struct fws_run_result *u = &r->run;

	fprintf(to, "run          %s%s%u sensors, %u threads, seed %" PRIu64 "\n", o->scenario,
		*o->scenario ? ", " : "", o->fleet.sensors, o->threads, o->fleet.seed);
	fprintf(to, "sent         %" PRIu64 " datagrams, %" PRIu64 " readings, %.1f MB in %.3f s\n",
		u->sent.datagrams, u->sent.readings, (double)u->sent.bytes / 1e6, u->seconds);
	print_phases(u, to);
	fprintf(to, "own CPU      %.3f us a datagram, %.3f s, %" PRIu64 " system calls\n",
		per(u->cpu_seconds * 1e6, (double)u->sent.datagrams), u->cpu_seconds,
		u->sent.calls);
	if (fws_net_is_bad(&o->net))
		fprintf(to,
			"network      lost %" PRIu64 ", duplicated %" PRIu64 ", reordered %" PRIu64
			", delayed %" PRIu64 "\n",
			u->net.lost, u->net.duplicated, u->net.reordered, u->net.delayed);
	if (u->sent.failed || u->sent.refused)
		fprintf(to,
			"trouble      %" PRIu64 " not taken by the kernel, %" PRIu64
			" notices that nobody listens\n",
			u->sent.failed, u->sent.refused);
	if (r->daemon_cpu_seconds >= 0)
		fprintf(to, "daemon CPU   %.2f s, %.0f messages/s for each 1 %% of a core\n",
			r->daemon_cpu_seconds, messages_per_percent(r));
	if (r->verify)
		print_verify(r, o, to);
}

static void json_latency(FILE *to, const char *key, const struct fws_hist *h)
{
	if (!h->count) {
		fprintf(to, "\"%s\":null", key);
		return;
	}
	fprintf(to,
		"\"%s\":{\"count\":%" PRIu64 ",\"negative\":%" PRIu64 ",\"p50\":%.6f,\"p99\":%.6f,"
		"\"p99.9\":%.6f,\"max\":%.6f}",
		key, h->count, h->negative, (double)fws_hist_quantile(h, 0.5) / 1e6,
		(double)fws_hist_quantile(h, 0.99) / 1e6, (double)fws_hist_quantile(h, 0.999) / 1e6,
		(double)h->max_ns / 1e6);
}

static void json_verify(const struct fws_result *r, FILE *to)
{
	const struct fws_verify_result *v = r->verify;

	fprintf(to,
		",\"verify\":{\"expected\":%" PRIu64 ",\"received\":%" PRIu64
		",\"distinct\":%" PRIu64 ",\"duplicates\":%" PRIu64 ",\"missing\":%" PRIu64
		",\"unsent\":%" PRIu64 ",\"out_of_order\":%" PRIu64 ",\"other\":%" PRIu64
		",\"unparsed\":%" PRIu64 ",\"success\":%.6f,\"error\":%d,",
		fws_result_expected(r), v->received, v->distinct, v->duplicates, missing(r),
		unsent(r), v->out_of_order, v->other, v->unparsed,
		per((double)v->distinct, (double)fws_result_expected(r)), -v->error);
	json_latency(to, "arrival_ms", &v->arrival);
	fputc(',', to);
	json_latency(to, "broker_ms", &v->broker);
	fputc(',', to);
	json_latency(to, "read_ms", &v->read);
	fputc('}', to);
}

static void json_phases(const struct fws_run_result *u, FILE *to)
{
	for (uint32_t i = 0; i < u->phase_count; i++) {
		const struct fws_phase_result *p = &u->phases[i];

		fprintf(to,
			"%s{\"rate_asked\":%.10g,\"rate\":%.3f,\"readings_rate\":%.3f"
			",\"seconds\":%.6f,\"messages\":%" PRIu64 ",\"readings\":%" PRIu64 "}",
			i ? "," : ",\"phases\":[", p->rate_asked,
			per((double)p->messages, p->seconds), per((double)p->readings, p->seconds),
			p->seconds, p->messages, p->readings);
	}
	fputs(u->phase_count ? "]" : ",\"phases\":[]", to);
}

void fws_result_json(const struct fws_result *r, const struct fws_options *o, FILE *to)
{
	const struct fws_run_result *u = &r->run;

	/* The seed as text: it may be above 2^53. */
	fprintf(to,
		"{\"scenario\":\"%s\",\"format\":\"%s\",\"sensors\":%u,\"threads\":%u,"
		"\"seed\":\"%" PRIu64 "\",\"seconds\":%.6f,\"messages\":%" PRIu64
		",\"readings\":%" PRIu64 ",\"rate\":%.3f,\"readings_rate\":%.3f",
		o->scenario, o->shape.format == FWS_JSON ? "json" : "binary", o->fleet.sensors,
		o->threads, o->fleet.seed, u->seconds, u->messages, u->message_readings,
		per((double)u->messages, u->seconds), per((double)u->message_readings, u->seconds));
	json_phases(u, to);
	fprintf(to,
		",\"sent\":{\"datagrams\":%" PRIu64 ",\"readings\":%" PRIu64 ",\"bytes\":%" PRIu64
		",\"failed\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"calls\":%" PRIu64 "}",
		u->sent.datagrams, u->sent.readings, u->sent.bytes, u->sent.failed, u->sent.refused,
		u->sent.calls);
	fprintf(to,
		",\"network\":{\"lost\":%" PRIu64 ",\"lost_readings\":%" PRIu64
		",\"duplicated\":%" PRIu64 ",\"reordered\":%" PRIu64 ",\"delayed\":%" PRIu64 "}",
		u->net.lost, u->net.lost_readings, u->net.duplicated, u->net.reordered,
		u->net.delayed);
	fprintf(to, ",\"cpu_seconds\":%.6f,\"us_per_datagram\":%.4f", u->cpu_seconds,
		per(u->cpu_seconds * 1e6, (double)u->sent.datagrams));
	if (r->daemon_cpu_seconds >= 0)
		fprintf(to,
			",\"daemon\":{\"pid\":%d,\"cpu_seconds\":%.2f,"
			"\"messages_per_s_per_percent\":%.3f}",
			o->pid, r->daemon_cpu_seconds, messages_per_percent(r));
	if (r->verify)
		json_verify(r, to);
	fputs("}\n", to);
}
