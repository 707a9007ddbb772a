// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Looking
 *
 * Overview: the reader's half of the notifier protocol, once, for everybody: say what is looked
 * at, read_begin, walk the page table, take the lock of the chunk. When godwit_look() returns 0
 * that lock is held, and what it found stays true until it is given up: any change has to pass
 * chunk_invalidate().
 *
 * Instead of read_retry: the sequence is that of the whole chunk, which threads that each migrate
 * memory of their own bump without pause. chunk_invalidate() tells those who look at what it
 * changes. Whom it came too early to tell waits in read_begin, which comes later, for its end.
 *
 * A range that changes without pause makes it begin again and again, for a second at most, and
 * LOOK_TRIES times at least: one of them may take longer than that, where it waits for somebody
 * else's change. Both are counted.
 *
 * Locking: takes mmap_lock for reading, and the lock of the chunk. The caller holds neither,
 * and has taken the users of the mm.
 */
#include <linux/hmm.h>
#include <linux/hugetlb_inline.h>
#include <linux/leafops.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>

#include "../compat/userfaultfd.h"
#include "chunk.h"
#include "client.h"
#include "device.h"
#include "entry.h"
#include "look.h"
#include "mirror.h"

#define LOOK_TRIES	10u

/* Whose pages of private memory are to be told, and not to be brought home. */
static void *look_owner(bool strangers)
{
	return strangers ? NULL : godwit_pagemap_owner_cookie();
}

/* Says at what we look, and waits for the changes that had begun before that. */
static void look_begin(struct godwit_look *look)
{
	struct godwit_chunk *chunk = look->chunk;

	mutex_lock(&chunk->lock);
	look->changed = false;
	list_add(&look->node, &chunk->looks);
	mutex_unlock(&chunk->lock);
	mmu_interval_read_begin(&chunk->notifier);
}

/* With the lock of the chunk: is what was seen still true? */
static bool look_end(struct godwit_look *look)
{
	list_del(&look->node);
	return !look->changed;
}

static unsigned long *look_pfns(const struct godwit_look *look, unsigned long addr)
{
	return &look->pfns[(addr - look->start) >> PAGE_SHIFT];
}

/*
 * What is in some pages of the range; with @flags, after they have been faulted in, and with
 * @strangers as for a CPU.
 */
static int look_pages(const struct godwit_look *look, unsigned long start, unsigned long end,
		      unsigned long flags, bool strangers)
{
	unsigned long *pfns = look_pfns(look, start);
	struct hmm_range range = {
		.notifier = &look->chunk->notifier,
		.start = start,
		.end = end,
		.hmm_pfns = pfns,
		.default_flags = flags,
		.dev_private_owner = look_owner(strangers),
	};

	memset(pfns, 0, ((end - start) >> PAGE_SHIFT) * sizeof(*pfns));
	/* As it is now: the kernel, too, is not to stop for what changes beside our range. */
	range.notifier_seq = READ_ONCE(look->chunk->notifier.invalidate_seq);
	return hmm_range_fault(&range);
}

/* With a fault, which changes the range, too. */
static int look_fault(const struct godwit_look *look, unsigned long start, unsigned long end,
		      unsigned long flags)
{
	unsigned int tries;
	int ret = -EBUSY;

	for (tries = 0; tries < LOOK_TRIES && ret == -EBUSY; tries++)
		ret = look_pages(look, start, end, flags | HMM_PFN_REQ_FAULT, look->strangers);
	return ret;
}

/* Is nothing there? */
static bool look_is_empty(unsigned long pfn)
{
	return !pfn;
}

/*
 * Is it nobody else's, so that writing it copies nothing? Of a huge page the first page says so.
 * That is a guess, which costs a copy at most.
 */
static bool look_is_alone(unsigned long pfn)
{
	const struct page *page = hmm_pfn_to_page(pfn);

	return test_bit(PG_anon_exclusive, &page->flags.f) ||
	       test_bit(PG_anon_exclusive, &page_folio(page)->page.flags.f);
}

