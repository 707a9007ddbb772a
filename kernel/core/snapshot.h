/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_SNAPSHOT_H_
#define _GODWIT_SNAPSHOT_H_

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/types.h>

struct godwit_device;
struct godwit_export;
struct page;

/**
 * struct godwit_snapshot - the pages that a range had at some moment, held so that none can move.
 */
struct godwit_snapshot {
	/** @refs: &godwit_export.snapshot or @pinned has one, every mapping has one. */
	struct kref refs;
	/** @export: whose. */
	struct godwit_export *export;
	/** @nr: pages. */
	unsigned long nr;
	/** @nr_vram: those in VRAM of devices of ours. */
	unsigned long nr_vram;
	/** @nr_private: those in private VRAM. */
	unsigned long nr_private;
	/** @writable: all of them may be written. Of pinned pages that may change. */
	bool writable;
	/** @for_writing: they could when they were held. */
	bool for_writing;
	/** @dirty: a device may have written them. */
	bool dirty;
	/** @pinned: held for good, and charged. */
	bool pinned;
	/** @link: in &godwit_export.living, or empty. */
	struct list_head link;
	/** @serial: which of the export's it is; the later the higher. With @link. */
	u64 serial;
	/** @first_pfn: lowest page frame number of those in VRAM. */
	unsigned long first_pfn;
	/** @last_pfn: highest one. */
	unsigned long last_pfn;
	/** @pages: of each page of the range. */
	struct page **pages;
};

struct godwit_snapshot *godwit_snapshot_take(struct godwit_export *export, bool pinned,
					     bool nowait);
void godwit_snapshot_put(struct godwit_snapshot *snapshot);
bool godwit_snapshot_has(const struct godwit_snapshot *snapshot, unsigned long first_pfn,
			 unsigned long last_pfn);
bool godwit_snapshot_same(const struct godwit_snapshot *one, const struct godwit_snapshot *other);
bool godwit_snapshot_at(const struct godwit_snapshot *snapshot, unsigned long first,
			unsigned long last, const struct godwit_device *to);

#endif /* _GODWIT_SNAPSHOT_H_ */
