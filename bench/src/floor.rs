//! The floor: libipsec-mb's one-shot AES-GCM on the ESP plaintexts of the same packets, nothing around it.
use crate::case::{BUFFERS, Case, Direction, Label};
use crate::engine::Slab;
use anyhow::{Context, Result, ensure};
use ipsec_mb::{GcmKey, Manager};
use sa::{Encryption, Suite};

pub struct Floor {
    label: Label,
    manager: Manager,
    key: GcmKey,
    slab: Slab,
    tags: Vec<[u8; 16]>,
}

impl Floor {
    pub fn new(encryption: Encryption, direction: Direction, bytes: usize) -> Result<Self> {
        let suite = Suite::new(encryption, sa::Integrity::None)?;
        let manager = Manager::new()?;
        let key = manager.gcm_key(&vec![0x11; encryption.key_len()]).context("an AES-GCM suite")?;
        let label = Label {
            direction,
            suite: suite.to_string(),
            engine: "libipsec-mb".into(),
            mode: "floor",
            sas: 1,
            policies: 0,
            workers: 1,
            buffers: BUFFERS,
            bytes,
        };
        Ok(Self { label, manager, key, slab: Slab::new(suite, bytes), tags: vec![[0; 16]; BUFFERS] })
    }
}

impl Case for Floor {
    fn label(&self) -> &Label {
        &self.label
    }
    fn prepare(&mut self) -> Result<()> {
        self.run();
        self.tags.fill([0; 16]);
        Ok(())
    }
    fn run(&mut self) {
        let Self { label, manager, key, slab, tags } = self;
        let seal = label.direction == Direction::Outbound;
        for (esp, tag) in slab.packets().zip(tags) {
            let Some((head, rest)) = esp.split_first_chunk_mut::<16>() else { continue };
            let Some((text, _)) = rest.split_last_chunk_mut::<16>() else { continue };
            let aad = head.first_chunk::<8>().unwrap_or(&[0; 8]);
            if seal {
                manager.gcm_seal(key, &NONCE, aad, text, tag);
            } else {
                manager.gcm_open(key, &NONCE, aad, text, tag);
            }
        }
    }
    fn check(&mut self) -> Result<()> {
        ensure!(self.tags.iter().all(|tag| *tag != [0; 16]), "libipsec-mb left a tag unwritten");
        Ok(())
    }
}

/// Written long before it is read; a path has to assemble its own.
const NONCE: [u8; 12] = [0x22; 12];
