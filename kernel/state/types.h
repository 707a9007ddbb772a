/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The few names that the files of this folder take from their surroundings: the kernel, or, in
 * unit tests, the C library. Nothing here may include anything else of either.
 */
#ifndef _GODWIT_STATE_TYPES_H_
#define _GODWIT_STATE_TYPES_H_

#ifdef __KERNEL__

#include <linux/bitops.h>
#include <linux/errno.h>
#include <linux/string.h>
#include <linux/types.h>

#define godwit_lowest_bit(word)	((unsigned int)__ffs64(word))

#else

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define godwit_lowest_bit(word)	((unsigned int)__builtin_ctzll(word))

#endif

#endif /* _GODWIT_STATE_TYPES_H_ */
