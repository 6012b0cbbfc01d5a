#include "shim.h"

#include <stddef.h>

#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_version.h>

/* The bindings assert the same numbers: both sides see one structure. */
_Static_assert(sizeof(struct rte_mbuf) == 128, "rte_mbuf");
_Static_assert(offsetof(struct rte_mbuf, data_off) == 16, "rte_mbuf.data_off");
_Static_assert(offsetof(struct rte_mbuf, pkt_len) == 36, "rte_mbuf.pkt_len");
_Static_assert(offsetof(struct rte_mbuf, next) == 64, "rte_mbuf.next");

uint16_t shim_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	return rte_eth_rx_burst(port, queue, pkts, n);
}

uint16_t shim_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	return rte_eth_tx_burst(port, queue, pkts, n);
}

int shim_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **pkts, unsigned int n)
{
	return rte_pktmbuf_alloc_bulk(pool, pkts, n);
}

void shim_pktmbuf_free_bulk(struct rte_mbuf **pkts, unsigned int n)
{
	rte_pktmbuf_free_bulk(pkts, n);
}

int shim_pktmbuf_linearize(struct rte_mbuf *pkt)
{
	return rte_pktmbuf_linearize(pkt);
}

int shim_mempool_get_bulk(struct rte_mempool *pool, void **objs, unsigned int n)
{
	return rte_mempool_get_bulk(pool, objs, n);
}

void shim_mempool_put_bulk(struct rte_mempool *pool, void *const *objs, unsigned int n)
{
	rte_mempool_put_bulk(pool, objs, n);
}

unsigned int shim_ring_enqueue_burst(struct rte_ring *ring, void *const *objs, unsigned int n)
{
	return rte_ring_enqueue_burst(ring, objs, n, NULL);
}

unsigned int shim_ring_dequeue_burst(struct rte_ring *ring, void **objs, unsigned int n)
{
	return rte_ring_dequeue_burst(ring, objs, n, NULL);
}

uint16_t shim_cryptodev_enqueue_burst(uint8_t dev, uint16_t qp, struct rte_crypto_op **ops, uint16_t n)
{
	return rte_cryptodev_enqueue_burst(dev, qp, ops, n);
}

uint16_t shim_cryptodev_dequeue_burst(uint8_t dev, uint16_t qp, struct rte_crypto_op **ops, uint16_t n)
{
	return rte_cryptodev_dequeue_burst(dev, qp, ops, n);
}

unsigned int shim_lcore_id(void)
{
	return rte_lcore_id();
}

int shim_errno(void)
{
	return rte_errno;
}

unsigned int shim_version_year(void)
{
	return RTE_VER_YEAR;
}

unsigned int shim_version_month(void)
{
	return RTE_VER_MONTH;
}

unsigned int shim_version_minor(void)
{
	return RTE_VER_MINOR;
}

/* Unsigned numbers were renamed in 23.03. */
#if RTE_VERSION >= RTE_VERSION_NUM(23, 3, 0, 0)
#define TELEMETRY_UNSIGNED RTE_TEL_UINT_VAL
#define telemetry_array rte_tel_data_add_array_uint
#define telemetry_dict rte_tel_data_add_dict_uint
#else
#define TELEMETRY_UNSIGNED RTE_TEL_U64_VAL
#define telemetry_array rte_tel_data_add_array_u64
#define telemetry_dict rte_tel_data_add_dict_u64
#endif

int shim_telemetry_start_numbers(struct rte_tel_data *data)
{
	return rte_tel_data_start_array(data, TELEMETRY_UNSIGNED);
}

int shim_telemetry_number(struct rte_tel_data *data, uint64_t number)
{
	return telemetry_array(data, number);
}

int shim_telemetry_member(struct rte_tel_data *data, const char *name, uint64_t number)
{
	return telemetry_dict(data, name, number);
}
