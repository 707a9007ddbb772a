// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Devices
 *
 * Overview: registration and unregistration, and what a device tells about itself.
 *
 * Unregistration, in this order, while programs may still be running on the device:
 *
 * 1. drm_dev_unplug(): new calls get -ENODEV, running ones have ended when it returns;
 * 2. the system may sleep without asking it, and VRAM is closed: nobody can take a frame;
 * 3. jobs are ended; all mirrors lose their translations, and can get no new ones (that takes a
 *    call, or a view, which is revoked), also those that only a view or an export still refers to;
 * 4. objects and pages are brought home; what the device cannot give is lost or poisoned;
 * 5. the page map is taken away, which waits for pages that somebody still holds;
 * 6. the driver's operations are replaced by ones that do nothing.
 *
 * Locking: none; registration is not concurrent with anything, unregistration is ordered by
 * drm_dev_enter() and by references to pages.
 */
#include <linux/dma-mapping.h>
#include <linux/idr.h>
#include <linux/module.h>
#include <linux/sizes.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_managed.h>
#include <drm/drm_print.h>

#include "chunk.h"
#include "client.h"
#include "device.h"
#include "event.h"
#include "evict.h"
#include "export.h"
#include "job.h"
#include "gem.h"
#include "mirror.h"
#include "queue.h"
#include "view.h"

static DEFINE_IDA(device_ids);
static atomic64_t device_generation;

/* After unregistration. Nothing is left that could be copied. */
static const struct godwit_device_ops device_gone_ops;

static int device_check(const struct godwit_device_desc *desc)
{
	if (!desc->ops || !desc->ops->copy_to_vram || !desc->ops->copy_from_vram ||
	    !desc->driver || !desc->name)
		return -EINVAL;
	if (!desc->vram_size || !IS_ALIGNED(desc->vram_size, SZ_2M))
		return -EINVAL;
	switch (desc->kind) {
	case GODWIT_VRAM_PRIVATE:
	case GODWIT_VRAM_EXPLICIT:
		return desc->vram_phys ? -EINVAL : 0;
	case GODWIT_VRAM_COHERENT:
		return desc->vram_phys && IS_ALIGNED(desc->vram_phys, SZ_2M) ? 0 : -EINVAL;
	}
	return -EINVAL;
}

static void device_release_id(struct drm_device *drm, void *unused)
{
	ida_free(&device_ids, to_godwit(drm)->id);
}

static void device_release_tables(struct drm_device *drm, void *unused)
{
	struct godwit_device *gdev = to_godwit(drm);

	godwit_vram_fini(&gdev->vram);
	xa_destroy(&gdev->clients);
}

static int device_init(struct godwit_device *gdev, const struct godwit_device_desc *desc)
{
	int ret;

	gdev->desc = *desc;
	gdev->ops = desc->ops;
	if (strscpy(gdev->driver, desc->driver) < 0 || strscpy(gdev->name, desc->name) < 0)
		return -EINVAL;
	gdev->desc.driver = gdev->driver;
	gdev->desc.name = gdev->name;
	mutex_init(&gdev->views_lock);
	INIT_LIST_HEAD(&gdev->views);
	xa_init_flags(&gdev->clients, XA_FLAGS_ALLOC1 | XA_FLAGS_LOCK_IRQ);
	spin_lock_init(&gdev->objects_lock);
	spin_lock_init(&gdev->touches.lock);
	INIT_LIST_HEAD(&gdev->objects);
	INIT_LIST_HEAD(&gdev->objects_in_ram);
	gdev->generation = atomic64_inc_return(&device_generation);

	ret = ida_alloc(&device_ids, GFP_KERNEL);
	if (ret < 0)
		return ret;
	gdev->id = ret;
	ret = drmm_add_action_or_reset(&gdev->drm, device_release_id, NULL);
	if (ret)
		return ret;
	ret = godwit_vram_init(&gdev->vram, desc->vram_size >> PAGE_SHIFT);
	if (ret)
		return ret;
	ret = drmm_add_action_or_reset(&gdev->drm, device_release_tables, NULL);
	if (ret)
		return ret;
	ret = godwit_pagemap_init(gdev);
	if (ret || !gdev->ops->cpu_pfn)
		return ret;
	ret = godwit_zapper_start(&gdev->zapper, gdev->id);
	if (ret)
		godwit_pagemap_fini(gdev);
	return ret;
}

struct godwit_device *godwit_device_register(struct device *parent,
					     const struct godwit_device_desc *desc)
{
	struct godwit_device *gdev;
	int ret;

	ret = device_check(desc);
	if (ret)
		return ERR_PTR(ret);
	gdev = __drm_dev_alloc(parent, &godwit_drm_driver, sizeof(*gdev),
			       offsetof(struct godwit_device, drm));
	if (IS_ERR(gdev))
		return gdev;
	ret = device_init(gdev, desc);
	if (ret)
		goto err_put;
	ret = godwit_sleep_register(gdev);
	if (ret)
		goto err_pagemap;
	ret = drm_dev_register(&gdev->drm, 0);
	if (ret)
		goto err_sleep;
	drm_info(&gdev->drm, "%s: %llu MiB of %s VRAM\n", gdev->name, desc->vram_size >> 20,
		 desc->kind == GODWIT_VRAM_PRIVATE ? "private" :
		 desc->kind == GODWIT_VRAM_COHERENT ? "coherent" : "explicit");
	return gdev;

err_sleep:
	godwit_sleep_unregister(gdev);
err_pagemap:
	godwit_zapper_stop(&gdev->zapper);
	godwit_pagemap_fini(gdev);
err_put:
	drm_dev_put(&gdev->drm);
	return ERR_PTR(ret);
}
EXPORT_SYMBOL_GPL(godwit_device_register);

