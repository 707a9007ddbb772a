// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Eviction
 *
 * Overview: brings pages home because their VRAM is needed, because somebody asked, or because
 * the device goes away. Works on frames alone, and never asks whose address they have: the
 * kernel finds all mappings of a page by itself. So it can serve any process, dying ones
 * included.
 *
 * Pressure: godwit_evict_reserve() evicts block by block, the one that was used longest ago
 * first, until the frames that are wanted are free. Blocks that were used since it began are
 * spared, so it ends. It gives up after a second, but for an object that it has begun with.
 *
 * Reverse maps: without mmap_lock nobody keeps the VMAs of a page, and with them its anon_vma, by
 * which the kernel finds the migration entries again. So they are held (evict_hold()); those of
 * huge pages are, as long as they are in VRAM (shield.c).
 *
 * Locking: never takes mmap_lock. Takes the folio locks of what it evicts (trylock, in the
 * kernel), and in them reaches the notifiers of all mirrors that map it (chunk.c). The caller
 * must hold no folio lock and no lock of a chunk; mmap_lock is allowed.
 */
#include <linux/capability.h>
#include <linux/migrate.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_print.h>

#include "../compat/rmap.h"
#include "batch.h"
#include "client.h"
#include "device.h"
#include "drain.h"
#include "event.h"
#include "evict.h"
#include "export.h"
#include "gem.h"
#include "home.h"
#include "migrate.h"
#include "mirror.h"
#include "shield.h"
#include "trace.h"

#define EVICT_DEADLINE	HZ
/* At unplug: how often to try again what somebody else holds, and how long to wait between. */
#define EVICT_UNPLUG_ROUNDS	50
#define EVICT_UNPLUG_PAUSE	(HZ / 20)
#define EVICT_UNPLUG_LONG_PAUSE	HZ

/**
 * struct evict_job - what it takes to evict blocks, one after the other.
 */
struct evict_job {
	/** @batch: the pages of a block. */
	struct godwit_batch *batch;
	/** @home: how they come home. */
	struct godwit_home home;
	/**
	 * @anon: of each page, the anon_vma that was held for it, or NULL. One reference for those
	 * that are the same and follow each other.
	 */
	struct anon_vma *anon[GODWIT_BATCH_PAGES];
};

static struct evict_job *evict_job_alloc(struct godwit_device *gdev, enum drm_godwit_cause cause)
{
	struct evict_job *job = kzalloc_obj(*job);

	if (!job)
		return NULL;
	job->home = (struct godwit_home) {
		.cause = cause,
		.only = gdev,
		.poison = cause == GODWIT_CAUSE_UNPLUG,
	};
	job->batch = godwit_batch_alloc(GODWIT_BATCH_PAGES, GFP_KERNEL);
	if (job->batch)
		return job;
	kfree(job);
	return NULL;
}

static void evict_job_free(struct evict_job *job)
{
	if (job)
		godwit_batch_free(job->batch);
	kfree(job);
}

/*
 * Holds the reverse map of a page that may be freed meanwhile, or moved. A huge one needs no
 * reference, and should have none: see godwit_shield_keep().
 */
static struct anon_vma *evict_hold_one(unsigned long pfn, struct anon_vma *last)
{
	struct page *page = pfn_to_page(pfn);
	struct folio *folio = page_folio(page);
	struct anon_vma *anon = NULL;

	if (folio_test_large(folio) || !folio_try_get(folio))
		return NULL;
	if (page_folio(page) == folio) {
		anon = godwit_anon_vma(folio);
		/* What is held already may be gone from this page: evict_check() will find out. */
		if (anon != last)
			anon = godwit_anon_vma_get(folio);
	}
	folio_put(folio);
	return anon;
}

/* The reverse maps of all pages stay until evict_release(), whatever becomes of their VMAs. */
static void evict_hold(struct evict_job *job, unsigned int count)
{
	struct anon_vma *last = NULL;
	unsigned int i;

	for (i = 0; i < count; i++) {
		job->anon[i] = evict_hold_one(job->batch->src[i], last);
		last = job->anon[i];
	}
}

static void evict_release(struct evict_job *job, unsigned int count)
{
	struct anon_vma *last = NULL;
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (job->anon[i] && job->anon[i] != last)
			godwit_anon_vma_put(job->anon[i]);
		last = job->anon[i];
	}
}

/*
 * Lets go at once of pages whose reverse map is not the one that is held: their frames were freed
 * and used again in between, or somebody else was migrating them. Not huge ones: what zaps take
 * from them meanwhile must be made up for, which takes a shield (godwit_home_fill()).
 */
