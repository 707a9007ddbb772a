// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Zaps
 *
 * Overview: takes translations out of views, as a command to the MMU of a GPU would. An MMU
 * notifier hands the command to a thread of the device and waits for it.
 *
 * Why a thread: to take page table entries away, the kernel calls MMU notifiers itself. In the
 * notifier's own task this would be a notifier inside a notifier, which lockdep reports, and with
 * right for the locks that it knows. The thread never allocates in a way that reclaims, and waits
 * for nothing but what walking page tables needs.
 *
 * The notifiers that a zap calls may be ours: a view can be mapped within the same 32 MiB as the
 * memory that it shows. That notifier would wait for the lock of the chunk, which is held by the
 * task that waits for the zap. It need not do anything: a mapping of a view is a PFN mapping, of
 * which no device of ours ever has a translation. So in this thread chunk_invalidate() returns at
 * once (godwit_zap_is_current()).
 *
 * Waiting ends: the thread takes &address_space.i_mmap_rwsem of a view for reading and page
 * table locks. Nobody who holds these waits for a notifier of ours, but for mm_take_all_locks():
 * it holds the rwsem of a view that the process maps, for writing, while it waits for the locks of
 * the reverse maps of all its memory; and whoever walks one of those (reclaim, eviction,
 * truncation) holds it across our notifier. A process takes all its locks for its first interval
 * notifier, as ours are, those of RDMA and of other GPUs: that is why it gets one before it maps
 * its first view, and why a child does not inherit views (view.c). Left are those of the other kind
 * (KVM, shared virtual addressing), where a process that maps views registers one: a deadlock that
 * cannot be avoided from a module; the kernel's own callers of unmap_mapping_range() in notifiers
 * have it as well.
 *
 * Locking: &godwit_zapper.lock, a spinlock, innermost; taken in MMU notifiers.
 */
#include <linux/completion.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>

#include "zap.h"

/**
 * struct zap_command - a zap, on the stack of whoever waits for it.
 */
struct zap_command {
	/** @link: in &godwit_zapper.commands. */
	struct list_head link;
	/** @mapping: of the view. */
	struct address_space *mapping;
	/** @start: first byte of the view. */
	loff_t start;
	/** @length: bytes, not zero. */
	loff_t length;
	/** @done: no mapping of the view has any of it. */
	struct completion done;
};

static struct zap_command *zap_next(struct godwit_zapper *zapper)
{
	struct zap_command *command;

	spin_lock(&zapper->lock);
	command = list_first_entry_or_null(&zapper->commands, struct zap_command, link);
	if (command)
		list_del(&command->link);
	spin_unlock(&zapper->lock);
	return command;
}

static int zap_thread(void *data)
{
	struct godwit_zapper *zapper = data;
	unsigned int flags = memalloc_noreclaim_save();

	while (!kthread_should_stop()) {
		struct zap_command *command = NULL;

		wait_event_idle(zapper->wake,
				(command = zap_next(zapper)) || kthread_should_stop());
		if (!command)
			continue;
		unmap_mapping_range(command->mapping, command->start, command->length, 1);
		complete(&command->done);
	}
	memalloc_noreclaim_restore(flags);
	return 0;
}

/**
 * godwit_zap_is_current() - is this a thread that zaps?
 */
bool godwit_zap_is_current(void)
{
	return (current->flags & PF_KTHREAD) && kthread_func(current) == zap_thread;
}

/**
 * godwit_zapper_start() - start the thread of a device.
 * @zapper: to be set.
 * @device: id of the device.
 */
int godwit_zapper_start(struct godwit_zapper *zapper, u32 device)
{
	struct task_struct *thread;

	spin_lock_init(&zapper->lock);
	INIT_LIST_HEAD(&zapper->commands);
	init_waitqueue_head(&zapper->wake);
	thread = kthread_run(zap_thread, zapper, "godwit-mmu/%u", device);
	if (IS_ERR(thread))
		return PTR_ERR(thread);
	zapper->thread = thread;
	return 0;
}

/**
 * godwit_zapper_stop() - stop the thread.
 * @zapper: views have no translation any more, and get none. May never have been started.
 */
void godwit_zapper_stop(struct godwit_zapper *zapper)
{
	if (zapper->thread)
		kthread_stop(zapper->thread);
	zapper->thread = NULL;
}

/**
 * godwit_zap() - take translations out of all mappings of a view, and wait for it.
 * @zapper: of the device.
 * @mapping: of the view; stays as long as this runs.
 * @start: first byte of the view.
 * @length: bytes, not zero.
 *
 * In MMU notifiers that may wait. Neither allocates nor fails.
 */
void godwit_zap(struct godwit_zapper *zapper, struct address_space *mapping, loff_t start,
		loff_t length)
{
	struct zap_command command = {
		.mapping = mapping,
		.start = start,
		.length = length,
		.done = COMPLETION_INITIALIZER_ONSTACK(command.done),
	};

	spin_lock(&zapper->lock);
	list_add_tail(&command.link, &zapper->commands);
	spin_unlock(&zapper->lock);
	wake_up(&zapper->wake);
	wait_for_completion(&command.done);
}
