/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_ROOM_H_
#define _GODWIT_ROOM_H_

struct godwit_batch;
struct godwit_device;
struct godwit_home;

void godwit_rooms(struct godwit_batch *batch, unsigned int i, unsigned int count,
		  struct godwit_device *gdev, unsigned long frame, struct godwit_home *home);
void godwit_room_huge(struct godwit_batch *batch, unsigned int i, struct godwit_device *gdev,
		      unsigned long frame, unsigned int pages, struct godwit_home *home);

#endif /* _GODWIT_ROOM_H_ */
