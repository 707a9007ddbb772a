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
 * RAM; the end of the device. Nothing moves it while I/O holds one of its pages:
 * GEM_MOVE answers EBUSY then.
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
 * unregistration passes through each object's lock.
 */
#include <linux/delay.h>
#include <linux/dma-resv.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_prime.h>
#include <drm/drm_print.h>
#include <drm/drm_vma_manager.h>

#include "client.h"
#include "device.h"
#include "evict.h"
#include "gem.h"
#include "pin.h"

#define OBJECT_BYTES_MAX	(64ULL * SZ_1G)
/* How long a move waits for I/O on the pages of an object, in ms. */
#define OBJECT_WAIT_MOVE	100
#define OBJECT_WAIT_UNPLUG	30000

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
	/** @link: in &godwit_device.objects, the one first that was used longest ago. */
	struct list_head link;
	/** @nr: pages. */
	unsigned long nr;
	/** @flags: GODWIT_GEM_*. */
	u32 flags;
	/** @holders: importers that hold it in RAM. */
	unsigned int holders;
	/** @frames: where it is, in VRAM; NULL otherwise. */
	unsigned long *frames;
	/** @pages: where it is, in RAM; NULL otherwise. Neither: lost with its device. */
	struct page **pages;
};

static struct godwit_object *to_object(struct drm_gem_object *base)
{
	return container_of(base, struct godwit_object, base);
}

static enum drm_godwit_place object_place(const struct godwit_object *obj)
{
	if (obj->frames)
		return GODWIT_PLACE_VRAM;
	return obj->pages ? GODWIT_PLACE_SYSTEM : GODWIT_PLACE_NONE;
}

static void object_touch(struct godwit_object *obj)
{
	struct godwit_device *gdev = obj->gdev;

	spin_lock(&gdev->objects_lock);
	if (!list_empty(&obj->link))
		list_move_tail(&obj->link, &gdev->objects);
	spin_unlock(&gdev->objects_lock);
}

static void pages_free(struct page **pages, unsigned long count)
{
	unsigned long i;

	for (i = 0; pages && i < count; i++)
		if (pages[i])
			__free_page(pages[i]);
	kvfree(pages);
}

static struct page **pages_alloc(const struct godwit_object *obj, bool zero)
{
	gfp_t gfp = GFP_HIGHUSER | __GFP_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN;
	struct mem_cgroup *before = set_active_memcg(obj->memcg);
	struct page **pages;
	unsigned long i;

	pages = kvcalloc(obj->nr, sizeof(*pages), GFP_KERNEL_ACCOUNT);
	for (i = 0; pages && i < obj->nr; i++) {
		pages[i] = alloc_page(zero ? gfp | __GFP_ZERO : gfp);
		if (!pages[i] || fatal_signal_pending(current)) {
			pages_free(pages, obj->nr);
			pages = NULL;
		}
		cond_resched();
	}
	set_active_memcg(before);
	return pages;
}

static void frames_free(struct godwit_device *gdev, unsigned long *frames, unsigned long count)
{
	unsigned long i;

	for (i = 0; frames && i < count; i++)
		if (frames[i] != GODWIT_NO_FRAME)
			godwit_vram_release(gdev, frames[i], 1);
	kvfree(frames);
}

/* Takes up to a block of frames, evicting others. */
static int frames_take(struct godwit_object *obj, unsigned long *frames, unsigned long want)
{
	struct godwit_device *gdev = obj->gdev;
	unsigned long got, i;
	unsigned int count, j;

	got = godwit_evict_reserve(gdev, want, true);
	if (got < want) {
		godwit_vram_unreserve(&gdev->vram, got);
		return fatal_signal_pending(current) ? -EINTR : -ENOSPC;
	}
	for (i = 0; i < want; i += count) {
		unsigned long frame;

		count = want - i == GODWIT_BLOCK_FRAMES ? GODWIT_BLOCK_FRAMES : 1;
		frame = godwit_vram_take(gdev, obj->client, &count);
		if (WARN_ON_ONCE(frame == GODWIT_NO_FRAME)) {
			godwit_vram_unreserve(&gdev->vram, want - i);
			return -ENOSPC;
		}
		for (j = 0; j < count; j++)
			frames[i + j] = frame + j;
	}
	return 0;
}