static void evict_check(struct evict_job *job, unsigned int count)
{
	struct godwit_batch *batch = job->batch;
	unsigned int i, pages;

	for (i = 0; i < count; i += pages) {
		struct page *page = migrate_pfn_to_page(batch->src[i]);
		struct folio *folio;

		pages = 1;
		if (!page || !(batch->src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		folio = page_folio(page);
		pages = folio_nr_pages(folio);
		if (pages > 1 || (job->anon[i] && job->anon[i] == godwit_anon_vma(folio)))
			continue;
		batch->src[i] &= ~MIGRATE_PFN_MIGRATE;
		migrate_device_finalize(&batch->src[i], &batch->dst[i], 1);
		batch->src[i] = 0;
	}
}

/* Brings the pages of an isolated block home. */
static void evict_block(struct godwit_device *gdev, unsigned long block,
			const struct godwit_client *client, struct evict_job *job)
{
	struct godwit_batch *batch = job->batch;
	struct godwit_home *home = &job->home;
	u64 since = ktime_get_ns();
	unsigned long moved = home->moved, stayed = home->stayed;
	struct godwit_export_move peers;
	unsigned int i, count;
	bool shielded;

	godwit_batch_reset(batch);
	count = godwit_vram_live(&gdev->vram, block, client, home->poison || home->advised,
				 batch->src);
	if (!count)
		return;
	for (i = 0; i < count; i++)
		batch->src[i] += gdev->pagemap.first_pfn;

	godwit_export_move_frames(&peers, batch->src[0], batch->src[count - 1]);
	evict_hold(job, count);
	/* In ascending order: the pages of a huge folio are together, as the kernel wants it. */
	migrate_device_pfns(batch->src, count);
	evict_check(job, count);
	godwit_batch_lap(&batch->time_setup, &since);
	godwit_home_fill(batch, count, home);
	shielded = batch->shield.up;
	godwit_home_wait(batch, home);
	since = ktime_get_ns();
	migrate_device_pages(batch->src, batch->dst, count);
	godwit_home_settle(batch, home);
	migrate_device_finalize(batch->src, batch->dst, count);
	godwit_home_end(batch, home);
	if (!shielded)
		godwit_shield_refused(pfn_to_page(gdev->pagemap.first_pfn +
						  block * GODWIT_BLOCK_FRAMES));
	evict_release(job, count);
	godwit_batch_lap(&batch->time_finish, &since);
	/* Before other devices get at what is lost. */
	if (home->poison)
		godwit_home_poison(batch, home);
	godwit_export_move_end(&peers);
	trace_godwit_evict(gdev, home->cause, block, home->moved - moved, home->stayed - stayed);
}

/**
 * godwit_evict_reserve() - reserve frames, and evict others to that end.
 * @gdev: the device.
 * @count: how many are wanted, at most GODWIT_BLOCK_FRAMES or they may be more than there can
 * be.
 * @evict: whether others may be evicted.
 *
 * Return: how many were reserved.
 */
unsigned long godwit_evict_reserve(struct godwit_device *gdev, unsigned long count, bool evict)
{
	struct godwit_vram *vram = &gdev->vram;
	unsigned long deadline = jiffies + EVICT_DEADLINE;
	struct evict_job *job;
	unsigned long got, block, evicted;
	u64 now;

	got = godwit_vram_reserve(vram, count);
	if (got == count || !evict)
		return got;

	now = godwit_vram_now(vram);
	job = evict_job_alloc(gdev, GODWIT_CAUSE_EVICTION);
	while (job) {
		/* A part of a reservation would keep blocks from being isolated. */
		godwit_vram_unreserve(vram, got);
		block = godwit_vram_oldest(vram, now);
		if (block != GODWIT_NO_BLOCK) {
			evict_block(gdev, block, NULL, job);
			/* What stayed is not the first to be tried again. */
			godwit_vram_touch(vram, block * GODWIT_BLOCK_FRAMES);
			godwit_vram_rejoin(vram, block);
		}
		got = godwit_vram_reserve(vram, count);
		if (got == count)
			break;
		if (block == GODWIT_NO_BLOCK) {
			/* No page can leave: objects. */
			godwit_vram_unreserve(vram, got);
			evicted = godwit_gem_evict(gdev, NULL, GODWIT_CAUSE_EVICTION,
						   count - got, &deadline);
			got = godwit_vram_reserve(vram, count);
			if (got == count || !evicted)
				break;
		}
		if (time_after(jiffies, deadline) || fatal_signal_pending(current))
			break;
	}
	evict_job_free(job);
	return got;
}

/**
 * godwit_evict_pages() - bring all pages of a client, or of all, home.
 * @gdev: the device.
 * @client: whose, or NULL.
 * @cause: why.
 * @eviction: what became of it.
 */
int godwit_evict_pages(struct godwit_device *gdev, const struct godwit_client *client,
		       enum drm_godwit_cause cause, struct godwit_eviction *eviction)
{
	struct godwit_vram *vram = &gdev->vram;
	struct evict_job *job;
	unsigned long block;
	int ret = 0;

	job = evict_job_alloc(gdev, cause);
	if (!job)
		return -ENOMEM;
	job->home.advised = eviction->advised;
	for (block = 0; block < vram->frames.nr_blocks; block++) {
		bool isolated = godwit_vram_isolate(vram, block);

		/* Isolation makes it converge; where somebody else has the block, try without. */
		evict_block(gdev, block, client, job);
		if (isolated)
			godwit_vram_rejoin(vram, block);
		if (cause == GODWIT_CAUSE_UNPLUG)
			continue;
		if (task_sigpending(current)) {
			ret = -EINTR;
			break;
		}
		cond_resched();
	}
	eviction->moved += job->home.moved;
	if (cause != GODWIT_CAUSE_UNPLUG && !ret)
		eviction->moved += godwit_gem_evict(gdev, client, cause, ULONG_MAX, NULL);
	eviction->stayed = godwit_gem_frames(gdev, client);
	for (block = 0; block < vram->frames.nr_blocks; block++)
		eviction->stayed += godwit_vram_live(vram, block, client, true, job->batch->src);
	evict_job_free(job);
	return ret;
}

/**
 * godwit_evict_unplug() - bring everything home, the device goes away.
 * @gdev: the device, its VRAM closed.
 *
 * Pages that somebody holds (coherent VRAM under I/O) are tried again until they can leave: they
 * are mapped as well, so when the I/O ends they still have to be brought home. There is no end to
 * that but theirs; taking the page map away would wait for them in any case, in the kernel, where
 * nobody evicts them any more.
 */
void godwit_evict_unplug(struct godwit_device *gdev)
{
	struct godwit_eviction eviction = { };
	unsigned int round;
	int ret;

	for (round = 1;; round++) {
		ret = godwit_evict_pages(gdev, NULL, GODWIT_CAUSE_UNPLUG, &eviction);
		if (!ret && !eviction.stayed && !godwit_vram_used(&gdev->vram))
			return;
		if (round == EVICT_UNPLUG_ROUNDS)
			drm_warn(&gdev->drm, "%lu pages of VRAM are held by somebody; waiting for them\n",
				 godwit_vram_used(&gdev->vram));
		/* Unmapped locked memory waits in lists of the processor that did it. */
		godwit_drain_all();
		wait_event_timeout(gdev->vram.freed, !godwit_vram_used(&gdev->vram),
				   round < EVICT_UNPLUG_ROUNDS ? EVICT_UNPLUG_PAUSE :
								 EVICT_UNPLUG_LONG_PAUSE);
	}
}

static int evict_range(struct godwit_client *client, struct drm_godwit_evict *args)
{
	struct godwit_device *gdev = client->gdev;
	struct godwit_move move = {
		.cause = GODWIT_CAUSE_REQUEST,
		.only = gdev,
		.patience = GODWIT_MOVE_PATIENCE,
	};
	struct godwit_mirror *mirror;
	int ret, i;

	ret = godwit_migrate_check_range(args->addr, args->length);
	if (ret)
		return ret;
	mirror = godwit_mirror_get(client);
	if (IS_ERR(mirror))
		return PTR_ERR(mirror);
	ret = godwit_migrate_range(mirror, args->addr, args->addr + args->length, &move);
	godwit_mirror_put(mirror);
	args->evicted = move.moved;
	args->stayed = 0;
	for (i = 0; i < GODWIT_STAY_COUNT; i++)
		if (i == GODWIT_STAY_BUSY || i == GODWIT_STAY_NO_RAM || i == GODWIT_STAY_COPY ||
		    i == GODWIT_STAY_ADVICE)
			args->stayed += move.stayed[i];
	return ret;
}

/**
 * godwit_evict_ioctl() - DRM_IOCTL_GODWIT_EVICT.
 * @drm: the device.
 * @data: &struct drm_godwit_evict.
 * @file: the client.
 */
int godwit_evict_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct godwit_client *self = file->driver_priv, *client = NULL;
	struct godwit_device *gdev = to_godwit(drm);
	struct godwit_eviction eviction = { };
	struct drm_godwit_evict *args = data;
	int ret;

	if (args->flags || args->pad)
		return -EINVAL;
	args->evicted = 0;
	args->stayed = 0;
	switch (args->what) {
	case GODWIT_EVICT_RANGE:
		return args->client ? -EINVAL : evict_range(self, args);
	case GODWIT_EVICT_CLIENT:
		if (args->addr || args->length)
			return -EINVAL;
		client = godwit_client_find(gdev, args->client ?: self->id);
		if (client && client != self && !capable(CAP_SYS_ADMIN)) {
			godwit_client_put(client);
			return -EACCES;
		}
		if (!client)
			return capable(CAP_SYS_ADMIN) ? -ENOENT : -EACCES;
		break;
	case GODWIT_EVICT_DEVICE:
		if (args->addr || args->length || args->client)
			return -EINVAL;
		if (!capable(CAP_SYS_ADMIN))
			return -EACCES;
		break;
	default:
		return -EINVAL;
	}

	ret = godwit_evict_pages(gdev, client, GODWIT_CAUSE_REQUEST, &eviction);
	args->evicted = eviction.moved;
	args->stayed = eviction.stayed;
	if (client)
		godwit_client_put(client);
	return ret;
}
