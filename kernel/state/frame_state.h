/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_STATE_FRAME_STATE_H_
#define _GODWIT_STATE_FRAME_STATE_H_

#include "types.h"

/**
 * DOC: The life of a frame of VRAM
 *
 * A frame is a page of VRAM. Its state says who may look at its bytes; the lock of the VRAM
 * protects it. A table as data (frame_state.c) says which event leads where; an event that the
 * table does not have in a state is a bug, is reported, and changes nothing.
 *
 * The rule that no process sees the bytes of another one rests on this table: the only way to
 * LIVE and to OBJECT leads through FILLING, and whoever moves a frame on from FILLING has
 * overwritten all of it.
 */

/**
 * enum godwit_frame_state - who may look at a frame.
 */
enum godwit_frame_state {
	/** @GODWIT_FRAME_FREE: Nobody. Its bytes are those of its last owner. */
	GODWIT_FRAME_FREE,
	/** @GODWIT_FRAME_FILLING: The migration that took it, which writes all of it. */
	GODWIT_FRAME_FILLING,
	/** @GODWIT_FRAME_LIVE: It is a page of somebody's memory. Its folio has references. */
	GODWIT_FRAME_LIVE,
	/**
	 * @GODWIT_FRAME_LEAVING: As LIVE, but its folio is locked and unmapped, and its bytes
	 * are being copied home. Nobody writes it.
	 */
	GODWIT_FRAME_LEAVING,
	/** @GODWIT_FRAME_OBJECT: It belongs to a GEM object. */
	GODWIT_FRAME_OBJECT,
	/** @GODWIT_FRAME_RETIRED: Nobody, for good: the device goes away. */
	GODWIT_FRAME_RETIRED,
	/** @GODWIT_FRAME_STATES: number of states. */
	GODWIT_FRAME_STATES,
};

/**
 * enum godwit_frame_event - what happens to a frame.
 */
enum godwit_frame_event {
	/** @GODWIT_FRAME_TAKE: A migration or an object takes it. */
	GODWIT_FRAME_TAKE,
	/** @GODWIT_FRAME_PUBLISH: It was filled, and is switched into page tables. */
	GODWIT_FRAME_PUBLISH,
	/** @GODWIT_FRAME_LEAVE: A migration home has locked and unmapped it. */
	GODWIT_FRAME_LEAVE,
	/** @GODWIT_FRAME_STAY: That migration gave it up. */
	GODWIT_FRAME_STAY,
	/** @GODWIT_FRAME_BIND: It was filled, and given to an object. */
	GODWIT_FRAME_BIND,
	/** @GODWIT_FRAME_RELEASE: The last reference is gone. */
	GODWIT_FRAME_RELEASE,
	/** @GODWIT_FRAME_RETIRE: The device goes away. */
	GODWIT_FRAME_RETIRE,
	/** @GODWIT_FRAME_EVENTS: number of events. */
	GODWIT_FRAME_EVENTS,
};

/** define GODWIT_FRAME_NEVER - godwit_frame_next() of an event that must not happen. */
#define GODWIT_FRAME_NEVER	(-1)

int godwit_frame_next(unsigned int state, unsigned int event);
const char *godwit_frame_state_name(unsigned int state);
const char *godwit_frame_event_name(unsigned int event);

#endif /* _GODWIT_STATE_FRAME_STATE_H_ */
