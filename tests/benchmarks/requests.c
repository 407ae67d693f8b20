/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/*
 * requests PORT SECONDS PER_CONNECTION: HTTP requests to a server on loopback, from two threads, so many on each
 * connection before the next; prints how many were answered, and how long that took.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define THREADS 2

static struct sockaddr_in server = { .sin_family = AF_INET };
static int per_connection;
static double until;

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

/* Answers are short: one read(2) brings each. */
static int ask(int sock, int last)
{
	const char *request = last ? "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
				   : "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
	char answer[4096];

	if (write(sock, request, strlen(request)) < 0)
		return 0;
	return read(sock, answer, sizeof(answer)) > 0;
}

static void *connections(void *answered)
{
	while (now() < until) {
		int sock = socket(AF_INET, SOCK_STREAM, 0);

		if (connect(sock, (struct sockaddr *)&server, sizeof(server)) == 0)
			for (int left = per_connection; left && now() < until; left--)
				*(long *)answered += ask(sock, left == 1);
		close(sock);
	}
	return NULL;
}

int main(int count, char **arguments)
{
	long answered[THREADS] = {}, total = 0;
	pthread_t threads[THREADS];
	double began = now();

	if (count != 4)
		return 2;
	server.sin_port = htons(atoi(arguments[1]));
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	until = began + atof(arguments[2]);
	per_connection = atoi(arguments[3]);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, connections, &answered[i]);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		total += answered[i];
	}
	printf("%ld %f\n", total, now() - began);
	return 0;
}
