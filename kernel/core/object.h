/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_OBJECT_H_
#define _GODWIT_OBJECT_H_

#include <drm/drm_gem.h>

#include <drm/godwit_drm.h>

struct godwit_client;
struct godwit_device;
struct iosys_map;
struct mem_cgroup;
struct page;

/* How long a move waits for I/O on the pages of an object, in ms. */
#define GODWIT_OBJECT_WAIT_MOVE		100
#define GODWIT_OBJECT_WAIT_UNPLUG	30000

/**
 * struct godwit_object - a GEM object.
 */
struct godwit_object {
	/** @base: of DRM. */
	struct drm_gem_object base;
	/** @gdev: the device. */
	struct godwit_device *gdev;
	/** @client: who created it; a reference. */
	struct godwit_client *client;
	/** @memcg: to which its RAM is accounted; a reference, or NULL. */
	struct mem_cgroup *memcg;
	/** @link: in &godwit_device.objects, or in &godwit_device.objects_in_ram. */
	struct list_head link;
	/** @passed_over: &godwit_device.objects_clock when it last could not leave VRAM. */
	u64 passed_over;
	/** @nr: pages. */
	unsigned long nr;
	/** @flags: GODWIT_GEM_*. */
	u32 flags;
	/** @asleep: it is pinned in VRAM, and in RAM for as long as the system sleeps. */
	bool asleep;
	/** @holders: importers that hold it in RAM. */
	unsigned int holders;
	/** @kmaps: how many want the mapping in the kernel (kmap.c). */
	unsigned int kmaps;
	/** @kmap: that mapping. */
	void *kmap;
	/** @kmap_held: a reference to each page of VRAM, for it; NULL where it is of RAM. */
	struct page **kmap_held;
	/** @frames: where it is, in VRAM; NULL otherwise. */
	unsigned long *frames;
	/** @pages: where it is, in RAM; NULL otherwise. Neither: lost with its device. */
	struct page **pages;
};

static inline struct godwit_object *to_godwit_object(struct drm_gem_object *base)
{
	return container_of(base, struct godwit_object, base);
}

static inline enum drm_godwit_place godwit_object_place(const struct godwit_object *obj)
{
	if (obj->frames)
		return GODWIT_PLACE_VRAM;
	return obj->pages ? GODWIT_PLACE_SYSTEM : GODWIT_PLACE_NONE;
}

struct godwit_object *godwit_object_create(struct godwit_client *client, u64 size, u32 place,
					   u32 flags);
void godwit_object_requeue(struct godwit_object *obj);
void godwit_object_touch(struct godwit_object *obj);
int godwit_object_to_ram(struct godwit_object *obj, enum drm_godwit_cause cause,
			 unsigned int wait_ms);
int godwit_object_to_vram(struct godwit_object *obj);
void godwit_object_lose(struct godwit_object *obj);
int godwit_object_pin(struct drm_gem_object *base);
int godwit_object_vmap(struct drm_gem_object *base, struct iosys_map *map);
void godwit_object_vunmap(struct drm_gem_object *base, struct iosys_map *map);

#endif /* _GODWIT_OBJECT_H_ */
