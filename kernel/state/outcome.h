/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_STATE_OUTCOME_H_
#define _GODWIT_STATE_OUTCOME_H_

#include "types.h"

/**
 * DOC: Why a page stayed
 *
 * A page that should have moved and did not has a reason that the caller is told. The kernel
 * does not say it: migrate_vma_setup() leaves a zero for whatever it passed over. The reason
 * follows from what was seen before (a look at the page tables) and from how far the page came.
 */

/**
 * enum godwit_seen - what the page tables said before the migration began.
 */
enum godwit_seen {
	/**
	 * @GODWIT_SEEN_NOTHING: No entry, or one that is no page: never touched, swapped, under
	 * way.
	 */
	GODWIT_SEEN_NOTHING,
	/** @GODWIT_SEEN_ANON: Anonymous memory in RAM. */
	GODWIT_SEEN_ANON,
	/** @GODWIT_SEEN_FILE: A page of a file or shared, or that KSM or userfaultfd watches. */
	GODWIT_SEEN_FILE,
	/** @GODWIT_SEEN_ZERO: The shared zero page. */
	GODWIT_SEEN_ZERO,
	/** @GODWIT_SEEN_VRAM: A page of this device. */
	GODWIT_SEEN_VRAM,
	/** @GODWIT_SEEN_PEER: A page of another device of ours. */
	GODWIT_SEEN_PEER,
	/** @GODWIT_SEEN_ERROR: Nothing that a device could use. */
	GODWIT_SEEN_ERROR,
	/** @GODWIT_SEEN_EMPTY: Never touched: the kernel offered it, and we did not want it. */
	GODWIT_SEEN_EMPTY,
	/** @GODWIT_SEEN_HELD: Pinned, by advice or by PIN, to where it is. */
	GODWIT_SEEN_HELD,
	/** @GODWIT_SEEN_COUNT: number of values. */
	GODWIT_SEEN_COUNT,
};

/**
 * enum godwit_reached - how far a page came in a migration.
 */
enum godwit_reached {
	/**
	 * @GODWIT_REACHED_NOTHING: migrate_vma_setup() passed over it, or was not called for
	 * it.
	 */
	GODWIT_REACHED_NOTHING,
	/** @GODWIT_REACHED_SETUP: It was isolated; there was no room for it. */
	GODWIT_REACHED_SETUP,
	/** @GODWIT_REACHED_ROOM: It had room; the copy failed. */
	GODWIT_REACHED_ROOM,
	/** @GODWIT_REACHED_COPY: It was copied; the kernel refused to switch. */
	GODWIT_REACHED_COPY,
	/** @GODWIT_REACHED_MOVED: It moved. */
	GODWIT_REACHED_MOVED,
	/** @GODWIT_REACHED_COUNT: number of values. */
	GODWIT_REACHED_COUNT,
};

/* Answers beside those of enum drm_godwit_stay. */
#define GODWIT_OUTCOME_MOVED	0x100u
#define GODWIT_OUTCOME_ALREADY	0x101u

unsigned int godwit_outcome(unsigned int seen, unsigned int reached, bool to_vram);

#endif /* _GODWIT_STATE_OUTCOME_H_ */
