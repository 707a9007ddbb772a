// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Views
 *
 * Overview: a view shows a range of addresses as the device sees them, to whoever maps its
 * dma-buf: programs, and drivers that import by mapping (Mesa's lavapipe). The MMU of the CPU
 * plays the device's: its page table entries are copies of entries of the device's page table,
 * as those in the TLB of a GPU are. Touching a view is a fault of the device, and brings the
 * page to VRAM.
 *
 * A fault of a view, view_fault(): within godwit_chunk_access_begin() valid entries are copied
 * into the mapping. If there is none for the address, the lock of the mapping's mm is dropped,
 * godwit_fault() makes one under the lock of the memory's mm (which may be the same one, or
 * that of another process), copies it if it can, and the access is repeated. One that is
 * repeated and finds its entry gone again is served in place: it no longer insists on VRAM, so
 * two sides that touch the same page by turns come to share it in RAM for a while, instead of
 * taking it from each other for ever.
 *
 * An invalidation (chunk.c) clears the entries of the device's page table, waits for accesses, so
 * that nobody who found one valid is still copying it, and then zaps the views of the range
 * (zap.c). The lock of the chunk is held for all of it.
 *
 * Writing through an entry that allows only reading: the kernel asks view_mkwrite(), which drops
 * the entry and faults for a better one.
 *
 * What a process sees: SIGBUS where nothing is mapped any more, where it may not be read, or,
 * for stores, not be written; after the memory's process has ended; after the device is gone.
 * Callers in the kernel that cannot repeat a fault get an error where no entry is there.
 *
 * Locking: mmap_lock of the mapping's mm -> &godwit_chunk.access (reading) -> page table locks.
 * Page tables are allocated within it, without reclaim, since reclaim calls notifiers that wait
 * for the access to end. &godwit_mirror.views_lock protects &godwit_mirror.views: read in
 * notifiers, inside &godwit_chunk.lock, across the zap; written when a view comes and goes,
 * with no lock held and nothing allocated. &godwit_device.views_lock protects
 * &godwit_device.views: outermost, outside the locks of chunks.
 */
#include <linux/dma-buf.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>

#include "../state/range.h"
#include "chunk.h"
#include "client.h"
#include "device.h"
#include "fault.h"
#include "migrate.h"
#include "mirror.h"
#include "view.h"

/* Entries that one fault copies, around the address. */
#define VIEW_AROUND	(16 * PAGE_SIZE)

static unsigned long view_address(const struct godwit_view *view,
				  const struct vm_area_struct *vma, unsigned long at)
{
	return view->start + (vma->vm_pgoff << PAGE_SHIFT) + (at - vma->vm_start);
}

static pgprot_t view_prot(const struct vm_area_struct *vma, u64 pte)
{
	/* The prot of the VMA itself is without writing, since there is a view_mkwrite(). */
	if (pte & GODWIT_PTE_WRITE)
		return vm_get_page_prot(vma->vm_flags);
	return vm_get_page_prot(vma->vm_flags & ~VM_WRITE);
}

static unsigned long view_pfn(struct godwit_device *gdev, u64 pte)
{
	if (pte & GODWIT_PTE_VRAM)
		return gdev->ops->cpu_pfn(gdev, godwit_pte_pfn(pte));
	return godwit_pte_pfn(pte);
}

/*
 * Copies entries for the addresses around @at, which are in one chunk. Return: VM_FAULT_NOPAGE,
 * or 0 where there is none for @at.
 */
static vm_fault_t view_copy(struct godwit_view *view, struct vm_area_struct *vma,
			    struct godwit_chunk *chunk, unsigned long at, bool write)
{
	unsigned long pos = max(ALIGN_DOWN(at, VIEW_AROUND), vma->vm_start);
	unsigned long end = min(ALIGN_DOWN(at, VIEW_AROUND) + VIEW_AROUND, vma->vm_end);
	unsigned long offset = view_address(view, vma, at) - chunk->start;
	vm_fault_t ret = VM_FAULT_NOPAGE;
	u64 pte;

