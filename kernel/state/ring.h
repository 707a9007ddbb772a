/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_STATE_RING_H_
#define _GODWIT_STATE_RING_H_

#include "types.h"

/**
 * godwit_ring_full() - has a ring no room for a record?
 * @head: records that were stored.
 * @tail: records that were taken, as the program says: any value at all.
 * @capacity: a power of two.
 *
 * A tail beyond the head, or more than a lap behind it, is nonsense; then the ring is full,
 * until the program repairs it. Nothing that it writes can make the driver store elsewhere.
 */
static inline bool godwit_ring_full(u64 head, u64 tail, u32 capacity)
{
	return head - tail >= capacity;
}

/**
 * godwit_ring_index() - where a record goes.
 * @number: of the record.
 * @capacity: a power of two.
 */
static inline u32 godwit_ring_index(u64 number, u32 capacity)
{
	return (u32)(number & (capacity - 1));
}

#endif /* _GODWIT_STATE_RING_H_ */
