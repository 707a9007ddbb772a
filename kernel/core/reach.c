// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Reach
 *
 * Overview: which addresses a peer uses for the pages of a snapshot, if it can reach them at all.
 * RAM, and VRAM that is a piece of RAM, are mapped for its DMA as any memory is. VRAM behind a
 * switch that both are below has the address that it has on that bus, and is not mapped: neither
 * the host bridge nor an IOMMU sees the transfer. VRAM on the other side of a host bridge is mapped
 * as a resource. The tables have no struct pages: dma-buf's importers must not look at these.
 *
 * Locking: whoever maps, unmaps and pins has the lock of the dma-buf. &godwit_export.attached_lock
 * protects who is attached.
 */
#include <linux/dma-mapping.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include "device.h"
#include "export.h"
#include "reach.h"
#include "snapshot.h"

/* The longest entry of a table; a multiple of the page size. */
#define REACH_ENTRY_MAX		SZ_1G

/**
 * enum reach_kind - how an entry of a table came to its address.
 */
enum reach_kind {
	/** @REACH_RAM: mapped as memory. */
	REACH_RAM,
	/** @REACH_MMIO: mapped as a resource. */
	REACH_MMIO,
	/** @REACH_BUS: an address of the bus, not mapped. */
	REACH_BUS,
};

/**
 * struct reach_run - memory that follows each other, reached in the same way.
 */
struct reach_run {
	/** @kind: how. */
	enum reach_kind kind;
	/** @phys: where, as the CPU sees it; REACH_BUS: as the bus does. */
	phys_addr_t phys;
	/** @length: bytes. */
	size_t length;
};

/**
 * struct reach_table - a table that an importer has.
 */
struct reach_table {
	/** @table: what it sees. */
	struct sg_table table;
	/** @link: in &godwit_attach.tables. */
	struct list_head link;
	/** @dir: which way it was mapped. */
	enum dma_data_direction dir;
	/** @snapshot: the pages; a reference. */
	struct godwit_snapshot *snapshot;
	/** @kinds: &enum reach_kind of each entry. */
	u8 *kinds;
};

/**
 * godwit_reach() - how does a device reach the VRAM of one of ours?
 * @gdev: the device whose VRAM it is. It is there.
 * @dev: who wants to reach it.
 * @bus_offset: out, with GODWIT_REACH_SWITCH: what to add to the CPU's address.
 */
enum godwit_reach godwit_reach(struct godwit_device *gdev, struct device *dev, s64 *bus_offset)
{
	const struct godwit_device_ops *ops = READ_ONCE(gdev->ops);

	*bus_offset = 0;
	if (!ops->peer_reach || !ops->cpu_pfn)
		return GODWIT_REACH_NONE;
	return ops->peer_reach(gdev, dev, bus_offset);
}

/**
 * godwit_reach_attached() - can an importer use VRAM where it is?
 * @attach: the importer.
 * @gdev: whose VRAM.
 */
bool godwit_reach_attached(const struct godwit_attach *attach, struct godwit_device *gdev)
{
	s64 offset;

	switch (godwit_reach(gdev, attach->dev, &offset)) {
	case GODWIT_REACH_MEMORY:
		return true;
	case GODWIT_REACH_SWITCH:
	case GODWIT_REACH_HOST:
		return attach->p2p;
	case GODWIT_REACH_NONE:
		break;
	}
	return false;
}

/**
 * godwit_reach_all() - can all importers use VRAM where it is?
 * @export: what they import.
 * @gdev: whose VRAM.
 */
bool godwit_reach_all(struct godwit_export *export, struct godwit_device *gdev)
{
	struct godwit_attach *attach;
	bool all = true;

	mutex_lock(&export->attached_lock);
	list_for_each_entry(attach, &export->attached, link)
		all = all && (attach->fixed || godwit_reach_attached(attach, gdev));
	mutex_unlock(&export->attached_lock);
	return all;
}

