/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What key enroll wrote down when it asked for an enrolment. MokManager deletes a request
 * that is declined, or not answered, and leaves no trace of it but this.
 */
#ifndef KMODKEEP_ENROL_REQUEST_H
#define KMODKEEP_ENROL_REQUEST_H

#include <openssl/x509.h>
#include <stdbool.h>

#include "guard/host/host.h"
#include "guard/trust/trust.h"

/*
 * Was it asked for in an earlier boot? The caller has seen that this certificate neither is
 * enrolled nor waits for it: then it was asked for in vain.
 */
bool enrol_request_declined(const struct host *h, X509 *cert);

/*
 * Forgets a request that was granted: if the key goes away later, by a reset of the firmware
 * say, nobody has declined it. 0 or -errno.
 */
int enrol_request_settle(const struct host *h, const struct trust *t);

#endif
