/*
 * The naive peer: one recvfrom and one rd_kafka_produce per datagram, librdkafka as it comes but
 * for a queue that does not fill.  It keeps nothing, computes nothing, checks nothing.
 */
#include "perf/peers/peer.h"

#include <sys/socket.h>

int main(int argc, char **argv)
{
	static const char *const defaults[][2] = {
		{"queue.buffering.max.messages", "2000000"}, {NULL, NULL}};
	struct pf_peer p;
	char buf[65536];

	pf_peer_init(&p, argc, argv, defaults);
	while (!pf_stop) {
		ssize_t n = recvfrom(p.fd, buf, sizeof(buf), 0, NULL, NULL);

		if (n >= 0) {
			p.received++;
			if (p.timed)
				pf_peer_waited(&p, buf, (size_t)n);
			while (rd_kafka_produce(p.topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY,
				buf, (size_t)n, NULL, 0, NULL)) {
				p.queue_full++;
				rd_kafka_poll(p.producer, 10);
			}
			p.produced++;
		}
		rd_kafka_poll(p.producer, 0);
	}
	return pf_peer_end(&p);
}
