/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_GRIP_H_
#define _GODWIT_GRIP_H_

struct godwit_mirror;
struct godwit_pin;

int godwit_grip_system(struct godwit_mirror *mirror, struct godwit_pin *pin);
int godwit_grip_vram(struct godwit_mirror *mirror, struct godwit_pin *pin);

#endif /* _GODWIT_GRIP_H_ */
