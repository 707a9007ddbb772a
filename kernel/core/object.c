// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Objects
 *
 * Overview: a GEM object is memory that is asked for by name, in VRAM or in RAM,
 * and can move between the two as a whole, with all its mappings intact: they are
 * taken away before it moves, and come back by fault.
 *
 * What a CPU gets when it touches a mapping of an object in VRAM: the page of the
 * frame (&godwit_device_ops.cpu_page), which I/O can use as well; else the
 * address of the frame (&godwit_device_ops.cpu_pfn), with which I/O without a
 * copy (O_DIRECT) is refused by the kernel; else, where the device has neither,
 * the object comes to RAM (SIGBUS where GODWIT_GEM_PINNED forbids it). In RAM it
 * has pages like any other memory, but they are not swapped.
 *
 * Who moves it: GEM_MOVE; eviction, when frames are needed and no pages are left
 * to evict, the object first that was used longest ago; EVICT of a client or a
 * device; a CPU, as above; an importer of its dma-buf (PRIME), which holds it in
 * RAM (one that maps it in the kernel holds it where it is: kmap.c); the end of the
 * device. Nothing moves it while I/O holds one of its pages: GEM_MOVE answers EBUSY
 * then.
 *
 * Its frames are accounted to the client that created it, and its RAM to that
 * client's memory cgroup, whoever moves it.
 *
 * Locking: the lock of the object (its dma_resv) protects where it is. It is
 * taken within mmap_lock (faults), and while it is held memory may be allocated,
 * mappings taken away (&address_space.i_mmap_rwsem, page table locks, and so
 * notifiers: &godwit_chunk.lock), and &godwit_vram.lock taken. Eviction only tries
 * it. &godwit_device.objects_lock protects the list, is taken inside it, and
 * nothing is taken under it. Frames are reserved, which may evict, before the lock
 * of an object is taken.
 *
 * While an object is in VRAM and its lock is held, its device is there:
 * unregistration passes through each object's lock, and waits for those that are
 * being freed (godwit_gem_unplug()).
 */
#include <linux/delay.h>
#include <linux/dma-resv.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <drm/drm_prime.h>
#include <drm/drm_print.h>
#include <drm/drm_vma_manager.h>

#include "client.h"
#include "device.h"
#include "object.h"
#include "pin.h"
#include "store.h"

static struct list_head *object_list(const struct godwit_object *obj)
{
	return READ_ONCE(obj->frames) ? &obj->gdev->objects : &obj->gdev->objects_in_ram;
}

/**
 * godwit_object_requeue() - put it behind the others that are where it is.
 * @obj: the object. &godwit_device.objects_lock is held.
 */
void godwit_object_requeue(struct godwit_object *obj)
{
	lockdep_assert_held(&obj->gdev->objects_lock);
	if (!list_empty(&obj->link))
		list_move_tail(&obj->link, object_list(obj));
}

/**
 * godwit_object_touch() - it was used just now, or moved.
 * @obj: the object.
 */
void godwit_object_touch(struct godwit_object *obj)
{
	struct godwit_device *gdev = obj->gdev;

	spin_lock(&gdev->objects_lock);
	godwit_object_requeue(obj);
	spin_unlock(&gdev->objects_lock);
}

/* Does anybody but us hold one of its pages, apart from @known references? */
static bool object_held(const struct godwit_object *obj, int known)
{
	struct godwit_device *gdev = obj->gdev;
	unsigned long i;

	for (i = 0; i < obj->nr; i++) {
		if (obj->pages && page_ref_count(obj->pages[i]) > 1 + known)
			return true;
		if (obj->frames && gdev->ops->cpu_page &&
		    page_ref_count(gdev->ops->cpu_page(gdev, obj->frames[i])) > 1 + known)
			return true;
	}
	return false;
}

/*
 * Takes all mappings away, and waits until nobody uses the pages. New users come by fault, and wait
 * for the lock of the object.
 */
static int object_unmap(struct godwit_object *obj, unsigned int wait_ms)
{
	unsigned long deadline = jiffies + msecs_to_jiffies(wait_ms);
	/*
	 * Whoever has it mapped in the kernel cannot be stopped, and needs our lock to let go. When
	 * the device ends the bytes come home nevertheless: what is written there from then on is
	 * for nobody.
	 */
	int known = wait_ms == GODWIT_OBJECT_WAIT_UNPLUG && obj->kmap_held;

	dma_resv_assert_held(obj->base.resv);
	drm_vma_node_unmap(&obj->base.vma_node, obj->base.dev->anon_inode->i_mapping);
	while (object_held(obj, known)) {
		if (time_after(jiffies, deadline))
			return -EBUSY;
		usleep_range(500, 1000);
	}
	return 0;
}

