// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: GEM calls
 *
 * Overview: objects by their handles (GEM_CREATE, GEM_INFO, GEM_MOVE), and all objects of a
 * device together: which is the next to be evicted, and what becomes of them when the device
 * goes away. What an object is and where it may be is in object.c.
 *
 * Locking: &godwit_device.objects_lock for the list; the locks of objects as in object.c.
 */
#include <linux/dma-resv.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>

#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_print.h>
#include <drm/drm_vma_manager.h>

#include "client.h"
#include "device.h"
#include "gem.h"
#include "object.h"

#define GEM_BYTES_MAX	(64ULL * SZ_1G)

/* Behind all others: nothing is to be had from it at the moment. With the lock. */
static void gem_pass_over(struct godwit_device *gdev, struct godwit_object *obj)
{
	lockdep_assert_held(&gdev->objects_lock);
	obj->passed_over = ++gdev->objects_clock;
	godwit_object_requeue(obj);
}

/* The object in VRAM that was used longest ago of those that were not passed over since. */
static struct godwit_object *gem_oldest(struct godwit_device *gdev,
					const struct godwit_client *client, u64 since)
{
	struct godwit_object *obj, *next, *found = NULL;

	spin_lock(&gdev->objects_lock);
	list_for_each_entry_safe(obj, next, &gdev->objects, link) {
		if ((client && obj->client != client) || obj->passed_over > since)
			continue;
		/* So that the next look does not find it first. Its order is nobody's business. */
		if (obj->flags & GODWIT_GEM_PINNED) {
			gem_pass_over(gdev, obj);
			continue;
		}
		/* It may be on its way out. */
		if (READ_ONCE(obj->frames) && kref_get_unless_zero(&obj->base.refcount)) {
			found = obj;
			break;
		}
	}
	spin_unlock(&gdev->objects_lock);
	return found;
}

/* The next object in VRAM, pinned or not; a reference. @skip are passed over. */
static struct godwit_object *gem_next(struct godwit_device *gdev, unsigned int skip)
{
	struct godwit_object *obj, *found = NULL;

	spin_lock(&gdev->objects_lock);
	list_for_each_entry(obj, &gdev->objects, link) {
		if (!READ_ONCE(obj->frames))
			continue;
		if (skip) {
			skip--;
			continue;
		}
		/* It may be on its way out. */
		if (kref_get_unless_zero(&obj->base.refcount)) {
			found = obj;
			break;
		}
	}
	spin_unlock(&gdev->objects_lock);
	return found;
}

/**
 * godwit_gem_evict() - bring objects to RAM.
 * @gdev: the device.
 * @client: only those of this client, or NULL.
 * @cause: why.
 * @frames: until so many frames are free.
 * @deadline: no object is begun with after this time, or NULL.
 *
 * Each object is tried once: one that cannot leave is put behind all others. The caller may hold
 * mmap_lock, and no lock of an object.
 *
 * Return: how many frames became free.
 */
unsigned long godwit_gem_evict(struct godwit_device *gdev, const struct godwit_client *client,
			       enum drm_godwit_cause cause, unsigned long frames,
			       const unsigned long *deadline)
{
	unsigned long freed = 0;
	struct godwit_object *obj;
	u64 since;

	spin_lock(&gdev->objects_lock);
	since = gdev->objects_clock;
	spin_unlock(&gdev->objects_lock);
	while (freed < frames && !fatal_signal_pending(current)) {
		bool left = false;

		if (deadline && time_after(jiffies, *deadline))
			break;
		obj = gem_oldest(gdev, client, since);
		if (!obj)
			break;
		if (dma_resv_trylock(obj->base.resv)) {
			left = !obj->frames;
			if (!left && !godwit_object_to_ram(obj, cause, 0)) {
				freed += obj->nr;
				left = true;
			}
			dma_resv_unlock(obj->base.resv);
		}
		/* What somebody works on, or what I/O uses, is not what was used longest ago. */
		if (!left) {
			spin_lock(&gdev->objects_lock);
			gem_pass_over(gdev, obj);
			spin_unlock(&gdev->objects_lock);
		}
		drm_gem_object_put(&obj->base);
		cond_resched();
	}
	return freed;
}

