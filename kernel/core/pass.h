/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_PASS_H_
#define _GODWIT_PASS_H_

#include "run.h"

struct godwit_mirror;
struct godwit_move;
struct godwit_span;

/* Spans that are migrated under one mmap_lock, unless somebody waits for it. */
#define GODWIT_PASS_SPANS	16
/* Runs whose pages are locked at a time. */
#define GODWIT_PASS_RUNS	4

/**
 * struct godwit_pass - spans that follow each other, and are migrated together.
 */
struct godwit_pass {
	/** @mirror: whose. */
	struct godwit_mirror *mirror;
	/** @move: the migration. */
	struct godwit_move *move;
	/** @spans: in the order of their addresses. */
	struct godwit_span *spans[GODWIT_PASS_SPANS];
	/** @size: how many there may be at a time. */
	unsigned int size;
	/** @count: how many there are. */
	unsigned int count;
	/** @walked: how many have been migrated. */
	unsigned int walked;
	/** @runs: those that are under way, from @first on, in a circle. */
	struct godwit_run runs[GODWIT_PASS_RUNS];
	/** @first: index of the oldest. */
	unsigned int first;
	/** @flying: how many are under way. */
	unsigned int flying;
};

struct godwit_pass *godwit_pass_alloc(struct godwit_mirror *mirror, struct godwit_move *move,
				      unsigned long start, unsigned long end);
void godwit_pass_free(struct godwit_pass *pass);
int godwit_pass_step(struct godwit_pass *pass, unsigned long *pos, unsigned long end);

#endif /* _GODWIT_PASS_H_ */
