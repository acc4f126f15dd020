/*
 * Stands in for criterion's header in the ThreadSanitizer build: criterion runs each case in a
 * process whose memory it maps where ThreadSanitizer allows none.  Here the cases run in a row in
 * one process and the first failure ends it; cases that want a signal or an exit status are left
 * to the other builds.
 */
#pragma once

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct plain_options {
	void (*init)(void);
	void (*fini)(void);
	const char *description;
	double timeout;
	int signal, exit_code;
	bool disabled;
};

struct plain_case {
	const char *name;
	void (*run)(void);
	struct plain_options options;
	struct plain_case *next;
};

/* One list a program, however many files include this. */
__attribute__((weak)) struct plain_case *plain_cases;

static inline void plain_add(struct plain_case *c)
{
	c->next = plain_cases;
	plain_cases = c;
}

static inline void plain_fail(const char *file, int line, const char *what, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s:%d: not so: %s: ", file, line, what);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	abort();
}

int main(void);

__attribute__((weak)) int main(void)
{
	int ran = 0;

	for (struct plain_case *c = plain_cases; c; c = c->next) {
		if (c->options.disabled || c->options.signal || c->options.exit_code)
			continue;
		fprintf(stderr, "%s\n", c->name);
		if (c->options.init)
			c->options.init();
		c->run();
		if (c->options.fini)
			c->options.fini();
		ran++;
	}
	return ran ? EXIT_SUCCESS : EXIT_FAILURE;
}

#define Test(suite, name_, ...)                                                                    \
	static void suite##_##name_##_run(void);                                                   \
	static struct plain_case suite##_##name_##_case = {.name = #suite "." #name_,              \
		.run = suite##_##name_##_run,                                                      \
		.options = {__VA_ARGS__}};                                                         \
	__attribute__((constructor)) static void suite##_##name_##_add(void)                       \
	{                                                                                          \
		plain_add(&suite##_##name_##_case);                                                \
	}                                                                                          \
	static void suite##_##name_##_run(void)

#define plain_check(c, what, ...)                                                                  \
	((c) ? (void)0 : plain_fail(__FILE__, __LINE__, what, "" __VA_ARGS__))
#define plain_op(a, op, b, ...) plain_check((a)op(b), #a " " #op " " #b, __VA_ARGS__)

#define cr_assert(c, ...)	       plain_check(c, #c, __VA_ARGS__)
#define cr_assert_not(c, ...)	       plain_check(!(c), "not " #c, __VA_ARGS__)
#define cr_assert_fail(...)	       plain_check(0, "fail", __VA_ARGS__)
#define cr_assert_eq(a, b, ...)	       plain_op(a, ==, b, __VA_ARGS__)
#define cr_assert_neq(a, b, ...)       plain_op(a, !=, b, __VA_ARGS__)
#define cr_assert_lt(a, b, ...)	       plain_op(a, <, b, __VA_ARGS__)
#define cr_assert_leq(a, b, ...)       plain_op(a, <=, b, __VA_ARGS__)
#define cr_assert_gt(a, b, ...)	       plain_op(a, >, b, __VA_ARGS__)
#define cr_assert_geq(a, b, ...)       plain_op(a, >=, b, __VA_ARGS__)
#define cr_assert_null(a, ...)	       plain_op(a, ==, NULL, __VA_ARGS__)
#define cr_assert_not_null(a, ...)     plain_op(a, !=, NULL, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...)    plain_check(!strcmp(a, b), #a " == " #b, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...)   plain_check(strcmp(a, b), #a " != " #b, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, n, ...) plain_check(!memcmp(a, b, n), #a " == " #b, __VA_ARGS__)
#define cr_assert_float_eq(a, b, eps, ...)                                                         \
	plain_check(fabs((a) - (b)) <= (eps), #a " == " #b, __VA_ARGS__)
