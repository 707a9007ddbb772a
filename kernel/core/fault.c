// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Device faults
 *
 * Overview: the device touched an address for which its page table has no entry, or none that
 * allows to write. godwit_fault() brings the page to VRAM, or leaves it where it is, and sets
 * entries. The access is made then, while the entry cannot go (&godwit_fault.use), or repeated by
 * whoever made it.
 *
 * What moves with the page that was touched, within its mapping: all of a huge page; otherwise
 * what is in memory of an aligned window of 64 KiB. What is mapped with it: pages of our VRAM
 * in the same 2 MiB, and, within the window, pages of RAM that would not move anyway (files),
 * or all where the fault is to be served in place (as the client asks, or advised). A page of
 * RAM that could move is not mapped unasked: then the device would never fault on it, and it
 * would never move.
 *
 * A page that cannot move (pinned, locked, no room, somebody was faster) is mapped where it is,
 * so a fault always ends with an entry or with an error. Where the next fault in its 2 MiB finds
 * the same (&godwit_chunk.stuck), so are the pages around it that were to move with it and did not:
 * the attempt takes all entries of that range, and an access that needs two of its pages would lose
 * one by the fault on the other, for ever.
 *
 * Two cases need a CPU's fault first, and get one from godwit_look() with "strangers":
 *
 * - a page of our private VRAM that may be read and not written (after a fork, or mprotect): the
 *   kernel's walker takes it for writable enough, whatever was asked. As a fault of a CPU it comes
 *   home and is copied on write, and is then moved again.
 * - a page in the private VRAM of another device that is not to be moved from there.
 *
 * Ping-pong: two devices that use the same range take each other's pages for ever. Where 2 MiB
 * had more faults on pages of other devices within FAULT_PEER_PERIOD than it takes to fetch all
 * of it, its pages go to RAM, which both devices map in place.
 *
 * Locking: none is held on entry; takes &godwit_mirror.chunks_lock, mmap_lock and
 * &godwit_chunk.lock, one after the other.
 */
#include <linux/hmm.h>
#include <linux/memcontrol.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "advise.h"
#include "chunk.h"
#include "client.h"
#include "device.h"
#include "event.h"
#include "fault.h"
#include "look.h"
#include "migrate.h"
#include "mirror.h"
#include "trace.h"

#define FAULT_WINDOW		GODWIT_LOOK_AROUND
/* Look, as a CPU, look, as a CPU: after that nothing can be new. */
#define FAULT_ROUNDS		4
#define FAULT_PEER_PERIOD	HZ
#define FAULT_PEER_MAX		(GODWIT_LEAF_SIZE / FAULT_WINDOW * 3 / 2)

/**
 * struct fault_work - a fault that is being served.
 */
struct fault_work {
	/** @mirror: whose. */
	struct godwit_mirror *mirror;
	/** @fault: the fault. */
	struct godwit_fault *fault;
	/** @look: at the 2 MiB around the address. */
	struct godwit_look look;
	/** @move: the page should come to VRAM, and is not there. */
	bool move;
	/** @strangers: no page of another device may stay where it is. */
	bool strangers;
	/** @moved: pages that were moved. */
	unsigned long moved;
	/** @tried_start: first address that was to move, for this fault. */
	unsigned long tried_start;
	/** @tried_end: address after the last one. */
	unsigned long tried_end;
	/** @along: those of them that stayed are mapped as well. */
	bool along;
	/** @pfns: of @look. */
	unsigned long pfns[GODWIT_LEAF_ENTRIES];
};

static unsigned int fault_index(const struct fault_work *work)
{
	return (work->fault->addr - work->look.start) >> PAGE_SHIFT;
}

static bool fault_in_window(const struct fault_work *work, unsigned int i)
{
	return i / (FAULT_WINDOW >> PAGE_SHIFT) == fault_index(work) / (FAULT_WINDOW >> PAGE_SHIFT);
}

/* Which entry a page gets, 0 for none. */
static u64 fault_entry(const struct fault_work *work, unsigned long pfn)
{
	const struct godwit_device *gdev = work->mirror->gdev;
	u64 flags = pfn & HMM_PFN_WRITE ? GODWIT_PTE_WRITE : 0;
	struct page *page;

	if (!(pfn & HMM_PFN_VALID) || (pfn & HMM_PFN_ERROR))
		return 0;
	page = hmm_pfn_to_page(pfn);
	if (godwit_pfn_is_zero(pfn))
		return godwit_pte(page_to_pfn(page), 0);
	if (!is_zone_device_page(page))
		return godwit_pte(page_to_pfn(page), flags);
	if (godwit_is_vram(page) && godwit_page_device(page) == gdev)
		return godwit_pte(godwit_page_frame(page), flags | GODWIT_PTE_VRAM);
	/* Coherent memory of others is memory; nobody can reach their private memory. */
	if (is_device_coherent_page(page))
		return godwit_pte(page_to_pfn(page), flags);
	return 0;
}

