/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_EVENT_H_
#define _GODWIT_EVENT_H_

#include <linux/poll.h>
#include <linux/types.h>

#include <drm/godwit_drm.h>

struct drm_device;
struct drm_file;
struct file;
struct godwit_client;
struct godwit_mirror;
struct vm_area_struct;

/* Generation words of one ring. */
#define GODWIT_RING_WORDS	512u
#define GODWIT_RING_MAX		65536u

/*
 * Offset of the ring on the render node: beyond all objects (DRM_FILE_PAGE_OFFSET_SIZE), and within
 * what a 32-bit program can ask for, 2^32 pages.
 */
#define GODWIT_RING_OFFSET	BIT_ULL(43)

/**
 * struct godwit_ring - the ring of a client, mapped into its process.
 */
struct godwit_ring {
	/** @refs: the client, and each mapping. */
	struct kref refs;
	/** @memory: the header page, the generation words, the records. */
	void *memory;
	/** @bytes: of @memory. */
	size_t bytes;
	/** @capacity: records; ours, not the one that the process can write. */
	u32 capacity;
	/** @types: which events are wanted. */
	u64 types;
	/** @head: records stored; ours. Under &godwit_client.ring_lock. */
	u64 head;
	/** @sequence: events seen. Under &godwit_client.ring_lock. */
	u64 sequence;
	/** @lost: records without room. Under &godwit_client.ring_lock. */
	u64 lost;
	/** @words: which generation words are taken. Under &godwit_client.ring_lock. */
	DECLARE_BITMAP(words, GODWIT_RING_WORDS);
	/** @waiters: poll. */
	wait_queue_head_t waiters;
};

void godwit_event_post(struct godwit_client *client, const struct drm_godwit_event *event);
void godwit_event_moved(struct godwit_client *client, u32 mirror, enum drm_godwit_cause cause,
			unsigned long addr, unsigned long length, enum drm_godwit_place from,
			enum drm_godwit_place to, unsigned long pages);
void godwit_event_invalidated(struct godwit_mirror *mirror, unsigned long start,
			      unsigned long end, unsigned int pages);

u64 *godwit_ring_generations(struct godwit_ring *ring);
void godwit_ring_put(struct godwit_ring *ring);
void godwit_ring_close(struct godwit_client *client);
int godwit_ring_mmap(struct godwit_client *client, struct vm_area_struct *vma);
__poll_t godwit_ring_poll(struct godwit_client *client, struct file *filp,
			  struct poll_table_struct *wait);

int godwit_events_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

#endif /* _GODWIT_EVENT_H_ */
