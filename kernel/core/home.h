/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_HOME_H_
#define _GODWIT_HOME_H_

#include <linux/mm_types.h>

#include <drm/godwit_drm.h>

struct godwit_batch;
struct godwit_device;

/**
 * struct godwit_home - how a batch comes home.
 */
struct godwit_home {
	/** @cause: why. */
	enum drm_godwit_cause cause;
	/** @only: only pages of this device, or NULL for all of ours. */
	struct godwit_device *only;
	/** @except: not pages of this device. */
	struct godwit_device *except;
	/**
	 * @vma: where they are mapped; NULL: not known, and then huge pages cannot be split.
	 */
	struct vm_area_struct *vma;
	/** @addr: of element 0, with @vma. */
	unsigned long addr;
	/**
	 * @spare: page of RAM for element @spare_index, or NULL. Taken, and set to NULL, when
	 * used.
	 */
	struct folio *spare;
	/** @spare_index: which element must not fail for want of memory. */
	unsigned int spare_index;
	/** @poison: what cannot be copied comes home empty, to be poisoned by the caller. */
	bool poison;
	/** @advised: what advice holds comes home, too. */
	bool advised;
	/** @gentle: do not try hard to find memory. */
	bool gentle;
	/** @moved: out, pages. */
	unsigned long moved;
	/** @moved_huge: out, those of @moved in huge folios. */
	unsigned long moved_huge;
	/** @stayed: out, pages that could not. */
	unsigned long stayed;
};

void godwit_home_fill(struct godwit_batch *batch, unsigned int count, struct godwit_home *home);
void godwit_home_wait(struct godwit_batch *batch, const struct godwit_home *home);
void godwit_home_cancel(struct godwit_batch *batch);
void godwit_home_settle(struct godwit_batch *batch, struct godwit_home *home);
void godwit_home_end(struct godwit_batch *batch, const struct godwit_home *home);
void godwit_home_poison(struct godwit_batch *batch, const struct godwit_home *home);

#endif /* _GODWIT_HOME_H_ */