/*
 * Is a page to be used where it is: did the client ask for that, or advise it? With the lock of the
 * chunk.
 */
static bool fault_stays(const struct fault_work *work, unsigned long addr)
{
	return work->fault->in_place || !godwit_device_migrates(work->mirror->gdev) ||
	       !godwit_advice_moves(godwit_advice_locked(work->look.chunk, addr));
}

/* Is a page of RAM mapped along with the one that was touched? */
static bool fault_along(const struct fault_work *work, unsigned int i)
{
	unsigned long addr = work->look.start + i * PAGE_SIZE;

	if (work->along && addr >= work->tried_start && addr < work->tried_end)
		return true;
	if (!fault_in_window(work, i))
		return false;
	return fault_stays(work, addr) ||
	       !folio_test_anon(page_folio(hmm_pfn_to_page(work->pfns[i])));
}

static unsigned int fault_leaf(const struct fault_work *work)
{
	return (work->look.start - work->look.chunk->start) >> GODWIT_LEAF_SHIFT;
}

/*
 * Did the page that was touched stay for the second time in a row in its range? A first time may be
 * a moment's, and then the pages around it are to be tried again. With the lock of the chunk.
 */
static bool fault_stuck(const struct fault_work *work)
{
	struct godwit_chunk *chunk = work->look.chunk;
	unsigned long *stuck = &chunk->stuck[fault_leaf(work)];
	bool again = *stuck == work->tried_start;

	lockdep_assert_held(&chunk->lock);
	if (!work->tried_end)
		return false;
	if (fault_entry(work, work->pfns[fault_index(work)]) & GODWIT_PTE_VRAM) {
		*stuck = 0;
		return false;
	}
	*stuck = work->tried_start;
	return again;
}

/* Sets entries; with the lock of the chunk. */
static void fault_fill(struct fault_work *work)
{
	struct godwit_chunk *chunk = work->look.chunk;
	struct godwit_device *gdev = work->mirror->gdev;
	unsigned int count = (work->look.end - work->look.start) >> PAGE_SHIFT;
	unsigned int at = fault_index(work), i;
	unsigned long mapped = 0;

	lockdep_assert_held(&chunk->lock);
	work->along = fault_stuck(work);
	for (i = 0; i < count; i++) {
		u64 pte = fault_entry(work, work->pfns[i]);
		unsigned long offset = work->look.start + i * PAGE_SIZE - chunk->start;

		if (!pte)
			continue;
		if (i != at && !(pte & GODWIT_PTE_VRAM) && !fault_along(work, i))
			continue;
		mapped += godwit_ptable_set(&chunk->table, offset, pte);
		if (i == at && (pte & GODWIT_PTE_VRAM))
			godwit_vram_touch(&gdev->vram, godwit_pte_pfn(pte));
	}
	/* Those that were moved had no entry before. */
	mapped -= min(mapped, work->moved);
	work->fault->mapped += mapped;
	godwit_stat_add(gdev, work->mirror->client, GODWIT_STAT_PAGES_MAPPED, mapped);
}

static bool fault_peer(const struct godwit_device *gdev, unsigned long pfn)
{
	struct page *page;

	if (!(pfn & HMM_PFN_VALID) || (pfn & HMM_PFN_ERROR))
		return false;
	page = hmm_pfn_to_page(pfn);
	return godwit_is_vram(page) && godwit_page_device(page) != gdev;
}

/* Counts faults on pages of other devices; with the lock of the chunk. */
static bool fault_ping_pong(struct fault_work *work)
{
	struct godwit_chunk *chunk = work->look.chunk;
	u8 *faults = &chunk->peer_faults[fault_leaf(work)];

	lockdep_assert_held(&chunk->lock);
	if (time_after(jiffies, chunk->peer_since + FAULT_PEER_PERIOD)) {
		chunk->peer_since = jiffies;
		memset(chunk->peer_faults, 0, sizeof(chunk->peer_faults));
	}
	if (*faults < FAULT_PEER_MAX) {
		(*faults)++;
		return false;
	}
	godwit_stat_add(work->mirror->gdev, work->mirror->client, GODWIT_STAT_PING_PONG, 1);
	return true;
}

