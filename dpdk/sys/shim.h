/* C faces of DPDK's inline functions: one call moves a whole burst, so the call costs nothing per packet. */
#ifndef ESPWAY_SHIM_H
#define ESPWAY_SHIM_H

#include <rte_cryptodev.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_ring.h>
#include <rte_telemetry.h>

uint16_t shim_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n);
uint16_t shim_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n);

/* 0, or -ENOENT when the pool does not hold n free buffers; then none is taken. */
int shim_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **pkts, unsigned int n);
/* Frees whole chains; the buffers may come from different pools. */
void shim_pktmbuf_free_bulk(struct rte_mbuf **pkts, unsigned int n);
/* 0, or -1 when the segments do not fit into the first one; then the chain is unchanged. */
int shim_pktmbuf_linearize(struct rte_mbuf *pkt);

int shim_mempool_get_bulk(struct rte_mempool *pool, void **objs, unsigned int n);
void shim_mempool_put_bulk(struct rte_mempool *pool, void *const *objs, unsigned int n);

unsigned int shim_ring_enqueue_burst(struct rte_ring *ring, void *const *objs, unsigned int n);
unsigned int shim_ring_dequeue_burst(struct rte_ring *ring, void **objs, unsigned int n);

uint16_t shim_cryptodev_enqueue_burst(uint8_t dev, uint16_t qp, struct rte_crypto_op **ops, uint16_t n);
uint16_t shim_cryptodev_dequeue_burst(uint8_t dev, uint16_t qp, struct rte_crypto_op **ops, uint16_t n);

int shim_telemetry_start_numbers(struct rte_tel_data *data);
int shim_telemetry_number(struct rte_tel_data *data, uint64_t number);
int shim_telemetry_member(struct rte_tel_data *data, const char *name, uint64_t number);

unsigned int shim_lcore_id(void);
int shim_errno(void);

/* The numbers this file was compiled with: what a loaded library is compared with. */
unsigned int shim_version_year(void);
unsigned int shim_version_month(void);
unsigned int shim_version_minor(void);

#endif
