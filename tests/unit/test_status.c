/* /status where it puts what the data plane knows into words. */
#include <criterion/criterion.h>
#include <errno.h>

#include "tests/unit/view_world.h"

static void expect_trouble(struct view_world *w, const char *says)
{
	char text[CTL_WRITER_TROUBLE_BYTES];

	cr_expect_str_eq(ctl_writer_trouble(&w->view, text), says);
}

/* An operator who is told of a full disk looks for it with df, and finds room. */
Test(status, a_limit_of_the_config_is_not_called_a_full_disk)
{
	struct view_world *w = make_world(1);

	expect_trouble(w, "");
	atomic_store(&w->writer.error, ENOSPC);
	expect_trouble(w, "No space left on device");
	atomic_store(&w->writer.at_limit, 1);
	expect_trouble(w, "what is kept in memory without journal.retention_bytes is reached");
	w->config.journal.writer.bytes_max = 4 << 20;
	expect_trouble(w, "journal.retention_bytes, 4MiB, is reached");
	free_world(w);
}
