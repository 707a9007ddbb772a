// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Commands
 *
 * Overview: the device at work. A command goes through memory page by page; each page is one
 * access (access.c), within which the translation is valid. Where there is none the device
 * faults: the fault is served (fault.c) and the access is made again, from where the command
 * stood. So each byte and each addition is done exactly once, whatever was taken away in
 * between.
 *
 * Bounded: a fault that was served is used at once (&godwit_fault.use), so each access takes one.
 * Where serving fails because the range keeps changing it is tried again, from COMMAND_CALM tries
 * on in place, for a second and COMMAND_TRIES times at least (-EBUSY). The time of the job is
 * looked at before each access.
 *
 * Atomicity: additions are atomic against CPUs, which reach the same page of RAM, or of coherent
 * VRAM, by its physical address. In private VRAM nobody but the device can be. The other commands
 * are as atomic as memcpy() is.
 *
 * Locking: none but that of the access. COPY reads and writes in two accesses, through a page
 * of the job: two open ones could wait for each other.
 */
#include <linux/atomic.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/wait.h>

#include "../state/range.h"
#include "access.h"
#include "command.h"
#include "fault.h"
#include "job.h"
#include "mirror.h"
#include "queue.h"

#define COMMAND_DEADLINE	HZ
#define COMMAND_CALM		3u
#define COMMAND_TRIES		10u
#define COMMAND_SPIN		(HZ / 50)

#define COMMAND_FNV_OFFSET	0xcbf29ce484222325ULL
#define COMMAND_FNV_PRIME	0x100000001b3ULL

struct command_run;

/* Does something to @size bytes at @memory, which are at @pos of the command's range. */
typedef void (*command_step)(struct command_run *run, void *memory, u64 pos, size_t size);

/**
 * struct command_run - a command that is being played.
 */
struct command_run {
	/** @job: of which it is a part. */
	struct godwit_job *job;
	/** @command: the command. */
	const struct drm_godwit_command *command;
	/** @result: what becomes of it. */
	struct drm_godwit_result *result;
	/** @data: bytes of a READ or WRITE. */
	u8 *data;
	/** @next: of a WALK: the pointer that was read. */
	u64 next;
	/** @fault: the one that is being served. */
	struct godwit_fault fault;
	/** @step: the access that it is about. */
	command_step step;
	/** @pos: of @step. */
	u64 pos;
	/** @size: of @step. */
	size_t size;
};

static void command_use(struct godwit_fault *fault, struct godwit_chunk *chunk)
{
	struct command_run *run = container_of(fault, struct command_run, fault);
	struct godwit_access access;

	if (WARN_ON_ONCE(!godwit_access_begin(run->job->mirror, fault->addr, fault->write,
					      &access)))
		return;
	run->step(run, access.data, run->pos, run->size);
	godwit_access_end(&access);
}

/* Has a fault served, and the access done in it. */
static int command_fault(struct command_run *run, unsigned long addr, bool write, bool calm)
{
	int ret;

	run->fault = (struct godwit_fault) {
		.addr = addr,
		.write = write,
		.in_place = calm || (run->command->flags & GODWIT_COMMAND_IN_PLACE),
		.cause = GODWIT_CAUSE_DEVICE_FAULT,
		.use = command_use,
	};
	run->result->faults++;
	ret = godwit_fault(run->job->mirror, &run->fault);
	run->result->pages_moved += run->fault.moved;
	run->result->pages_mapped += run->fault.mapped;
	return ret == -ESRCH || ret == -EINTR ? -ECANCELED : ret;
}

