/* What dpdk-sys binds. Only whole headers; build.rs picks the names. */
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_version.h>
#include <rte_log.h>
#include <rte_lcore.h>
#include <rte_launch.h>
#include <rte_dev.h>
#include <rte_bus.h>
#include <rte_mempool.h>
#include <rte_mbuf.h>
#include <rte_ring.h>
#include <rte_ethdev.h>
#include <rte_cryptodev.h>
#include <rte_telemetry.h>
#include "shim.h"

/* Values that are macros of macros, which bindgen does not evaluate. */
static const uint64_t ESPWAY_RSS_FLOWS = RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_ESP;
static const uint32_t ESPWAY_RING_SPSC = RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ;
static const uint64_t ESPWAY_RX_OFFLOAD_RSS_HASH = RTE_ETH_RX_OFFLOAD_RSS_HASH;
static const uint64_t ESPWAY_CRYPTO_UNUSED = RTE_CRYPTODEV_FF_ASYMMETRIC_CRYPTO | RTE_CRYPTODEV_FF_SECURITY;