static void object_event(struct godwit_object *obj, enum drm_godwit_cause cause, bool to_vram)
{
	struct godwit_device *gdev = obj->gdev;

	if (to_vram) {
		godwit_stat_add(gdev, obj->client, GODWIT_STAT_PAGES_TO_VRAM, obj->nr);
		return;
	}
	godwit_stat_add(gdev, obj->client, GODWIT_STAT_PAGES_HOME, obj->nr);
	if (cause == GODWIT_CAUSE_EVICTION)
		godwit_stat_add(gdev, obj->client, GODWIT_STAT_PAGES_EVICTED, obj->nr);
}

/**
 * godwit_object_to_ram() - bring an object to RAM.
 * @obj: the object, with its lock.
 * @cause: why.
 * @wait_ms: how long to wait for I/O on its pages.
 *
 * Return: 0 also where it is there. -EBUSY, -ENOMEM, -EINTR, or the error of the copy.
 */
int godwit_object_to_ram(struct godwit_object *obj, enum drm_godwit_cause cause,
			 unsigned int wait_ms)
{
	struct godwit_device *gdev = obj->gdev;
	struct page **pages;
	int ret;

	if (!obj->frames)
		return 0;
	pages = godwit_store_pages(obj->memcg, obj->nr, false);
	if (!pages)
		return fatal_signal_pending(current) ? -EINTR : -ENOMEM;
	ret = object_unmap(obj, wait_ms);
	if (!ret)
		ret = godwit_store_copy(gdev, pages, obj->frames, obj->nr, false);
	if (ret) {
		godwit_store_put_pages(pages, obj->nr);
		return ret;
	}
	godwit_store_put_frames(gdev, obj->frames, obj->nr);
	obj->frames = NULL;
	obj->pages = pages;
	godwit_object_touch(obj);
	object_event(obj, cause, false);
	return 0;
}

/**
 * godwit_object_to_vram() - bring an object to VRAM.
 * @obj: the object, without its lock.
 *
 * Return: 0 also where it is there. -EBUSY, -ENOSPC, -ENOMEM, -EINTR, or the error of the copy.
 */
int godwit_object_to_vram(struct godwit_object *obj)
{
	struct godwit_device *gdev = obj->gdev;
	unsigned long *frames;
	int ret;

	/* They may be wanted by an object that is evicted to that end: not with the lock. */
	frames = godwit_store_frames(obj->client, obj->nr);
	if (IS_ERR(frames))
		return PTR_ERR(frames);
	ret = dma_resv_lock_interruptible(obj->base.resv, NULL);
	if (ret) {
		godwit_store_put_frames(gdev, frames, obj->nr);
		return -EINTR;
	}
	if (obj->frames)
		goto out;
	ret = -EBUSY;
	if (obj->holders || !obj->pages)
		goto out;
	ret = object_unmap(obj, GODWIT_OBJECT_WAIT_MOVE);
	if (!ret)
		ret = godwit_store_copy(gdev, obj->pages, frames, obj->nr, true);
	if (ret)
		goto out;
	godwit_store_bind(gdev, frames, obj->nr);
	godwit_store_put_pages(obj->pages, obj->nr);
	obj->pages = NULL;
	obj->frames = frames;
	frames = NULL;
	godwit_object_touch(obj);
	object_event(obj, GODWIT_CAUSE_REQUEST, true);
out:
	dma_resv_unlock(obj->base.resv);
	godwit_store_put_frames(gdev, frames, obj->nr);
	return ret;
}

static vm_fault_t object_fault_vram(struct godwit_object *obj, struct vm_fault *vmf,
				    unsigned long index)
{
	struct godwit_device *gdev = obj->gdev;
	const struct godwit_device_ops *ops = gdev->ops;

	if (ops->cpu_page)
		return vmf_insert_page_mkwrite(vmf, ops->cpu_page(gdev, obj->frames[index]),
					       vmf->flags & FAULT_FLAG_WRITE);
	return vmf_insert_mixed(vmf->vma, vmf->address, ops->cpu_pfn(gdev, obj->frames[index]));
}

