//! Who cleans up: a small shell of its own session that reads what was made and waits for the end of its input.
//!
//! The pipe closes when the lab is dropped, and also when the program that made it panics, is interrupted or is
//! killed with SIGKILL. So there is one way of cleaning up, and no signal handler is needed for it. It ends only
//! processes that live in the lab's own namespaces.
use anyhow::{Context, Result};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SCRIPT: &str = r#"
trap '' INT TERM HUP
nets= dirs=
while read -r kind what; do
  case $kind in
    net) nets="$nets $what" ;;
    dir) dirs="$dirs $what" ;;
    keep) dirs= ;;
  esac
done
inside() { for n in $nets; do ip netns pids "$n"; done; }
tell() { for p in $(inside); do kill "-$1" "$p"; done; }
tell TERM
i=0
while [ $i -lt 30 ] && [ -n "$(inside)" ]; do sleep 0.1; i=$((i + 1)); done
tell KILL
for n in $nets; do ip netns del "$n"; done
for d in $dirs; do rm -rf "$d"; done
"#;

#[derive(Debug)]
pub struct Janitor {
    shell: Child,
}

impl Janitor {
    pub fn hire() -> Result<Self> {
        let shell = Command::new("setsid")
            .args(["sh", "-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("setsid (package util-linux)")?;
        Ok(Self { shell })
    }
    fn tell(&mut self, line: &str) -> Result<()> {
        let pipe = self.shell.stdin.as_mut().context("janitor has no input")?;
        writeln!(pipe, "{line}").context("janitor is gone")
    }
    /// Say it before making the namespace: what does not exist is no trouble.
    pub fn namespace(&mut self, name: &str) -> Result<()> {
        self.tell(&format!("net {name}"))
    }
    pub fn directory(&mut self, path: &Path) -> Result<()> {
        self.tell(&format!("dir {}", path.display()))
    }
    /// Files stay where they are.
    pub fn keep_files(&mut self) -> Result<()> {
        self.tell("keep .")
    }
}
impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // A failure to wait leaves nothing to do: the shell goes on by itself.
        let _ = self.shell.wait();
    }
}
