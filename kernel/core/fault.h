/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_FAULT_H_
#define _GODWIT_FAULT_H_

#include <linux/types.h>

#include <drm/godwit_drm.h>

struct godwit_chunk;
struct godwit_mirror;

/**
 * struct godwit_fault - a fault of the device.
 */
struct godwit_fault {
	/** @addr: address that was touched. */
	unsigned long addr;
	/** @write: it was to be written. */
	bool write;
	/** @in_place: map it where it is. Otherwise it is brought to VRAM, where that can be. */
	bool in_place;
	/** @cause: GODWIT_CAUSE_DEVICE_FAULT or GODWIT_CAUSE_VIEW. */
	enum drm_godwit_cause cause;
	/**
	 * @use: NULL, or what the fault is for. Called once if and only if godwit_fault()
	 * returns 0, with the lock of the chunk, so that a fault that was served is not in
	 * vain: nobody can take the entry away yet. The rules are those of an access.
	 */
	void (*use)(struct godwit_fault *fault, struct godwit_chunk *chunk);
	/** @moved: out, added to: pages that came to VRAM. */
	unsigned long moved;
	/** @mapped: out, added to: pages that were mapped where they were. */
	unsigned long mapped;
};

int godwit_fault(struct godwit_mirror *mirror, struct godwit_fault *fault);

#endif /* _GODWIT_FAULT_H_ */
