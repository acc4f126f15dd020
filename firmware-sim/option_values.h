/* Values of options.  All return 0, or -EINVAL after a message on stderr. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "firmware-sim/options.h"

/* A number in [low, high]. */
int fws_option_number(double *v, double low, double high, const char *text);
int fws_option_whole(uint32_t *v, uint32_t low, uint32_t high, const char *text);

/* Says why --option is wrong; always -EINVAL. */
int fws_option_wrong(const char *option, const char *why);

/* "A" or "A:B", each from 0 to high; *b stays without ":B". */
int fws_option_pair(double *a, double *b, double high, const char *text);

/* 1 to 32 bytes; says nothing, since the caller knows the option. */
int fws_option_copy_name(char out[FWS_NAME_MAX + 1], const char *text, size_t len);

int fws_option_fields(struct fws_shape *s, const char *list);	/* "A,B" */
int fws_option_tags(struct fws_shape *s, const char *list);	/* "A=x,B=y" */
int fws_option_target(struct fws_options *o, const char *text); /* "HOST:PORT" */
int fws_option_verify(struct fws_options *o, const char *text); /* "MODE:WHERE" */