/* Leaves out pages around the address that are advised to stay; with the lock of the chunk. */
static void fault_heed(const struct fault_work *work, unsigned long *start, unsigned long *end)
{
	unsigned long at = work->fault->addr & PAGE_MASK, pos;

	for (pos = at; pos > *start; pos -= PAGE_SIZE)
		if (fault_stays(work, pos - PAGE_SIZE))
			*start = pos;
	for (pos = at + PAGE_SIZE; pos < *end; pos += PAGE_SIZE)
		if (fault_stays(work, pos))
			*end = pos;
}

/* Keeps a range within the mapping of the address: what is next to that is none of its business. */
static void fault_clip(const struct fault_work *work, unsigned long *start, unsigned long *end)
{
	struct mm_struct *mm = work->mirror->mm;
	struct vm_area_struct *vma;

	mmap_read_lock(mm);
	vma = vma_lookup(mm, work->fault->addr);
	if (vma) {
		*start = max(*start, vma->vm_start);
		*end = min(*end, vma->vm_end);
	}
	mmap_read_unlock(mm);
}

/*
 * Decides what has to move for the page that was touched, and in which way. The answer may be
 * outdated when it is used; then another look follows.
 */
static int fault_plan(struct fault_work *work, struct godwit_move *move, unsigned long *start,
		      unsigned long *end)
{
	const struct godwit_device *gdev = work->mirror->gdev;
	unsigned long pfn;
	/* Only the one page: the less there is to look at, the less can change meanwhile. */
	struct godwit_look look = {
		.chunk = work->look.chunk,
		.start = work->look.addr,
		.end = work->look.addr + PAGE_SIZE,
		.pfns = &pfn,
		/* The device has touched it. */
		.unhide = true,
	};
	int ret;

	ret = godwit_look(&look);
	if (ret)
		return ret;
	*start = ALIGN_DOWN(work->fault->addr, FAULT_WINDOW);
	*end = *start + FAULT_WINDOW;
	move->flags = 0;
	if (fault_peer(gdev, pfn)) {
		work->strangers = fault_ping_pong(work);
		work->move = !work->strangers;
	} else if (fault_entry(work, pfn) & GODWIT_PTE_VRAM) {
		work->move = false;
	} else if (pfn & HMM_PFN_ERROR) {
		/* The look with a fault says what is wrong. */
		work->move = false;
	} else if (pfn & HMM_PFN_VALID) {
		struct page *page = hmm_pfn_to_page(pfn);

		if (!godwit_pfn_is_zero(pfn)) {
			work->move = folio_test_anon(page_folio(page));
			move->flags = GODWIT_MIGRATE_SKIP_EMPTY;
		}
		if (hmm_pfn_to_map_order(pfn) >= GODWIT_LEAF_SHIFT - PAGE_SHIFT &&
		    godwit_device_huge(gdev)) {
			*start = work->look.start;
			*end = work->look.end;
		}
	}
	if (work->move)
		fault_heed(work, start, end);
	mutex_unlock(&work->look.chunk->lock);
	if (work->move)
		fault_clip(work, start, end);
	return 0;
}

/* Brings the page to VRAM, if it is to be there and can be. */
static int fault_move(struct fault_work *work)
{
	struct godwit_move move = { .to_vram = true, .cause = work->fault->cause };
	unsigned long start, end;
	int ret;

	ret = fault_plan(work, &move, &start, &end);
	if (!ret && !work->move)
		return 0;
	if (!ret) {
		ret = godwit_migrate_range(work->mirror, start, end, &move);
		work->tried_start = start;
		work->tried_end = end;
	}
	work->moved += move.moved;
	/* A signal is for whoever waits for the access. It is served where the page is. */
	if (ret == -EINTR && !fatal_signal_pending(current))
		ret = 0;
	/* Neither is a reason not to serve it. */
	return ret == -ENOMEM || ret == -EBUSY ? 0 : ret;
}

