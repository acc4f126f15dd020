/* The window of an output: what is on its way, oldest first. */
#include "dataplane/egress/flight.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int dp_flights_init(struct dp_flights *f, uint32_t count)
{
	uint64_t size = 1;

	while (size < count)
		size *= 2;
	*f = (struct dp_flights){.mask = size - 1};
	f->at = calloc(size, sizeof(*f->at));
	return f->at ? 0 : -ENOMEM;
}

void dp_flights_fini(struct dp_flights *f)
{
	free(f->at);
}

struct dp_flight *dp_flights_push(struct dp_flights *f)
{
	struct dp_flight *flight = dp_flights_at(f, f->tail);

	assert(dp_flights_count(f) <= f->mask);
	f->tail++;
	*flight = (struct dp_flight){0};
	return flight;
}

struct dp_flight *dp_flights_of(const struct dp_flights *f, uint64_t cookie)
{
	uint32_t behind = (uint32_t)(cookie >> DP_FLIGHT_INDEX_BITS) - (uint32_t)f->head;

	return behind < dp_flights_count(f) ? dp_flights_at(f, f->head + behind) : NULL;
}

bool dp_flights_pass(struct dp_flights *f, struct dp_position *p)
{
	struct dp_flight *first = dp_flights_at(f, f->head);

	if (f->head == f->tail || !first->whole || first->outstanding)
		return false;
	p->delivered += first->delivered;
	p->dead_letter += first->dead_letter;
	p->filtered += first->filtered;
	p->expired += first->expired;
	p->quarantined += first->quarantined;
	p->lp = first->lp_next;
	p->records = first->records_after;
	dp_position_pass(p, first->epoch, first->worker, first->sequence);
	f->bytes -= first->bytes;
	f->head++;
	return true;
}
