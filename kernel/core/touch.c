// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Touches
 *
 * Overview: a CPU touches a page of private VRAM, and the kernel calls godwit_touch() to bring it
 * home (home.c). A few pages around it come along, or the huge folio that it belongs to.
 *
 * A page that cannot come at the moment (somebody else moves it, a peer holds it) is no error: the
 * access is repeated, by the kernel, as often as it takes. Whoever waits that way can be killed,
 * lets others have the CPU, and is reported to the log when it takes long (godwit.touch_patience).
 *
 * khugepaged is no CPU that wants the bytes: it would have up to max_ptes_swap pages of VRAM come
 * home to make one huge page of RAM of them and what is around them. It is refused, and looks
 * elsewhere. madvise(MADV_COLLAPSE), which a process asks for itself, is served.
 *
 * Locking: mmap_lock is held for reading and the folio is locked, both by our caller; see home.c.
 */
#include <linux/delay.h>
#include <linux/leafops.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

#include <drm/drm_print.h>

#include "../state/outcome.h"
#include "batch.h"
#include "client.h"
#include "device.h"
#include "entry.h"
#include "event.h"
#include "export.h"
#include "home.h"
#include "ranges.h"
#include "shield.h"
#include "touch.h"
#include "trace.h"

/*
 * Pages around the one that a CPU touched come with it, within an aligned window: the fault
 * costs more than the copies.
 */
#define TOUCH_WINDOW	(16 * PAGE_SIZE)

static unsigned int touch_patience = 10000;
module_param(touch_patience, uint, 0644);
MODULE_PARM_DESC(touch_patience,
		 "Report a page of VRAM that CPUs touch in vain for this many milliseconds, and then again (default 10000)");

/* How long a page that a peer may have held stays alone. */
#define TOUCH_PEER_PAUSE_US	1000

/* Touches that follow each other in less are one wait. */
#define TOUCH_PAUSE	HZ

/*
 * Which addresses come home with the page that was touched. Without a pte the whole huge page is
 * one entry.
 *
 * A huge page that is mapped page by page is split by migrate_vma_setup(). It has our lock go to
 * the page that was touched, and goes on to think that the first page has it: that one would move
 * without being locked, and be unlocked. So it is not asked for it, and does nothing but split;
 * the access is repeated.
 */
static void touch_window(const struct vm_fault *vmf, unsigned long *start, unsigned long *end)
{
	struct folio *folio = page_folio(vmf->page);
	unsigned long size = TOUCH_WINDOW;

	if (!vmf->pte)
		size = folio_size(folio);
	else if (folio_test_large(folio))
		size = PAGE_SIZE;
	*start = max(ALIGN_DOWN(vmf->address, size), vmf->vma->vm_start);
	*end = min(ALIGN_DOWN(vmf->address, size) + size, vmf->vma->vm_end);
}

/*
 * khugepaged calls do_swap_page() with what it finds in page tables. No other thread of the kernel
 * touches an address space that it neither uses as its own nor says to be another's.
 */
static bool touch_by_khugepaged(const struct vm_fault *vmf)
{
	return (current->flags & PF_KTHREAD) && !current->mm &&
	       !(vmf->flags & FAULT_FLAG_REMOTE);
}

/* The page stayed: is it time to say so? Returns for how many seconds, or 0. */
static unsigned int touch_in_vain(struct godwit_touches *touches, unsigned long frame)
{
	unsigned long now = jiffies;
	unsigned int seconds = 0;

	spin_lock(&touches->lock);
	if (!touches->last || time_after(now, touches->last + TOUCH_PAUSE)) {
		touches->frame = frame;
		touches->since = now;
		touches->told = now;
	}
	if (touches->frame == frame) {
		touches->last = now;
		if (time_after(now, touches->told + msecs_to_jiffies(touch_patience))) {
			touches->told = now;
			seconds = (now - touches->since) / HZ;
		}
	}
	spin_unlock(&touches->lock);
	return seconds;
}

/* The page stayed, for no fault of the device. */
static vm_fault_t touch_again(struct godwit_device *gdev, struct folio *folio,
			      unsigned long frame)
{
	unsigned int seconds;

	/* Where the kernel has put it back by itself. */
	godwit_shield_recount(folio);
	seconds = touch_in_vain(&gdev->touches, frame);
	if (seconds)
		drm_warn(&gdev->drm,
			 "%s[%d] waits for frame %lu since %u s (%d references, %d mappings, %s)\n",
			 current->comm, current->pid, frame, seconds, folio_ref_count(folio),
			 folio_mapcount(folio),
			 godwit_vram_held(&gdev->vram, frame, 1) ? "held" : "not held");
	/* Within a system call nobody else looks for signals, and the access is repeated. */
	if (fatal_signal_pending(current))
		return VM_FAULT_SIGBUS;
	/*
	 * An export that has the page held already, but not for its importers yet, ends that when
	 * it sees what each try does to the address space. Let it come to where it can be revoked.
	 */
	if (godwit_ranges_any())
		fsleep(TOUCH_PEER_PAUSE_US);
	else
		cond_resched();
	return 0;
}