static int fault_round(struct fault_work *work, bool as_cpu, bool last)
{
	struct godwit_look *look = &work->look;
	u64 pte;
	int ret;

	if (work->move && !as_cpu) {
		ret = fault_move(work);
		if (ret)
			return ret;
	}
	look->fault = true;
	look->strangers = as_cpu || work->strangers;
	ret = godwit_look(look);
	if (ret)
		return ret;
	pte = fault_entry(work, work->pfns[fault_index(work)]);
	if (READ_ONCE(work->mirror->revoked))
		ret = -ESRCH;
	else if (!pte || (work->fault->write && !(pte & GODWIT_PTE_WRITE)))
		ret = -EAGAIN;
	else if (as_cpu && work->move && !last)
		/* It is home, and our own; now it can move again. */
		ret = -EAGAIN;
	if (!ret) {
		fault_fill(work);
		if (work->fault->use)
			work->fault->use(work->fault, look->chunk);
	}
	mutex_unlock(&look->chunk->lock);
	return ret;
}

static int fault_serve(struct fault_work *work)
{
	unsigned int round;
	int ret = -EAGAIN;
	bool want;

	mutex_lock(&work->look.chunk->lock);
	want = !fault_stays(work, work->fault->addr);
	mutex_unlock(&work->look.chunk->lock);

	for (round = 0; round < FAULT_ROUNDS && ret == -EAGAIN; round++) {
		bool as_cpu = round & 1;

		/* The plan of an earlier round found it in VRAM, where it could not be written. */
		work->move = want && !work->strangers;
		ret = fault_round(work, as_cpu, round == FAULT_ROUNDS - 1);
	}
	return ret == -EAGAIN ? -EBUSY : ret;
}

static void fault_tell(struct godwit_mirror *mirror, const struct godwit_fault *fault, int ret)
{
	struct drm_godwit_event event = {
		.type = GODWIT_EVENT_FAULT,
		.mirror_id = mirror->id,
		.cause = fault->cause,
		.addr = fault->addr & PAGE_MASK,
		.length = PAGE_SIZE,
		.detail = fault->write,
	};

	godwit_stat_add(mirror->gdev, mirror->client, GODWIT_STAT_DEVICE_FAULTS, 1);
	godwit_event_post(mirror->client, &event);
	trace_godwit_fault(mirror, fault->cause, fault->addr, fault->write, fault->moved,
			   fault->mapped, ret);
}

/* What the device needs to have an entry there is charged to the process, whoever we are. */
static int fault_prepare(struct fault_work *work)
{
	struct godwit_mirror *mirror = work->mirror;
	struct mem_cgroup *memcg = get_mem_cgroup_from_mm(mirror->mm);
	struct mem_cgroup *before = set_active_memcg(memcg);
	int ret;

	work->look.chunk = godwit_chunk_get(mirror, work->fault->addr);
	ret = PTR_ERR_OR_ZERO(work->look.chunk);
	if (!ret)
		ret = godwit_chunk_leaf(work->look.chunk, work->fault->addr);
	set_active_memcg(before);
	mem_cgroup_put(memcg);
	return ret;
}

/**
 * godwit_fault() - serve a fault of the device.
 * @mirror: whose address it is; a reference.
 * @fault: what happened, and what was done.
 *
 * The calling task need not belong to the address space. It may not hold its mmap_lock.
 *
 * Return: 0, an entry was set, and used; it may be gone already. -EFAULT, nothing can be there.
 * -EACCES, it may not be written. -EBUSY, it kept changing for a second. -ESRCH, the address
 * space has ended, or the mirror was revoked. -EINTR, a fatal signal. -ENOMEM.
 */
int godwit_fault(struct godwit_mirror *mirror, struct godwit_fault *fault)
{
	unsigned long start = ALIGN_DOWN(fault->addr, GODWIT_LEAF_SIZE);
	struct fault_work *work;
	int ret;

	/* Commands follow pointers that may be anything. */
	if (fault->addr >= mirror->mm->task_size)
		return -EFAULT;
	if (!mmget_not_zero(mirror->mm))
		return -ESRCH;
	work = kvmalloc_obj(*work, GFP_KERNEL);
	if (!work) {
		mmput(mirror->mm);
		return -ENOMEM;
	}
	work->mirror = mirror;
	work->fault = fault;
	work->strangers = false;
	work->moved = 0;
	work->tried_start = 0;
	work->tried_end = 0;
	work->look = (struct godwit_look) {
		.start = start,
		.end = start + GODWIT_LEAF_SIZE,
		.pfns = work->pfns,
		.write = fault->write,
		.addr = fault->addr & PAGE_MASK,
	};
	ret = fault_prepare(work);
	if (!ret)
		ret = fault_serve(work);
	fault->moved += work->moved;
	fault_tell(mirror, fault, ret);
	kvfree(work);
	mmput(mirror->mm);
	return ret;
}
