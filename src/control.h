/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * /dev/flightrec-control, by which root creates and removes channels. All may sleep.
 */
#ifndef FLIGHTREC_CONTROL_H
#define FLIGHTREC_CONTROL_H

/* Its name in /dev: not within flightrec/, where each name is a channel's. */
#define FLIGHTREC_CONTROL "flightrec-control"

/* 0 or -errno. Requests get -ENODEV until start. */
int flightrec_control_init(void);
void flightrec_control_start(void);
void flightrec_control_exit(void);

#endif