	pte = godwit_ptable_get(&chunk->table, offset);
	if (!(pte & GODWIT_PTE_VALID) || (write && !(pte & GODWIT_PTE_WRITE)))
		return 0;
	for (; pos < end; pos += PAGE_SIZE) {
		unsigned long addr = view_address(view, vma, pos);

		if (addr / GODWIT_CHUNK_SIZE != chunk->start / GODWIT_CHUNK_SIZE)
			continue;
		pte = godwit_ptable_get(&chunk->table, addr - chunk->start);
		if (!(pte & GODWIT_PTE_VALID))
			continue;
		ret = vmf_insert_pfn_prot(vma, pos, view_pfn(view->gdev, pte), view_prot(vma, pte));
		if (ret != VM_FAULT_NOPAGE)
			break;
	}
	return ret;
}

/* With mmap_lock of the mapping. As view_copy(). */
static vm_fault_t view_insert(struct godwit_view *view, struct vm_area_struct *vma,
			      unsigned long at, bool write)
{
	unsigned long index = view_address(view, vma, at) / GODWIT_CHUNK_SIZE;
	struct godwit_chunk *chunk = xa_load(&view->mirror->chunks, index);
	unsigned int flags;
	vm_fault_t ret;

	if (!chunk)
		return 0;
	flags = memalloc_noreclaim_save();
	godwit_chunk_access_begin(chunk);
	ret = view_copy(view, vma, chunk, at, write);
	godwit_chunk_access_end(chunk);
	memalloc_noreclaim_restore(flags);
	return ret;
}

/**
 * struct view_fault - a fault of a view, while the lock of the mapping is not held.
 */
struct view_fault {
	/** @fault: of the device. */
	struct godwit_fault fault;
	/** @view: the view. */
	struct godwit_view *view;
	/** @mm: of the mapping; whoever handles the fault holds its users. */
	struct mm_struct *mm;
	/** @at: address in the mapping. */
	unsigned long at;
};

static const struct vm_operations_struct view_vm_ops;

/*
 * The device has an entry. Copies it at once if the mapping can be locked, and is still what it
 * was; otherwise the access is repeated, and finds the entry if it is still there. Only a try:
 * mmap_lock is outside of the lock of the chunk.
 */
static void view_use(struct godwit_fault *fault, struct godwit_chunk *chunk)
{
	struct view_fault *work = container_of(fault, struct view_fault, fault);
	struct vm_area_struct *vma;
	unsigned int flags;

	if (!mmap_read_trylock(work->mm))
		return;
	vma = vma_lookup(work->mm, work->at);
	if (vma && vma->vm_ops == &view_vm_ops && vma->vm_private_data == work->view &&
	    (view_address(work->view, vma, work->at) & PAGE_MASK) == fault->addr) {
		flags = memalloc_noreclaim_save();
		view_copy(work->view, vma, chunk, work->at & PAGE_MASK, fault->write);
		memalloc_noreclaim_restore(flags);
	}
	mmap_read_unlock(work->mm);
}

/* Without any lock: has the device's page table filled. */
static vm_fault_t view_serve(struct view_fault *work)
{
	switch (godwit_fault(work->view->mirror, &work->fault)) {
	case 0:
	case -EBUSY:
	case -EINTR:
		/* Repeat; signals are looked at in between. */
		return VM_FAULT_RETRY;
	case -ENOMEM:
		return VM_FAULT_OOM;
	default:
		return VM_FAULT_SIGBUS;
	}
}

static vm_fault_t view_fault_entered(struct vm_fault *vmf, struct godwit_view *view)
{
	struct vm_area_struct *vma = vmf->vma;
	struct view_fault work = {
		.fault = {
			.addr = view_address(view, vma, vmf->address) & PAGE_MASK,
			.write = vmf->flags & FAULT_FLAG_WRITE,
			.in_place = view->in_place || (vmf->flags & FAULT_FLAG_TRIED),
			.cause = GODWIT_CAUSE_VIEW,
			.use = view_use,
		},
		.view = view,
		.mm = vma->vm_mm,
		.at = vmf->address,
	};
	struct file *file;
	vm_fault_t ret;

	ret = view_insert(view, vma, vmf->address, work.fault.write);
	if (ret)
		return ret;
	if (!(vmf->flags & FAULT_FLAG_ALLOW_RETRY))
		return VM_FAULT_SIGBUS;
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;

	/* The mapping may go when its lock is dropped; the file keeps the view. */
	file = get_file(vma->vm_file);
	mmap_read_unlock(work.mm);
	ret = view_serve(&work);
	fput(file);
	if (ret != VM_FAULT_RETRY)
		mmap_read_lock(work.mm);
	return ret;
}

