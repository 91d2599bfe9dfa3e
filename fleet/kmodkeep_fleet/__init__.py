# SPDX-License-Identifier: GPL-2.0-or-later
"""Fleets of hosts that kmodkeep looks after: states, the gate, the report, the roll-out."""
