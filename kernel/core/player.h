/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_PLAYER_H_
#define _GODWIT_PLAYER_H_

struct godwit_queue;

int godwit_player_start(struct godwit_queue *queue);
void godwit_player_stop(struct godwit_queue *queue);

#endif /* _GODWIT_PLAYER_H_ */
