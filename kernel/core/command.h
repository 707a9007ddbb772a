/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_COMMAND_H_
#define _GODWIT_COMMAND_H_

#include <linux/types.h>

#include <drm/godwit_drm.h>

struct godwit_job;

int godwit_command_check(const struct drm_godwit_command *command);
int godwit_command_play(struct godwit_job *job, unsigned int index, u8 *data);

#endif /* _GODWIT_COMMAND_H_ */