/*
 * Where a huge page is to come home as a small one, the kernel splits what is in the page table
 * without a look at what that is (room.c). MADV_DONTNEED, which needs no more of mmap_lock than we
 * have, may have split the entry since it was isolated, or put another huge page there. Then the
 * page stays, and the access is repeated. What is left is that it comes between this look and the
 * kernel's own step.
 */
static bool touch_may_split(const struct vm_fault *vmf, const struct godwit_batch *batch,
			    unsigned long start)
{
	pmd_t *at, pmd;

	if (!batch->nr_pieces || batch->pieces[0].pages > 1)
		return true;
	at = godwit_pmd_at(vmf->vma->vm_mm, start);
	if (!at)
		return false;
	pmd = pmdp_get_lockless(at);
	return pmd_is_migration_entry(pmd) &&
	       softleaf_to_folio(softleaf_from_pmd(pmd)) == page_folio(vmf->page);
}

static vm_fault_t touch_bring(struct vm_fault *vmf, struct godwit_batch *batch,
			      struct migrate_vma *args, struct godwit_home *home)
{
	u64 since = ktime_get_ns();
	unsigned int at;

	args->src = batch->src;
	args->dst = batch->dst;
	switch (godwit_batch_isolate(args)) {
	case 0:
		break;
	case -EAGAIN:
		return touch_again(home->only, page_folio(vmf->page),
				   godwit_page_frame(vmf->page));
	default:
		return VM_FAULT_SIGBUS;
	}
	godwit_batch_lap(&batch->time_setup, &since);
	godwit_home_fill(batch, args->npages, home);
	godwit_home_wait(batch, home);
	if (!vmf->pte && !touch_may_split(vmf, batch, args->start))
		godwit_home_cancel(batch);
	since = ktime_get_ns();
	migrate_vma_pages(args);
	godwit_home_settle(batch, home);
	migrate_vma_finalize(args);
	godwit_home_end(batch, home);
	godwit_batch_lap(&batch->time_finish, &since);

	at = vmf->pte ? home->spare_index : 0;
	if (batch->reached[at] == GODWIT_REACHED_MOVED)
		return 0;
	/* A page that the device cannot give us is an error. */
	if (batch->reached[at] == GODWIT_REACHED_ROOM)
		return VM_FAULT_SIGBUS;
	return touch_again(home->only, page_folio(vmf->page), godwit_page_frame(vmf->page));
}

/**
 * godwit_touch() - a CPU touched a page of private VRAM.
 * @vmf: with mmap_lock held for reading, and &vm_fault.page locked and referenced.
 */
vm_fault_t godwit_touch(struct vm_fault *vmf)
{
	struct godwit_device *gdev = godwit_page_device(vmf->page);
	struct migrate_vma args = {
		.vma = vmf->vma,
		.pgmap_owner = godwit_pagemap_owner_cookie(),
		.flags = MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
		.fault_page = vmf->page,
	};
	struct godwit_home home = {
		.cause = GODWIT_CAUSE_CPU_FAULT,
		.only = gdev,
		.vma = vmf->vma,
		.gentle = true,
	};
	struct folio *folio = page_folio(vmf->page);
	struct godwit_export_move peers;
	struct godwit_client *owner;
	struct godwit_batch *batch;
	vm_fault_t ret;

	/* An error ends its try; nobody gets a signal. */
	if (touch_by_khugepaged(vmf))
		return VM_FAULT_SIGBUS;
	/* A peer that uses it is waited for; where it does not let go, the access is repeated. */
	godwit_export_move_frames(&peers, folio_pfn(folio),
				  folio_pfn(folio) + folio_nr_pages(folio) - 1);
	touch_window(vmf, &args.start, &args.end);
	if (!vmf->pte && folio_test_large(folio))
		args.flags |= MIGRATE_VMA_SELECT_COMPOUND;
	home.addr = args.start;
	home.spare_index = vmf->pte ? (vmf->address - args.start) >> PAGE_SHIFT : 0;

	/* Before anything is isolated: what this takes cannot be in our way. */
	batch = godwit_batch_alloc((args.end - args.start) >> PAGE_SHIFT, GFP_KERNEL);
	home.spare = vma_alloc_folio(GFP_HIGHUSER_MOVABLE, 0, vmf->vma, vmf->address);
	if (!batch || !home.spare) {
		ret = VM_FAULT_OOM;
		goto out;
	}

	owner = godwit_vram_owner_get(&gdev->vram, godwit_page_frame(vmf->page));
	godwit_stat_add(gdev, owner, GODWIT_STAT_CPU_FAULTS, 1);
	ret = touch_bring(vmf, batch, &args, &home);
	trace_godwit_home(gdev, home.cause, args.start, args.end - args.start, home.moved,
			  home.stayed);
	godwit_event_moved(owner, 0, home.cause, args.start, args.end - args.start,
			   GODWIT_PLACE_VRAM, GODWIT_PLACE_SYSTEM, home.moved);
	if (owner)
		godwit_client_put(owner);
out:
	if (home.spare)
		folio_put(home.spare);
	godwit_batch_free(batch);
	godwit_export_move_end(&peers);
	return ret;
}
