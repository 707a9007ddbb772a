// SPDX-License-Identifier: GPL-2.0-only
#include "frame_state.h"

/* One more than the next state, so that what is not named is 0: never. */
#define TO(state)	(GODWIT_FRAME_##state + 1)

static const u8 next_state[GODWIT_FRAME_EVENTS][GODWIT_FRAME_STATES] = {
	[GODWIT_FRAME_TAKE] = {
		[GODWIT_FRAME_FREE] = TO(FILLING),
	},
	[GODWIT_FRAME_PUBLISH] = {
		[GODWIT_FRAME_FILLING] = TO(LIVE),
	},
	[GODWIT_FRAME_LEAVE] = {
		[GODWIT_FRAME_LIVE] = TO(LEAVING),
	},
	[GODWIT_FRAME_STAY] = {
		[GODWIT_FRAME_LEAVING] = TO(LIVE),
	},
	[GODWIT_FRAME_BIND] = {
		[GODWIT_FRAME_FILLING] = TO(OBJECT),
	},
	[GODWIT_FRAME_RELEASE] = {
		/* A migration to VRAM that failed for this page. */
		[GODWIT_FRAME_FILLING] = TO(FREE),
		/* munmap, exit, a write after a fork, and the like. */
		[GODWIT_FRAME_LIVE] = TO(FREE),
		/* A migration home that succeeded. */
		[GODWIT_FRAME_LEAVING] = TO(FREE),
		[GODWIT_FRAME_OBJECT] = TO(FREE),
	},
	[GODWIT_FRAME_RETIRE] = {
		[GODWIT_FRAME_FREE] = TO(RETIRED),
	},
};

#undef TO

static const char * const state_names[GODWIT_FRAME_STATES] = {
	[GODWIT_FRAME_FREE] = "free",
	[GODWIT_FRAME_FILLING] = "filling",
	[GODWIT_FRAME_LIVE] = "live",
	[GODWIT_FRAME_LEAVING] = "leaving",
	[GODWIT_FRAME_OBJECT] = "object",
	[GODWIT_FRAME_RETIRED] = "retired",
};

static const char * const event_names[GODWIT_FRAME_EVENTS] = {
	[GODWIT_FRAME_TAKE] = "take",
	[GODWIT_FRAME_PUBLISH] = "publish",
	[GODWIT_FRAME_LEAVE] = "leave",
	[GODWIT_FRAME_STAY] = "stay",
	[GODWIT_FRAME_BIND] = "bind",
	[GODWIT_FRAME_RELEASE] = "release",
	[GODWIT_FRAME_RETIRE] = "retire",
};

/**
 * godwit_frame_next() - where an event leads.
 * @state: &enum godwit_frame_state.
 * @event: &enum godwit_frame_event.
 *
 * Return: the next state, or GODWIT_FRAME_NEVER.
 */
int godwit_frame_next(unsigned int state, unsigned int event)
{
	if (state >= GODWIT_FRAME_STATES || event >= GODWIT_FRAME_EVENTS)
		return GODWIT_FRAME_NEVER;
	return next_state[event][state] - 1;
}

const char *godwit_frame_state_name(unsigned int state)
{
	return state < GODWIT_FRAME_STATES ? state_names[state] : "?";
}

const char *godwit_frame_event_name(unsigned int event)
{
	return event < GODWIT_FRAME_EVENTS ? event_names[event] : "?";
}