static unsigned long *frames_alloc(struct godwit_object *obj)
{
	unsigned long *frames, i, want;
	int ret = 0;

	if (obj->nr > obj->gdev->vram.nr_frames)
		return ERR_PTR(-ENOSPC);
	frames = kvmalloc_array(obj->nr, sizeof(*frames), GFP_KERNEL_ACCOUNT);
	if (!frames)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < obj->nr; i++)
		frames[i] = GODWIT_NO_FRAME;
	for (i = 0; i < obj->nr && !ret; i += want) {
		want = min(obj->nr - i, GODWIT_BLOCK_FRAMES);
		ret = frames_take(obj, frames + i, want);
		cond_resched();
	}
	if (!ret)
		return frames;
	frames_free(obj->gdev, frames, obj->nr);
	return ERR_PTR(ret);
}

/* From the page numbered @first on: how many frames follow each other. */
static unsigned int frames_run(const unsigned long *frames, unsigned long first,
			       unsigned long count)
{
	unsigned int run = 1;

	while (first + run < count && run < GODWIT_BLOCK_FRAMES &&
	       frames[first + run] == frames[first] + run)
		run++;
	return run;
}

static int frames_clear(struct godwit_device *gdev, const unsigned long *frames,
			unsigned long count)
{
	unsigned int run;
	unsigned long i;
	int ret = 0;

	for (i = 0; i < count && !ret; i += run) {
		run = frames_run(frames, i, count);
		ret = gdev->ops->clear(gdev, frames[i], run);
		cond_resched();
	}
	return ret;
}

/* They are filled: now they are the object's. */
static void frames_bind(struct godwit_device *gdev, const unsigned long *frames,
			unsigned long count)
{
	unsigned int run;
	unsigned long i;

	for (i = 0; i < count; i += run) {
		run = frames_run(frames, i, count);
		godwit_vram_event(&gdev->vram, frames[i], run, GODWIT_FRAME_BIND);
	}
}

static int object_copy(struct godwit_device *gdev, struct page **pages,
		       const unsigned long *frames, unsigned long count, bool to_vram)
{
	struct godwit_copy *pieces;
	unsigned long i;
	unsigned int n;
	int ret = 0;

	pieces = kcalloc(64, sizeof(*pieces), GFP_KERNEL);
	if (!pieces)
		return -ENOMEM;
	for (i = 0; i < count && !ret; i += n) {
		for (n = 0; n < 64 && i + n < count; n++) {
			pieces[n].page = pages[i + n];
			pieces[n].frame = frames[i + n];
			pieces[n].pages = 1;
		}
		ret = to_vram ? gdev->ops->copy_to_vram(gdev, pieces, n) :
				gdev->ops->copy_from_vram(gdev, pieces, n);
		cond_resched();
	}
	kfree(pieces);
	if (ret)
		godwit_stat_add(gdev, NULL, GODWIT_STAT_COPY_ERRORS, 1);
	return ret;
}

