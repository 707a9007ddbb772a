/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_STATE_RANGE_H_
#define _GODWIT_STATE_RANGE_H_

#include "types.h"

/**
 * godwit_range_check() - is this a page range?
 * @addr: first byte.
 * @length: bytes.
 * @page: page size, a power of two.
 * @limit: first address beyond the address space.
 * @max: greatest length.
 *
 * Return: 0, -EINVAL or -E2BIG, as the interface says it.
 */
static inline int godwit_range_check(u64 addr, u64 length, u64 page, u64 limit, u64 max)
{
	if (!length || ((addr | length) & (page - 1)))
		return -EINVAL;
	if (addr >= limit || length > limit - addr)
		return -EINVAL;
	if (length > max)
		return -E2BIG;
	return 0;
}

/**
 * godwit_span_end() - cut a range at multiples of a span.
 * @pos: where the rest of the range begins, less than @end.
 * @end: end of the range.
 * @span: a power of two.
 *
 * Return: the end of the piece that begins at @pos and lies within one aligned span.
 */
static inline u64 godwit_span_end(u64 pos, u64 end, u64 span)
{
	u64 left = span - (pos & (span - 1));

	return end - pos > left ? pos + left : end;
}

#endif /* _GODWIT_STATE_RANGE_H_ */
