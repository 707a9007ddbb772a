// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Pins
 *
 * Overview: a pin holds the pages of a range where they are: for a device that
 * cannot be told when they move.
 *
 * In RAM: the pages get a long-term pin of the kernel's. Nothing can move them,
 * and they count against RLIMIT_MEMLOCK, as RDMA memory regions do.
 *
 * In VRAM: their frames are marked (&godwit_vram.hold). Eviction, migration and
 * other devices leave them alone, and they count against max_pinned. No
 * reference is taken: a CPU that touches private VRAM must be served, so that
 * page goes home, and the pin holds one page less; and a page that is unmapped is
 * free at once. What holds a frame is the pair of frame and generation, so that
 * letting go of one that has another owner by now does nothing.
 *
 * munmap, and mremap of the range it moves from, end the pin of these pages, in
 * the notifier; exit and exec that of all. The handle stays until UNPIN, and the
 * budget is kept page by page. A handle works in the address space that it was
 * made in.
 *
 * How a new pin takes hold of its pages is in grip.c.
 *
 * Locking: &godwit_mirror.pin_lock protects the list and the pages of each pin;
 * a spinlock inside &godwit_chunk.lock and folio locks; &godwit_vram.lock inside
 * it. Nothing is allocated or waited for under it.
 */
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include <drm/drm_file.h>

#include "../state/range.h"
#include "chunk.h"
#include "client.h"
#include "device.h"
#include "grip.h"
#include "migrate.h"
#include "mirror.h"
#include "pin.h"

/* Of one mirror. Each is looked at when memory is unmapped. */
#define PIN_MAX			1024
#define PIN_LENGTH_MAX		(64ULL * SZ_1G)

/**
 * godwit_pin_charge() - count frames against max_pinned, and against what all may hold together.
 * @gdev: the device.
 * @client: whose limit.
 * @frames: how many.
 */
int godwit_pin_charge(struct godwit_device *gdev, struct godwit_client *client,
		      unsigned long frames)
{
	long limit = godwit_vram_max_pinned(&gdev->vram);
	long limit_all = godwit_vram_max_pinned_all(&gdev->vram);

	if (frames > limit)
		return -EDQUOT;
	if (atomic_long_add_return(frames, &client->pinned) <= limit) {
		if (atomic_long_add_return(frames, &gdev->vram.pinned) <= limit_all)
			return 0;
		atomic_long_sub(frames, &gdev->vram.pinned);
	}
	atomic_long_sub(frames, &client->pinned);
	return -EDQUOT;
}

/**
 * godwit_pin_adjust() - more or fewer frames are held than was charged. Any context.
 * @client: whose limit.
 * @frames: how many more. No limit is looked at.
 */
void godwit_pin_adjust(struct godwit_client *client, long frames)
{
	atomic_long_add(frames, &client->pinned);
	atomic_long_add(frames, &client->gdev->vram.pinned);
}

/**
 * godwit_pin_uncharge() - the end of godwit_pin_charge(). Any context.
 * @client: whose limit.
 * @frames: how many.
 */
void godwit_pin_uncharge(struct godwit_client *client, unsigned long frames)
{
	godwit_pin_adjust(client, -(long)frames);
}

/**
 * godwit_pin_charge_system() - count pages against RLIMIT_MEMLOCK.
 * @mm: the address space that they are of. The limit is that of the calling task.
 * @pages: how many.
 */
int godwit_pin_charge_system(struct mm_struct *mm, unsigned long pages)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;

	if (atomic64_add_return(pages, &mm->pinned_vm) <= limit || capable(CAP_IPC_LOCK))
		return 0;
	atomic64_sub(pages, &mm->pinned_vm);
	return -EDQUOT;
}

/**
 * godwit_pin_uncharge_system() - the end of godwit_pin_charge_system(). Any context.
 * @mm: the address space.
 * @pages: how many.
 */
