/* The token bucket between the wish for a rate and the senders. */
#include "firmware-sim/pace.h"

#include <assert.h>

#include "firmware-sim/limits.h"

static unsigned __int128 token_cost(const struct fws_pace *p)
{
	return (unsigned __int128)p->den * (uint64_t)FWS_NS_PER_S;
}

void fws_pace_init(struct fws_pace *p, uint64_t num, uint64_t den, uint64_t burst, int64_t start_ns)
{
	assert(den >= 1 && burst >= 1);
	*p = (struct fws_pace){.num = num, .den = den, .burst = burst, .last_ns = start_ns};
	p->credit = token_cost(p);
}

static void grow(struct fws_pace *p, int64_t now_ns)
{
	if (now_ns <= p->last_ns)
		return;
	p->credit += (unsigned __int128)(uint64_t)(now_ns - p->last_ns) * p->num;
	p->last_ns = now_ns;
	/* Less than one token over the brim is lateness of waking and is kept; more is a stall. */
	if (p->credit >= (p->burst + 1) * token_cost(p))
		p->credit = p->burst * token_cost(p);
}

uint64_t fws_pace_take(struct fws_pace *p, int64_t now_ns, uint64_t want)
{
	if (!p->num)
		return want;
	if (now_ns < p->last_ns)
		return 0; /* before the start */
	grow(p, now_ns);

	uint64_t have = (uint64_t)(p->credit / token_cost(p));
	uint64_t got = have < want ? have : want;

	p->credit -= got * token_cost(p);
	return got;
}

int64_t fws_pace_due(struct fws_pace *p, int64_t now_ns)
{
	if (!p->num)
		return now_ns;
	if (now_ns < p->last_ns)
		return p->last_ns;
	grow(p, now_ns);
	if (p->credit >= token_cost(p))
		return now_ns;
	return now_ns + (int64_t)((token_cost(p) - p->credit + p->num - 1) / p->num);
}

uint64_t fws_pace_burst_for(double rate)
{
	double worth = rate * 0.005;

	return worth < 1 ? 1 : (uint64_t)worth;
}
