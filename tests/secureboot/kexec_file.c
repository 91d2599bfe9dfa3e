// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kexec_file IMAGE...: has the running kernel take each image as kexec -s does, and takes it
 * away again. A line for each: the image, a tab, "taken" or the error.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int take(int fd, unsigned long flags)
{
	static const char line[] = "console=ttyS0,115200";

	return syscall(SYS_kexec_file_load, fd, -1, sizeof(line), line,
		       flags | KEXEC_FILE_NO_INITRAMFS);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		int fd = open(argv[i], O_RDONLY | O_CLOEXEC);
		int err = fd < 0 || take(fd, 0) ? errno : 0;

		printf("%s\t%s\n", argv[i], err ? strerror(err) : "taken");
		if (fd >= 0)
			close(fd);
		if (!err && take(-1, KEXEC_FILE_UNLOAD))
			perror("unload");
	}
	return 0;
}