static void device_detach_clients(struct godwit_device *gdev)
{
	struct godwit_client *client;
	unsigned long id;

	/* No client is opened any more: one look at each misses none. */
	for (id = 0;; id++) {
		bool alive;

		xa_lock_irq(&gdev->clients);
		client = xa_find(&gdev->clients, &id, ULONG_MAX, XA_PRESENT);
		alive = client && refcount_inc_not_zero(&client->refs);
		xa_unlock_irq(&gdev->clients);
		if (!client)
			return;
		if (!alive)
			continue;
		godwit_queue_stop(client, -ENODEV);
		godwit_mirror_detach_all(client, true);
		godwit_client_put(client);
	}
}

void godwit_device_unregister(struct godwit_device *gdev)
{
	if (IS_ERR_OR_NULL(gdev))
		return;
	drm_dev_unplug(&gdev->drm);
	godwit_sleep_unregister(gdev);
	godwit_vram_close(&gdev->vram);
	device_detach_clients(gdev);
	godwit_view_revoke_all(gdev);
	godwit_export_kill(gdev, NULL);
	godwit_gem_unplug(gdev);
	if (godwit_device_migrates(gdev))
		godwit_evict_unplug(gdev);
	godwit_zapper_stop(&gdev->zapper);
	godwit_pagemap_fini(gdev);
	WRITE_ONCE(gdev->ops, &device_gone_ops);
	drm_dev_put(&gdev->drm);
}
EXPORT_SYMBOL_GPL(godwit_device_unregister);

void *godwit_device_frame(struct godwit_device *gdev, unsigned long frame)
{
	return gdev->ops->cpu_address ? gdev->ops->cpu_address(gdev, frame) : NULL;
}
EXPORT_SYMBOL_GPL(godwit_device_frame);

struct device *godwit_device_parent(struct godwit_device *gdev)
{
	return gdev->drm.dev;
}
EXPORT_SYMBOL_GPL(godwit_device_parent);

void *godwit_device_priv(struct godwit_device *gdev)
{
	return gdev->desc.priv;
}
EXPORT_SYMBOL_GPL(godwit_device_priv);

/**
 * godwit_device_capabilities() - what it can do.
 * @gdev: the device.
 */
u64 godwit_device_capabilities(const struct godwit_device *gdev)
{
	u64 caps = GODWIT_CAP_EVENTS | GODWIT_CAP_GEM | GODWIT_CAP_EXPORT;

	if (godwit_device_migrates(gdev))
		caps |= GODWIT_CAP_MIGRATE | GODWIT_CAP_ADVISE | GODWIT_CAP_PIN;
	if (godwit_device_huge(gdev))
		caps |= GODWIT_CAP_HUGE;
	if (gdev->ops->cpu_address)
		caps |= GODWIT_CAP_EXECUTE;
	if (gdev->ops->cpu_pfn)
		caps |= GODWIT_CAP_VIEW;
	return caps;
}

static int query_answer(struct drm_godwit_query *args, const void *answer, size_t size)
{
	void __user *to = u64_to_user_ptr(args->data);
	size_t room = args->size;

	args->size = size;
	if (!room)
		return 0;
	if (copy_to_user(to, answer, min(room, size)))
		return -EFAULT;
	if (room > size && clear_user(to + size, room - size))
		return -EFAULT;
	return 0;
}

static int query_device(struct godwit_device *gdev, struct drm_godwit_query *args)
{
	struct drm_godwit_device_info info = {
		.uapi_version = GODWIT_UAPI_VERSION,
		.kind = gdev->desc.kind,
		.vram_total = gdev->desc.vram_size,
		.vram_free = (u64)godwit_vram_free(&gdev->vram) << PAGE_SHIFT,
		.capabilities = godwit_device_capabilities(gdev),
		.page_size = PAGE_SIZE,
		.huge_page_size = godwit_device_huge(gdev) ? GODWIT_LEAF_SIZE : 0,
		.device_id = gdev->id,
		.numa_node = dev_to_node(gdev->drm.dev),
		.generation = gdev->generation,
	};

	strscpy_pad(info.driver, gdev->driver);
	strscpy_pad(info.name, gdev->name);
	return query_answer(args, &info, sizeof(info));
}

static int query_limits(struct godwit_device *gdev, struct drm_godwit_query *args)
{
	/* What is 0 goes with a capability that the device does not have. */
	struct drm_godwit_limits limits = {
		.max_range = GODWIT_MAX_RANGE,
		.max_commands = GODWIT_JOB_COMMANDS,
		.max_syncs = GODWIT_JOB_SYNCS,
		.max_jobs = GODWIT_QUEUE_JOBS,
		.max_inline = GODWIT_JOB_INLINE,
		.max_timeout_ms = GODWIT_JOB_TIMEOUT_MS,
		.max_views = GODWIT_VIEW_MAX,
		.max_pinned = (u64)godwit_vram_max_pinned(&gdev->vram) << PAGE_SHIFT,
		.max_ring_records = GODWIT_RING_MAX,
		.max_watches = GODWIT_RING_WORDS,
	};

	return query_answer(args, &limits, sizeof(limits));
}

/**
 * godwit_query_ioctl() - DRM_IOCTL_GODWIT_QUERY.
 * @drm: the device.
 * @data: &struct drm_godwit_query.
 * @file: the client.
 */
int godwit_query_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_godwit_query *args = data;

	/* More than any structure will ever be: an error of the caller. */
	if (args->size > SZ_4K)
		return -E2BIG;
	switch (args->what) {
	case GODWIT_QUERY_DEVICE:
		return query_device(to_godwit(drm), args);
	case GODWIT_QUERY_LIMITS:
		return query_limits(to_godwit(drm), args);
	default:
		return -EINVAL;
	}
}
