// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Mirrors
 *
 * Overview: a mirror joins one open render node with one address space. It is made when the
 * first call comes from that address space, so that a descriptor which a child inherited works
 * in both. It goes with the descriptor, with a detach, or, when its address space has ended
 * (exit, exec), with the next call on the descriptor.
 *
 * A mirror holds the struct mm_struct but not its users: it never keeps a process's memory
 * alive. Whatever works on the address space takes its users for the time (mmget_not_zero()).
 *
 * Locking: &godwit_client.lock, outside mmap_lock.
 */
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include <drm/drm_file.h>
#include <drm/drm_print.h>

#include "advise.h"
#include "chunk.h"
#include "client.h"
#include "device.h"
#include "export.h"
#include "mirror.h"
#include "pin.h"
#include "watch.h"

static void mirror_destroy(struct kref *refs)
{
	struct godwit_mirror *mirror = container_of(refs, struct godwit_mirror, refs);
	struct godwit_chunk *chunk;
	unsigned long index;

	xa_for_each(&mirror->chunks, index, chunk)
		godwit_chunk_destroy(chunk);
	xa_destroy(&mirror->chunks);
	godwit_stat_add(mirror->gdev, mirror->client, GODWIT_STAT_MIRRORS, -1);
	mutex_destroy(&mirror->chunks_lock);
	mmdrop(mirror->mm);
	godwit_client_put(mirror->client);
	kfree(mirror);
}

static struct godwit_mirror *mirror_create(struct godwit_client *client)
{
	struct godwit_mirror *mirror;

	mirror = kzalloc_obj(*mirror, GFP_KERNEL_ACCOUNT);
	if (!mirror)
		return ERR_PTR(-ENOMEM);
	kref_init(&mirror->refs);
	godwit_client_get_many(client, 1);
	mirror->client = client;
	mirror->gdev = client->gdev;
	mirror->mm = current->mm;
	mmgrab(mirror->mm);
	mirror->id = atomic_inc_return(&client->gdev->next_mirror);
	mutex_init(&mirror->chunks_lock);
	xa_init(&mirror->chunks);
	spin_lock_init(&mirror->watch_lock);
	INIT_LIST_HEAD(&mirror->watches);
	init_rwsem(&mirror->views_lock);
	INIT_LIST_HEAD(&mirror->views);
	spin_lock_init(&mirror->pin_lock);
	INIT_LIST_HEAD(&mirror->pins);
	godwit_stat_add(mirror->gdev, client, GODWIT_STAT_MIRRORS, 1);
	return mirror;
}

/*
 * It leaves the list of its client, whose lock is held: what the process has asked for ends now,
 * whoever may still refer to the mirror.
 */
static void mirror_end(struct godwit_mirror *mirror)
{
	list_del_init(&mirror->link);
	/* Before the locks of all three: whoever adds to one looks at it with that lock. */
	WRITE_ONCE(mirror->ended, true);
	godwit_watch_remove_all(mirror);
	godwit_pin_remove_all(mirror);
	godwit_advice_remove_all(mirror);
}

/* Takes mirrors out of the list whose address space has ended; with the lock of the client. */
static void mirror_reap(struct godwit_client *client)
{
	struct godwit_mirror *mirror, *next;

	list_for_each_entry_safe(mirror, next, &client->mirrors, link) {
		/* Where there was no chunk there was no notifier to tell. */
		if (!READ_ONCE(mirror->dead) && atomic_read(&mirror->mm->mm_users))
			continue;
		mirror_end(mirror);
		godwit_mirror_put(mirror);
	}
}

static struct godwit_mirror *mirror_find(struct godwit_client *client)
{
	struct godwit_mirror *mirror;

	list_for_each_entry(mirror, &client->mirrors, link)
		if (mirror->mm == current->mm)
			return mirror;
	return NULL;
}

/**
 * godwit_mirror_get() - the mirror of the calling process, made if it is the first call.
 * @client: the client.
 *
 * Return: a reference, or an ERR_PTR.
 */