/**
 * godwit_reach_snapshot() - can an importer use all of these pages?
 * @attach: the importer.
 * @snapshot: the pages; a reference.
 */
bool godwit_reach_snapshot(const struct godwit_attach *attach,
			   const struct godwit_snapshot *snapshot)
{
	struct godwit_device *gdev = NULL;
	unsigned long i;

	for (i = 0; i < snapshot->nr && snapshot->nr_vram; i++) {
		struct page *page = snapshot->pages[i];

		if (!godwit_is_vram(page) || godwit_page_device(page) == gdev)
			continue;
		gdev = godwit_page_device(page);
		if (!godwit_reach_attached(attach, gdev))
			return false;
	}
	return true;
}

/* Where page @i is. Of a device that the importer can reach, and which the held page keeps. */
static struct reach_run reach_page(const struct godwit_snapshot *snapshot, unsigned long i,
				   struct device *dev, struct godwit_device **gdev,
				   struct reach_run *way, s64 *offset)
{
	struct page *page = snapshot->pages[i];
	struct reach_run run = { .length = PAGE_SIZE };

	if (!godwit_is_vram(page)) {
		run.kind = REACH_RAM;
		run.phys = page_to_phys(page);
		return run;
	}
	if (godwit_page_device(page) != *gdev) {
		*gdev = godwit_page_device(page);
		switch (godwit_reach(*gdev, dev, offset)) {
		case GODWIT_REACH_SWITCH:
			way->kind = REACH_BUS;
			break;
		case GODWIT_REACH_HOST:
			way->kind = REACH_MMIO;
			break;
		default:
			way->kind = REACH_RAM;
			break;
		}
	}
	run.kind = way->kind;
	run.phys = PFN_PHYS((*gdev)->ops->cpu_pfn(*gdev, godwit_page_frame(page)));
	if (run.kind == REACH_BUS)
		run.phys += *offset;
	return run;
}

/* The runs of a snapshot; with @runs NULL they are only counted. */
static unsigned int reach_runs(const struct godwit_snapshot *snapshot, struct device *dev,
			       struct reach_run *runs)
{
	size_t most = min_t(size_t, REACH_ENTRY_MAX,
			    ALIGN_DOWN(dma_get_max_seg_size(dev), PAGE_SIZE) ?: PAGE_SIZE);
	struct reach_run last = { }, way = { }, run;
	struct godwit_device *gdev = NULL;
	unsigned int count = 0;
	unsigned long i;
	s64 offset = 0;

	for (i = 0; i < snapshot->nr; i++) {
		run = reach_page(snapshot, i, dev, &gdev, &way, &offset);
		if (count && run.kind == last.kind && run.phys == last.phys + last.length &&
		    last.length + PAGE_SIZE <= most) {
			last.length += PAGE_SIZE;
		} else {
			count++;
			last = run;
		}
		if (runs)
			runs[count - 1] = last;
	}
	return count;
}

static unsigned long reach_attrs(u8 kind)
{
	/* As for all of a dma-buf: who uses it by CPU while it is mapped is nobody's cache's. */
	return DMA_ATTR_SKIP_CPU_SYNC | (kind == REACH_MMIO ? DMA_ATTR_MMIO : 0);
}

static void reach_unmap_entries(struct reach_table *reach, struct device *dev,
				enum dma_data_direction dir, unsigned int count)
{
	struct scatterlist *sg;
	unsigned int i;

	for_each_sg(reach->table.sgl, sg, count, i)
		if (reach->kinds[i] != REACH_BUS)
			dma_unmap_phys(dev, sg_dma_address(sg), sg_dma_len(sg), dir,
				       reach_attrs(reach->kinds[i]));
}

