/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and structures of the Linux system-call ABI (x86-64) that files need; ring 3's programs are compiled against them. */
#ifndef FS_LINUX_ABI_H
#define FS_LINUX_ABI_H

#include "core/types.h"

enum {
	O_ACCMODE = 3, O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2, O_CREAT = 0100, O_EXCL = 0200, O_NOCTTY = 0400, O_TRUNC = 01000,
	O_APPEND = 02000, O_NONBLOCK = 04000, O_DIRECTORY = 0200000, O_NOFOLLOW = 0400000, O_CLOEXEC = 02000000, O_PATH = 010000000,
};
enum {
	S_IFMT = 0170000, S_IFIFO = 0010000, S_IFCHR = 0020000, S_IFDIR = 0040000, S_IFREG = 0100000, S_IFLNK = 0120000, S_IFSOCK = 0140000,
};
#define LINUX_NAME_MAX 255
#define LINUX_PATH_MAX 4096
#define PIPE_BUF 4096

/* stat(2) of x86-64. */
struct linux_stat {
	uint64_t dev, ino, nlink;
	uint32_t mode, uid, gid, pad0;
	uint64_t rdev;
	int64_t size, blksize, blocks;
	uint64_t atime, atime_ns, mtime, mtime_ns, ctime, ctime_ns;
	int64_t unused[3];
};
_Static_assert(sizeof(struct linux_stat) == 144, "struct stat");

/* getdents64(2); the name follows, the record is padded to 8 bytes. */
struct linux_dirent64 {
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
} __packed;
_Static_assert(sizeof(struct linux_dirent64) == 19, "struct linux_dirent64");

/* Terminals. The kernel's termios has 19 control characters. */
enum {
	TCGETS = 0x5401, TCSETS = 0x5402, TCSETSW = 0x5403, TCSETSF = 0x5404, TCSBRK = 0x5409, TCXONC = 0x540a, TCFLSH = 0x540b,
	TIOCSCTTY = 0x540e, TIOCGPGRP = 0x540f, TIOCSPGRP = 0x5410, TIOCOUTQ = 0x5411, TIOCGWINSZ = 0x5413, TIOCSWINSZ = 0x5414,
	FIONREAD = 0x541b, TIOCNOTTY = 0x5422, TIOCGSID = 0x5429, FIONBIO = 0x5421,
};
enum { TTY_VINTR, TTY_VQUIT, TTY_VERASE, TTY_VKILL, TTY_VEOF, TTY_VTIME, TTY_VMIN, TTY_VSWTC, TTY_VSTART, TTY_VSTOP, TTY_VSUSP,
       TTY_VEOL, TTY_VREPRINT, TTY_VDISCARD, TTY_VWERASE, TTY_VLNEXT, TTY_VEOL2, TTY_NCCS = 19 };
struct linux_termios {
	uint32_t iflag, oflag, cflag, lflag;
	uint8_t line;
	uint8_t cc[TTY_NCCS];
};
_Static_assert(sizeof(struct linux_termios) == 36, "struct termios");
enum { TTY_ISTRIP = 040, TTY_INLCR = 0100, TTY_IGNCR = 0200, TTY_ICRNL = 0400, TTY_IXON = 02000 };
enum { TTY_OPOST = 1, TTY_ONLCR = 4 };
enum { TTY_ISIG = 1, TTY_ICANON = 2, TTY_ECHO = 010, TTY_ECHOE = 020, TTY_ECHOK = 040, TTY_ECHONL = 0100, TTY_NOFLSH = 0200,
       TTY_TOSTOP = 0400, TTY_ECHOCTL = 01000, TTY_ECHOKE = 04000, TTY_IEXTEN = 0100000 };
struct linux_winsize { uint16_t rows, cols, xpixel, ypixel; };

enum { SIGHUP_ = 1, SIGINT_ = 2, SIGQUIT_ = 3, SIGPIPE_ = 13, SIGTSTP_ = 20, SIGTTIN_ = 21, SIGTTOU_ = 22 };

#endif
