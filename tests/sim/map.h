/* A hash map from two words to an index, growing; nothing is ever removed. */
#pragma once

#include <stdint.h>
#include <stdlib.h>

#define SIM_MAP_NONE UINT32_MAX

struct sim_map {
	struct sim_map_entry {
		uint64_t key[2];
		uint32_t value;
		uint32_t used;
	} * at;
	uint32_t size, count; /* size: power of two, or 0 */
};

static inline struct sim_map_entry *sim_map_spot(const struct sim_map *m, uint64_t a, uint64_t b)
{
	uint64_t h = (a ^ b * 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
	uint32_t i = (uint32_t)(h >> 32) & (m->size - 1);

	while (m->at[i].used && (m->at[i].key[0] != a || m->at[i].key[1] != b))
		i = (i + 1) & (m->size - 1);
	return &m->at[i];
}

static inline uint32_t sim_map_get(const struct sim_map *m, uint64_t a, uint64_t b)
{
	const struct sim_map_entry *e;

	if (!m->size)
		return SIM_MAP_NONE;
	e = sim_map_spot(m, a, b);
	return e->used ? e->value : SIM_MAP_NONE;
}

static inline void sim_map_put(struct sim_map *m, uint64_t a, uint64_t b, uint32_t value)
{
	struct sim_map_entry *e;

	if (2 * m->count >= m->size) {
		struct sim_map bigger = {.size = m->size ? 2 * m->size : 1024};

		bigger.at = calloc(bigger.size, sizeof(*bigger.at));
		if (!bigger.at)
			abort();
		for (uint32_t i = 0; i < m->size; i++)
			if (m->at[i].used)
				*sim_map_spot(&bigger, m->at[i].key[0], m->at[i].key[1]) = m->at[i];
		bigger.count = m->count;
		free(m->at);
		*m = bigger;
	}
	e = sim_map_spot(m, a, b);
	m->count += !e->used;
	*e = (struct sim_map_entry){.key = {a, b}, .value = value, .used = 1};
}
