/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which kernel events are wanted, and the module that delivers them.
 */
#ifndef FLIGHTREC_REQUESTS_H
#define FLIGHTREC_REQUESTS_H

struct seq_file;
struct kernel_param_ops;
struct flightrec_channel;

/* Operations of the parameter "events"; its value is kept in requests.c. */
extern const struct kernel_param_ops flightrec_events_ops;

/*
 * From here on events go to @channel, and the module that delivers them is
 * asked for, now and whenever the parameter changes. May sleep. Asked for
 * from a work item: modprobe of a module that needs this one waits until
 * this one's init has ended.
 */
void flightrec_requests_start(struct flightrec_channel *channel);

/* Waits for a request under way. */
void flightrec_requests_stop(void);

void flightrec_requests_stats(struct seq_file *m);

#endif
