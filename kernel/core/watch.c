// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Generation words
 *
 * Overview: a word in the ring's mapping that changes whenever the pages of a watched range
 * could be anywhere else than before. It is bumped in the notifier, before the kernel changes
 * anything, so a program that finds the word unchanged knows that what it cached was right when
 * it looked. Notifiers tell of what is taken away: not of a page that comes where there was none.
 *
 * Locking: &godwit_mirror.watch_lock, inside &godwit_chunk.lock; &godwit_client.ring_lock
 * inside it.
 */
#include <linux/slab.h>

#include <drm/drm_file.h>

#include "chunk.h"
#include "client.h"
#include "device.h"
#include "event.h"
#include "migrate.h"
#include "mirror.h"
#include "watch.h"

/**
 * struct godwit_watch - a watched range.
 */
struct godwit_watch {
	/** @link: in &godwit_mirror.watches. */
	struct list_head link;
	/** @start: first address. */
	unsigned long start;
	/** @end: address after the last one. */
	unsigned long end;
	/** @word: index of its generation word. */
	u32 word;
};

/* The words can be mapped by the process that they tell; it can only deceive itself. */
static void watch_bump_word(struct godwit_client *client, u32 word)
{
	unsigned long flags;
	u64 *words;

	spin_lock_irqsave(&client->ring_lock, flags);
	if (client->ring) {
		words = godwit_ring_generations(client->ring);
		WRITE_ONCE(words[word], words[word] + 1);
	}
	spin_unlock_irqrestore(&client->ring_lock, flags);
}

/**
 * godwit_watch_bump() - something in a range is about to change. In a notifier.
 * @mirror: the mirror.
 * @start: first address.
 * @end: address after the last one.
 */
void godwit_watch_bump(struct godwit_mirror *mirror, unsigned long start, unsigned long end)
{
	struct godwit_watch *watch;

	if (list_empty_careful(&mirror->watches))
		return;
	spin_lock(&mirror->watch_lock);
	list_for_each_entry(watch, &mirror->watches, link)
		if (watch->start < end && start < watch->end)
			watch_bump_word(mirror->client, watch->word);
	spin_unlock(&mirror->watch_lock);
}

static int watch_take_word(struct godwit_client *client, u32 *word)
{
	int ret = 0;

	spin_lock_irq(&client->ring_lock);
	if (!client->ring) {
		ret = -ENXIO;
	} else {
		*word = find_first_zero_bit(client->ring->words, GODWIT_RING_WORDS);
		if (*word < GODWIT_RING_WORDS)
			__set_bit(*word, client->ring->words);
		else
			ret = -ENOSPC;
	}
	spin_unlock_irq(&client->ring_lock);
	return ret;
}

static void watch_give_word(struct godwit_client *client, u32 word)
{
	spin_lock_irq(&client->ring_lock);
	if (client->ring)
		__clear_bit(word, client->ring->words);
	spin_unlock_irq(&client->ring_lock);
}

/**
 * godwit_watch_remove_all() - all watches end.
 * @mirror: the mirror, &godwit_mirror.ended.
 *
 * Nobody bumps their words any more: so they are bumped now, once, for whoever reads on.
 */
void godwit_watch_remove_all(struct godwit_mirror *mirror)
{
	struct godwit_watch *watch, *next;
	LIST_HEAD(gone);

	spin_lock(&mirror->watch_lock);
	list_splice_init(&mirror->watches, &gone);
	spin_unlock(&mirror->watch_lock);
	list_for_each_entry_safe(watch, next, &gone, link) {
		watch_bump_word(mirror->client, watch->word);
		watch_give_word(mirror->client, watch->word);
		kfree(watch);
	}
}

static int watch_remove(struct godwit_mirror *mirror, u32 word)
{
	struct godwit_watch *watch, *found = NULL;

	spin_lock(&mirror->watch_lock);
	list_for_each_entry(watch, &mirror->watches, link) {
		if (watch->word != word)
			continue;
		found = watch;
		list_del(&found->link);
		break;
	}
	spin_unlock(&mirror->watch_lock);
	if (!found)
		return -ENOENT;
	watch_give_word(mirror->client, word);
	kfree(found);
	return 0;
}

static int watch_add(struct godwit_mirror *mirror, struct drm_godwit_watch *args)
{
	struct godwit_watch *watch;
	int ret;

	watch = kzalloc_obj(*watch, GFP_KERNEL_ACCOUNT);
	if (!watch)
		return -ENOMEM;
	watch->start = args->addr;
	watch->end = args->addr + args->length;
	ret = watch_take_word(mirror->client, &watch->word);
	if (ret) {
		kfree(watch);
		return ret;
	}
	args->word = watch->word;
	spin_lock(&mirror->watch_lock);
	ret = READ_ONCE(mirror->ended) ? -ESRCH : 0;
	if (!ret)
		list_add(&watch->link, &mirror->watches);
	spin_unlock(&mirror->watch_lock);
	if (ret) {
		watch_give_word(mirror->client, watch->word);
		kfree(watch);
		return ret;
	}

	/* Notifiers exist only where there are chunks. */
	ret = godwit_chunk_cover(mirror, args->addr, args->addr + args->length);
	if (ret)
		watch_remove(mirror, args->word);
	return ret;
}

/**
 * godwit_watch_ioctl() - DRM_IOCTL_GODWIT_WATCH.
 * @drm: the device.
 * @data: &struct drm_godwit_watch.
 * @file: the client.
 */
int godwit_watch_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_godwit_watch *args = data;
	struct godwit_mirror *mirror;
	int ret;

	if (args->flags & ~GODWIT_WATCH_REMOVE)
		return -EINVAL;
	if (args->flags & GODWIT_WATCH_REMOVE) {
		if (args->addr || args->length)
			return -EINVAL;
	} else {
		ret = godwit_migrate_check_range(args->addr, args->length);
		if (ret)
			return ret;
		/* A chunk for every 32 MiB: a terabyte of them would be too much. */
		if (args->length > GODWIT_WATCH_LENGTH_MAX)
			return -E2BIG;
	}
	mirror = godwit_mirror_get(file->driver_priv);
	if (IS_ERR(mirror))
		return PTR_ERR(mirror);
	if (args->flags & GODWIT_WATCH_REMOVE)
		ret = watch_remove(mirror, args->word);
	else
		ret = watch_add(mirror, args);
	godwit_mirror_put(mirror);
	return ret;
}
