// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Draining
 *
 * Overview: what the kernel is told of a small page (MADV_FREE, MADV_COLD, mlock(), used once
 * more; of one in VRAM, that locked memory was unmapped) waits in lists of the processor that was
 * told, up to 31 pages in each, until the list is full or that processor drains it. An entry has a
 * reference to its page, so that who migrates the page finds one too many and lets it stay.
 * Nothing ends that where the processor does nothing of the kind any more. migrate_vma_setup()
 * drains the lists of its own processor alone, unless it meets a page that was just made; and
 * lru_add_drain_all() is not exported.
 *
 * Locking: none. Sleeps until each processor has had its turn; never with mmap_lock or page locks.
 */
#include <linux/migrate.h>
#include <linux/percpu.h>
#include <linux/workqueue.h>

#include "drain.h"

/* Workers that revoke exports wait for it, and these may not wait for ordinary work. */
static struct workqueue_struct *drain_queue;

/* Of no pages, this is the lru_add_drain() that it begins with. */
static void drain_work(struct work_struct *work)
{
	migrate_device_pfns(NULL, 0);
}

/**
 * godwit_drain_all() - have each processor drain its lists of pages.
 *
 * Without memory for it nothing happens. Pages of a processor that goes offline meanwhile are
 * drained by the kernel.
 */
void godwit_drain_all(void)
{
	struct work_struct __percpu *works = alloc_percpu(struct work_struct);
	unsigned int cpu;

	if (!works)
		return;
	for_each_possible_cpu(cpu)
		INIT_WORK(per_cpu_ptr(works, cpu), drain_work);
	for_each_online_cpu(cpu)
		queue_work_on(cpu, drain_queue, per_cpu_ptr(works, cpu));
	for_each_possible_cpu(cpu)
		flush_work(per_cpu_ptr(works, cpu));
	free_percpu(works);
}

/**
 * godwit_drain_init() - the module comes.
 */
int godwit_drain_init(void)
{
	drain_queue = alloc_workqueue("godwit-drain", WQ_MEM_RECLAIM | WQ_PERCPU, 0);
	return drain_queue ? 0 : -ENOMEM;
}

/**
 * godwit_drain_fini() - the module goes.
 */
void godwit_drain_fini(void)
{
	destroy_workqueue(drain_queue);
}