static int reach_map_entries(struct reach_table *reach, struct device *dev,
			     enum dma_data_direction dir, const struct reach_run *runs,
			     unsigned int count)
{
	struct scatterlist *sg;
	unsigned int i;

	for_each_sg(reach->table.sgl, sg, count, i) {
		dma_addr_t addr = runs[i].phys;

		reach->kinds[i] = runs[i].kind;
		if (runs[i].kind != REACH_BUS) {
			addr = dma_map_phys(dev, runs[i].phys, runs[i].length, dir,
					    reach_attrs(runs[i].kind));
			if (dma_mapping_error(dev, addr)) {
				reach_unmap_entries(reach, dev, dir, i);
				return -EIO;
			}
		}
		sg_set_page(sg, NULL, 0, 0);
		sg_dma_address(sg) = addr;
		sg_dma_len(sg) = runs[i].length;
	}
	return 0;
}

static void reach_free(struct reach_table *reach)
{
	sg_free_table(&reach->table);
	kvfree(reach->kinds);
	kfree(reach);
}

/**
 * godwit_reach_map() - addresses of held pages, for an importer.
 * @snapshot: the pages, all of which it can reach; the table has a reference.
 * @attach: the importer.
 * @dir: which way it will transfer.
 */
struct sg_table *godwit_reach_map(struct godwit_snapshot *snapshot, struct godwit_attach *attach,
				  enum dma_data_direction dir)
{
	struct device *dev = attach->dev;
	unsigned int count = reach_runs(snapshot, dev, NULL);
	struct reach_table *reach;
	struct reach_run *runs;
	int ret = -ENOMEM;

	reach = kzalloc_obj(*reach, GFP_KERNEL_ACCOUNT);
	if (!reach)
		return ERR_PTR(-ENOMEM);
	reach->kinds = kvcalloc(count, sizeof(*reach->kinds), GFP_KERNEL_ACCOUNT);
	runs = kvcalloc(count, sizeof(*runs), GFP_KERNEL_ACCOUNT);
	if (reach->kinds && runs)
		ret = sg_alloc_table(&reach->table, count, GFP_KERNEL_ACCOUNT);
	if (!ret) {
		reach_runs(snapshot, dev, runs);
		ret = reach_map_entries(reach, dev, dir, runs, count);
	}
	kvfree(runs);
	if (ret) {
		reach_free(reach);
		return ERR_PTR(ret);
	}
	/* There are no pages to be looked at, only addresses. */
	kref_get(&snapshot->refs);
	reach->snapshot = snapshot;
	reach->dir = dir;
	list_add(&reach->link, &attach->tables);
	return &reach->table;
}

/**
 * godwit_reach_unmap() - the end of godwit_reach_map().
 * @table: the table; freed.
 * @attach: as it was mapped.
 * @dir: as it was mapped.
 *
 * Return: the snapshot, with the reference that the table had.
 */
struct godwit_snapshot *godwit_reach_unmap(struct sg_table *table,
					   const struct godwit_attach *attach,
					   enum dma_data_direction dir)
{
	struct reach_table *reach = container_of(table, struct reach_table, table);
	struct godwit_snapshot *snapshot = reach->snapshot;

	list_del(&reach->link);
	reach_unmap_entries(reach, attach->dev, dir, table->nents);
	reach_free(reach);
	return snapshot;
}

/**
 * godwit_reach_repin() - an importer has pinned what it may have mapped already.
 * @attach: the importer.
 * @pinned: what it has pinned; a reference.
 *
 * From here on its mappings are of that: nobody tells it to let go of them, or waits for it.
 *
 * Return: false, they are of other pages, and it has to let go of these first.
 */
bool godwit_reach_repin(struct godwit_attach *attach, struct godwit_snapshot *pinned)
{
	struct reach_table *reach;

	list_for_each_entry(reach, &attach->tables, link) {
		if (reach->dir != DMA_TO_DEVICE && !pinned->writable)
			return false;
		if (reach->snapshot != pinned && !godwit_snapshot_same(reach->snapshot, pinned))
			return false;
	}
	list_for_each_entry(reach, &attach->tables, link) {
		if (reach->dir != DMA_TO_DEVICE)
			pinned->dirty = true;
		kref_get(&pinned->refs);
		godwit_snapshot_put(reach->snapshot);
		reach->snapshot = pinned;
	}
	return true;
}
