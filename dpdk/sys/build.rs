//! Binds the installed DPDK: pkg-config says where it is, bindgen reads its headers, cc compiles the
//! shim. Bindings are made anew on each machine because structure layouts belong to one DPDK release.
use std::path::PathBuf;
use std::{env, process};

/// The oldest DPDK whose API the safe wrapper knows (one-step crypto sessions came with it).
const MINIMUM: &str = "22.11";

/// The same for bindgen and cc: vector extensions decide alignments inside DPDK's structures.
const ARCH: &str = if cfg!(target_arch = "x86_64") { "-march=corei7" } else { "-march=armv8-a" };

fn main() {
    for file in ["build.rs", "shim.c", "shim.h", "wrapper.h"] {
        println!("cargo::rerun-if-changed={file}");
    }
    let lib = pkg_config::Config::new().atleast_version(MINIMUM).probe("libdpdk").unwrap_or_else(|e| {
        fail(&format!(
            "DPDK {MINIMUM} or newer was not found by pkg-config.\n\
             On Debian 12: apt-get install libdpdk-dev libclang-14-dev clang-14 pkg-config\n\n{e}"
        ))
    });
    let flags: Vec<String> = lib
        .include_paths
        .iter()
        .map(|dir| format!("-I{}", dir.display()))
        .chain(["-include", "rte_config.h", ARCH].map(String::from))
        .collect();
    compile_shim(&flags);
    bind(&flags);
}

fn compile_shim(flags: &[String]) {
    let mut build = cc::Build::new();
    build.file("shim.c").opt_level(3).warnings(false);
    for flag in flags {
        build.flag(flag);
    }
    build.compile("espway_dpdk_shim");
}

fn bind(flags: &[String]) {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("bindings.rs");
    let mut builder = bindgen::Builder::default()
        .header("wrapper.h")
        .clang_args(flags)
        .layout_tests(false)
        .derive_debug(false)
        .derive_default(true)
        .prepend_enum_name(false)
        .generate_comments(false)
        .use_core()
        // Packed structures that hold aligned ones: Rust cannot say that.
        .opaque_type("rte_arp_.*")
        .opaque_type("rte_l2tpv2_combined_msg_hdr")
        .opaque_type("rte_gtp_psc_.*");
    for function in FUNCTIONS {
        builder = builder.allowlist_function(function);
    }
    for var in VARS {
        builder = builder.allowlist_var(var);
    }
    for ty in TYPES {
        builder = builder.allowlist_type(ty);
    }
    let bindings = builder.generate().unwrap_or_else(|e| {
        fail(&format!(
            "bindgen could not read DPDK's headers. It needs libclang.\n\
             On Debian 12: apt-get install libclang-14-dev clang-14\n\n{e}"
        ))
    });
    bindings.write_to_file(&out).unwrap_or_else(|e| fail(&format!("cannot write {}: {e}", out.display())));
}

fn fail(text: &str) -> ! {
    eprintln!("\ndpdk-sys: {text}\n");
    process::exit(1)
}

const FUNCTIONS: &[&str] = &[
    "shim_.*",
    "rte_eal_(init|remote_launch|wait_lcore|get_lcore_state|get_runtime_dir|hotplug_add|hotplug_remove)",
    "rte_strerror",
    "rte_version.*",
    "rte_openlog_stream",
    "rte_get_main_lcore",
    "rte_mempool_(avail_count|in_use_count)",
    "rte_pktmbuf_pool_create_by_ops",
    "rte_ring_(create|free)",
    "rte_eth_(dev_info_get|dev_configure|dev_get_port_by_name)",
    "rte_eth_(dev_start|dev_stop|dev_close|dev_set_mtu|dev_adjust_nb_rx_tx_desc)",
    "rte_eth_(rx_queue_setup|tx_queue_setup|promiscuous_enable|promiscuous_disable)",
    "rte_eth_(macaddr_get|link_get_nowait|stats_get|dev_socket_id)",
    "rte_cryptodev_(get_dev_id|info_get|configure|queue_pair_setup|start|socket_id)",
    "rte_cryptodev_sym_(session_create|session_free|session_pool_create|get_private_session_size)",
    "rte_cryptodev_sym_(capability_get|capability_check_aead|capability_check_cipher|capability_check_auth)",
    "rte_crypto_op_pool_create",
    "rte_telemetry_register_cmd",
    "rte_tel_data_(start_dict|add_dict_string)",
];
const VARS: &[&str] = &[
    "RTE_(MAX_LCORE|PKTMBUF_HEADROOM|MEMPOOL_CACHE_MAX_SIZE|ETHER_HDR_LEN|ETHER_CRC_LEN)",
    "RTE_(ETH_MQ_RX_.*|CRYPTO_OP_.*|CRYPTO_SYM_XFORM_.*)",
    "RTE_CRYPTO_(AEAD|CIPHER|AUTH)_.*",
    "ESPWAY_.*",
];
const TYPES: &[&str] = &["rte_(mbuf|mempool|ring|eth_.*|ether_addr)", "rte_crypto_.*", "rte_lcore_state_t"];
