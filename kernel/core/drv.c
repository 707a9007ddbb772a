// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: godwit
 *
 * Overview: the core of Godwit's kernel engine. It makes DRM render nodes for devices whose
 * drivers register with it (../include/godwit/device.h), and lets memory of any process migrate
 * to their VRAM and back, with Linux HMM. It knows no hardware.
 *
 * Files, from the bottom up:
 *
 * vram (frames), block (which are evicted next), hold (which stay there), pagemap (their struct
 * pages), shield (what zaps take from a huge page under way), copy (the device's engine), batch
 * (arrays of a migration), ptable (page table of the device), chunk (32 MiB of a mirror: notifier
 * and table), mirror (an address space), client (an open render node), look (reading page tables),
 * home, room, pool and lost (to RAM, or not), touch (of a CPU), evict, drain (lists of
 * processors), span, run and pass (2 MiB of a migration, its part in one VMA, and several of
 * them), direct (to another device), migrate, advise, pin and grip, store (pages and frames of an
 * object), object, kmap (objects mapped in the kernel), gem (objects by handle), residency,
 * discard, event and watch (what the process can see without a call), fault (of the device),
 * access, command, sync, job, queue and player (the device at work), view and zap (what the device
 * sees, for others to see), snapshot, lent, reach, offer, ranges, revoke and export (memory for
 * the DMA of other devices: which pages, how many in VRAM, at which addresses, until when, which
 * exports those are, and the dma-buf), peer (what drivers of these call), sleep (of the system),
 * stats, debugfs, trace, device (registration), drv (this file: the calls).
 *
 * Locks, outermost first (docs/locking.md):
 *
 * &godwit_device.views_lock, &godwit_client.lock -> &godwit_queue.lock,
 * &godwit_client.advise_lock -> &godwit_mirror.chunks_lock, &godwit_export.prepare_lock ->
 * mmap_lock -> lock of an object or of a dma-buf (dma_resv) -> folio locks, locks of the reverse
 * map -> &godwit_chunk.lock -> &godwit_chunk.access, &godwit_export.attached_lock,
 * &godwit_mirror.views_lock -> &godwit_zapper.lock, godwit_exports_lock,
 * &godwit_mirror.watch_lock, &godwit_mirror.pin_lock -> &godwit_vram.lock ->
 * &godwit_client.ring_lock.
 * &godwit_device.objects_lock is inside the lock of an object, &godwit_touches.lock and
 * &pool_shelf.lock are inside those of folios; nothing is inside these three.
 */
#include <linux/compat.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_ioctl.h>

#include <drm/godwit_drm.h>
#include <godwit/layout.h>

#include "advise.h"
#include "client.h"
#include "debugfs.h"
#include "device.h"
#include "discard.h"
#include "drain.h"
#include "event.h"
#include "evict.h"
#include "export.h"
#include "gem.h"
#include "migrate.h"
#include "mirror.h"
#include "queue.h"
#include "pin.h"
#include "pool.h"
#include "residency.h"
#include "shield.h"
#include "stats.h"
#include "view.h"
#include "watch.h"

#define DRV_IOCTL(name, function) \
	DRM_IOCTL_DEF_DRV(GODWIT_##name, function, DRM_RENDER_ALLOW)

static const struct drm_ioctl_desc drv_ioctls[] = {
	DRV_IOCTL(QUERY, godwit_query_ioctl),
	DRV_IOCTL(ATTACH, godwit_attach_ioctl),
	DRV_IOCTL(MIGRATE, godwit_migrate_ioctl),
	DRV_IOCTL(ADVISE, godwit_advise_ioctl),
	DRV_IOCTL(DISCARD, godwit_discard_ioctl),
	DRV_IOCTL(RESIDENCY, godwit_residency_ioctl),
	DRV_IOCTL(EXECUTE, godwit_execute_ioctl),
	DRV_IOCTL(WAIT, godwit_wait_ioctl),
	DRV_IOCTL(VIEW, godwit_view_ioctl),
	DRV_IOCTL(EXPORT, godwit_export_ioctl),
	DRV_IOCTL(PIN, godwit_pin_ioctl),
	DRV_IOCTL(UNPIN, godwit_unpin_ioctl),
	DRV_IOCTL(EVICT, godwit_evict_ioctl),
	DRV_IOCTL(EVENTS, godwit_events_ioctl),
	DRV_IOCTL(WATCH, godwit_watch_ioctl),
	DRV_IOCTL(STATS, godwit_stats_ioctl),
	DRV_IOCTL(GEM_CREATE, godwit_gem_create_ioctl),
	DRV_IOCTL(GEM_INFO, godwit_gem_info_ioctl),
	DRV_IOCTL(GEM_MOVE, godwit_gem_move_ioctl),
};

/*
 * A caller that was built for a newer interface passes more than we know. DRM would ignore it;
 * ignoring what the caller asks for is worse than refusing it.
 */
static int drv_check_tail(unsigned int cmd, unsigned long arg)
{
	unsigned int nr = DRM_IOCTL_NR(cmd), known;
	int ret;

	if (nr < DRM_COMMAND_BASE || nr - DRM_COMMAND_BASE >= ARRAY_SIZE(drv_ioctls))
		return 0;
	nr = array_index_nospec(nr - DRM_COMMAND_BASE, ARRAY_SIZE(drv_ioctls));
	known = _IOC_SIZE(drv_ioctls[nr].cmd);
	if (_IOC_SIZE(cmd) <= known)
		return 0;
	ret = check_zeroed_user((void __user *)arg + known, _IOC_SIZE(cmd) - known);
	if (ret < 0)
		return ret;
	return ret ? 0 : -E2BIG;
}

/*
 * Calls that wait hold the device only for as long as they use it: what drm_dev_enter() holds is
 * held against all DRM devices. These are the ones that wait for jobs, and DRM's own, which wait
 * for syncobjs; what reaches us through those (objects) looks itself whether the device is there.
 */
static bool drv_enters(unsigned int cmd)
{
	unsigned int nr = DRM_IOCTL_NR(cmd);

	return nr >= DRM_COMMAND_BASE && nr < DRM_COMMAND_END &&
	       nr != DRM_COMMAND_BASE + DRM_GODWIT_EXECUTE &&
	       nr != DRM_COMMAND_BASE + DRM_GODWIT_WAIT;
}

static long drv_unlocked_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	struct drm_file *file = filp->private_data;
	struct drm_device *drm = file->minor->dev;
	long ret;
	int idx;

	ret = drv_check_tail(cmd, arg);
	if (ret)
		return ret;
	if (!drv_enters(cmd))
		return drm_ioctl(filp, cmd, arg);
	/* Keeps the device's driver there for the whole call. */
	if (!drm_dev_enter(drm, &idx))
		return -ENODEV;
	ret = drm_ioctl(filp, cmd, arg);
	drm_dev_exit(idx);
	return ret;
}

#ifdef CONFIG_COMPAT
/* drm_compat_ioctl() would call drm_ioctl() at once; it is for DRM's own calls. */
static long drv_compat_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	unsigned int nr = DRM_IOCTL_NR(cmd);

	if (nr < DRM_COMMAND_BASE || nr >= DRM_COMMAND_END)
		return drm_compat_ioctl(filp, cmd, arg);
	return drv_unlocked_ioctl(filp, cmd, (unsigned long)compat_ptr(arg));
}
#else
#define drv_compat_ioctl	NULL
#endif