void godwit_pin_uncharge_system(struct mm_struct *mm, unsigned long pages)
{
	atomic64_sub(pages, &mm->pinned_vm);
}

static int pin_charge(struct godwit_mirror *mirror, struct godwit_pin *pin, unsigned long pages)
{
	if (pin->in_vram)
		return godwit_pin_charge(mirror->gdev, mirror->client, pages);
	return godwit_pin_charge_system(mirror->mm, pages);
}

/* With the lock, or where nobody else knows the pin. */
static void pin_uncharge(struct godwit_mirror *mirror, struct godwit_pin *pin,
			 unsigned long pages)
{
	pin->charged -= pages;
	if (pin->in_vram)
		godwit_pin_uncharge(mirror->client, pages);
	else
		godwit_pin_uncharge_system(mirror->mm, pages);
}

/*
 * Lets go of page @i, with the lock, or where nobody else knows the pin. Returns
 * whether it was held.
 */
static bool pin_drop(struct godwit_mirror *mirror, struct godwit_pin *pin, unsigned long i)
{
	struct godwit_pin_page *page = &pin->pages[i];
	bool held;

	if (pin->in_vram) {
		held = page->frame != GODWIT_NO_FRAME;
		if (held)
			godwit_vram_unpin(&mirror->gdev->vram, page->frame, page->generation);
		page->frame = GODWIT_NO_FRAME;
	} else {
		held = page->page;
		if (held)
			unpin_user_page(page->page);
		page->page = NULL;
	}
	return held;
}

/* Nobody else knows the pin. */
static void pin_destroy(struct godwit_mirror *mirror, struct godwit_pin *pin)
{
	unsigned long i;

	for (i = 0; i < (pin->end - pin->start) >> PAGE_SHIFT; i++) {
		pin_drop(mirror, pin, i);
		if (!(i % 1024))
			cond_resched();
	}
	pin_uncharge(mirror, pin, pin->charged);
	kvfree(pin->pages);
	kfree(pin);
}

/**
 * godwit_pin_in_system() - which pages are pinned in RAM?
 * @mirror: whose.
 * @start: first address.
 * @end: address after the last one.
 * @pages: bit map; bits are set, none is cleared.
 */
void godwit_pin_in_system(struct godwit_mirror *mirror, unsigned long start, unsigned long end,
			  unsigned long *pages)
{
	struct godwit_pin *pin;
	unsigned long addr;

	if (list_empty_careful(&mirror->pins))
		return;
	spin_lock(&mirror->pin_lock);
	list_for_each_entry(pin, &mirror->pins, link) {
		if (pin->in_vram)
			continue;
		for (addr = max(start, pin->start); addr < min(end, pin->end); addr += PAGE_SIZE)
			if (pin->pages[(addr - pin->start) >> PAGE_SHIFT].page)
				__set_bit((addr - start) >> PAGE_SHIFT, pages);
	}
	spin_unlock(&mirror->pin_lock);
}

/* With the lock: does it still have page @i, or was that unmapped? */
static bool pin_has(const struct godwit_pin *pin, unsigned long i)
{
	return pin->in_vram ? pin->pages[i].frame != GODWIT_NO_FRAME : !!pin->pages[i].page;
}

/**
 * godwit_pin_next() - the first pages in a range that are pinned.
 * @mirror: whose.
 * @start: in, first address; out, of what is pinned.
 * @end: in, address after the last one; out, of what is pinned by the same pin.
 *
 * Return: whether there is any.
 */