/**
 * godwit_gem_frames() - frames that objects have.
 * @gdev: the device.
 * @client: of this client, or NULL.
 */
unsigned long godwit_gem_frames(struct godwit_device *gdev, const struct godwit_client *client)
{
	struct godwit_object *obj;
	unsigned long frames = 0;

	spin_lock(&gdev->objects_lock);
	list_for_each_entry(obj, &gdev->objects, link)
		if (READ_ONCE(obj->frames) && (!client || obj->client == client))
			frames += obj->nr;
	spin_unlock(&gdev->objects_lock);
	return frames;
}

/**
 * godwit_gem_unplug() - the device goes away: bring all objects to RAM.
 * @gdev: the device, its VRAM closed.
 */
void godwit_gem_unplug(struct godwit_device *gdev)
{
	struct godwit_object *obj;

	while ((obj = gem_next(gdev, 0))) {
		dma_resv_lock(obj->base.resv, NULL);
		if (obj->frames && godwit_object_to_ram(obj, GODWIT_CAUSE_UNPLUG,
							GODWIT_OBJECT_WAIT_UNPLUG))
			godwit_object_lose(obj);
		dma_resv_unlock(obj->base.resv);
		drm_gem_object_put(&obj->base);
	}
	/* What is just being freed has no reference, but frames; the device is asked for pages. */
	wait_event(gdev->vram.freed, !godwit_gem_frames(gdev, NULL));
}

/**
 * godwit_gem_sleep() - bring all objects to RAM that I/O lets go of, pinned ones included.
 * @gdev: the device, its VRAM asleep.
 */
void godwit_gem_sleep(struct godwit_device *gdev)
{
	unsigned int skipped = 0;
	struct godwit_object *obj;
	int ret;

	while ((obj = gem_next(gdev, skipped))) {
		ret = dma_resv_lock_interruptible(obj->base.resv, NULL);
		if (!ret) {
			ret = godwit_object_to_ram(obj, GODWIT_CAUSE_REQUEST,
						   GODWIT_OBJECT_WAIT_MOVE);
			if (!ret)
				obj->asleep = obj->flags & GODWIT_GEM_PINNED;
			dma_resv_unlock(obj->base.resv);
		}
		drm_gem_object_put(&obj->base);
		if (task_sigpending(current))
			return;
		skipped += !!ret;
		cond_resched();
	}
}

/* The next object that godwit_gem_sleep() took from where it is pinned; a reference. */
static struct godwit_object *gem_next_asleep(struct godwit_device *gdev)
{
	struct godwit_object *obj, *found = NULL;

	spin_lock(&gdev->objects_lock);
	list_for_each_entry(obj, &gdev->objects_in_ram, link) {
		if (READ_ONCE(obj->asleep) && kref_get_unless_zero(&obj->base.refcount)) {
			found = obj;
			break;
		}
	}
	spin_unlock(&gdev->objects_lock);
	return found;
}

/**
 * godwit_gem_wake() - bring pinned objects back to VRAM.
 * @gdev: the device, awake.
 *
 * Where that fails they stay in RAM, and work.
 */
void godwit_gem_wake(struct godwit_device *gdev)
{
	struct godwit_object *obj;
	int ret;

	while ((obj = gem_next_asleep(gdev))) {
		WRITE_ONCE(obj->asleep, false);
		ret = godwit_object_to_vram(obj);
		if (ret)
			drm_warn(&gdev->drm, "a pinned object of %lu KiB stays in RAM: error %d\n",
				 obj->nr << (PAGE_SHIFT - 10), ret);
		drm_gem_object_put(&obj->base);
	}
}

static void gem_show_list(const struct list_head *objects, struct seq_file *m)
{
	struct godwit_object *obj;

	list_for_each_entry(obj, objects, link)
		seq_printf(m, "%6u %8lu %5s %6u %9u\n", obj->client->id,
			   obj->nr << (PAGE_SHIFT - 10), READ_ONCE(obj->frames) ? "vram" : "ram",
			   !!(obj->flags & GODWIT_GEM_PINNED), READ_ONCE(obj->holders));
}