static int drv_mmap(struct file *filp, struct vm_area_struct *vma)
{
	struct drm_file *file = filp->private_data;

	if (vma->vm_pgoff == GODWIT_RING_OFFSET >> PAGE_SHIFT)
		return godwit_ring_mmap(file->driver_priv, vma);
	return drm_gem_mmap(filp, vma);
}

static __poll_t drv_poll(struct file *filp, struct poll_table_struct *wait)
{
	struct drm_file *file = filp->private_data;

	return drm_poll(filp, wait) | godwit_ring_poll(file->driver_priv, filp, wait);
}

static void drv_show_fdinfo(struct drm_printer *p, struct drm_file *file)
{
	godwit_stats_show_fdinfo(p, file);
	drm_show_memory_stats(p, file);
}

static const struct file_operations drv_fops = {
	.owner = THIS_MODULE,
	.open = drm_open,
	.release = drm_release,
	.unlocked_ioctl = drv_unlocked_ioctl,
	.compat_ioctl = drv_compat_ioctl,
	.poll = drv_poll,
	.read = drm_read,
	.llseek = noop_llseek,
	.mmap = drv_mmap,
	.show_fdinfo = drm_show_fdinfo,
	.fop_flags = FOP_UNSIGNED_OFFSET,
};

const struct drm_driver godwit_drm_driver = {
	.driver_features = DRIVER_RENDER | DRIVER_GEM | DRIVER_SYNCOBJ | DRIVER_SYNCOBJ_TIMELINE,
	.open = godwit_client_open,
	.postclose = godwit_client_close,
	.ioctls = drv_ioctls,
	.num_ioctls = ARRAY_SIZE(drv_ioctls),
	.fops = &drv_fops,
	.show_fdinfo = drv_show_fdinfo,
#ifdef CONFIG_DEBUG_FS
	.debugfs_init = godwit_debugfs_init,
#endif
	.name = "godwit",
	.desc = "Memory shared by CPU, devices and DMA",
	.major = GODWIT_UAPI_MAJOR,
	.minor = GODWIT_UAPI_MINOR,
};

static int __init drv_init(void)
{
	int ret;

	ret = godwit_shield_init();
	if (ret)
		return ret;
	ret = godwit_drain_init();
	if (ret)
		goto no_drain;
	ret = godwit_pool_init();
	if (ret)
		goto no_pool;
	ret = godwit_export_init();
	if (!ret)
		return 0;
	godwit_pool_fini();
no_pool:
	godwit_drain_fini();
no_drain:
	godwit_shield_fini();
	return ret;
}
module_init(drv_init);

static void __exit drv_exit(void)
{
	godwit_export_fini();
	godwit_pool_fini();
	godwit_drain_fini();
	godwit_shield_fini();
}
module_exit(drv_exit);

MODULE_DESCRIPTION("Memory shared by CPU, devices and DMA through one pointer");
MODULE_AUTHOR("The Godwit authors");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1");