/* One access: does @step to the bytes at @addr, which are in one page; faults are served. */
static int command_touch(struct command_run *run, unsigned long addr, bool write,
			 command_step step, u64 pos, size_t size)
{
	unsigned long deadline = jiffies + COMMAND_DEADLINE;
	struct godwit_access access;
	unsigned int tries;
	int ret;

	run->step = step;
	run->pos = pos;
	run->size = size;
	for (tries = 0;; tries++) {
		ret = godwit_job_poll(run->job);
		if (ret)
			break;
		if (godwit_access_begin(run->job->mirror, addr, write, &access)) {
			step(run, access.data, pos, size);
			godwit_access_end(&access);
			return 0;
		}
		run->result->replays += !!tries;
		ret = -EFAULT;
		if (run->command->flags & GODWIT_COMMAND_NO_FAULT)
			break;
		ret = command_fault(run, addr, write, tries >= COMMAND_CALM);
		if (!ret)
			return 0;
		if (ret != -EBUSY || (tries >= COMMAND_TRIES && time_after(jiffies, deadline)))
			break;
	}
	run->result->fault_addr = addr;
	return ret;
}

/* Does @step to each page of the command's range. */
static int command_each(struct command_run *run, bool write, command_step step)
{
	u64 addr = run->command->addr, length = run->command->length, pos;
	size_t size;
	int ret;

	for (pos = 0; pos < length; pos += size) {
		size = godwit_span_end(addr + pos, addr + length, PAGE_SIZE) - (addr + pos);
		ret = command_touch(run, addr + pos, write, step, pos, size);
		if (ret)
			return ret;
		run->result->done += size;
		cond_resched();
	}
	return 0;
}

static void command_read(struct command_run *run, void *memory, u64 pos, size_t size)
{
	memcpy(run->data + pos, memory, size);
}

static void command_write(struct command_run *run, void *memory, u64 pos, size_t size)
{
	memcpy(memory, run->data + pos, size);
}

static void command_fill(struct command_run *run, void *memory, u64 pos, size_t size)
{
	__le64 pattern = cpu_to_le64(run->command->operand);
	const u8 *bytes = (const u8 *)&pattern;
	u8 *to = memory;
	size_t i;

	for (i = 0; i < size; i++)
		to[i] = bytes[(pos + i) % sizeof(pattern)];
}

static void command_add(struct command_run *run, void *memory, u64 pos, size_t size)
{
	atomic64_t *word = memory;
	size_t i;

	for (i = 0; i < size / sizeof(*word); i++)
		run->result->value = atomic64_fetch_add(run->command->operand, &word[i]);
}

static void command_checksum(struct command_run *run, void *memory, u64 pos, size_t size)
{
	u64 sum = pos ? run->result->value : COMMAND_FNV_OFFSET;
	const u8 *from = memory;
	size_t i;

	for (i = 0; i < size; i++)
		sum = (sum ^ from[i]) * COMMAND_FNV_PRIME;
	run->result->value = sum;
}

static void command_load(struct command_run *run, void *memory, u64 pos, size_t size)
{
	memcpy(run->job->bounce, memory, size);
}

static void command_store(struct command_run *run, void *memory, u64 pos, size_t size)
{
	memcpy(memory, run->job->bounce, size);
}

static int command_copy(struct command_run *run)
{
	u64 from = run->command->source, to = run->command->addr, length = run->command->length;
	size_t size;
	u64 pos;
	int ret;

	for (pos = 0; pos < length; pos += size) {
		size = godwit_span_end(from + pos, from + length, PAGE_SIZE) - (from + pos);
		size = godwit_span_end(to + pos, to + pos + size, PAGE_SIZE) - (to + pos);
		ret = command_touch(run, from + pos, false, command_load, pos, size);
		if (!ret)
			ret = command_touch(run, to + pos, true, command_store, pos, size);
		if (ret)
			return ret;
		run->result->done += size;
		cond_resched();
	}
	return 0;
}

static void command_follow(struct command_run *run, void *memory, u64 pos, size_t size)
{
	run->next = READ_ONCE(*(u64 *)memory);
}

static int command_walk(struct command_run *run)
{
	u64 node, link;
	int ret;

	for (node = run->command->addr; node; node = run->next) {
		run->result->fault_addr = node;
		if (node % sizeof(node))
			return -EINVAL;
		if (run->result->value >= run->command->length)
			return -ELOOP;
		if (check_add_overflow(node, run->command->operand, &link))
			return -EFAULT;
		ret = command_touch(run, link, false, command_follow, 0, sizeof(node));
		if (ret)
			return ret;
		run->result->value++;
		run->result->done++;
		cond_resched();
	}
	run->result->fault_addr = 0;
	return 0;
}

