# SPDX-License-Identifier: GPL-2.0-or-later
# Of kmemleak's list those objects that are ours, or may be.
#
# An object of ours is known by the functions that allocated it. The names of
# functions of a module that is gone are gone, too: bare addresses are left.
#
# One leak in such a call is the kernel's own: where kset_register() cannot make the
# class's directory, __class_register() of 6.1 frees all but the class's name. Only a
# copy of a name counts as that, made by kobject_set_name() for __class_register()
# itself: nothing of ours is allocated there, and a class that we forgot to remove
# is still in its list.

function judge() {
	if (object != "" && ours && !kernels_own)
		printf "%s", object
}

/^unreferenced object/ {
	judge()
	object = ""
	ours = kernels_own = 0
	at = ""
}

/^ +\[<[^>]+>\] / {
	if (at == "kobject_set_name" && $2 ~ /^__class_register\+/)
		kernels_own = 1
	at = $2
	sub(/\+.*/, "", at)
	if ($2 ~ /^0x[0-9a-f]+$/)
		ours = 1
}

/flightrec/ {
	ours = 1
}

{
	object = object $0 "\n"
}

END {
	judge()
}
