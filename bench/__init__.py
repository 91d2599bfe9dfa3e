# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmark: what each operation costs, beside everything comparable."""