/* Does anybody but us hold one of its pages? */
static bool object_held(const struct godwit_object *obj)
{
	struct godwit_device *gdev = obj->gdev;
	unsigned long i;

	for (i = 0; i < obj->nr; i++) {
		if (obj->pages && page_ref_count(obj->pages[i]) > 1)
			return true;
		if (obj->frames && gdev->ops->cpu_page &&
		    page_ref_count(gdev->ops->cpu_page(gdev, obj->frames[i])) > 1)
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

	dma_resv_assert_held(obj->base.resv);
	drm_vma_node_unmap(&obj->base.vma_node, obj->base.dev->anon_inode->i_mapping);
	while (object_held(obj)) {
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

/* Brings an object to RAM, with its lock. */
static int object_to_ram(struct godwit_object *obj, enum drm_godwit_cause cause,
			 unsigned int wait_ms)
{
	struct godwit_device *gdev = obj->gdev;
	struct page **pages;
	int ret;

	if (!obj->frames)
		return 0;
	pages = pages_alloc(obj, false);
	if (!pages)
		return fatal_signal_pending(current) ? -EINTR : -ENOMEM;
	ret = object_unmap(obj, wait_ms);
	if (!ret)
		ret = object_copy(gdev, pages, obj->frames, obj->nr, false);
	if (ret) {
		pages_free(pages, obj->nr);
		return ret;
	}
	frames_free(gdev, obj->frames, obj->nr);
	obj->frames = NULL;
	obj->pages = pages;
	object_event(obj, cause, false);
	return 0;
}

/* Brings an object to VRAM, without its lock. */
static int object_to_vram(struct godwit_object *obj)
{
	struct godwit_device *gdev = obj->gdev;
	unsigned long *frames;
	int ret;

	/* They may be wanted by an object that is evicted to that end: not with the lock. */
	frames = frames_alloc(obj);
	if (IS_ERR(frames))
		return PTR_ERR(frames);
	ret = dma_resv_lock_interruptible(obj->base.resv, NULL);
	if (ret) {
		frames_free(gdev, frames, obj->nr);
		return -EINTR;
	}
	if (obj->frames)
		goto out;
	ret = -EBUSY;
	if (obj->holders || !obj->pages)
		goto out;
	ret = object_unmap(obj, OBJECT_WAIT_MOVE);
	if (!ret)
		ret = object_copy(gdev, obj->pages, frames, obj->nr, true);
	if (ret)
		goto out;
	frames_bind(gdev, frames, obj->nr);
	pages_free(obj->pages, obj->nr);
	obj->pages = NULL;
	obj->frames = frames;
	frames = NULL;
	object_event(obj, GODWIT_CAUSE_REQUEST, true);
out:
	dma_resv_unlock(obj->base.resv);
	frames_free(gdev, frames, obj->nr);
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
	struct godwit_object *obj = to_object(vmf->vma->vm_private_data);
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
		err = obj->flags & GODWIT_GEM_PINNED ?
		      -EBUSY : object_to_ram(obj, GODWIT_CAUSE_CPU_FAULT, OBJECT_WAIT_MOVE);
		if (err) {
			dma_resv_unlock(obj->base.resv);
			return err == -ENOMEM ? VM_FAULT_OOM :
			       err == -EINTR ? VM_FAULT_NOPAGE : VM_FAULT_SIGBUS;
		}
	}
	if (obj->frames)
		ret = object_fault_vram(obj, vmf, index);
	else if (obj->pages)
		ret = vmf_insert_page_mkwrite(vmf, obj->pages[index],
					      vmf->flags & FAULT_FLAG_WRITE);
	else
		ret = VM_FAULT_SIGBUS;
	object_touch(obj);
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
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	vm_flags_set(vma, VM_MIXEDMAP | VM_DONTEXPAND | VM_DONTDUMP);
	return 0;
}

static void object_free(struct drm_gem_object *base)
{
	struct godwit_object *obj = to_object(base);
	struct godwit_device *gdev = obj->gdev;

	spin_lock(&gdev->objects_lock);
	list_del_init(&obj->link);
	spin_unlock(&gdev->objects_lock);
	if (obj->flags & GODWIT_GEM_PINNED)
		godwit_pin_uncharge(obj->client, obj->nr);
	/*
	 * Neither needs the device. A page that I/O still holds, although nothing maps it, is free
	 * when that ends; but a frame would be somebody else's by then.
	 */
	dma_resv_lock(base->resv, NULL);
	if (obj->frames && gdev->ops->cpu_page && object_unmap(obj, OBJECT_WAIT_UNPLUG)) {
		drm_err(&gdev->drm, "I/O on an object does not end: %lu pages of VRAM are lost\n",
			obj->nr);
		kvfree(obj->frames);
	} else {
		frames_free(gdev, obj->frames, obj->nr);
	}
	obj->frames = NULL;
	dma_resv_unlock(base->resv);
	pages_free(obj->pages, obj->nr);
	drm_gem_object_release(base);
	mem_cgroup_put(obj->memcg);
	godwit_client_put(obj->client);
	kfree(obj);
}

/* An importer wants bus addresses: of RAM, where every device can reach it. With the lock. */
static int object_pin(struct drm_gem_object *base)
{
	struct godwit_object *obj = to_object(base);
	int ret;

	if (obj->frames && (obj->flags & GODWIT_GEM_PINNED))
		return -EBUSY;
	ret = object_to_ram(obj, GODWIT_CAUSE_PEER, OBJECT_WAIT_MOVE);
	if (!ret && !obj->pages)
		ret = -ENODEV;
	if (!ret)
		obj->holders++;
	return ret;
}

static void object_unpin(struct drm_gem_object *base)
{
	to_object(base)->holders--;
}

static struct sg_table *object_sg_table(struct drm_gem_object *base)
{
	struct godwit_object *obj = to_object(base);

	return drm_prime_pages_to_sg(base->dev, obj->pages, obj->nr);
}

static enum drm_gem_object_status object_status(struct drm_gem_object *base)
{
	return object_place(to_object(base)) == GODWIT_PLACE_VRAM ? DRM_GEM_OBJECT_RESIDENT : 0;
}

static const struct drm_gem_object_funcs object_funcs = {
	.free = object_free,
	.pin = object_pin,
	.unpin = object_unpin,
	.get_sg_table = object_sg_table,
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
		obj->pages = pages_alloc(obj, true);
		if (!obj->pages)
			return fatal_signal_pending(current) ? -EINTR : -ENOMEM;
		return 0;
	}
	frames = frames_alloc(obj);
	if (IS_ERR(frames))
		return PTR_ERR(frames);
	ret = frames_clear(gdev, frames, obj->nr);
	if (ret) {
		frames_free(gdev, frames, obj->nr);
		return ret;
	}
	frames_bind(gdev, frames, obj->nr);
	obj->frames = frames;
	return 0;
}

static struct godwit_object *object_create(struct godwit_client *client, u64 size, u32 place,
					   u32 flags)
{
	struct godwit_device *gdev = client->gdev;
	struct godwit_object *obj;
	int ret;

	if ((flags & GODWIT_GEM_PINNED) && place == GODWIT_PLACE_VRAM) {
		ret = godwit_pin_charge(gdev, client, size >> PAGE_SHIFT);
		if (ret)
			return ERR_PTR(ret);
	}
	obj = kzalloc_obj(*obj, GFP_KERNEL_ACCOUNT);
	if (!obj) {
		if ((flags & GODWIT_GEM_PINNED) && place == GODWIT_PLACE_VRAM)
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
	list_add_tail(&obj->link, &gdev->objects);
	spin_unlock(&gdev->objects_lock);
	return obj;
}

/* The next object in VRAM that may leave it; a reference. @skip are passed over. */
static struct godwit_object *object_next(struct godwit_device *gdev,
					 const struct godwit_client *client, bool pinned,
					 unsigned int skip)
{
	struct godwit_object *obj, *found = NULL;

	spin_lock(&gdev->objects_lock);
	list_for_each_entry(obj, &gdev->objects, link) {
		if (!READ_ONCE(obj->frames) || (client && obj->client != client))
			continue;
		if (!pinned && (obj->flags & GODWIT_GEM_PINNED))
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
 *
 * The caller may hold mmap_lock, and no lock of an object.
 *
 * Return: how many frames became free.
 */
unsigned long godwit_gem_evict(struct godwit_device *gdev, const struct godwit_client *client,
			       enum drm_godwit_cause cause, unsigned long frames)
{
	unsigned int skipped = 0;
	unsigned long freed = 0;
	struct godwit_object *obj;

	while (freed < frames && !fatal_signal_pending(current)) {
		obj = object_next(gdev, client, false, skipped);
		if (!obj)
			break;
		/* What somebody works on, or what I/O uses, is not what was used longest ago. */
		skipped++;
		if (dma_resv_trylock(obj->base.resv)) {
			if (obj->frames && !object_to_ram(obj, cause, 0)) {
				freed += obj->nr;
				skipped--;
			}
			dma_resv_unlock(obj->base.resv);
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

/* What cannot be brought home is lost: whoever touches it gets SIGBUS. */
static void object_lose(struct godwit_object *obj)
{
	struct godwit_device *gdev = obj->gdev;

	drm_vma_node_unmap(&obj->base.vma_node, obj->base.dev->anon_inode->i_mapping);
	frames_free(gdev, obj->frames, obj->nr);
	obj->frames = NULL;
	godwit_stat_add(gdev, obj->client, GODWIT_STAT_PAGES_POISONED, obj->nr);
	drm_warn(&gdev->drm, "an object of %lu pages is lost with its device\n", obj->nr);
}

/**
 * godwit_gem_unplug() - the device goes away: bring all objects to RAM.
 * @gdev: the device, its VRAM closed.
 */
void godwit_gem_unplug(struct godwit_device *gdev)
{
	struct godwit_object *obj;

	while ((obj = object_next(gdev, NULL, true, 0))) {
		dma_resv_lock(obj->base.resv, NULL);
		if (obj->frames && object_to_ram(obj, GODWIT_CAUSE_UNPLUG, OBJECT_WAIT_UNPLUG))
			object_lose(obj);
		dma_resv_unlock(obj->base.resv);
		drm_gem_object_put(&obj->base);
	}
}

/**
 * godwit_gem_show() - list objects, for people.
 * @gdev: the device.
 * @m: where to.
 */
void godwit_gem_show(struct godwit_device *gdev, struct seq_file *m)
{
	struct godwit_object *obj;

	seq_puts(m, "client kib place pinned importers\n");
	spin_lock(&gdev->objects_lock);
	list_for_each_entry(obj, &gdev->objects, link)
		seq_printf(m, "%6u %8lu %5s %6u %9u\n", obj->client->id,
			   obj->nr << (PAGE_SHIFT - 10), READ_ONCE(obj->frames) ? "vram" : "ram",
			   !!(obj->flags & GODWIT_GEM_PINNED), READ_ONCE(obj->holders));
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
	if (args->size > OBJECT_BYTES_MAX)
		return -E2BIG;
	size = PAGE_ALIGN(args->size);
	obj = object_create(file->driver_priv, size, args->place, args->flags);
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
	obj = to_object(base);
	dma_resv_lock(base->resv, NULL);
	args->place = object_place(obj);
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
	there = object_place(obj) == place;
	if (!there && (obj->flags & GODWIT_GEM_PINNED))
		ret = -EBUSY;
	else if (place == GODWIT_PLACE_SYSTEM)
		ret = object_to_ram(obj, GODWIT_CAUSE_REQUEST, OBJECT_WAIT_MOVE);
	else if (!there && obj->holders)
		ret = -EBUSY;
	dma_resv_unlock(obj->base.resv);
	if (!ret && !there && place == GODWIT_PLACE_VRAM)
		ret = object_to_vram(obj);
	if (!ret)
		object_touch(obj);
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
	ret = gem_move(to_object(base), args->place);
	drm_gem_object_put(base);
	return ret;
}