/* With mmap_lock for reading, never with the lock of the VMA alone: there is no map_pages. */
static vm_fault_t view_fault(struct vm_fault *vmf)
{
	struct godwit_view *view = vmf->vma->vm_private_data;
	struct drm_device *drm = &view->gdev->drm;
	vm_fault_t ret;
	int idx;

	/* Keeps the device; the view, which keeps its memory, may be gone when this is over. */
	if (!drm_dev_enter(drm, &idx))
		return VM_FAULT_SIGBUS;
	ret = view_fault_entered(vmf, view);
	drm_dev_exit(idx);
	return ret;
}

/*
 * A store to an entry that is read-only: gets a better one. Only dropping it would not do for an
 * instruction that loads before it stores, on a machine that faults for each: its load would have
 * the entry back, read-only, for ever.
 */
static vm_fault_t view_mkwrite(struct vm_fault *vmf)
{
	vm_fault_t ret;

	zap_special_vma_range(vmf->vma, vmf->address & PAGE_MASK, PAGE_SIZE);
	ret = view_fault(vmf);
	return ret & VM_FAULT_ERROR ? ret : ret | VM_FAULT_NOPAGE;
}

static const struct vm_operations_struct view_vm_ops = {
	.fault = view_fault,
	.pfn_mkwrite = view_mkwrite,
};

static int view_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	struct godwit_view *view = dmabuf->priv;
	int ret;

	/* A private mapping would copy pages behind the device's back. */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	/* A zap would wait for the locks with which the first one is inserted (zap.c). */
	ret = godwit_chunk_prepare(vma);
	if (ret)
		return ret;
	/* A child that wants it maps it itself: there has to be a first notifier before that. */
	vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP | VM_DONTCOPY);
	vma->vm_private_data = view;
	vma->vm_ops = &view_vm_ops;
	/* Before the first entry, which a notifier would have to zap. */
	WRITE_ONCE(view->mapped, true);
	return 0;
}

static int view_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attachment)
{
	/* Bus addresses would not fault. Whoever needs them uses DRM_IOCTL_GODWIT_EXPORT. */
	return -EOPNOTSUPP;
}

static struct sg_table *view_map(struct dma_buf_attachment *attachment,
				 enum dma_data_direction direction)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static void view_unmap(struct dma_buf_attachment *attachment, struct sg_table *table,
		       enum dma_data_direction direction)
{
}

static void view_free(struct godwit_view *view)
{
	struct godwit_device *gdev = view->gdev;

	atomic_dec(&view->mirror->client->views);
	godwit_mirror_put(view->mirror);
	iput(view->inode);
	kfree(view);
	drm_dev_put(&gdev->drm);
}

static void view_release(struct dma_buf *dmabuf)
{
	struct godwit_view *view = dmabuf->priv;

	mutex_lock(&view->gdev->views_lock);
	list_del(&view->device_link);
	mutex_unlock(&view->gdev->views_lock);
	/* Waits for zaps that are about it. */
	down_write(&view->mirror->views_lock);
	list_del(&view->link);
	up_write(&view->mirror->views_lock);
	view_free(view);
}

static const struct dma_buf_ops view_dma_buf_ops = {
	.attach = view_attach,
	.map_dma_buf = view_map,
	.unmap_dma_buf = view_unmap,
	.mmap = view_mmap,
	.release = view_release,
};

/**
 * godwit_view_any() - could a view have translations of a range?
 * @mirror: whose addresses.
 * @start: first address.
 * @end: address after the last one.
 *
 * In notifiers that may not wait: true also where it is not known.
 */
bool godwit_view_any(struct godwit_mirror *mirror, unsigned long start, unsigned long end)
{
	struct godwit_view *view;
	bool any = false;

	if (!down_read_trylock(&mirror->views_lock))
		return true;
	list_for_each_entry(view, &mirror->views, link)
		any |= READ_ONCE(view->mapped) && view->start < end &&
		       start < view->start + view->length;
	up_read(&mirror->views_lock);
	return any;
}

/**
 * godwit_view_zap() - take translations of a range out of all views.
 * @mirror: whose addresses; its page table has no entry of the range, and no access is under way.
 * @start: first address.
 * @end: address after the last one.
 *
 * In notifiers that may wait, with the lock of the chunk: so that whoever finds entries cleared
 * waits until views have lost them as well.
 */
