# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep itself, for what the fleet's programs and the hosts must agree about."""

from tests.unit.kmodkeep.conftest import built, tree  # noqa: F401
