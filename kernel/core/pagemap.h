/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_PAGEMAP_H_
#define _GODWIT_PAGEMAP_H_

#include <linux/memremap.h>
#include <linux/mm_types.h>
#include <linux/workqueue.h>

struct address_space;
struct godwit_device;
struct task_struct;

/**
 * struct godwit_pagemap - the struct pages of a VRAM.
 */
struct godwit_pagemap {
	/** @map: registered with the kernel while @mapped. */
	struct dev_pagemap map;
	/** @gdev: whose. */
	struct godwit_device *gdev;
	/** @region: physical addresses that nobody else gets (private VRAM only). */
	struct resource *region;
	/** @first_pfn: page frame number of frame 0. */
	unsigned long first_pfn;
	/**
	 * @mappings: of each block of frames, &folio.mapping of the huge folio that it is or was.
	 * Private VRAM only. Set while that folio is locked. With a reference to the anon_vma,
	 * until the block is another huge folio, or the device goes.
	 */
	struct address_space **mappings;
	/** @shielded: blocks whose folio @shield_work has to look after. Private VRAM only. */
	unsigned long *shielded;
	/** @shield_work: godwit_shield_work(). */
	struct work_struct shield_work;
	/** @shield_worker: who does it at the moment, or NULL. */
	struct task_struct *shield_worker;
	/** @mapped: memremap_pages() succeeded. */
	bool mapped;
};

/**
 * struct godwit_pagemap_owner - a cookie; only its address matters.
 * @unused: so that it has one.
 */
struct godwit_pagemap_owner {
	char unused;
};

/*
 * One owner for the pages of all devices: so that hmm_range_fault() tells us about pages of
 * other devices of ours rather than send them home behind our back.
 */
extern const struct godwit_pagemap_owner godwit_pagemap_owner;

int godwit_pagemap_init(struct godwit_device *gdev);
void godwit_pagemap_fini(struct godwit_device *gdev);
void godwit_pagemap_publish(struct page *page);

struct page *godwit_pagemap_page(struct godwit_device *gdev, unsigned long frame,
				 unsigned int count);

static inline void *godwit_pagemap_owner_cookie(void)
{
	return (void *)&godwit_pagemap_owner;
}

/* Is this a page of a device of ours? Not for a page that may be freed meanwhile. */
static inline bool godwit_is_vram(const struct page *page)
{
	return is_zone_device_page(page) &&
	       page_pgmap(page)->owner == godwit_pagemap_owner_cookie();
}

static inline struct godwit_device *godwit_page_device(const struct page *page)
{
	return container_of(page_pgmap(page), struct godwit_pagemap, map)->gdev;
}

static inline unsigned long godwit_page_frame(const struct page *page)
{
	return page_to_pfn(page) -
	       container_of(page_pgmap(page), struct godwit_pagemap, map)->first_pfn;
}

#endif /* _GODWIT_PAGEMAP_H_ */