/**
 * godwit_gem_show() - list objects, for people.
 * @gdev: the device.
 * @m: where to.
 */
void godwit_gem_show(struct godwit_device *gdev, struct seq_file *m)
{
	seq_puts(m, "client kib place pinned importers\n");
	spin_lock(&gdev->objects_lock);
	gem_show_list(&gdev->objects, m);
	gem_show_list(&gdev->objects_in_ram, m);
	spin_unlock(&gdev->objects_lock);
}

static bool gem_place_ok(u32 place)
{
	return place == GODWIT_PLACE_SYSTEM || place == GODWIT_PLACE_VRAM;
}

/**
 * godwit_gem_create_ioctl() - DRM_IOCTL_GODWIT_GEM_CREATE.
 * @drm: the device.
 * @data: &struct drm_godwit_gem_create.
 * @file: the client.
 */
int godwit_gem_create_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_godwit_gem_create *args = data;
	struct godwit_object *obj;
	u64 size;
	int ret;

	args->handle = 0;
	args->map_offset = 0;
	if (!args->size || args->pad || (args->flags & ~GODWIT_GEM_PINNED) ||
	    !gem_place_ok(args->place))
		return -EINVAL;
	if (args->size > GEM_BYTES_MAX)
		return -E2BIG;
	size = PAGE_ALIGN(args->size);
	obj = godwit_object_create(file->driver_priv, size, args->place, args->flags);
	if (IS_ERR(obj))
		return PTR_ERR(obj);
	ret = drm_gem_handle_create(file, &obj->base, &args->handle);
	if (!ret) {
		args->size = size;
		args->map_offset = drm_vma_node_offset_addr(&obj->base.vma_node);
	}
	drm_gem_object_put(&obj->base);
	return ret;
}

/**
 * godwit_gem_info_ioctl() - DRM_IOCTL_GODWIT_GEM_INFO.
 * @drm: the device.
 * @data: &struct drm_godwit_gem_info.
 * @file: the client.
 */
int godwit_gem_info_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_godwit_gem_info *args = data;
	struct drm_gem_object *base;
	struct godwit_object *obj;

	if (args->pad)
		return -EINVAL;
	base = drm_gem_object_lookup(file, args->handle);
	if (!base)
		return -ENOENT;
	obj = to_godwit_object(base);
	dma_resv_lock(base->resv, NULL);
	args->place = godwit_object_place(obj);
	dma_resv_unlock(base->resv);
	args->size = base->size;
	args->map_offset = drm_vma_node_offset_addr(&base->vma_node);
	args->flags = obj->flags;
	drm_gem_object_put(base);
	return 0;
}

static int gem_move(struct godwit_object *obj, u32 place)
{
	bool there;
	int ret;

	ret = dma_resv_lock_interruptible(obj->base.resv, NULL);
	if (ret)
		return -EINTR;
	there = godwit_object_place(obj) == place;
	if (!there && (obj->flags & GODWIT_GEM_PINNED))
		ret = -EBUSY;
	else if (place == GODWIT_PLACE_SYSTEM)
		ret = godwit_object_to_ram(obj, GODWIT_CAUSE_REQUEST, GODWIT_OBJECT_WAIT_MOVE);
	else if (!there && obj->holders)
		ret = -EBUSY;
	dma_resv_unlock(obj->base.resv);
	if (!ret && !there && place == GODWIT_PLACE_VRAM)
		ret = godwit_object_to_vram(obj);
	if (!ret)
		godwit_object_touch(obj);
	return ret;
}

/**
 * godwit_gem_move_ioctl() - DRM_IOCTL_GODWIT_GEM_MOVE.
 * @drm: the device.
 * @data: &struct drm_godwit_gem_move.
 * @file: the client.
 */
int godwit_gem_move_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_godwit_gem_move *args = data;
	struct drm_gem_object *base;
	int ret;

	if (args->flags || args->pad || !gem_place_ok(args->place))
		return -EINVAL;
	base = drm_gem_object_lookup(file, args->handle);
	if (!base)
		return -ENOENT;
	ret = gem_move(to_godwit_object(base), args->place);
	drm_gem_object_put(base);
	return ret;
}
