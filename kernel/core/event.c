// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Events
 *
 * Overview: a ring of records in memory that the process maps: what moved, why, from where to
 * where. Storing a record never waits and never allocates; a ring that is full loses records,
 * and counts them. The same mapping has the generation words (watch.c).
 *
 * The process can write all of the mapping. Nothing in it is relied on but the tail, and that
 * only to tell whether there is room (../state/ring.h).
 *
 * Locking: &godwit_client.ring_lock, innermost, any context. The ring lives until its last
 * mapping is gone, which may be after the descriptor was closed.
 */
#include <linux/ktime.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include <drm/drm_file.h>

#include "../state/ring.h"
#include "client.h"
#include "device.h"
#include "event.h"
#include "mirror.h"

#define RING_GENERATIONS	PAGE_SIZE
#define RING_RECORDS		(RING_GENERATIONS + GODWIT_RING_WORDS * sizeof(u64))

static struct drm_godwit_ring *ring_header(struct godwit_ring *ring)
{
	return ring->memory;
}

/**
 * godwit_ring_generations() - the generation words of a ring.
 * @ring: the ring.
 */
u64 *godwit_ring_generations(struct godwit_ring *ring)
{
	return ring->memory + RING_GENERATIONS;
}

static void ring_free(struct kref *refs)
{
	struct godwit_ring *ring = container_of(refs, struct godwit_ring, refs);

	vfree(ring->memory);
	kfree(ring);
}

/**
 * godwit_ring_put() - give back a reference. May sleep.
 * @ring: the ring.
 */
void godwit_ring_put(struct godwit_ring *ring)
{
	kref_put(&ring->refs, ring_free);
}

static struct godwit_ring *ring_create(u32 capacity, u64 types)
{
	struct drm_godwit_ring *header;
	struct godwit_ring *ring;

	ring = kzalloc_obj(*ring, GFP_KERNEL_ACCOUNT);
	if (!ring)
		return NULL;
	kref_init(&ring->refs);
	init_waitqueue_head(&ring->waiters);
	ring->capacity = capacity;
	ring->types = types;
	ring->bytes = PAGE_ALIGN(RING_RECORDS + capacity * sizeof(struct drm_godwit_event));
	/* Of the group of the process: all of it can be mapped, and nothing else limits it. */
	ring->memory = __vmalloc(ring->bytes, GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!ring->memory) {
		kfree(ring);
		return NULL;
	}
	header = ring_header(ring);
	header->capacity = capacity;
	header->record_size = sizeof(struct drm_godwit_event);
	header->records_offset = RING_RECORDS;
	header->generations_offset = RING_GENERATIONS;
	header->generations = GODWIT_RING_WORDS;
	return ring;
}

static bool ring_store(struct godwit_ring *ring, const struct drm_godwit_event *event)
{
	struct drm_godwit_event *records = ring->memory + RING_RECORDS;
	struct drm_godwit_ring *header = ring_header(ring);
	struct drm_godwit_event *record;

	if (!(ring->types & BIT_ULL(event->type)))
		return true;
	ring->sequence++;
	/* Pairs with the program's release of the tail: it has read the record that goes. */
	if (godwit_ring_full(ring->head, smp_load_acquire(&header->tail), ring->capacity)) {
		WRITE_ONCE(header->lost, ++ring->lost);
		return false;
	}
	record = &records[godwit_ring_index(ring->head, ring->capacity)];
	*record = *event;
	record->sequence = ring->sequence;
	record->time_ns = ktime_get_ns();
	/* Pairs with the program's acquire of the head: it finds the record. */
	smp_store_release(&header->head, ++ring->head);
	return true;
}

/**
 * godwit_event_post() - tell a client, if it wants to know. Any context.
 * @client: the client, or NULL.
 * @event: what; sequence and time are set here.
 */
void godwit_event_post(struct godwit_client *client, const struct drm_godwit_event *event)
{
	unsigned long flags;
	bool stored = true;

	if (!client || !READ_ONCE(client->ring))
		return;
	spin_lock_irqsave(&client->ring_lock, flags);
	if (client->ring) {
		stored = ring_store(client->ring, event);
		if (wq_has_sleeper(&client->ring->waiters))
			wake_up_poll(&client->ring->waiters, EPOLLPRI);
	}
	spin_unlock_irqrestore(&client->ring_lock, flags);
	if (!stored)
		godwit_stat_add(NULL, client, GODWIT_STAT_EVENTS_LOST, 1);
}

/**
 * godwit_event_moved() - pages moved.
 * @client: whose, or NULL.
 * @mirror: id of the mirror, 0 where it is not known.
 * @cause: why.
 * @addr: first byte.
 * @length: bytes.
 * @from: from where.
 * @to: to where.
 * @pages: how many; 0 tells nobody.
 */
void godwit_event_moved(struct godwit_client *client, u32 mirror, enum drm_godwit_cause cause,
			unsigned long addr, unsigned long length, enum drm_godwit_place from,
			enum drm_godwit_place to, unsigned long pages)
{
	struct drm_godwit_event event = {
		.type = cause == GODWIT_CAUSE_EVICTION ? GODWIT_EVENT_EVICT : GODWIT_EVENT_MIGRATE,
		.mirror_id = mirror,
		.cause = cause,
		.addr = addr,
		.length = length,
		.from = from,
		.to = to,
		.pages = pages,
	};