static vm_fault_t object_fault(struct vm_fault *vmf)
{
	struct godwit_object *obj = to_godwit_object(vmf->vma->vm_private_data);
	struct godwit_device *gdev = obj->gdev;
	unsigned long index;
	vm_fault_t ret;
	int err;

	index = vmf->pgoff - drm_vma_node_start(&obj->base.vma_node);
	if (index >= obj->nr)
		return VM_FAULT_SIGBUS;
	if (dma_resv_lock_interruptible(obj->base.resv, NULL))
		return VM_FAULT_NOPAGE;
	if (obj->frames && !gdev->ops->cpu_page && !gdev->ops->cpu_pfn) {
		err = -EBUSY;
		if (!(obj->flags & GODWIT_GEM_PINNED))
			err = godwit_object_to_ram(obj, GODWIT_CAUSE_CPU_FAULT,
						   GODWIT_OBJECT_WAIT_MOVE);
		if (err) {
			dma_resv_unlock(obj->base.resv);
			/* Killed: in a system call the access would be repeated for ever. */
			return err == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
		}
	}
	if (obj->frames)
		ret = object_fault_vram(obj, vmf, index);
	else if (obj->pages)
		ret = vmf_insert_page_mkwrite(vmf, obj->pages[index],
					      vmf->flags & FAULT_FLAG_WRITE);
	else
		ret = VM_FAULT_SIGBUS;
	godwit_object_touch(obj);
	dma_resv_unlock(obj->base.resv);
	return ret;
}

static const struct vm_operations_struct object_vm_ops = {
	.fault = object_fault,
	.open = drm_gem_vm_open,
	.close = drm_gem_vm_close,
};

static int object_mmap(struct drm_gem_object *base, struct vm_area_struct *vma)
{
	/* A private mapping would have copies that do not move with the object. */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	vm_flags_set(vma, VM_MIXEDMAP | VM_DONTEXPAND | VM_DONTDUMP);
	return 0;
}

static void object_free(struct drm_gem_object *base)
{
	struct godwit_object *obj = to_godwit_object(base);
	struct godwit_device *gdev = obj->gdev;

	if (obj->flags & GODWIT_GEM_PINNED)
		godwit_pin_uncharge(obj->client, obj->nr);
	/*
	 * The device is there for as long as there are frames, for which godwit_gem_unplug() looks
	 * in the list. A page that I/O still holds, although nothing maps it, is free
	 * when that ends; but a frame would be somebody else's by then.
	 */
	dma_resv_lock(base->resv, NULL);
	if (obj->frames && gdev->ops->cpu_page && object_unmap(obj, GODWIT_OBJECT_WAIT_UNPLUG)) {
		drm_err(&gdev->drm, "I/O on an object does not end: %lu pages of VRAM are lost\n",
			obj->nr);
		kvfree(obj->frames);
	} else {
		godwit_store_put_frames(gdev, obj->frames, obj->nr);
	}
	obj->frames = NULL;
	dma_resv_unlock(base->resv);
	spin_lock(&gdev->objects_lock);
	list_del_init(&obj->link);
	spin_unlock(&gdev->objects_lock);
	godwit_vram_wake(&gdev->vram);
	godwit_store_put_pages(obj->pages, obj->nr);
	drm_gem_object_release(base);
	mem_cgroup_put(obj->memcg);
	godwit_client_put(obj->client);
	kfree(obj);
}

/**
 * godwit_object_pin() - an importer wants bus addresses: of RAM, where every device can reach it.
 * @base: the object, with its lock. It stays in RAM until &drm_gem_object_funcs.unpin.
 */
int godwit_object_pin(struct drm_gem_object *base)
{
	struct godwit_object *obj = to_godwit_object(base);
	int ret;

	if (obj->frames && (obj->flags & GODWIT_GEM_PINNED))
		return -EBUSY;
	ret = godwit_object_to_ram(obj, GODWIT_CAUSE_PEER, GODWIT_OBJECT_WAIT_MOVE);
	if (!ret && !obj->pages)
		ret = -ENODEV;
	if (!ret)
		obj->holders++;
	return ret;
}

static void object_unpin(struct drm_gem_object *base)
{
	to_godwit_object(base)->holders--;
}

