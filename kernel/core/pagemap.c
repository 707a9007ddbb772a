// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Pages of VRAM
 *
 * Overview: frames of VRAM as struct pages. Frame n is page first_pfn + n, for the whole life
 * of the device. Private VRAM takes a range of physical addresses that nothing answers at;
 * coherent VRAM has its own.
 *
 * A page is made when its frame is taken (godwit_pagemap_page()), and is gone with its last
 * reference, which gives the frame back. Which folio a frame belongs to is the kernel's
 * business alone: a folio of 512 pages may be split, and then its pages come back one by one.
 *
 * Locking: none.
 */
#include <linux/bitmap.h>
#include <linux/device.h>
#include <linux/ioport.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmstat.h>

#include "../compat/rmap.h"
#include "device.h"
#include "pagemap.h"
#include "shield.h"
#include "touch.h"
#include "vram.h"

const struct godwit_pagemap_owner godwit_pagemap_owner;

/**
 * godwit_pagemap_publish() - remember the reverse map of a folio that has come to VRAM.
 * @page: its first page, locked. Huge, so private VRAM, which keeps its reverse map until it
 *	is free. The caller has mmap_lock of somebody who maps it.
 */
void godwit_pagemap_publish(struct page *page)
{
	struct godwit_pagemap *pagemap = &godwit_page_device(page)->pagemap;
	struct anon_vma *anon = godwit_anon_vma(page_folio(page));

	/* It is in use. */
	if (anon)
		atomic_inc(&anon->refcount);
	pagemap->mappings[godwit_page_frame(page) / GODWIT_BLOCK_FRAMES] =
		page_folio(page)->mapping;
}

static void pagemap_forget(struct godwit_pagemap *pagemap, unsigned long block)
{
	struct anon_vma *anon = godwit_mapping_anon_vma(pagemap->mappings[block]);

	pagemap->mappings[block] = NULL;
	if (anon)
		godwit_anon_vma_put(anon);
}

/*
 * What the kernel has marked a page of RAM as is gone when the page is; for pages of devices nobody
 * does that, and zone_device_folio_init() leaves it. munlock() passes over what is in VRAM, so it
 * would count as locked for ever; and the next page would be unevictable as well as active.
 * Nobody has a reference.
 */
static void pagemap_unmark(struct folio *folio)
{
	if (folio_test_mlocked(folio)) {
		__folio_clear_mlocked(folio);
		mod_zone_page_state(folio_zone(folio), NR_MLOCK, -folio_nr_pages(folio));
		count_vm_events(UNEVICTABLE_PGCLEARED, folio_nr_pages(folio));
	}
	__folio_clear_unevictable(folio);
	__folio_clear_active(folio);
}

/* The last reference to a folio is gone. Any context. */
static void pagemap_folio_free(struct folio *folio)
{
	struct page *page = folio_page(folio, 0);

	if (godwit_shield_keep(folio))
		return;
	pagemap_unmark(folio);
	godwit_vram_release(godwit_page_device(page), godwit_page_frame(page),
			    folio_nr_pages(folio));
}

/*
 * No folio_split: what the kernel does without one (the new folios inherit the page map) is all
 * that is needed, since nothing here depends on the order of a folio.
 */
static const struct dev_pagemap_ops pagemap_ops = {
	.folio_free = pagemap_folio_free,
	.migrate_to_ram = godwit_touch,
};

/**
 * godwit_pagemap_init() - make the struct pages of a device's VRAM.
 * @gdev: the device, its &godwit_device.vram set up.
 */
