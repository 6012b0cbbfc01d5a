//! The part of `<intel-ipsec-mb.h>` (1.3) that the wrapper uses, by hand, since binaries must also start on
//! machines without the library. `tests/layout.rs` compares every size and offset with the C header.
use std::ffi::{c_char, c_int, c_void};

/// Members of `IMB_MGR` up to the last one used. New members are only ever added behind the pointers.
#[repr(C)]
pub struct ImbMgr {
    pub flags: u64,
    pub features: u64,
    pub reserved: [u64; 5],
    pub used_arch: u32,
    pub imb_errno: c_int,
    pub get_next_job: Option<JobFn>,
    pub submit_job: Option<JobFn>,
    pub submit_job_nocheck: Option<JobFn>,
    pub get_completed_job: Option<JobFn>,
    pub flush_job: Option<JobFn>,
    pub queue_size: Option<unsafe extern "C" fn(*mut ImbMgr) -> u32>,
    pub keyexp_128: Option<KeyExpFn>,
    pub keyexp_192: Option<KeyExpFn>,
    pub keyexp_256: Option<KeyExpFn>,
    pub cmac_subkey_gen_128: Option<KeyExpFn>,
    pub xcbc_keyexp: Option<XcbcKeyExpFn>,
    pub des_key_sched: Option<DesKeyFn>,
    pub sha1_one_block: Option<OneBlockFn>,
    pub sha224_one_block: Option<OneBlockFn>,
    pub sha256_one_block: Option<OneBlockFn>,
    pub sha384_one_block: Option<OneBlockFn>,
    pub sha512_one_block: Option<OneBlockFn>,
    pub md5_one_block: Option<OneBlockFn>,
    pub sha1: Unused,
    pub sha224: Unused,
    pub sha256: Unused,
    pub sha384: Unused,
    pub sha512: Unused,
    pub aes128_cfb_one: Unused,
    pub gcm128_enc: Option<GcmFn>,
    pub gcm192_enc: Option<GcmFn>,
    pub gcm256_enc: Option<GcmFn>,
    pub gcm128_dec: Option<GcmFn>,
    pub gcm192_dec: Option<GcmFn>,
    pub gcm256_dec: Option<GcmFn>,
    /// `init`, `enc_update`, `dec_update`, `enc_finalize`, `dec_finalize`, `precomp`, three sizes each.
    pub gcm_incremental: [Unused; 18],
    pub gcm128_pre: Option<GcmPreFn>,
    pub gcm192_pre: Option<GcmPreFn>,
    pub gcm256_pre: Option<GcmPreFn>,
    /// ZUC, KASUMI, SNOW3G, GHASH alone, and IVs of other lengths.
    pub mobile: [Unused; 31],
    pub gmac_init: [Option<GmacInitFn>; 3],
    pub gmac_update: [Option<GmacInitFn>; 3],
    pub gmac_finalize: [Option<GmacFinalizeFn>; 3],
}

pub type Unused = Option<unsafe extern "C" fn()>;
pub type JobFn = unsafe extern "C" fn(*mut ImbMgr) -> *mut ImbJob;
/// `(key, enc_keys, dec_keys)`
pub type KeyExpFn = unsafe extern "C" fn(*const c_void, *mut c_void, *mut c_void);
/// `(key, k1_expanded, k2, k3)`
pub type XcbcKeyExpFn = unsafe extern "C" fn(*const c_void, *mut c_void, *mut c_void, *mut c_void);
/// `(schedule, key)`
pub type DesKeyFn = unsafe extern "C" fn(*mut u64, *const c_void) -> c_int;
/// `(key, ctx, iv or data, len)`
pub type GmacInitFn = unsafe extern "C" fn(*const GcmKeyData, *mut GcmContext, *const u8, u64);
/// `(key, ctx, tag, tag_len)`
pub type GmacFinalizeFn = unsafe extern "C" fn(*const GcmKeyData, *mut GcmContext, *mut u8, u64);
/// `(block, digest)`: one compression from the initial state.
pub type OneBlockFn = unsafe extern "C" fn(*const c_void, *mut c_void);
/// `(key, ctx, out, in, len, iv, aad, aad_len, tag, tag_len)`
pub type GcmFn = unsafe extern "C" fn(
    *const GcmKeyData,
    *mut GcmContext,
    *mut u8,
    *const u8,
    u64,
    *const u8,
    *const u8,
    u64,
    *mut u8,
    u64,
);
pub type GcmPreFn = unsafe extern "C" fn(*const c_void, *mut GcmKeyData);

