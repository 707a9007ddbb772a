/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_ACCESS_H_
#define _GODWIT_ACCESS_H_

#include <linux/types.h>

struct godwit_chunk;
struct godwit_mirror;

/**
 * struct godwit_access - an access of the device to one page, while it lasts.
 */
struct godwit_access {
	/** @chunk: whose entry is in use; held by godwit_chunk_access_begin(). */
	struct godwit_chunk *chunk;
	/** @data: the byte at the address; valid to the end of its page. */
	void *data;
	/** @mapped: @data is a local mapping of a page of RAM. */
	bool mapped;
};

bool godwit_access_begin(struct godwit_mirror *mirror, unsigned long addr, bool write,
			 struct godwit_access *access);
void godwit_access_end(struct godwit_access *access);

#endif /* _GODWIT_ACCESS_H_ */