int godwit_pagemap_init(struct godwit_device *gdev)
{
	struct godwit_pagemap *pagemap = &gdev->pagemap;
	u64 size = gdev->desc.vram_size;
	void *ret;

	pagemap->gdev = gdev;
	pagemap->map.owner = godwit_pagemap_owner_cookie();
	pagemap->map.ops = &pagemap_ops;
	pagemap->map.nr_range = 1;

	switch (gdev->desc.kind) {
	case GODWIT_VRAM_PRIVATE:
		pagemap->map.type = MEMORY_DEVICE_PRIVATE;
		pagemap->mappings = kvcalloc(size / SZ_2M, sizeof(*pagemap->mappings), GFP_KERNEL);
		pagemap->shielded = bitmap_zalloc(size / SZ_2M, GFP_KERNEL);
		INIT_WORK(&pagemap->shield_work, godwit_shield_work);
		if (!pagemap->mappings || !pagemap->shielded) {
			godwit_pagemap_fini(gdev);
			return -ENOMEM;
		}
		pagemap->region = request_free_mem_region(&iomem_resource, size, gdev->name);
		if (IS_ERR(pagemap->region)) {
			ret = pagemap->region;
			pagemap->region = NULL;
			godwit_pagemap_fini(gdev);
			return PTR_ERR(ret);
		}
		pagemap->map.range.start = pagemap->region->start;
		pagemap->map.range.end = pagemap->region->end;
		break;
	case GODWIT_VRAM_COHERENT:
		pagemap->map.type = MEMORY_DEVICE_COHERENT;
		pagemap->map.range.start = gdev->desc.vram_phys;
		pagemap->map.range.end = gdev->desc.vram_phys + size - 1;
		break;
	case GODWIT_VRAM_EXPLICIT:
		return 0;
	}
	pagemap->first_pfn = PHYS_PFN(pagemap->map.range.start);

	ret = memremap_pages(&pagemap->map, dev_to_node(gdev->drm.dev));
	if (IS_ERR(ret)) {
		godwit_pagemap_fini(gdev);
		return PTR_ERR(ret);
	}
	pagemap->mapped = true;
	return 0;
}

/**
 * godwit_pagemap_fini() - take the struct pages away.
 * @gdev: the device. No page can be made any more. Waits for those that are in use.
 */
void godwit_pagemap_fini(struct godwit_device *gdev)
{
	struct godwit_pagemap *pagemap = &gdev->pagemap;
	unsigned long block;

	if (pagemap->mapped) {
		memunmap_pages(&pagemap->map);
		if (pagemap->mappings)
			flush_work(&pagemap->shield_work);
	}
	pagemap->mapped = false;
	if (pagemap->region)
		release_mem_region(pagemap->region->start, resource_size(pagemap->region));
	pagemap->region = NULL;
	for (block = 0; pagemap->mappings && block < gdev->desc.vram_size / SZ_2M; block++)
		pagemap_forget(pagemap, block);
	kvfree(pagemap->mappings);
	pagemap->mappings = NULL;
	bitmap_free(pagemap->shielded);
	pagemap->shielded = NULL;
}

/**
 * godwit_pagemap_page() - a page for frames that were taken.
 * @gdev: the device.
 * @frame: the first frame.
 * @count: 1 or GODWIT_BLOCK_FRAMES.
 *
 * Return: the first page of a folio of @count pages, locked, with one reference.
 */
struct page *godwit_pagemap_page(struct godwit_device *gdev, unsigned long frame,
				 unsigned int count)
{
	struct page *page = pfn_to_page(gdev->pagemap.first_pfn + frame);

	/*
	 * On the page itself, never on page_folio(page): it may have been the tail of a folio
	 * that is free by now, and would still point to its head, which may be in use.
	 */
	page->zone_device_data = NULL;
	/* Until godwit_pagemap_publish(). What was there before may be gone. */
	if (count > 1)
		pagemap_forget(&gdev->pagemap, frame / GODWIT_BLOCK_FRAMES);
	zone_device_folio_init((struct folio *)page, &gdev->pagemap.map, ilog2(count));
	/*
	 * The device will write it and tell nobody. Where it moves to is dirty as well, then: a
	 * clean page of anonymous memory can be lost at home, if it or a child's was MADV_FREEd.
	 */
	folio_set_dirty((struct folio *)page);
	return page;
}