struct godwit_mirror *godwit_mirror_get(struct godwit_client *client)
{
	struct godwit_mirror *mirror;

	if (!current->mm)
		return ERR_PTR(-ESRCH);
	mutex_lock(&client->lock);
	mirror_reap(client);
	mirror = mirror_find(client);
	if (!mirror) {
		mirror = mirror_create(client);
		if (!IS_ERR(mirror))
			list_add(&mirror->link, &client->mirrors);
	}
	if (!IS_ERR(mirror))
		kref_get(&mirror->refs);
	mutex_unlock(&client->lock);
	return mirror;
}

/**
 * godwit_mirror_put() - give back a reference. The last one waits for notifiers.
 * @mirror: the mirror; no lock is held, neither of ours nor mmap_lock.
 */
void godwit_mirror_put(struct godwit_mirror *mirror)
{
	kref_put(&mirror->refs, mirror_destroy);
}

/**
 * godwit_mirror_revoke() - the device loses all its translations, and gets no new ones.
 * @mirror: a mirror that jobs or views may still refer to; no lock of a chunk is held.
 */
void godwit_mirror_revoke(struct godwit_mirror *mirror)
{
	struct godwit_chunk *chunk;
	unsigned long index;

	/* Before the locks of the chunks: whoever sets an entry looks at it with the lock. */
	WRITE_ONCE(mirror->revoked, true);
	xa_for_each(&mirror->chunks, index, chunk)
		godwit_chunk_revoke(chunk);
}

/**
 * godwit_mirror_detach_all() - the descriptor is closed, or the device goes.
 * @client: the client.
 * @revoke: views and exports, which outlive the descriptor, get no translations any more.
 */
void godwit_mirror_detach_all(struct godwit_client *client, bool revoke)
{
	struct godwit_mirror *mirror, *next;

	mutex_lock(&client->lock);
	list_for_each_entry_safe(mirror, next, &client->mirrors, link) {
		mirror_end(mirror);
		if (revoke)
			godwit_mirror_revoke(mirror);
		godwit_mirror_put(mirror);
	}
	mutex_unlock(&client->lock);
}

static int mirror_detach(struct godwit_client *client, u32 *id)
{
	struct godwit_mirror *mirror;

	mutex_lock(&client->lock);
	mirror = mirror_find(client);
	if (mirror) {
		*id = mirror->id;
		mirror_end(mirror);
		godwit_mirror_revoke(mirror);
		godwit_export_kill(NULL, mirror);
		godwit_mirror_put(mirror);
	}
	mutex_unlock(&client->lock);
	return mirror ? 0 : -ENOENT;
}

/**
 * godwit_attach_ioctl() - DRM_IOCTL_GODWIT_ATTACH.
 * @drm: the device.
 * @data: &struct drm_godwit_attach.
 * @file: the client.
 */
int godwit_attach_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct godwit_client *client = file->driver_priv;
	struct drm_godwit_attach *args = data;
	u32 version = args->client_version;
	struct godwit_mirror *mirror;

	args->driver_version = GODWIT_UAPI_VERSION;
	args->client_id = client->id;
	args->mirror_id = 0;
	if (args->pad || (args->flags & ~GODWIT_ATTACH_DETACH))
		return -EINVAL;
	if (version >> 16 != GODWIT_UAPI_MAJOR || (version & 0xffff) > GODWIT_UAPI_MINOR) {
		drm_dbg_driver(drm, "a client for interface %u.%u is refused, this is %u.%u\n",
			       version >> 16, version & 0xffff, GODWIT_UAPI_MAJOR,
			       GODWIT_UAPI_MINOR);
		return -EPROTONOSUPPORT;
	}
	if (args->flags & GODWIT_ATTACH_DETACH)
		return mirror_detach(client, &args->mirror_id);

	mirror = godwit_mirror_get(client);
	if (IS_ERR(mirror))
		return PTR_ERR(mirror);
	args->mirror_id = mirror->id;
	godwit_mirror_put(mirror);
	return 0;
}