bool godwit_pin_next(struct godwit_mirror *mirror, unsigned long *start, unsigned long *end)
{
	unsigned long first = *end, last = *end;
	struct godwit_pin *pin;

	spin_lock(&mirror->pin_lock);
	list_for_each_entry(pin, &mirror->pins, link) {
		unsigned long i = (max(*start, pin->start) - pin->start) >> PAGE_SHIFT;
		unsigned long count = (min(*end, pin->end) - pin->start) >> PAGE_SHIFT;

		if (pin->start >= first || pin->end <= *start)
			continue;
		while (i < count && !pin_has(pin, i))
			i++;
		if (i == count || pin->start + i * PAGE_SIZE >= first)
			continue;
		first = pin->start + i * PAGE_SIZE;
		while (i < count && pin_has(pin, i))
			i++;
		last = pin->start + i * PAGE_SIZE;
	}
	spin_unlock(&mirror->pin_lock);
	if (first == *end)
		return false;
	*start = first;
	*end = last;
	return true;
}

/**
 * godwit_pin_end() - memory is unmapped. In a notifier.
 * @mirror: whose.
 * @start: first address.
 * @end: address after the last one.
 */
void godwit_pin_end(struct godwit_mirror *mirror, unsigned long start, unsigned long end)
{
	struct godwit_pin *pin;
	unsigned long addr;

	if (list_empty_careful(&mirror->pins))
		return;
	spin_lock(&mirror->pin_lock);
	list_for_each_entry(pin, &mirror->pins, link) {
		unsigned long last = min(end, pin->end), dropped = 0;

		pin->grip_lost |= start < pin->grip_end && end > pin->grip_start;
		for (addr = max(start, pin->start); addr < last; addr += PAGE_SIZE)
			dropped += pin_drop(mirror, pin, (addr - pin->start) >> PAGE_SHIFT);
		pin_uncharge(mirror, pin, dropped);
	}
	spin_unlock(&mirror->pin_lock);
}

static void pin_unpublish(struct godwit_mirror *mirror, struct godwit_pin *pin)
{
	lockdep_assert_held(&mirror->pin_lock);
	list_del(&pin->link);
	mirror->nr_pins--;
}

/**
 * godwit_pin_remove_all() - all pins end.
 * @mirror: the mirror, &godwit_mirror.ended. One that a call is just making ends with that call.
 */
void godwit_pin_remove_all(struct godwit_mirror *mirror)
{
	struct godwit_pin *pin, *next;
	LIST_HEAD(gone);

	spin_lock(&mirror->pin_lock);
	list_for_each_entry_safe(pin, next, &mirror->pins, link) {
		if (!pin->handle)
			continue;
		pin_unpublish(mirror, pin);
		list_add(&pin->link, &gone);
	}
	spin_unlock(&mirror->pin_lock);
	list_for_each_entry_safe(pin, next, &gone, link)
		pin_destroy(mirror, pin);
}

static struct godwit_pin *pin_alloc(struct godwit_mirror *mirror,
				    const struct drm_godwit_pin *args)
{
	unsigned long count = args->length >> PAGE_SHIFT, i;
	struct godwit_pin *pin;
	int ret;

	pin = kzalloc_obj(*pin, GFP_KERNEL_ACCOUNT);
	if (!pin)
		return ERR_PTR(-ENOMEM);
	pin->in_vram = args->place == GODWIT_PLACE_VRAM;
	pin->start = args->addr;
	pin->end = args->addr + args->length;
	ret = pin_charge(mirror, pin, count);
	if (ret) {
		kfree(pin);
		return ERR_PTR(ret);
	}
	pin->charged = count;
	pin->pages = kvcalloc(count, sizeof(*pin->pages), GFP_KERNEL_ACCOUNT);
	if (!pin->pages) {
		pin_uncharge(mirror, pin, count);
		kfree(pin);
		return ERR_PTR(-ENOMEM);
	}
	for (i = 0; i < count && pin->in_vram; i++)
		pin->pages[i].frame = GODWIT_NO_FRAME;
	return pin;
}

/* From here on the notifier ends what is held. */
static int pin_publish(struct godwit_mirror *mirror, struct godwit_pin *pin)
{
	int ret = -EDQUOT;

	spin_lock(&mirror->pin_lock);
	if (mirror->nr_pins < PIN_MAX) {
		list_add(&pin->link, &mirror->pins);
		mirror->nr_pins++;
		ret = 0;
	}
	spin_unlock(&mirror->pin_lock);
	return ret;
}

