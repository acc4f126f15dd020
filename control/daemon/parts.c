/* What several stages of the boot need: memory, and folders that the config names. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "control/daemon/daemon.h"

void *ctl_zeroed(size_t bytes)
{
	size_t whole = (bytes + DP_CACHE_LINE - 1) / DP_CACHE_LINE * DP_CACHE_LINE;
	void *p = aligned_alloc(DP_CACHE_LINE, whole);

	return p ? memset(p, 0, whole) : NULL;
}

int ctl_make_folder(const char *path)
{
	char part[PATH_MAX];
	struct stat st;
	int why;

	if (strlen(path) >= sizeof(part))
		return -ENAMETOOLONG;
	strcpy(part, path);
	for (char *at = part + 1; *at; at++) {
		if (*at != '/')
			continue;
		*at = 0;
		if (mkdir(part, 0755) && errno != EEXIST && errno != EROFS && errno != EACCES)
			return -errno;
		*at = '/';
	}
	if (mkdir(part, 0750) == 0)
		return 0;
	why = errno;
	if (stat(part, &st))
		return -why;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}
