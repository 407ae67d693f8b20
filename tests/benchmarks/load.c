/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes TCP sessions on loopback as fast as it can, or at a rate: connect, accept, close, close.
 *
 *   load THREADS SECONDS RATE	RATE in sessions a second of all threads together, 0 for no limit
 *
 * prints the number of sessions made and the seconds that it took. Destinations go through 127.0.0.0/8, so that the
 * ports of one of them are never used up by TIME_WAIT.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double seconds, rate;

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int listener(struct sockaddr_in *address)
{
	socklen_t length = sizeof(*address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	*address = (struct sockaddr_in){ .sin_family = AF_INET };
	if (fd < 0 || bind(fd, (struct sockaddr *)address, length) || listen(fd, 16) ||
	    getsockname(fd, (struct sockaddr *)address, &length))
		die("listen");
	return fd;
}

static void pace(double start, long made)
{
	double early = rate ? start + made / rate - now() : 0;

	if (early > 1e-3)
		usleep(early * 1e6);
}

static void *sessions(void *counter)
{
	struct sockaddr_in address;
	int server = listener(&address);
	double start = now();
	long made = 0;

	while (now() - start < seconds) {
		int client = socket(AF_INET, SOCK_STREAM, 0);
		int accepted;

		address.sin_addr.s_addr = htonl(0x7f000001 + made % 4000);
		if (client < 0 || connect(client, (struct sockaddr *)&address, sizeof(address)))
			die("connect");
		accepted = accept(server, NULL, NULL);
		if (accepted < 0)
			die("accept");
		close(client);
		close(accepted);
		made++;
		pace(start, made);
	}
	close(server);
	*(long *)counter = made;
	return NULL;
}

int main(int argc, char **argv)
{
	int threads = argc == 4 ? atoi(argv[1]) : 0;
	long made[64] = { 0 }, total = 0;
	pthread_t ids[64];
	double start = now();

	if (threads < 1 || threads > 64)
		return 2;
	seconds = atof(argv[2]);
	rate = atof(argv[3]) / threads;
	for (int i = 0; i < threads; i++)
		pthread_create(&ids[i], NULL, sessions, &made[i]);
	for (int i = 0; i < threads; i++) {
		pthread_join(ids[i], NULL);
		total += made[i];
	}
	printf("%ld %.6f\n", total, now() - start);
	return 0;
}