/*
 * Is it in private VRAM, and nobody else's, and may not be written all the same? NUMA balancing and
 * mprotect() take that from a page which they cannot give it back to: it has to come home to be
 * written.
 */
static bool look_is_demoted(unsigned long pfn)
{
	return (pfn & HMM_PFN_VALID) && !(pfn & (HMM_PFN_WRITE | HMM_PFN_ERROR)) &&
	       !hmm_pfn_to_map_order(pfn) && is_device_private_page(hmm_pfn_to_page(pfn)) &&
	       look_is_alone(pfn);
}

/* Where do the pages end that are served with the one that is touched, as they are in its state? */
static unsigned long look_touch_end(const struct godwit_look *look,
				    const struct vm_area_struct *vma,
				    bool (*is_so)(unsigned long pfn))
{
	unsigned long addr = look->addr, last = ALIGN(addr + 1, GODWIT_LOOK_AROUND);
	const unsigned long *pfns = look_pfns(look, addr);
	unsigned long i;

	last = min3(last, look->end, vma->vm_end);
	if (!vma_is_anonymous(vma) || look_pages(look, addr, last, 0, false))
		return addr + PAGE_SIZE;
	for (i = 0; addr + i * PAGE_SIZE < last && is_so(pfns[i]);)
		i++;
	return addr + max(i, 1ul) * PAGE_SIZE;
}

/* Does somebody count which pages are written? They are told of those that are. */
static bool look_is_counted(struct vm_area_struct *vma)
{
	return godwit_vma_protects(vma) ||
	       (IS_ENABLED(CONFIG_MEM_SOFT_DIRTY) && !(vma->vm_flags & VM_SOFTDIRTY));
}

/*
 * Sees to it that the page is there, as the access of a CPU would. The kernel's helper faults in
 * all that follows the first missing page of its range, and fails where it fails for one of them:
 * so that range is what is empty at most; or, where a page comes home to be written, what would
 * come home for that one by one.
 */
static int look_touch(const struct godwit_look *look)
{
	unsigned long flags = look->write ? HMM_PFN_REQ_WRITE : 0;
	struct vm_area_struct *vma = vma_lookup(look->chunk->mirror->mm, look->addr);
	unsigned long addr = look->addr, end = addr + PAGE_SIZE;
	int ret;

	if (!vma || godwit_vma_is_secret(vma))
		return -EFAULT;
	if (!look->strangers)
		end = look_touch_end(look, vma, look_is_empty);
	else if (look->write && !look_is_counted(vma))
		end = look_touch_end(look, vma, look_is_demoted);
	ret = look_fault(look, addr, end, flags);
	/* For one of those that follow: they are none of this touch's business. */
	if (ret && ret != -EBUSY && end > addr + PAGE_SIZE)
		ret = look_fault(look, addr, addr + PAGE_SIZE, flags);
	return ret;
}

/*
 * May these be used as the kernel says? What is secret is an error. And what is in private VRAM
 * cannot be used where userfaultfd protects: the kernel heeds it only where it faults. PAGEMAP_SCAN
 * leaves its entries writable, and one that is hidden is still told as present, so that whoever
 * looks for what was written or used would not hear of it. It comes home first, as for a CPU. Who
 * does not look for a fault may see where a hidden page is.
 */
static void look_restrict(const struct godwit_look *look, struct vm_area_struct *vma,
			  unsigned long *pfns, unsigned long count)
{
	bool secret = godwit_vma_is_secret(vma), hides = look->fault && godwit_vma_hides(vma);
	unsigned long i;

	if (!secret && !godwit_vma_protects(vma))
		return;
	for (i = 0; i < count; i++) {
		if (secret)
			pfns[i] = HMM_PFN_ERROR;
		else if ((pfns[i] & HMM_PFN_VALID) &&
			 is_device_private_page(hmm_pfn_to_page(pfns[i])))
			pfns[i] = hides ? 0 : pfns[i] & ~HMM_PFN_WRITE;
	}
}