/// `struct gcm_key_data`. The header aligns it to 64 only under `-DLINUX`, while the library was built with
/// that: so size and alignment are those of the library, whatever a C compiler would say today.
#[repr(C, align(64))]
pub struct GcmKeyData(pub [u8; 1024]);

#[repr(C, align(16))]
pub struct GcmContext {
    pub aad_hash: [u8; 16],
    pub aad_length: u64,
    pub in_length: u64,
    pub partial_block_enc_key: [u8; 16],
    pub orig_iv: [u8; 16],
    pub current_counter: [u8; 16],
    pub partial_block_length: u64,
}

#[repr(C)]
pub struct ImbJob {
    pub enc_keys: *const c_void,
    pub dec_keys: *const c_void,
    pub key_len_in_bytes: u64,
    pub src: *const u8,
    pub dst: *mut u8,
    pub cipher_start_src_offset_in_bytes: u64,
    pub msg_len_to_cipher_in_bytes: u64,
    pub hash_start_src_offset_in_bytes: u64,
    pub msg_len_to_hash_in_bytes: u64,
    pub iv: *const u8,
    pub iv_len_in_bytes: u64,
    pub auth_tag_output: *mut u8,
    pub auth_tag_output_len_in_bytes: u64,
    pub u: HashFields,
    pub status: u32,
    pub cipher_mode: u32,
    pub cipher_direction: u32,
    pub hash_alg: u32,
    pub chain_order: u32,
    pub user_data: *mut c_void,
    pub user_data2: *mut c_void,
    pub cipher_func: Unused,
    pub hash_func: Unused,
    pub sgl_state: u32,
    pub next_iv: *mut c_void,
}

/// `u`
#[repr(C)]
#[derive(Clone, Copy)]
pub union HashFields {
    pub hmac: HmacFields,
    pub chain: ChainFields,
    pub aead: AeadFields,
}
/// `u.HMAC`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HmacFields {
    pub hashed_auth_key_xor_ipad: *const u8,
    pub hashed_auth_key_xor_opad: *const u8,
}
/// `u.XCBC` and `u.CMAC`: round keys, and what masks the last block.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ChainFields {
    pub key_expanded: *const c_void,
    pub mask_1: *const c_void,
    pub mask_2: *const c_void,
}
/// `u.CHACHA20_POLY1305`, and the beginning of it is `u.CCM`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct AeadFields {
    pub aad: *const u8,
    pub aad_len_in_bytes: u64,
    /// Scattered packets only.
    pub ctx: *mut c_void,
}

pub const FEATURE_SHANI: u64 = 1;
pub const FEATURE_VAES: u64 = 1 << 12;
pub const FEATURE_GFNI: u64 = 1 << 16;
pub const STATUS_COMPLETED: u32 = 3;
pub const CIPHER_CBC: u32 = 1;
pub const CIPHER_CNTR: u32 = 2;
pub const CIPHER_NULL: u32 = 3;
pub const CIPHER_DES: u32 = 7;
pub const CIPHER_CCM: u32 = 9;
pub const CIPHER_DES3: u32 = 10;
pub const CIPHER_CHACHA20_POLY1305: u32 = 19;
pub const DIR_ENCRYPT: u32 = 1;
pub const DIR_DECRYPT: u32 = 2;
pub const AUTH_HMAC_SHA_1: u32 = 1;
pub const AUTH_HMAC_SHA_256: u32 = 3;
pub const AUTH_HMAC_SHA_384: u32 = 4;
pub const AUTH_HMAC_SHA_512: u32 = 5;
pub const AUTH_AES_XCBC: u32 = 6;
pub const AUTH_MD5: u32 = 7;
pub const AUTH_AES_CCM: u32 = 11;
pub const AUTH_AES_CMAC: u32 = 12;
pub const AUTH_CHACHA20_POLY1305: u32 = 29;
pub const ORDER_CIPHER_HASH: u32 = 1;
pub const ORDER_HASH_CIPHER: u32 = 2;
/// `IMB_MAX_BURST_SIZE`: half of the jobs a manager can hold.
pub const MAX_BURST_SIZE: usize = 128;

pub type AllocFn = unsafe extern "C" fn(u64) -> *mut ImbMgr;
pub type FreeFn = unsafe extern "C" fn(*mut ImbMgr);
pub type InitAutoFn = unsafe extern "C" fn(*mut ImbMgr, *mut u32);
pub type InitFn = unsafe extern "C" fn(*mut ImbMgr);
pub type VersionFn = unsafe extern "C" fn() -> u32;
pub type VersionStrFn = unsafe extern "C" fn() -> *const c_char;
