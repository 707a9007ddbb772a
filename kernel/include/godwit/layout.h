/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR MIT */
/*
 * The layout of the user interface, as assertions. The module includes this, and so do programs
 * in C and C++ on the other side: both fail to compile where one of them sees something else.
 */
#ifndef _GODWIT_LAYOUT_H_
#define _GODWIT_LAYOUT_H_

#ifdef __KERNEL__
#include <linux/build_bug.h>
#include <linux/stddef.h>
#else
#include <stddef.h>
#if !defined(__cplusplus) && !defined(static_assert)
#define static_assert _Static_assert
#endif
#endif

/** define GODWIT_LAYOUT_SIZE - the size of a structure, which is a multiple of 8. */
#define GODWIT_LAYOUT_SIZE(type, size)							\
	static_assert(sizeof(struct type) == (size) && (size) % 8 == 0,			\
		      "size of struct " #type)
/**
 * define GODWIT_LAYOUT_AT - the offset of a member, which is a multiple of the member's size.
 */
#define GODWIT_LAYOUT_AT(type, member, offset)						\
	static_assert(offsetof(struct type, member) == (offset), "offset of " #type "." #member)

GODWIT_LAYOUT_SIZE(drm_godwit_device_info, 160);
GODWIT_LAYOUT_AT(drm_godwit_device_info, vram_total, 8);
GODWIT_LAYOUT_AT(drm_godwit_device_info, device_id, 48);
GODWIT_LAYOUT_AT(drm_godwit_device_info, generation, 56);
GODWIT_LAYOUT_AT(drm_godwit_device_info, driver, 64);
GODWIT_LAYOUT_AT(drm_godwit_device_info, name, 96);
GODWIT_LAYOUT_SIZE(drm_godwit_limits, 48);
GODWIT_LAYOUT_AT(drm_godwit_limits, max_commands, 16);
GODWIT_LAYOUT_AT(drm_godwit_limits, max_views, 44);
GODWIT_LAYOUT_SIZE(drm_godwit_query, 16);
GODWIT_LAYOUT_AT(drm_godwit_query, data, 8);
GODWIT_LAYOUT_SIZE(drm_godwit_attach, 24);
GODWIT_LAYOUT_AT(drm_godwit_attach, mirror_id, 12);
GODWIT_LAYOUT_SIZE(drm_godwit_migrate, 240);
GODWIT_LAYOUT_AT(drm_godwit_migrate, to, 16);
GODWIT_LAYOUT_AT(drm_godwit_migrate, reasons, 24);
GODWIT_LAYOUT_AT(drm_godwit_migrate, moved, 40);
GODWIT_LAYOUT_AT(drm_godwit_migrate, stayed, 64);
GODWIT_LAYOUT_AT(drm_godwit_migrate, time_setup_ns, 192);
GODWIT_LAYOUT_AT(drm_godwit_migrate, reserved, 224);
GODWIT_LAYOUT_SIZE(drm_godwit_advise, 32);
GODWIT_LAYOUT_AT(drm_godwit_advise, advice, 16);
GODWIT_LAYOUT_SIZE(drm_godwit_discard, 40);
GODWIT_LAYOUT_AT(drm_godwit_discard, discarded, 24);
GODWIT_LAYOUT_SIZE(drm_godwit_residency, 72);
GODWIT_LAYOUT_AT(drm_godwit_residency, pages, 16);
GODWIT_LAYOUT_AT(drm_godwit_residency, in_system, 40);
GODWIT_LAYOUT_SIZE(drm_godwit_command, 48);
GODWIT_LAYOUT_AT(drm_godwit_command, addr, 8);
GODWIT_LAYOUT_AT(drm_godwit_command, data, 40);
GODWIT_LAYOUT_SIZE(drm_godwit_result, 56);
GODWIT_LAYOUT_AT(drm_godwit_result, value, 16);
GODWIT_LAYOUT_AT(drm_godwit_result, pages_mapped, 48);
GODWIT_LAYOUT_SIZE(drm_godwit_sync, 16);
GODWIT_LAYOUT_AT(drm_godwit_sync, point, 8);
GODWIT_LAYOUT_SIZE(drm_godwit_execute, 72);
GODWIT_LAYOUT_AT(drm_godwit_execute, command_count, 24);
GODWIT_LAYOUT_AT(drm_godwit_execute, job, 56);
GODWIT_LAYOUT_AT(drm_godwit_execute, status, 64);
GODWIT_LAYOUT_SIZE(drm_godwit_wait, 32);
GODWIT_LAYOUT_AT(drm_godwit_wait, result_count, 16);
GODWIT_LAYOUT_SIZE(drm_godwit_view, 24);
GODWIT_LAYOUT_AT(drm_godwit_view, fd, 20);
GODWIT_LAYOUT_SIZE(drm_godwit_export, 48);
GODWIT_LAYOUT_AT(drm_godwit_export, offset, 24);
GODWIT_LAYOUT_SIZE(drm_godwit_pin, 32);
GODWIT_LAYOUT_AT(drm_godwit_pin, handle, 24);
GODWIT_LAYOUT_SIZE(drm_godwit_unpin, 8);
GODWIT_LAYOUT_SIZE(drm_godwit_evict, 48);
GODWIT_LAYOUT_AT(drm_godwit_evict, addr, 8);
GODWIT_LAYOUT_AT(drm_godwit_evict, flags, 40);
GODWIT_LAYOUT_SIZE(drm_godwit_event, 64);
GODWIT_LAYOUT_AT(drm_godwit_event, mirror_id, 40);
GODWIT_LAYOUT_AT(drm_godwit_event, type, 48);
GODWIT_LAYOUT_AT(drm_godwit_event, from, 52);
GODWIT_LAYOUT_AT(drm_godwit_event, reserved, 56);
GODWIT_LAYOUT_SIZE(drm_godwit_ring, 128);
GODWIT_LAYOUT_AT(drm_godwit_ring, capacity, 24);
GODWIT_LAYOUT_AT(drm_godwit_ring, records_offset, 32);
GODWIT_LAYOUT_AT(drm_godwit_ring, generations, 48);
GODWIT_LAYOUT_SIZE(drm_godwit_events, 32);
GODWIT_LAYOUT_AT(drm_godwit_events, map_offset, 16);
GODWIT_LAYOUT_SIZE(drm_godwit_watch, 24);
GODWIT_LAYOUT_AT(drm_godwit_watch, word, 20);
GODWIT_LAYOUT_SIZE(drm_godwit_stats, 16);
GODWIT_LAYOUT_AT(drm_godwit_stats, values, 8);
GODWIT_LAYOUT_SIZE(drm_godwit_gem_create, 32);
GODWIT_LAYOUT_AT(drm_godwit_gem_create, handle, 16);
GODWIT_LAYOUT_AT(drm_godwit_gem_create, map_offset, 24);
GODWIT_LAYOUT_SIZE(drm_godwit_gem_info, 32);
GODWIT_LAYOUT_AT(drm_godwit_gem_info, flags, 24);
GODWIT_LAYOUT_SIZE(drm_godwit_gem_move, 16);

#endif /* _GODWIT_LAYOUT_H_ */