/*
 * Touches the pages that nobody may use at the moment, in a part of the range that is in one VMA.
 * For writing where that changes nothing for anybody: where NUMA balancing takes a page to another
 * node for a touch, it may not be written there until a CPU does.
 */
static int look_unhide(const struct godwit_look *look, struct vm_area_struct *vma,
		       unsigned long start, unsigned long end)
{
	bool write = vma_is_anonymous(vma) && (vma->vm_flags & VM_WRITE) && !look_is_counted(vma);
	const unsigned long *pfns = look_pfns(look, start);
	unsigned long count = (end - start) >> PAGE_SHIFT, i = 0, addr, flags;
	int ret = 0;

	while (i < count && ret != -EBUSY) {
		bool alone;

		if (!godwit_pfn_is_hidden(pfns[i])) {
			i++;
			continue;
		}
		addr = start + i * PAGE_SIZE;
		alone = look_is_alone(pfns[i]);
		while (i < count && godwit_pfn_is_hidden(pfns[i]) &&
		       look_is_alone(pfns[i]) == alone)
			i++;
		flags = write && alone ? HMM_PFN_REQ_WRITE : 0;
		ret = look_fault(look, addr, start + i * PAGE_SIZE, flags);
		/* It stays as it is, then. */
		if (ret && ret != -EBUSY)
			ret = look_pages(look, addr, start + i * PAGE_SIZE, 0, false);
	}
	return ret;
}

static void look_show(unsigned long *pfns, unsigned long count)
{
	unsigned long i;

	for (i = 0; i < count; i++)
		if (godwit_pfn_is_hidden(pfns[i]))
			pfns[i] |= HMM_PFN_VALID;
}

/*
 * Was a page there, or was one just moving, where the kernel's helper saw neither? Of an entry for
 * migration it says as much as of none, and its end is no change that a notifier is told of. With
 * RCU, which page tables are freed by.
 */
static bool look_has_missed(struct mm_struct *mm, unsigned long addr)
{
	pmd_t *at = godwit_pmd_at(mm, addr), pmd;
	softleaf_t entry;
	pte_t pte;

	if (!at)
		return false;
	pmd = pmdp_get_lockless(at);
	if (pmd_none(pmd))
		return false;
	if (!pmd_present(pmd) || pmd_leaf(pmd)) {
		if (pmd_present(pmd) || pmd_is_migration_entry(pmd))
			return true;
		entry = softleaf_from_pmd(pmd);
	} else {
		pte = ptep_get_lockless(pte_offset_kernel(&pmd, addr));
		if (pte_none(pte) || pte_present(pte))
			return pte_present(pte);
		entry = softleaf_from_pte(pte);
		if (softleaf_is_migration(entry))
			return true;
	}
	return softleaf_is_device_private(entry) &&
	       page_pgmap(softleaf_to_page(entry))->owner == godwit_pagemap_owner_cookie();
}

/* Is all of a part of the range that is in one VMA where it was seen, or nowhere? */
static bool look_is_settled(const struct godwit_look *look, unsigned long start, unsigned long end)
{
	const unsigned long *pfns = look_pfns(look, start);
	struct mm_struct *mm = look->chunk->mirror->mm;
	unsigned long i, count = (end - start) >> PAGE_SHIFT;
	bool missed = false;

	rcu_read_lock();
	for (i = 0; i < count && !missed; i++)
		missed = !pfns[i] && look_has_missed(mm, start + i * PAGE_SIZE);
	rcu_read_unlock();
	return !missed;
}