static struct sg_table *object_sg_table(struct drm_gem_object *base)
{
	struct godwit_object *obj = to_godwit_object(base);

	return drm_prime_pages_to_sg(base->dev, obj->pages, obj->nr);
}

static enum drm_gem_object_status object_status(struct drm_gem_object *base)
{
	return to_godwit_object(base)->frames ? DRM_GEM_OBJECT_RESIDENT : 0;
}

static const struct drm_gem_object_funcs object_funcs = {
	.free = object_free,
	.pin = godwit_object_pin,
	.unpin = object_unpin,
	.get_sg_table = object_sg_table,
	.vmap = godwit_object_vmap,
	.vunmap = godwit_object_vunmap,
	.mmap = object_mmap,
	.status = object_status,
	.vm_ops = &object_vm_ops,
};

/* Nobody knows it yet. */
static int object_fill(struct godwit_object *obj, u32 place)
{
	struct godwit_device *gdev = obj->gdev;
	unsigned long *frames;
	int ret;

	if (place == GODWIT_PLACE_SYSTEM) {
		obj->pages = godwit_store_pages(obj->memcg, obj->nr, true);
		if (!obj->pages)
			return fatal_signal_pending(current) ? -EINTR : -ENOMEM;
		return 0;
	}
	frames = godwit_store_frames(obj->client, obj->nr);
	if (IS_ERR(frames))
		return PTR_ERR(frames);
	ret = godwit_store_clear(gdev, frames, obj->nr);
	if (ret) {
		godwit_store_put_frames(gdev, frames, obj->nr);
		return ret;
	}
	godwit_store_bind(gdev, frames, obj->nr);
	obj->frames = frames;
	return 0;
}

/**
 * godwit_object_create() - make an object, filled with zeros.
 * @client: whose.
 * @size: bytes, a multiple of the page size.
 * @place: GODWIT_PLACE_VRAM or GODWIT_PLACE_SYSTEM.
 * @flags: GODWIT_GEM_*.
 *
 * Return: a reference, or an ERR_PTR.
 */
struct godwit_object *godwit_object_create(struct godwit_client *client, u64 size, u32 place,
					   u32 flags)
{
	struct godwit_device *gdev = client->gdev;
	struct godwit_object *obj;
	int ret;

	/* Wherever it is made: it may be moved to VRAM later, and is never evicted then. */
	if (flags & GODWIT_GEM_PINNED) {
		ret = godwit_pin_charge(gdev, client, size >> PAGE_SHIFT);
		if (ret)
			return ERR_PTR(ret);
	}
	obj = kzalloc_obj(*obj, GFP_KERNEL_ACCOUNT);
	if (!obj) {
		if (flags & GODWIT_GEM_PINNED)
			godwit_pin_uncharge(client, size >> PAGE_SHIFT);
		return ERR_PTR(-ENOMEM);
	}
	obj->gdev = gdev;
	godwit_client_get_many(client, 1);
	obj->client = client;
	obj->memcg = get_mem_cgroup_from_mm(current->mm);
	obj->nr = size >> PAGE_SHIFT;
	obj->flags = flags;
	INIT_LIST_HEAD(&obj->link);
	obj->base.funcs = &object_funcs;
	drm_gem_private_object_init(&gdev->drm, &obj->base, size);
	ret = drm_gem_create_mmap_offset(&obj->base);
	if (!ret)
		ret = object_fill(obj, place);
	if (ret) {
		drm_gem_object_put(&obj->base);
		return ERR_PTR(ret);
	}
	spin_lock(&gdev->objects_lock);
	list_add_tail(&obj->link, object_list(obj));
	spin_unlock(&gdev->objects_lock);
	return obj;
}

/**
 * godwit_object_lose() - it cannot be brought home: whoever touches it gets SIGBUS.
 * @obj: the object, in VRAM, with its lock.
 */
void godwit_object_lose(struct godwit_object *obj)
{
	struct godwit_device *gdev = obj->gdev;

	drm_vma_node_unmap(&obj->base.vma_node, obj->base.dev->anon_inode->i_mapping);
	godwit_store_put_frames(gdev, obj->frames, obj->nr);
	obj->frames = NULL;
	godwit_object_touch(obj);
	godwit_stat_add(gdev, obj->client, GODWIT_STAT_PAGES_POISONED, obj->nr);
	drm_warn(&gdev->drm, "an object of %lu pages is lost with its device\n", obj->nr);
}