void godwit_view_zap(struct godwit_mirror *mirror, unsigned long start, unsigned long end)
{
	struct godwit_view *view;

	down_read(&mirror->views_lock);
	list_for_each_entry(view, &mirror->views, link) {
		unsigned long first = max(start, view->start);
		unsigned long last = min(end, view->start + view->length);

		if (first < last && READ_ONCE(view->mapped))
			godwit_zap(&mirror->gdev->zapper, view->inode->i_mapping,
				   first - view->start, last - first);
	}
	up_read(&mirror->views_lock);
}

/**
 * godwit_view_revoke_all() - the device is gone: its views lose their translations for ever.
 * @gdev: the device, unplugged.
 */
void godwit_view_revoke_all(struct godwit_device *gdev)
{
	struct godwit_view *view;

	mutex_lock(&gdev->views_lock);
	list_for_each_entry(view, &gdev->views, device_link)
		godwit_mirror_revoke(view->mirror);
	mutex_unlock(&gdev->views_lock);
}

static struct dma_buf *view_export(struct godwit_view *view, bool read_only)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);

	info.exp_name = "godwit";
	info.ops = &view_dma_buf_ops;
	info.size = view->length;
	info.flags = O_CLOEXEC | (read_only ? O_RDONLY : O_RDWR);
	info.priv = view;
	return dma_buf_export(&info);
}

/* Takes over the reference to the mirror, also where it fails. */
static struct godwit_view *view_create(struct godwit_mirror *mirror,
				       const struct drm_godwit_view *args)
{
	struct godwit_device *gdev = mirror->gdev;
	struct godwit_view *view;
	struct dma_buf *dmabuf;

	view = kzalloc_obj(*view, GFP_KERNEL_ACCOUNT);
	if (!view) {
		godwit_mirror_put(mirror);
		return ERR_PTR(-ENOMEM);
	}
	drm_dev_get(&gdev->drm);
	view->gdev = gdev;
	view->mirror = mirror;
	view->start = args->addr;
	view->length = args->length;
	view->in_place = args->flags & GODWIT_VIEW_IN_PLACE;
	if (atomic_inc_return(&mirror->client->views) > GODWIT_VIEW_MAX) {
		view_free(view);
		return ERR_PTR(-ENOSPC);
	}
	dmabuf = view_export(view, args->flags & GODWIT_VIEW_READ_ONLY);
	if (IS_ERR(dmabuf)) {
		view_free(view);
		return ERR_CAST(dmabuf);
	}
	view->dmabuf = dmabuf;
	/* The dentry keeps the dma-buf, but neither the file nor, at its own end, the inode. */
	view->inode = file_inode(dmabuf->file);
	ihold(view->inode);
	mutex_lock(&gdev->views_lock);
	list_add(&view->device_link, &gdev->views);
	mutex_unlock(&gdev->views_lock);
	down_write(&mirror->views_lock);
	list_add(&view->link, &mirror->views);
	up_write(&mirror->views_lock);
	return view;
}

/**
 * godwit_view_ioctl() - DRM_IOCTL_GODWIT_VIEW.
 * @drm: the device.
 * @data: &struct drm_godwit_view.
 * @file: the client.
 */
int godwit_view_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_godwit_view *args = data;
	struct godwit_mirror *mirror;
	struct godwit_view *view;
	int ret;

	args->fd = -1;
	if (args->flags & ~(GODWIT_VIEW_READ_ONLY | GODWIT_VIEW_IN_PLACE))
		return -EINVAL;
	ret = godwit_migrate_check_range(args->addr, args->length);
	if (ret)
		return ret;
	if (!(godwit_device_capabilities(to_godwit(drm)) & GODWIT_CAP_VIEW))
		return -EOPNOTSUPP;
	mirror = godwit_mirror_get(file->driver_priv);
	if (IS_ERR(mirror))
		return PTR_ERR(mirror);
	/*
	 * The first notifier of the address space now, where a signal can end it: to a fault of the
	 * kernel's own nobody says that there is one.
	 */
	ret = PTR_ERR_OR_ZERO(godwit_chunk_get(mirror, args->addr));
	if (ret) {
		godwit_mirror_put(mirror);
		return ret;
	}
	view = view_create(mirror, args);
	if (IS_ERR(view))
		return PTR_ERR(view);
	ret = dma_buf_fd(view->dmabuf, O_CLOEXEC);
	if (ret < 0) {
		dma_buf_put(view->dmabuf);
		return ret;
	}
	args->fd = ret;
	return 0;
}

MODULE_IMPORT_NS("DMA_BUF");