/*
 * What the kernel's helper says, mapping by mapping, made to what we say of it. Entries that nobody
 * may use, though there is a page, have one that is not valid: NUMA balancing makes them to see who
 * touches the page, and userfaultfd to be told. Who looks for a fault has it made usable, by the
 * touch. Who moves a page to a device is who uses it, too (@unhide): it would take the entry along,
 * and a device could then only read it, and have it home to be written, one fault a page. All
 * others are told where the page is.
 */
static int look_in_vmas(const struct godwit_look *look)
{
	struct mm_struct *mm = look->chunk->mirror->mm;
	unsigned long pos = look->start, next, count;
	struct vm_area_struct *vma;
	int ret = 0;

	for (; pos < look->end && !ret; pos = next) {
		vma = find_vma(mm, pos);
		if (!vma || vma->vm_start >= look->end)
			break;
		pos = max(pos, vma->vm_start);
		next = min(vma->vm_end, look->end);
		count = (next - pos) >> PAGE_SHIFT;
		if (look->unhide && !godwit_vma_hides(vma))
			ret = look_unhide(look, vma, pos, next);
		if (!ret && look->settled && !is_vm_hugetlb_page(vma) &&
		    !look_is_settled(look, pos, next))
			ret = -EBUSY;
		if (!look->fault)
			look_show(look_pfns(look, pos), count);
		look_restrict(look, vma, look_pfns(look, pos), count);
	}
	return ret;
}

/*
 * With mmap_lock, which it gives up. When it returns 0, what it saw is still true, and the lock of
 * the chunk is held.
 */
static int look_at(struct godwit_look *look)
{
	struct godwit_chunk *chunk = look->chunk;
	int ret;

	look_begin(look);
	ret = look_pages(look, look->start, look->end, 0, look->strangers);
	if (!ret)
		ret = look_in_vmas(look);
	mmap_read_unlock(chunk->mirror->mm);

	mutex_lock(&chunk->lock);
	if (!look_end(look) && !ret)
		ret = -EBUSY;
	if (ret)
		mutex_unlock(&chunk->lock);
	return ret;
}

static int look_once(struct godwit_look *look)
{
	struct mm_struct *mm = look->chunk->mirror->mm;
	int ret;

	/*
	 * The lock first: a fork or munmap that we would wait for between the two would change the
	 * range, and the walk would have been in vain. Invalidations that are under way hold the
	 * lock already, or do not need it, so waiting for their end with it is safe.
	 */
	if (!look->nowait)
		mmap_read_lock(mm);
	else if (!mmap_read_trylock(mm))
		return -EAGAIN;
	ret = look->fault ? look_touch(look) : 0;
	if (!ret)
		return look_at(look);
	mmap_read_unlock(mm);
	return ret;
}

/**
 * godwit_look() - what is there?
 * @look: what to look at.
 *
 * Return: 0, and then the lock of the chunk is held. -EFAULT, nothing can be there. -EACCES, it
 * may not be written. -EBUSY, it changed each time, for a second. -EINTR, a fatal signal. -EAGAIN,
 * &godwit_look.nowait.
 */
int godwit_look(struct godwit_look *look)
{
	unsigned long deadline = jiffies + msecs_to_jiffies(HMM_RANGE_DEFAULT_TIMEOUT);
	struct godwit_mirror *mirror = look->chunk->mirror;
	unsigned int tries;
	int ret;

	for (tries = 1;; tries++) {
		ret = look_once(look);
		if (ret != -EBUSY)
			break;
		if (look->nowait)
			return -EAGAIN;
		godwit_stat_add(mirror->gdev, mirror->client, GODWIT_STAT_RETRIES, 1);
		if (fatal_signal_pending(current))
			return -EINTR;
		if (tries >= LOOK_TRIES && time_after(jiffies, deadline)) {
			godwit_stat_add(mirror->gdev, mirror->client, GODWIT_STAT_TIMEOUTS, 1);
			return -EBUSY;
		}
		cond_resched();
	}
	return ret == -EPERM ? -EACCES : ret;
}
