//! `system`.
use crate::complaint::Sink;
use crate::model::{Engine, Hugepages, Idle, Ipsec, Policy, Share, System, Workers};
use crate::walk::{Bad, Row, Value};
use sa::{Cipher, Encryption, Suite};
use std::path::PathBuf;
use std::time::Duration;

/// What one packet buffer takes with its header; without hugepages none may cross a page of 4 KiB.
const BUFFER_BYTES: u64 = 2560;
const BUFFER_PAGE: u64 = 4096;
/// What ports, rings and tables take beside the buffers.
const BESIDE: u64 = 16 << 20;

pub fn build(row: &Row, sink: &mut Sink) -> Result<System, Bad> {
    let name: &str = row.get("name")?;
    let workers = match row.value("workers") {
        Value::Count(count) => Workers::Count(*count),
        Value::Cpus(cpus) => Workers::Cpus(cpus.clone()),
        _ => return Err(Bad),
    };
    let main_core = row.opt::<u64>("main-core")?.map(|core| core as u16);
    let memory: u64 = row.get("memory")?;
    let buffers: u64 = row.get("buffers")?;
    let sa_slots: u64 = row.get("sa-slots")?;
    let idle = match (row.word("idle")?, row.get::<Option<Duration>>("idle-max-sleep")?) {
        ("adaptive", Some(max_sleep)) => Idle::Adaptive { max_sleep },
        _ => Idle::Poll,
    };
    let mut good = true;
    if !memory.is_multiple_of(1 << 20) {
        row.error(sink, "memory", "memory is given in whole megabytes", "write it like 256M");
        good = false;
    }
    let each = if row.word("hugepages")? == "yes" { BUFFER_BYTES } else { BUFFER_PAGE };
    let need = buffers * each + BESIDE;
    if need > memory {
        let need = need.div_ceil(1 << 20);
        let said = format!("{buffers} buffers and the rest may take {need} MB, more than `memory`");
        row.error(sink, "buffers", said, format!("write `memory: {need}M`, or fewer buffers"));
        good = false;
    }
    if !sa_slots.is_power_of_two() {
        let said = format!("{sa_slots} is not a power of two");
        row.error(sink, "sa-slots", said, format!("write {}", sa_slots.next_power_of_two()));
        good = false;
    }
    if let (Workers::Cpus(cpus), Some(core), Idle::Poll) = (&workers, main_core, idle)
        && cpus.contains(&core)
    {
        let said = format!("CPU {core} belongs to a worker that never sleeps; control would starve");
        row.error(sink, "main-core", said, "take another CPU, or write `idle: adaptive`");
        good = false;
    }
    let engines = row.get::<&Row>("crypto").and_then(|crypto| {
        let Some(words) = crypto.opt::<&[(&'static str, _)]>("engines")? else { return Ok(None) };
        words
            .iter()
            .map(|(word, _)| Engine::from_name(word).ok_or(Bad))
            .collect::<Result<Vec<_>, _>>()
            .map(Some)
    })?;
    let run_dir =
        row.opt::<&str>("run-dir")?.map_or_else(|| PathBuf::from("/run/espway").join(name), PathBuf::from);
    if good { Ok(()) } else { Err(Bad) }?;
    Ok(System {
        name: name.into(),
        workers,
        main_core,
        memory,
        hugepages: Hugepages::from_name(row.word("hugepages")?).ok_or(Bad)?,
        buffers: buffers as u32,
        sa_slots: sa_slots as u32,
        idle,
        share: Share::from_name(row.word("share")?).ok_or(Bad)?,
        engines,
        run_dir,
        lab: row.get("lab")?,
    })
}

/// The tunnels of the configuration against what `system` provides for them.
pub fn fits(row: &Row, system: &System, ipsec: &Option<Ipsec>, sink: &mut Sink) {
    let Some(ipsec) = ipsec else { return };
    let needed = 4 * ipsec.policies.iter().filter(|p| p.peer.is_some()).count() + ipsec.manual_sas.len();
    if needed > system.sa_slots as usize {
        let said =
            format!("the policies need {needed} slots while they are rekeyed, there are {}", system.sa_slots);
        row.error(sink, "sa-slots", said, format!("write {}", needed.next_power_of_two()));
    }
    // Left to the gateway, a suite runs on whatever has it; there is always one.
    let Some(engines) = &system.engines else { return };
    let suites = ipsec
        .policies
        .iter()
        .filter(|p| p.peer.is_some())
        .flat_map(Policy::suites)
        .chain(ipsec.manual_sas.iter().map(|sa| sa.suite));
    let mut told: Vec<Suite> = Vec::new();
    for suite in suites {
        if !told.contains(&suite) && !engines.iter().any(|engine| runs(*engine, suite)) {
            told.push(suite);
            let said = format!("none of these engines knows {suite}");
            row.error(sink, "crypto", said, "add rustcrypto to `engines`, which knows all");
        }
    }
}

/// What an engine knows: `native` AES-GCM alone, `ring` that without 192 bits and ChaCha20-Poly1305, libipsec-mb no
/// ciphers but AES, DES and ChaCha20. What crypto devices know is found out when they are opened.
fn runs(engine: Engine, suite: Suite) -> bool {
    let encryption = suite.encryption();
    match engine {
        Engine::RustCrypto => true,
        // AES-GMAC in AH.
        _ if suite.integrity().iv_len() > 0 => false,
        Engine::Cryptodev | Engine::IpsecMb => {
            !matches!(encryption.cipher(), Cipher::Blowfish | Cipher::Twofish | Cipher::Camellia)
        }
        Engine::Native => encryption.is_aes_gcm(),
        Engine::Ring => {
            let gcm = encryption.is_aes_gcm() && encryption != Encryption::Aes192Gcm;
            gcm || encryption == Encryption::ChaCha20Poly1305
        }
    }
}