/* Gives it a name: before that nobody can let it go. 0 is no name, and the answer to a late one. */
static u32 pin_name(struct godwit_mirror *mirror, struct godwit_pin *pin)
{
	u32 handle;

	do
		handle = atomic_inc_return(&mirror->client->next_pin);
	while (!handle);
	spin_lock(&mirror->pin_lock);
	if (READ_ONCE(mirror->ended))
		handle = 0;
	pin->handle = handle;
	spin_unlock(&mirror->pin_lock);
	return handle;
}

static int pin_range(struct godwit_mirror *mirror, struct drm_godwit_pin *args)
{
	struct godwit_pin *pin;
	int ret;

	ret = godwit_chunk_cover(mirror, args->addr, args->addr + args->length);
	if (ret)
		return ret;
	pin = pin_alloc(mirror, args);
	if (IS_ERR(pin))
		return PTR_ERR(pin);
	ret = pin_publish(mirror, pin);
	if (ret) {
		pin_destroy(mirror, pin);
		return ret;
	}
	ret = pin->in_vram ? godwit_grip_vram(mirror, pin) : godwit_grip_system(mirror, pin);
	if (!ret) {
		args->handle = pin_name(mirror, pin);
		if (args->handle)
			return 0;
		ret = -ESRCH;
	}
	spin_lock(&mirror->pin_lock);
	pin_unpublish(mirror, pin);
	spin_unlock(&mirror->pin_lock);
	pin_destroy(mirror, pin);
	return ret;
}

/**
 * godwit_pin_ioctl() - DRM_IOCTL_GODWIT_PIN.
 * @drm: the device.
 * @data: &struct drm_godwit_pin.
 * @file: the client.
 */
int godwit_pin_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_godwit_pin *args = data;
	struct godwit_mirror *mirror;
	int ret;

	args->handle = 0;
	if (args->flags || args->pad)
		return -EINVAL;
	if (args->place != GODWIT_PLACE_SYSTEM && args->place != GODWIT_PLACE_VRAM)
		return -EINVAL;
	ret = godwit_migrate_check_range(args->addr, args->length);
	if (ret)
		return ret;
	if (args->length > PIN_LENGTH_MAX)
		return -E2BIG;
	if (!godwit_device_migrates(to_godwit(drm)))
		return -EOPNOTSUPP;
	mirror = godwit_mirror_get(file->driver_priv);
	if (IS_ERR(mirror))
		return PTR_ERR(mirror);
	ret = -ESRCH;
	if (mmget_not_zero(mirror->mm)) {
		ret = pin_range(mirror, args);
		mmput(mirror->mm);
	}
	godwit_mirror_put(mirror);
	return ret;
}

/**
 * godwit_unpin_ioctl() - DRM_IOCTL_GODWIT_UNPIN.
 * @drm: the device.
 * @data: &struct drm_godwit_unpin.
 * @file: the client.
 */
int godwit_unpin_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_godwit_unpin *args = data;
	struct godwit_pin *pin, *found = NULL;
	struct godwit_mirror *mirror;

	if (args->pad)
		return -EINVAL;
	if (!args->handle)
		return -ENOENT;
	mirror = godwit_mirror_get(file->driver_priv);
	if (IS_ERR(mirror))
		return PTR_ERR(mirror);
	spin_lock(&mirror->pin_lock);
	list_for_each_entry(pin, &mirror->pins, link) {
		if (pin->handle != args->handle)
			continue;
		found = pin;
		pin_unpublish(mirror, found);
		break;
	}
	spin_unlock(&mirror->pin_lock);
	if (found)
		pin_destroy(mirror, found);
	godwit_mirror_put(mirror);
	return found ? 0 : -ENOENT;
}
