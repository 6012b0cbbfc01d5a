//! The hand-written declarations against the C header that is installed.
use ipsec_mb::sys;
use std::mem::{align_of, offset_of, size_of};
use std::process::Command;

/// Pairs of a C expression and what Rust believes it is.
macro_rules! facts {
    ($($kind:ident $c:literal $( . $member:literal)? => $rust:expr;)*) => {
        vec![$((facts!(@$kind $c $($member)?), ($rust) as u64)),*]
    };
    (@size $c:literal) => { format!("sizeof({})", $c) };
    (@at $c:literal $member:literal) => { format!("offsetof({}, {})", $c, $member) };
    (@value $c:literal) => { $c.to_string() };
}

fn facts() -> Vec<(String, u64)> {
    use sys::{AeadFields, ChainFields, GcmContext, GcmKeyData, HmacFields, ImbJob, ImbMgr};
    facts! {
        at "IMB_MGR"."features" => offset_of!(ImbMgr, features);
        at "IMB_MGR"."used_arch" => offset_of!(ImbMgr, used_arch);
        at "IMB_MGR"."imb_errno" => offset_of!(ImbMgr, imb_errno);
        at "IMB_MGR"."get_next_job" => offset_of!(ImbMgr, get_next_job);
        at "IMB_MGR"."submit_job" => offset_of!(ImbMgr, submit_job);
        at "IMB_MGR"."get_completed_job" => offset_of!(ImbMgr, get_completed_job);
        at "IMB_MGR"."flush_job" => offset_of!(ImbMgr, flush_job);
        at "IMB_MGR"."keyexp_128" => offset_of!(ImbMgr, keyexp_128);
        at "IMB_MGR"."keyexp_192" => offset_of!(ImbMgr, keyexp_192);
        at "IMB_MGR"."keyexp_256" => offset_of!(ImbMgr, keyexp_256);
        at "IMB_MGR"."cmac_subkey_gen_128" => offset_of!(ImbMgr, cmac_subkey_gen_128);
        at "IMB_MGR"."xcbc_keyexp" => offset_of!(ImbMgr, xcbc_keyexp);
        at "IMB_MGR"."des_key_sched" => offset_of!(ImbMgr, des_key_sched);
        at "IMB_MGR"."md5_one_block" => offset_of!(ImbMgr, md5_one_block);
        at "IMB_MGR"."gmac128_init" => offset_of!(ImbMgr, gmac_init);
        at "IMB_MGR"."gmac128_update" => offset_of!(ImbMgr, gmac_update);
        at "IMB_MGR"."gmac256_finalize" => offset_of!(ImbMgr, gmac_finalize) + 16;
        at "IMB_MGR"."sha1_one_block" => offset_of!(ImbMgr, sha1_one_block);
        at "IMB_MGR"."sha256_one_block" => offset_of!(ImbMgr, sha256_one_block);
        at "IMB_MGR"."sha384_one_block" => offset_of!(ImbMgr, sha384_one_block);
        at "IMB_MGR"."sha512_one_block" => offset_of!(ImbMgr, sha512_one_block);
        at "IMB_MGR"."gcm128_enc" => offset_of!(ImbMgr, gcm128_enc);
        at "IMB_MGR"."gcm192_enc" => offset_of!(ImbMgr, gcm192_enc);
        at "IMB_MGR"."gcm256_enc" => offset_of!(ImbMgr, gcm256_enc);
        at "IMB_MGR"."gcm128_dec" => offset_of!(ImbMgr, gcm128_dec);
        at "IMB_MGR"."gcm192_dec" => offset_of!(ImbMgr, gcm192_dec);
        at "IMB_MGR"."gcm256_dec" => offset_of!(ImbMgr, gcm256_dec);
        at "IMB_MGR"."gcm128_pre" => offset_of!(ImbMgr, gcm128_pre);
        at "IMB_MGR"."gcm192_pre" => offset_of!(ImbMgr, gcm192_pre);
        at "IMB_MGR"."gcm256_pre" => offset_of!(ImbMgr, gcm256_pre);
        size "IMB_JOB" => size_of::<ImbJob>();
        at "IMB_JOB"."enc_keys" => offset_of!(ImbJob, enc_keys);
        at "IMB_JOB"."dec_keys" => offset_of!(ImbJob, dec_keys);
        at "IMB_JOB"."key_len_in_bytes" => offset_of!(ImbJob, key_len_in_bytes);
        at "IMB_JOB"."src" => offset_of!(ImbJob, src);
        at "IMB_JOB"."dst" => offset_of!(ImbJob, dst);
        at "IMB_JOB"."cipher_start_src_offset_in_bytes" => offset_of!(ImbJob, cipher_start_src_offset_in_bytes);
        at "IMB_JOB"."msg_len_to_cipher_in_bytes" => offset_of!(ImbJob, msg_len_to_cipher_in_bytes);
        at "IMB_JOB"."hash_start_src_offset_in_bytes" => offset_of!(ImbJob, hash_start_src_offset_in_bytes);
        at "IMB_JOB"."msg_len_to_hash_in_bytes" => offset_of!(ImbJob, msg_len_to_hash_in_bytes);
        at "IMB_JOB"."iv" => offset_of!(ImbJob, iv);
        at "IMB_JOB"."iv_len_in_bytes" => offset_of!(ImbJob, iv_len_in_bytes);
        at "IMB_JOB"."auth_tag_output" => offset_of!(ImbJob, auth_tag_output);
        at "IMB_JOB"."auth_tag_output_len_in_bytes" => offset_of!(ImbJob, auth_tag_output_len_in_bytes);
        at "IMB_JOB"."u.HMAC._hashed_auth_key_xor_ipad" => offset_of!(ImbJob, u) + offset_of!(HmacFields, hashed_auth_key_xor_ipad);
        at "IMB_JOB"."u.HMAC._hashed_auth_key_xor_opad" => offset_of!(ImbJob, u) + offset_of!(HmacFields, hashed_auth_key_xor_opad);
        at "IMB_JOB"."u.XCBC._k1_expanded" => offset_of!(ImbJob, u) + offset_of!(ChainFields, key_expanded);
        at "IMB_JOB"."u.XCBC._k2" => offset_of!(ImbJob, u) + offset_of!(ChainFields, mask_1);
        at "IMB_JOB"."u.XCBC._k3" => offset_of!(ImbJob, u) + offset_of!(ChainFields, mask_2);
        at "IMB_JOB"."u.CMAC._key_expanded" => offset_of!(ImbJob, u) + offset_of!(ChainFields, key_expanded);
        at "IMB_JOB"."u.CMAC._skey1" => offset_of!(ImbJob, u) + offset_of!(ChainFields, mask_1);
        at "IMB_JOB"."u.CMAC._skey2" => offset_of!(ImbJob, u) + offset_of!(ChainFields, mask_2);
        at "IMB_JOB"."u.CCM.aad" => offset_of!(ImbJob, u) + offset_of!(AeadFields, aad);
        at "IMB_JOB"."u.CCM.aad_len_in_bytes" => offset_of!(ImbJob, u) + offset_of!(AeadFields, aad_len_in_bytes);
        at "IMB_JOB"."u.CHACHA20_POLY1305.aad" => offset_of!(ImbJob, u) + offset_of!(AeadFields, aad);
        at "IMB_JOB"."u.CHACHA20_POLY1305.aad_len_in_bytes" => offset_of!(ImbJob, u) + offset_of!(AeadFields, aad_len_in_bytes);
        at "IMB_JOB"."u.CHACHA20_POLY1305.ctx" => offset_of!(ImbJob, u) + offset_of!(AeadFields, ctx);
        at "IMB_JOB"."status" => offset_of!(ImbJob, status);
        at "IMB_JOB"."cipher_mode" => offset_of!(ImbJob, cipher_mode);
        at "IMB_JOB"."cipher_direction" => offset_of!(ImbJob, cipher_direction);
        at "IMB_JOB"."hash_alg" => offset_of!(ImbJob, hash_alg);
        at "IMB_JOB"."chain_order" => offset_of!(ImbJob, chain_order);
        at "IMB_JOB"."user_data" => offset_of!(ImbJob, user_data);
        at "IMB_JOB"."user_data2" => offset_of!(ImbJob, user_data2);
        at "IMB_JOB"."sgl_state" => offset_of!(ImbJob, sgl_state);
        at "IMB_JOB"."cipher_fields" => offset_of!(ImbJob, next_iv);
        size "struct gcm_key_data" => size_of::<GcmKeyData>();
        value "_Alignof(struct gcm_key_data)" => align_of::<GcmKeyData>();
        at "struct gcm_key_data"."ghash_keys" => 240;
        value "sizeof(((struct gcm_key_data *)0)->ghash_keys.vaes_avx512)" => 48 * 16;
        size "struct gcm_context_data" => offset_of!(GcmContext, partial_block_length) + 8;
        at "struct gcm_context_data"."current_counter" => offset_of!(GcmContext, current_counter);
        value "IMB_STATUS_COMPLETED" => sys::STATUS_COMPLETED;
        value "IMB_CIPHER_CBC" => sys::CIPHER_CBC;
        value "IMB_CIPHER_CNTR" => sys::CIPHER_CNTR;
        value "IMB_CIPHER_DES" => sys::CIPHER_DES;
        value "IMB_CIPHER_DES3" => sys::CIPHER_DES3;
        value "IMB_CIPHER_CCM" => sys::CIPHER_CCM;
        value "IMB_AUTH_AES_XCBC" => sys::AUTH_AES_XCBC;
        value "IMB_AUTH_MD5" => sys::AUTH_MD5;
        value "IMB_AUTH_AES_CCM" => sys::AUTH_AES_CCM;
        value "IMB_AUTH_AES_CMAC" => sys::AUTH_AES_CMAC;
        value "IMB_DES_KEY_SCHED_SIZE" => size_of::<[u64; 16]>();
        value "IMB_CIPHER_NULL" => sys::CIPHER_NULL;
        value "IMB_CIPHER_CHACHA20_POLY1305" => sys::CIPHER_CHACHA20_POLY1305;
        value "IMB_AUTH_CHACHA20_POLY1305" => sys::AUTH_CHACHA20_POLY1305;
        value "IMB_DIR_ENCRYPT" => sys::DIR_ENCRYPT;
        value "IMB_DIR_DECRYPT" => sys::DIR_DECRYPT;
        value "IMB_AUTH_HMAC_SHA_1" => sys::AUTH_HMAC_SHA_1;
        value "IMB_AUTH_HMAC_SHA_256" => sys::AUTH_HMAC_SHA_256;
        value "IMB_AUTH_HMAC_SHA_384" => sys::AUTH_HMAC_SHA_384;
        value "IMB_AUTH_HMAC_SHA_512" => sys::AUTH_HMAC_SHA_512;
        value "IMB_ORDER_CIPHER_HASH" => sys::ORDER_CIPHER_HASH;
        value "IMB_ORDER_HASH_CIPHER" => sys::ORDER_HASH_CIPHER;
        value "IMB_MAX_BURST_SIZE" => sys::MAX_BURST_SIZE;
        value "IMB_FEATURE_SHANI" => sys::FEATURE_SHANI;
        value "IMB_FEATURE_GFNI" => sys::FEATURE_GFNI;
        value "IMB_FEATURE_VAES" => sys::FEATURE_VAES;
    }
}

#[test]
fn declarations_agree_with_the_header() {
    let facts = facts();
    let lines: String =
        facts.iter().map(|(c, _)| format!("  printf(\"%llu\\n\", (unsigned long long)({c}));\n")).collect();
    let source = format!(
        "#define LINUX 1\n#include <stddef.h>\n#include <stdio.h>\n#include <intel-ipsec-mb.h>\nint main(void) {{\n{lines}  return 0;\n}}\n"
    );
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (file, program) = (dir.join("layout.c"), dir.join("layout"));
    std::fs::write(&file, source).expect("scratch folder");
    let compiled =
        Command::new("cc").arg("-o").args([&program, &file]).output().expect("a C compiler (package gcc)");
    let said = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "install libipsec-mb-dev, which this test needs\n{said}");
    let printed = Command::new(&program).output().expect("the program just built").stdout;
    let printed = String::from_utf8(printed).expect("numbers");
    let header: Vec<u64> = printed.lines().map(|l| l.parse().expect("a number")).collect();
    assert_eq!(header.len(), facts.len());
    for ((name, ours), theirs) in facts.iter().zip(header) {
        assert_eq!(*ours, theirs, "{name}");
    }
}