static int command_spin(struct command_run *run)
{
	struct godwit_queue *queue = run->job->queue;
	int ret;

	do {
		wait_event_idle_timeout(queue->wake, READ_ONCE(queue->stopped), COMMAND_SPIN);
		ret = godwit_job_poll(run->job);
	} while (!ret);
	return ret;
}

/**
 * godwit_command_play() - do what a command says.
 * @job: a job that is running.
 * @index: which command of it.
 * @data: bytes of a READ or WRITE.
 *
 * Return: 0 or what &drm_godwit_result.status says.
 */
int godwit_command_play(struct godwit_job *job, unsigned int index, u8 *data)
{
	struct command_run run = {
		.job = job,
		.command = &job->commands[index],
		.result = &job->results[index],
		.data = data,
	};
	int ret = godwit_job_poll(job);

	if (ret)
		goto out;
	switch (run.command->op) {
	case GODWIT_OP_READ:
		ret = command_each(&run, false, command_read);
		break;
	case GODWIT_OP_WRITE:
		ret = command_each(&run, true, command_write);
		break;
	case GODWIT_OP_FILL:
		ret = command_each(&run, true, command_fill);
		break;
	case GODWIT_OP_COPY:
		ret = command_copy(&run);
		break;
	case GODWIT_OP_ATOMIC_ADD:
		ret = command_each(&run, true, command_add);
		break;
	case GODWIT_OP_CHECKSUM:
		ret = command_each(&run, false, command_checksum);
		break;
	case GODWIT_OP_WALK:
		ret = command_walk(&run);
		break;
	case GODWIT_OP_SPIN:
		ret = command_spin(&run);
		break;
	default:
		break;
	}
out:
	run.result->status = ret;
	return ret;
}

static int command_check_range(u64 addr, u64 length)
{
	return godwit_range_check(addr, length, 1, TASK_SIZE, GODWIT_MAX_RANGE);
}

/**
 * godwit_command_check() - is a command one that can be played?
 * @command: as the client gave it.
 */
int godwit_command_check(const struct drm_godwit_command *command)
{
	bool addr = false, source = false, operand = false, data = false, words = false;
	int ret = 0;

	switch (command->op) {
	case GODWIT_OP_READ:
	case GODWIT_OP_WRITE:
		addr = true;
		data = true;
		break;
	case GODWIT_OP_FILL:
		addr = true;
		operand = true;
		break;
	case GODWIT_OP_COPY:
		addr = true;
		source = true;
		break;
	case GODWIT_OP_ATOMIC_ADD:
		addr = true;
		operand = true;
		words = true;
		break;
	case GODWIT_OP_CHECKSUM:
		addr = true;
		break;
	case GODWIT_OP_WALK:
		/* Its length is no length, and what is at its address is for the device to see. */
		if (!command->length || command->operand % sizeof(u64))
			return -EINVAL;
		operand = true;
		break;
	case GODWIT_OP_SPIN:
	case GODWIT_OP_NOP:
		if (command->addr || command->length)
			return -EINVAL;
		break;
	default:
		return -EINVAL;
	}
	if (command->flags & ~(GODWIT_COMMAND_IN_PLACE | GODWIT_COMMAND_NO_FAULT))
		return -EINVAL;
	if ((!source && command->source) || (!operand && command->operand) ||
	    data != !!command->data)
		return -EINVAL;
	if (words && (command->addr | command->length) % sizeof(u64))
		return -EINVAL;
	if (addr)
		ret = command_check_range(command->addr, command->length);
	if (!ret && source) {
		ret = command_check_range(command->source, command->length);
		if (!ret && command->source < command->addr + command->length &&
		    command->addr < command->source + command->length)
			ret = -EINVAL;
	}
	return ret;
}
