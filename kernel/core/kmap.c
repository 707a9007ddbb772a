// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Objects mapped in the kernel
 *
 * Overview: a driver that fills a dma-buf with the CPU (videobuf2 with vmalloc buffers is one)
 * maps it into the kernel's address space. Where the VRAM of an object has pages
 * (&godwit_device_ops.cpu_page), the mapping is of VRAM, and the frames of a camera land
 * there. Elsewhere the object comes to RAM, as it does for an importer that wants bus addresses.
 *
 * While it is mapped it stays where it is: in VRAM by a reference to each page, as if I/O went on,
 * so that moves answer EBUSY and eviction passes it over; in RAM as for any importer. When the
 * device goes away the bytes come home nevertheless (object_unmap()), and the removal of the
 * device, which owns the pages, waits until the mapping is gone.
 *
 * Locking: all of it under the lock of the object.
 */
#include <linux/dma-resv.h>
#include <linux/iosys-map.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "device.h"
#include "object.h"

static struct page **kmap_hold_frames(struct godwit_object *obj)
{
	struct page **pages = kvmalloc_array(obj->nr, sizeof(*pages), GFP_KERNEL_ACCOUNT);
	unsigned long i;

	if (!pages)
		return NULL;
	for (i = 0; i < obj->nr; i++) {
		pages[i] = obj->gdev->ops->cpu_page(obj->gdev, obj->frames[i]);
		get_page(pages[i]);
	}
	return pages;
}

static void kmap_let_go(struct godwit_object *obj)
{
	unsigned long i;

	if (!obj->kmap_held) {
		obj->holders--;
		return;
	}
	for (i = 0; i < obj->nr; i++)
		put_page(obj->kmap_held[i]);
	kvfree(obj->kmap_held);
	obj->kmap_held = NULL;
}

static int kmap_make(struct godwit_object *obj)
{
	int ret;

	if (obj->frames && obj->gdev->ops->cpu_page) {
		obj->kmap_held = kmap_hold_frames(obj);
		if (!obj->kmap_held)
			return -ENOMEM;
		/* As the kernel's own mapping of these pages is. */
		obj->kmap = vmap(obj->kmap_held, obj->nr, VM_MAP, pgprot_noncached(PAGE_KERNEL));
	} else {
		ret = godwit_object_pin(&obj->base);
		if (ret)
			return ret;
		obj->kmap = vmap(obj->pages, obj->nr, VM_MAP, PAGE_KERNEL);
	}
	if (obj->kmap)
		return 0;
	kmap_let_go(obj);
	return -ENOMEM;
}

/**
 * godwit_object_vmap() - &drm_gem_object_funcs.vmap.
 * @base: the object, with its lock.
 * @map: the mapping. Not one of I/O memory: importers like videobuf2 know only plain addresses,
 *	and behind each page of it there is a struct page.
 */
int godwit_object_vmap(struct drm_gem_object *base, struct iosys_map *map)
{
	struct godwit_object *obj = to_godwit_object(base);
	int ret = 0;

	if (!obj->kmaps)
		ret = kmap_make(obj);
	if (ret)
		return ret;
	obj->kmaps++;
	iosys_map_set_vaddr(map, obj->kmap);
	return 0;
}

/**
 * godwit_object_vunmap() - &drm_gem_object_funcs.vunmap.
 * @base: the object, with its lock.
 * @map: the mapping.
 */
void godwit_object_vunmap(struct drm_gem_object *base, struct iosys_map *map)
{
	struct godwit_object *obj = to_godwit_object(base);

	if (--obj->kmaps)
		return;
	vunmap(obj->kmap);
	obj->kmap = NULL;
	kmap_let_go(obj);
}
