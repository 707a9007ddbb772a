/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM godwit

#if !defined(_GODWIT_TRACE_H_) || defined(TRACE_HEADER_MULTI_READ)
#define _GODWIT_TRACE_H_

#include <linux/tracepoint.h>

#include "device.h"
#include "mirror.h"

#define godwit_show_cause(cause)						\
	__print_symbolic(cause,							\
			 { GODWIT_CAUSE_NONE, "none" },				\
			 { GODWIT_CAUSE_DEVICE_FAULT, "device-fault" },		\
			 { GODWIT_CAUSE_CPU_FAULT, "cpu-fault" },		\
			 { GODWIT_CAUSE_PREFETCH, "prefetch" },			\
			 { GODWIT_CAUSE_EVICTION, "eviction" },			\
			 { GODWIT_CAUSE_REQUEST, "request" },			\
			 { GODWIT_CAUSE_ADVICE, "advice" },			\
			 { GODWIT_CAUSE_PEER, "peer" },				\
			 { GODWIT_CAUSE_UNPLUG, "unplug" },			\
			 { GODWIT_CAUSE_PIN, "pin" },				\
			 { GODWIT_CAUSE_VIEW, "view" })

/**
 * godwit_migrate - a span of a range was to move, to VRAM or to RAM
 */
TRACE_EVENT(godwit_migrate,
	TP_PROTO(struct godwit_mirror *mirror, unsigned int cause, unsigned long addr,
		 unsigned long length, bool to_vram, unsigned long moved),
	TP_ARGS(mirror, cause, addr, length, to_vram, moved),
	TP_STRUCT__entry(
		__field(u32, device)
		__field(u32, mirror)
		__field(unsigned int, cause)
		__field(unsigned long, addr)
		__field(unsigned long, length)
		__field(bool, to_vram)
		__field(unsigned long, moved)
	),
	TP_fast_assign(
		__entry->device = mirror->gdev->id;
		__entry->mirror = mirror->id;
		__entry->cause = cause;
		__entry->addr = addr;
		__entry->length = length;
		__entry->to_vram = to_vram;
		__entry->moved = moved;
	),
	TP_printk("device=%u mirror=%u cause=%s addr=%#lx length=%#lx to=%s moved=%lu",
		  __entry->device, __entry->mirror, godwit_show_cause(__entry->cause),
		  __entry->addr, __entry->length, __entry->to_vram ? "vram" : "ram",
		  __entry->moved)
);

/**
 * godwit_home - a CPU fault brought pages home
 */
TRACE_EVENT(godwit_home,
	TP_PROTO(struct godwit_device *gdev, unsigned int cause, unsigned long addr,
		 unsigned long length, unsigned long moved, unsigned long stayed),
	TP_ARGS(gdev, cause, addr, length, moved, stayed),
	TP_STRUCT__entry(
		__field(u32, device)
		__field(unsigned int, cause)
		__field(unsigned long, addr)
		__field(unsigned long, length)
		__field(unsigned long, moved)
		__field(unsigned long, stayed)
	),
	TP_fast_assign(
		__entry->device = gdev->id;
		__entry->cause = cause;
		__entry->addr = addr;
		__entry->length = length;
		__entry->moved = moved;
		__entry->stayed = stayed;
	),
	TP_printk("device=%u cause=%s addr=%#lx length=%#lx moved=%lu stayed=%lu",
		  __entry->device, godwit_show_cause(__entry->cause), __entry->addr,
		  __entry->length, __entry->moved, __entry->stayed)
);

/**
 * godwit_evict - a block of VRAM was emptied
 */
TRACE_EVENT(godwit_evict,
	TP_PROTO(struct godwit_device *gdev, unsigned int cause, unsigned long block,
		 unsigned long moved, unsigned long stayed),
	TP_ARGS(gdev, cause, block, moved, stayed),
	TP_STRUCT__entry(
		__field(u32, device)
		__field(unsigned int, cause)
		__field(unsigned long, block)
		__field(unsigned long, moved)
		__field(unsigned long, stayed)
	),
	TP_fast_assign(
		__entry->device = gdev->id;
		__entry->cause = cause;
		__entry->block = block;
		__entry->moved = moved;
		__entry->stayed = stayed;
	),
	TP_printk("device=%u cause=%s block=%lu moved=%lu stayed=%lu", __entry->device,
		  godwit_show_cause(__entry->cause), __entry->block, __entry->moved,
		  __entry->stayed)
);

/**
 * godwit_invalidate - the kernel changes a range; the device loses its translations of it
 */
TRACE_EVENT(godwit_invalidate,
	TP_PROTO(struct godwit_mirror *mirror, unsigned long start, unsigned long end,
		 unsigned int event, int pages),
	TP_ARGS(mirror, start, end, event, pages),
	TP_STRUCT__entry(
		__field(u32, device)
		__field(u32, mirror)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(unsigned int, event)
		__field(int, pages)
	),
	TP_fast_assign(
		__entry->device = mirror->gdev->id;
		__entry->mirror = mirror->id;
		__entry->start = start;
		__entry->end = end;
		__entry->event = event;
		__entry->pages = pages;
	),
	TP_printk("device=%u mirror=%u start=%#lx end=%#lx event=%u pages=%d", __entry->device,
		  __entry->mirror, __entry->start, __entry->end, __entry->event,
		  __entry->pages)
);

/**
 * godwit_fault - the device faulted, and it was served, or not
 */
TRACE_EVENT(godwit_fault,
	TP_PROTO(struct godwit_mirror *mirror, unsigned int cause, unsigned long addr, bool write,
		 unsigned long moved, unsigned long mapped, int ret),
	TP_ARGS(mirror, cause, addr, write, moved, mapped, ret),
	TP_STRUCT__entry(
		__field(u32, device)
		__field(u32, mirror)
		__field(unsigned int, cause)
		__field(unsigned long, addr)
		__field(bool, write)
		__field(unsigned long, moved)
		__field(unsigned long, mapped)
		__field(int, ret)
	),
	TP_fast_assign(
		__entry->device = mirror->gdev->id;
		__entry->mirror = mirror->id;
		__entry->cause = cause;
		__entry->addr = addr;
		__entry->write = write;
		__entry->moved = moved;
		__entry->mapped = mapped;
		__entry->ret = ret;
	),
	TP_printk("device=%u mirror=%u cause=%s addr=%#lx write=%d moved=%lu mapped=%lu ret=%d",
		  __entry->device, __entry->mirror, godwit_show_cause(__entry->cause),
		  __entry->addr, __entry->write, __entry->moved, __entry->mapped, __entry->ret)
);

/**
 * godwit_job - a job of the queue ended
 */
TRACE_EVENT(godwit_job,
	TP_PROTO(struct godwit_mirror *mirror, u64 job, unsigned int commands, int status),
	TP_ARGS(mirror, job, commands, status),
	TP_STRUCT__entry(
		__field(u32, device)
		__field(u32, mirror)
		__field(u64, job)
		__field(unsigned int, commands)
		__field(int, status)
	),
	TP_fast_assign(
		__entry->device = mirror->gdev->id;
		__entry->mirror = mirror->id;
		__entry->job = job;
		__entry->commands = commands;
		__entry->status = status;
	),
	TP_printk("device=%u mirror=%u job=%llu commands=%u status=%d", __entry->device,
		  __entry->mirror, __entry->job, __entry->commands, __entry->status)
);

#endif /* _GODWIT_TRACE_H_ */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
