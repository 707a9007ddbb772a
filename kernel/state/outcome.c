// SPDX-License-Identifier: GPL-2.0-only
#include "outcome.h"

#ifdef __KERNEL__
#include <drm/godwit_drm.h>
#else
#include "godwit_drm.h"
#endif

/* What became of a page that the kernel passed over, by what was seen there before. */
static const u16 passed_over[2][GODWIT_SEEN_COUNT] = {
	/* to RAM */
	{
		[GODWIT_SEEN_NOTHING] = GODWIT_STAY_EMPTY,
		[GODWIT_SEEN_ANON] = GODWIT_OUTCOME_ALREADY,
		[GODWIT_SEEN_FILE] = GODWIT_OUTCOME_ALREADY,
		[GODWIT_SEEN_ZERO] = GODWIT_OUTCOME_ALREADY,
		[GODWIT_SEEN_VRAM] = GODWIT_STAY_BUSY,
		[GODWIT_SEEN_PEER] = GODWIT_STAY_BUSY,
		[GODWIT_SEEN_ERROR] = GODWIT_STAY_SPECIAL,
		[GODWIT_SEEN_EMPTY] = GODWIT_STAY_EMPTY,
		[GODWIT_SEEN_HELD] = GODWIT_STAY_ADVICE,
	},
	/* to VRAM */
	{
		/* An empty page would have been taken: this one is on swap, or under way. */
		[GODWIT_SEEN_NOTHING] = GODWIT_STAY_SWAPPED,
		[GODWIT_SEEN_ANON] = GODWIT_STAY_BUSY,
		[GODWIT_SEEN_FILE] = GODWIT_STAY_FILE,
		[GODWIT_SEEN_ZERO] = GODWIT_STAY_BUSY,
		[GODWIT_SEEN_VRAM] = GODWIT_OUTCOME_ALREADY,
		[GODWIT_SEEN_PEER] = GODWIT_STAY_BUSY,
		[GODWIT_SEEN_ERROR] = GODWIT_STAY_SPECIAL,
		[GODWIT_SEEN_EMPTY] = GODWIT_STAY_EMPTY,
		[GODWIT_SEEN_HELD] = GODWIT_STAY_ADVICE,
	},
};

/**
 * godwit_outcome() - why a page stayed, or that it did not.
 * @seen: &enum godwit_seen.
 * @reached: &enum godwit_reached.
 * @to_vram: where it should go.
 *
 * Return: an &enum drm_godwit_stay, GODWIT_OUTCOME_MOVED or GODWIT_OUTCOME_ALREADY.
 */
unsigned int godwit_outcome(unsigned int seen, unsigned int reached, bool to_vram)
{
	switch (reached) {
	case GODWIT_REACHED_MOVED:
		return GODWIT_OUTCOME_MOVED;
	case GODWIT_REACHED_COPY:
		return GODWIT_STAY_BUSY;
	case GODWIT_REACHED_ROOM:
		return GODWIT_STAY_COPY;
	case GODWIT_REACHED_SETUP:
		return to_vram ? GODWIT_STAY_NO_VRAM : GODWIT_STAY_NO_RAM;
	default:
		return seen < GODWIT_SEEN_COUNT ? passed_over[to_vram][seen] : GODWIT_STAY_SPECIAL;
	}
}