	if (pages)
		godwit_event_post(client, &event);
}

/**
 * godwit_event_invalidated() - the device lost translations.
 * @mirror: whose.
 * @start: first address.
 * @end: address after the last one.
 * @pages: how many.
 */
void godwit_event_invalidated(struct godwit_mirror *mirror, unsigned long start,
			      unsigned long end, unsigned int pages)
{
	struct drm_godwit_event event = {
		.type = GODWIT_EVENT_INVALIDATE,
		.mirror_id = mirror->id,
		.addr = start,
		.length = end - start,
		.pages = pages,
	};

	godwit_event_post(mirror->client, &event);
}

static struct godwit_ring *ring_get(struct godwit_client *client)
{
	struct godwit_ring *ring;

	spin_lock_irq(&client->ring_lock);
	ring = client->ring;
	if (ring)
		kref_get(&ring->refs);
	spin_unlock_irq(&client->ring_lock);
	return ring;
}

/**
 * godwit_ring_close() - the descriptor is closed: no more records.
 * @client: the client.
 */
void godwit_ring_close(struct godwit_client *client)
{
	struct godwit_ring *ring;

	spin_lock_irq(&client->ring_lock);
	ring = client->ring;
	client->ring = NULL;
	spin_unlock_irq(&client->ring_lock);
	if (ring)
		godwit_ring_put(ring);
}

static void ring_vm_open(struct vm_area_struct *vma)
{
	struct godwit_ring *ring = vma->vm_private_data;

	kref_get(&ring->refs);
}

static void ring_vm_close(struct vm_area_struct *vma)
{
	godwit_ring_put(vma->vm_private_data);
}

/*
 * Page by page, and again after the device was unplugged, which takes all mappings of its node
 * away. The ring is the client's memory, not the device's: whoever polls its words must not get
 * SIGBUS for that.
 */
static vm_fault_t ring_vm_fault(struct vm_fault *vmf)
{
	struct godwit_ring *ring = vmf->vma->vm_private_data;
	unsigned long offset = (vmf->pgoff << PAGE_SHIFT) - GODWIT_RING_OFFSET;
	struct page *page;

	if (offset >= ring->bytes)
		return VM_FAULT_SIGBUS;
	page = vmalloc_to_page(ring->memory + offset);
	get_page(page);
	vmf->page = page;
	return 0;
}

static const struct vm_operations_struct ring_vm_ops = {
	.fault = ring_vm_fault,
	.open = ring_vm_open,
	.close = ring_vm_close,
};

/**
 * godwit_ring_mmap() - map the ring.
 * @client: the client.
 * @vma: at GODWIT_RING_OFFSET.
 */
int godwit_ring_mmap(struct godwit_client *client, struct vm_area_struct *vma)
{
	struct godwit_ring *ring = ring_get(client);

	if (!ring)
		return -ENXIO;
	if (!(vma->vm_flags & VM_SHARED) || vma->vm_end - vma->vm_start > ring->bytes) {
		godwit_ring_put(ring);
		return -EINVAL;
	}
	/* Pages of the kernel's: they are not moved, merged or collapsed. */
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP | VM_MIXEDMAP);
	vma->vm_private_data = ring;
	vma->vm_ops = &ring_vm_ops;
	return 0;
}

/**
 * godwit_ring_poll() - is there a record to read?
 * @client: the client.
 * @filp: its file.
 * @wait: as poll has it.
 */
__poll_t godwit_ring_poll(struct godwit_client *client, struct file *filp,
			  struct poll_table_struct *wait)
{
	struct godwit_ring *ring = ring_get(client);
	__poll_t ready = 0;

	if (!ring)
		return 0;
	poll_wait(filp, &ring->waiters, wait);
	if (READ_ONCE(ring->head) != READ_ONCE(ring_header(ring)->tail))
		ready = EPOLLPRI;
	godwit_ring_put(ring);
	return ready;
}

/**
 * godwit_events_ioctl() - DRM_IOCTL_GODWIT_EVENTS.
 * @drm: the device.
 * @data: &struct drm_godwit_events.
 * @file: the client.
 */
int godwit_events_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct godwit_client *client = file->driver_priv;
	struct drm_godwit_events *args = data;
	struct godwit_ring *ring, *old;

	args->map_offset = GODWIT_RING_OFFSET;
	args->map_length = 0;
	if (args->flags || !is_power_of_2(args->capacity))
		return -EINVAL;
	if (!args->types || args->types & ~GENMASK_ULL(GODWIT_EVENT_COUNT - 1, 1))
		return -EINVAL;
	if (args->capacity > GODWIT_RING_MAX)
		return -E2BIG;

	ring = ring_create(args->capacity, args->types);
	if (!ring)
		return -ENOMEM;
	spin_lock_irq(&client->ring_lock);
	old = client->ring;
	if (!old)
		client->ring = ring;
	args->map_length = client->ring->bytes;
	spin_unlock_irq(&client->ring_lock);
	if (!old)
		return 0;
	godwit_ring_put(ring);
	return -EEXIST;
}
