/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_DEVICE_INTERNAL_H_
#define _GODWIT_DEVICE_INTERNAL_H_

#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/xarray.h>

#include <drm/drm_device.h>
#include <drm/godwit_drm.h>
#include <godwit/device.h>

#include "pagemap.h"
#include "sleep.h"
#include "stats.h"
#include "touch.h"
#include "vram.h"
#include "zap.h"

#ifndef CONFIG_64BIT
#error "godwit needs a 64-bit kernel: it reaches all RAM through the direct map"
#endif

/**
 * struct godwit_device - a device with a render node.
 *
 * Lives as long as anybody has the render node open. What belongs to its driver (@ops, @priv)
 * may be used only within drm_dev_enter(), or while holding a page of its VRAM: both keep
 * godwit_device_unregister() from returning.
 */
struct godwit_device {
	/** @drm: the DRM device. */
	struct drm_device drm;
	/** @id: distinguishes devices, see &drm_godwit_device_info.device_id. */
	u32 id;
	/** @generation: see &drm_godwit_device_info.generation. */
	u64 generation;
	/** @desc: as registered, strings below. */
	struct godwit_device_desc desc;
	/** @ops: shorthand for desc.ops. */
	const struct godwit_device_ops *ops;
	/** @driver: name of the driver. */
	char driver[32];
	/** @name: name of the device. */
	char name[64];
	/** @vram: its frames. */
	struct godwit_vram vram;
	/** @pagemap: the struct pages of its frames; unused for GODWIT_VRAM_EXPLICIT. */
	struct godwit_pagemap pagemap;
	/** @touches: of CPUs, which page did not come home. */
	struct godwit_touches touches;
	/** @stats: counters of all clients together. */
	struct godwit_stats stats;
	/**
	 * @objects_lock: protects @objects, @objects_in_ram and @objects_clock; inside the locks of
	 * objects.
	 */
	spinlock_t objects_lock;
	/** @objects: &struct godwit_object in VRAM, the one first that was used longest ago. */
	struct list_head objects;
	/** @objects_in_ram: the others. */
	struct list_head objects_in_ram;
	/** @objects_clock: counts objects that could not leave. */
	u64 objects_clock;
	/** @clients: by id; entries have no reference and are removed by the last put. */
	struct xarray clients;
	/** @next_client: for @clients. */
	u32 next_client;
	/** @views_lock: protects @views. Outermost. */
	struct mutex views_lock;
	/** @views: &struct godwit_view of all clients. */
	struct list_head views;
	/** @zapper: takes translations out of views. */
	struct godwit_zapper zapper;
	/** @next_mirror: id of the next mirror. */
	atomic_t next_mirror;
	/** @queue_threads: of all clients, GODWIT_QUEUE_THREADS at most. */
	atomic_t queue_threads;
	/** @sleep: of the system. */
	struct godwit_sleep sleep;
};

static inline struct godwit_device *to_godwit(struct drm_device *drm)
{
	return container_of(drm, struct godwit_device, drm);
}

static inline bool godwit_device_migrates(const struct godwit_device *gdev)
{
	return gdev->desc.kind != GODWIT_VRAM_EXPLICIT;
}

/* Does it take folios of 2 MiB? Coherent folios of that size are broken up to Linux 7.2. */
static inline bool godwit_device_huge(const struct godwit_device *gdev)
{
	return gdev->desc.kind == GODWIT_VRAM_PRIVATE && IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE);
}

u64 godwit_device_capabilities(const struct godwit_device *gdev);
int godwit_query_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

extern const struct drm_driver godwit_drm_driver;

#endif /* _GODWIT_DEVICE_INTERNAL_H_ */
